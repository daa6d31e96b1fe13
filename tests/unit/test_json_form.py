"""Records as JSON: to_dict() and from_dict()."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chatmemory
from chatmemory import (
    InvalidInputError,
    Message,
    MetricCurve,
    MetricSeries,
    Page,
    SessionInfo,
)
from chatmemory.json_form import Record
from tests.unit.test_display import info

PUBLIC = [getattr(chatmemory, name) for name in chatmemory.__all__]
RECORDS = [each for each in PUBLIC if isinstance(each, type) and issubclass(each, Record)]
RENDERED = (
    "CleanUp Comparison Consolidation Context Erasure Event Health Item Memory MemoryStats Message MetricCurve "
    "MetricSeries Page Profile Recalled Report SessionInfo Spend StatusChange"
)

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(),
    int: st.integers(0, 2**63 - 1),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    datetime: st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])),
    type(None): st.none(),
    Any: JSON,
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    origin, args = get_origin(hint), get_args(hint)
    if {list[Any], dict[str, Any]} <= set(args):
        return JSON
    if origin in (Union, UnionType):
        return st.one_of(*map(values_of, args))
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (tuple, list):
        items = st.lists(values_of(args[0]), max_size=3)
        return items.map(tuple) if origin is tuple else items
    if origin in (dict, Mapping):
        return st.dictionaries(st.text(), values_of(args[1]), max_size=3)
    return records_of(hint) if isinstance(hint, type) and issubclass(hint, Record) else SCALARS[hint]


def records_of(cls: Any) -> st.SearchStrategy[Any]:
    """Records with anything in their fields."""
    if cls is MetricSeries:
        return st.lists(records_of(MetricCurve), max_size=2, unique_by=lambda curve: curve.name).map(MetricSeries)
    if cls is Page:
        number, items = SCALARS[int], st.lists(records_of(SessionInfo), max_size=2).map(tuple)
        return st.builds(Page, items, number, st.none() | number, st.none() | SCALARS[str], st.none() | number)
    hints = get_type_hints(cls)
    return st.builds(cls, **{field.name: values_of(hints[field.name]) for field in fields(cls)})


def test_each_record_has_one_form() -> None:
    """All records of the library can be rendered, by the same function."""
    assert set(RENDERED.split()) <= {record.__name__ for record in RECORDS}
    assert not [each for each in PUBLIC if hasattr(each, "to_dict") and each not in RECORDS]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: str(record.__name__))
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_records_survive_json(record: Any, data: st.DataObject) -> None:
    """from_dict(to_dict(x)) == x, through the text of a JSON document, and in every field."""
    one = data.draw(records_of(record))
    values = json.loads(json.dumps(one.to_dict(), allow_nan=False))
    back = Page.from_dict(values, SessionInfo) if record is Page else record.from_dict(values)
    assert back == one
    assert back.to_dict() == one.to_dict() == values


def test_what_json_has_no_number_for_is_a_string() -> None:
    """NaN and infinities of metrics come back as they were."""
    curve = MetricCurve("loss", (1, 2, 3), (math.nan, math.inf, 0.5), (0.0, 1.0, 2.0), 3)
    values = json.loads(json.dumps(curve.to_dict(), allow_nan=False))
    assert values["values"] == ["nan", "inf", 0.5]
    assert repr(MetricCurve.from_dict(values).values) == repr(curve.values)


def test_fields_of_other_releases() -> None:
    """A field that this release does not know is ignored; one that is missing has its default."""
    session = replace(info("s"), summary="old")
    values = {**session.to_dict(), "of_the_future": 1}
    del values["summary"]
    assert SessionInfo.from_dict(values) == replace(session, summary=None)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"seq": None}, "'seq' of a Message must be an integer"),
        ({"seq": True}, "'seq' of a Message must be an integer"),
        ({"role": "martian"}, "'role' of a Message must be one of system, user, assistant, tool"),
        ({"content": 1}, "'content' of a Message must be a list"),
        ({"content": ["x"]}, "'content' of a Message must be a JSON object"),
        (
            {"created_at": "2026-01-01T00:00:00"},
            "'created_at' of a Message must be a time in ISO 8601 with a time zone",
        ),
        ({"metadata": []}, "'metadata' of a Message must be a JSON object"),
    ],
)
def test_what_cannot_be_read_is_named(wrong: dict[str, Any], reason: str) -> None:
    """The error names the record, the field and what it must be, and does not repeat the value."""
    values = Message(1, "m", "user", "hi", datetime.now(UTC)).to_dict()
    with pytest.raises(InvalidInputError, match=reason):
        Message.from_dict({**values, **wrong})
    with pytest.raises(InvalidInputError, match="a Message needs 'seq'"):
        Message.from_dict({})
