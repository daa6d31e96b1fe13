import pickle
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from typing import Any, get_type_hints

import pytest

import chatmemory
from chatmemory import Erasure, Event, Message, MetricPoint, NewMessage, Page, SessionInfo, StatusChange, errors
from chatmemory.messages.drafts import batch_arguments, messages_from, title_from, unique
from chatmemory.messages.records import text_of
from chatmemory.records import shorten
from chatmemory.sessions.records import Appended
from chatmemory.validation import check_messages

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MESSAGE = Message(1, "m-1", "user", "Hello   there,\nfriend", NOW)
RECORDS = [
    MESSAGE,
    NewMessage("user", "x"),
    Event(NOW, "created", {}),
    Page((MESSAGE,), 10, 0, "x", 1),
    Erasure(messages=2),
    StatusChange(NOW, "pending", "running"),
    MetricPoint(1, 0.5, NOW),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_are_immutable_and_picklable(record: Any) -> None:
    """No field can be set, and a copy through pickle is equal."""
    name = next(iter(type(record).__dataclass_fields__))
    with pytest.raises((FrozenInstanceError, AttributeError)):
        setattr(record, name, None)
    assert pickle.loads(pickle.dumps(record)) == record


@pytest.mark.parametrize("record", [Message, NewMessage, SessionInfo, Event, Page, Erasure, StatusChange, MetricPoint])
def test_type_hints_can_be_resolved(record: type) -> None:
    """Tools that read annotations at run time find them."""
    assert get_type_hints(record)


@pytest.mark.parametrize("error", [getattr(chatmemory, n) for n in chatmemory.__all__ if n.endswith("Error")])
def test_errors_are_readable_and_picklable(error: type[errors.ChatMemoryError]) -> None:
    """Without a message an error says what its class means; both kinds survive pickling."""
    assert str(error()) == (error.__doc__ or "").splitlines()[0]
    assert str(pickle.loads(pickle.dumps(error("what happened")))) == "what happened"


def test_reprs_can_be_read() -> None:
    """One line for a message, with its seq and role."""
    assert repr(MESSAGE) == "<Message 1 user: 'Hello there, friend'>"
    assert repr(Page((MESSAGE,), 1, 3, total=7)).startswith("<Page 4 to 4 of 7>")
    assert "created" in repr(Event(NOW, "created", {}))


def test_shorten_cuts_at_a_word() -> None:
    """At most the width, at a word where there is one, with a mark."""
    assert shorten("short", 10) == "short"
    assert shorten("a longer text", 10) == "a longer…"
    assert shorten("unbreakable-text", 10) == "unbreakab…"
    assert shorten("exactly te", 10) == "exactly te"


def test_text_of_blocks_is_their_text() -> None:
    """Blocks without text are left out."""
    assert text_of([{"type": "text", "text": "a"}, {"type": "image"}, {"text": 1}, {"text": "b"}]) == "a\nb"


def test_a_title_needs_twenty_characters_or_a_question() -> None:
    """Exactly 20 are enough; 19 are not; only the user's messages count."""
    drafts = check_messages(
        [
            {"role": "assistant", "content": "Is this a question?"},
            {"role": "user", "content": "x" * 19},
            {"role": "user", "content": "y" * 20},
        ],
        1000,
    )
    assert title_from(drafts[:2]) is None
    assert title_from(drafts) == "y" * 20
    assert title_from(check_messages([{"role": "user", "content": "Why?"}], 1000)) == "Why?"


def test_drafts_become_messages_in_order_around_stored_ones() -> None:
    """Stored messages keep their places; new ones continue from first_seq."""
    drafts = check_messages([{"role": "user", "content": c, "message_id": c} for c in "abc"], 1000)
    appended = Appended(9, NOW, 10, 10, 0, None, NOW, 0, [(1, 4, NOW.isoformat(), 7, "estimate", None, None)])
    messages = messages_from(unique([*drafts, drafts[0]]), appended)
    assert [(id, message.seq) for id, message in messages.items()] == [("a", 9), ("b", 4), ("c", 10)]


def test_what_is_sent_leaves_out_what_is_empty() -> None:
    """Plain messages cost no empty fields on the wire."""
    drafts = check_messages([{"role": "user", "content": "a", "message_id": "m"}], 1000)
    assert batch_arguments(drafts) == ('[{"id":"m","role":"user","content":"a"}]', 1, None, False, 0)
