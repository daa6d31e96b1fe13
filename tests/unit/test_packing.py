import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmemory import Message
from chatmemory.storage.redis_packing import LIES, pack, pack_session, unpack_session, unpack_window
from tests.unit.conversations import message
from tests.unit.test_display import info

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.text(), json_values, max_size=3)
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


def reply(*messages: Message, most_bytes: int = 10_000_000) -> list[bytes]:
    """Return the script's answer with these messages."""
    last = messages[-1].seq
    return [part.encode() for part in (str(last), "7", "", "", "", *(pack(each, most_bytes) for each in messages))]


@given(st.lists(st.tuples(st.text(), st.text() | st.lists(objects, max_size=3), times, objects), min_size=1))
def test_messages_come_back_as_they_were(fields: list[tuple[str, str, datetime, dict[str, object]]]) -> None:
    """To the last field, and to the letter of their JSON."""
    messages = [
        Message(seq, id, "user", content, at, metadata, 3, "o200k_base")
        for seq, (id, content, at, metadata) in enumerate(fields, 5)
    ]
    window, stubs, _ = unpack_window(reply(*messages), 1000)
    assert list(window.messages) == messages
    assert repr([each.metadata for each in window.messages]) == repr([each.metadata for each in messages])
    assert (window.last_seq, window.token_count, window.source, stubs) == (messages[-1].seq, 7, "redis", set())


def test_a_large_message_is_represented_by_a_stub() -> None:
    """Without content and metadata, but with what a budget must know of it."""
    window, stubs, _ = unpack_window(
        reply(message(1, "user", "x" * 500, {"a": 1}), message(2, "user", "y"), most_bytes=200), 2
    )
    assert stubs == {1}
    assert (window.messages[0].content, window.messages[0].tokens) == ("", message(1, "user", "x" * 500).tokens)


ROW: list[object] = [1, "m1", "user", 1, 5, "o200k_base", "hello", None]
WRONG: list[list[object]] = [
    [1.0, True, 10**30],
    [None, 5],
    ["wizard", []],
    [10**30, 1e300, "x"],
    ["x", -5, 10**400],
    [5],
    [5, [1], {"a": 1}],
    [5, [1]],
]
FORGED = [
    json.dumps([*ROW[:place], value, *ROW[place + 1 :]]).encode()
    for place, values in enumerate(WRONG)
    for value in values
] + [b"[" * 100_000 + b"]" * 100_000]


@pytest.mark.parametrize(
    "lie",
    [
        [b"2", b"7", b"", b"", b"", b"[1]"],
        [b"2", b"7", b"", b"", b"", b"not json"],
        [b"9", b"7", b"", b"", b"", pack(message(1, "user", "a"), 999).encode()],
        [b"3", b"7", b"", b"", b"", *(pack(message(seq, "user", "a"), 999).encode() for seq in (1, 3))],
        [b"2", b"7", b"", b"", b"", None],
        [b"two", b"7", b"", b"", b"", b"{}"],
        [b"2"],
        *([b"1", b"7", b"", b"", b"", forged] for forged in FORGED),
        [b"\xff", b"7", b"", b"", b""],
        [7, 7, 7],
    ],
)
def test_what_is_no_window_is_told_apart(lie: list[object]) -> None:
    """Garbage, gaps and holes raise one of the errors that the reader takes for a lie."""
    with pytest.raises(LIES):
        unpack_window(lie, 1000)


@given(objects, times)
def test_sessions_come_back_as_they_were(details: dict[str, object], at: datetime) -> None:
    """To the last field."""
    session = replace(info("s"), details=details, created_at=at, ended_at=at)
    assert unpack_session(pack_session(session).encode()) == session
    for lie in (b"[]", b"{}", b"no", json.dumps({"created_at": 3}).encode()):
        with pytest.raises(LIES):
            unpack_session(lie)
