"""The HTML of records in a notebook."""

from datetime import UTC, datetime
from typing import Any

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmemory import Memory, MemorySource, MetricCurve, MetricSeries, Page, Profile, Recalled, SessionInfo, to_pandas
from chatmemory.context.trimming import build
from chatmemory.messages.token_counts import ESTIMATE
from tests.unit.conversations import message, request, whole

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)></td></table>&amp;\"'<!--"
OURS = {"div", "b", "i", "table", "thead", "tbody", "tr", "th", "td", "pre"}


def info(text: str) -> SessionInfo:
    """A session whose every text is the same."""
    times: dict[str, Any] = dict.fromkeys(("created_at", "updated_at", "last_active_at"), WHEN)
    nothing: dict[str, Any] = dict.fromkeys(("last_message_at", "ended_at", "archived_at", "parent_id", "results"))
    counts: dict[str, Any] = {"message_count": 1, "token_count": 1, "last_seq": 1}
    return SessionInfo(
        tenant_id=text, id=text, user_id=text, kind="chat", status="active", title=text, metadata={text: text},
        details={text: text}, **times, **nothing, **counts,
    )  # fmt: skip


def memory(text: str) -> Memory:
    """A memory whose every text is the same."""
    return Memory(
        id=text, tenant_id=text, user_id=text, kind="fact", text=text, sources=(MemorySource(text, 1, 2),),
        speaker=text, trust="user", importance=0.5, valid_from=WHEN, valid_to=None, superseded_by=None,
        confirmations=0, recalled_at=None, recall_count=0, metadata={text: text}, created_at=WHEN,
    )  # fmt: skip


def shown(text: str) -> list[Any]:
    """One of each record, all of them with this text."""
    said = [message(1, "user", text), message(2, "assistant", [{"type": "text", "text": text}])]
    context = build(whole(said), request(10_000_000, system=text), ESTIMATE, "s")
    recalled = Recalled(memory(text), 1.0, {"lexical": 1})
    profile = Profile(user_id=text, facts=(memory(text),), preferences=())
    return [
        *said,
        context,
        info(text),
        recalled,
        memory(text),
        profile,
        Page((info(text),), 10, 0, total=1),
        Page((), 1, 0),
    ]


@given(st.just(HOSTILE) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_what_was_said_is_text_and_never_markup(text: str) -> None:
    """A browser's parser finds no element but ours, no attribute but style, and no comment."""
    for record in shown(text):
        tree = html5lib.parseFragment(record._repr_html_(), namespaceHTMLElements=False)
        for element in list(tree.iter())[1:]:
            assert element.tag in OURS, element.tag
            assert set(element.attrib) <= {"style"}


@pytest.mark.parametrize("record", shown("the words"))
def test_a_record_shows_what_it_holds(record: Any) -> None:
    """The words are there to read, except on an empty page."""
    assert ("the words" in record._repr_html_()) == (not isinstance(record, Page) or len(record) > 0)


def test_records_become_tables() -> None:
    """A row for each, a column for each field; what was recalled has its score and ranks beside its memory."""
    messages = to_pandas([message(1, "user", "a"), message(2, "assistant", "b")])
    assert messages[["seq", "content"]].to_numpy().tolist() == [[1, "a"], [2, "b"]]
    curve = MetricCurve("loss", (1, 2), (0.5, 0.25), (0.0, 1.0), 2)
    points = to_pandas(MetricSeries([curve]))
    assert list(points.columns) == ["name", "step", "value", "at"]
    assert points["value"].tolist() == [0.5, 0.25]
    recalled = to_pandas([Recalled(memory("the words"), 0.5, {"lexical": 3})])
    assert recalled.loc[0, ["score", "lexical", "text"]].tolist() == [0.5, 3, "the words"]
    assert Page((info("x"),), 10).to_pandas().loc[0, "kind"] == "chat"
