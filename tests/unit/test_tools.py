"""Tool calls and their results where a context must cut, count or pair them."""

from typing import Any

import pytest

from chatmemory import MessageConflictError, NewMessage
from chatmemory.context.trimming import build
from chatmemory.messages.token_counts import MESSAGE_TOKENS, Counter, message_tokens
from chatmemory.messages.tokenizer import Tokenizer
from chatmemory.validation import check_messages
from tests.unit.conversations import message, request, whole

USE = {"type": "tool_use", "id": "a", "name": "look", "input": {}}
LONG = "word " * 400


@pytest.fixture(scope="module")
def counter() -> Counter:
    """The real vocabulary."""
    return Tokenizer("gpt-4o").best()


def context(counter: Counter, *said: tuple[Any, ...], **given: Any) -> Any:
    """The context of a session that holds this."""
    messages = [message(seq, each[0], each[1], dict(*each[2:]), counted=False) for seq, each in enumerate(said, 1)]
    return build(whole(messages), request(**given), counter, "s")


@pytest.mark.parametrize(
    ("role", "block"),
    [
        ("user", {"type": "tool_result", "tool_use_id": "a", "content": LONG}),
        ("user", {"type": "tool_result", "tool_use_id": "a", "content": ["bare ", {"type": "text", "text": LONG}]}),
        ("tool", {"type": "tool_result", "tool_use_id": "a", "content": LONG}),
        ("tool", {"type": "text", "tool_call_id": "a", "text": LONG}),
    ],
)
def test_a_result_that_is_cut_stays_with_its_call(counter: Counter, role: str, block: dict[str, Any]) -> None:
    """Its block keeps which call it answers; only its text is shorter."""
    made = context(counter, ("assistant", [USE]), (role, [block]), max_tokens=100)
    assert made.tokens <= 100
    assert made.unpaired == ()
    asked, answered = made.as_openai()
    assert asked["tool_calls"][0]["id"] == answered["tool_call_id"] == "a"
    assert answered["role"] == "tool"
    assert "word" in answered["content"] or "bare" in answered["content"]
    assert answered["content"].endswith("… [truncated]")


@pytest.mark.parametrize("nothing", [{}, {"content": None}, {"content": []}, {"content": ["text"]}])
def test_a_result_may_say_nothing(counter: Counter, nothing: dict[str, Any]) -> None:
    """None, an empty list and bare strings are results as well."""
    block = {"type": "tool_result", "tool_use_id": "a", **nothing}
    answered = context(counter, ("assistant", [USE]), ("user", [block])).as_openai()[1]
    assert answered == {"role": "tool", "tool_call_id": "a", "content": "text" if nothing.get("content") else ""}


@pytest.mark.parametrize("role", ["user", "assistant", "system", "tool"])
def test_text_in_many_blocks_is_counted_as_it_is_sent(counter: Counter, role: str) -> None:
    """OpenAI gets an assistant's blocks as one text, with line breaks between."""
    blocks = [{"type": "text", "text": "a"}] * 300
    assert message_tokens(counter, blocks, {}) >= counter.count("\n".join("a" * 300)) + MESSAGE_TOKENS


def test_a_document_of_text_is_counted_by_its_text(counter: Counter) -> None:
    """It is no picture of a page."""
    block = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "word " * 20_000}}
    assert message_tokens(counter, [block], {}) > 20_000


def test_other_metadata_hides_no_calls(counter: Counter) -> None:
    """An empty list called tool_calls, at the top or below, says nothing."""
    result = {"type": "tool_result", "tool_use_id": "a", "content": "r"}
    others: list[dict[str, Any]] = [{"stats": {"tool_calls": []}}, {"tool_calls": []}]
    for metadata in others:
        made = context(counter, ("assistant", [USE], metadata), ("user", [result]))
        assert made.as_openai()[0]["tool_calls"][0]["id"] == "a"
        assert made.unpaired == ()


def test_a_call_with_bad_arguments_has_its_result(counter: Counter) -> None:
    """LangChain keeps it as an invalid one; the result says what was wrong."""
    invalid = {"name": "f", "args": "{bad", "id": "a", "error": "no JSON"}
    metadata = {"langchain": {"type": "ai", "invalid_tool_calls": [invalid]}}
    made = context(counter, ("assistant", "", metadata), ("tool", "no JSON", {"tool_call_id": "a"}))
    assert made.unpaired == ()


def test_the_same_id_with_other_calls_is_a_conflict() -> None:
    """Tool calls are part of a message's content."""
    pay = [NewMessage("assistant", "", "m", {"tool_calls": [{"id": id}]}) for id in "ab"]
    with pytest.raises(MessageConflictError):
        check_messages(pay, 1000)
    check_messages([NewMessage("assistant", "", "m", {"cost": cost}) for cost in (1, 2)], 1000)


def test_the_prefix_id_tells_how_much_was_cut(counter: Counter) -> None:
    """Other bytes, another id; the same bytes, the same."""
    ids = [context(counter, ("user", LONG), max_tokens=most).prefix_id for most in (100, 200, 100)]
    assert ids[0] != ids[1]
    assert ids[0] == ids[2]


def test_no_messages_leaves_the_first_system_message(counter: Counter) -> None:
    """max_messages counts what comes after it."""
    said = [("system", "Be brief."), ("user", "a"), ("assistant", "b")]
    assert [each.text for each in context(counter, *said, max_messages=0)] == ["Be brief."]
    assert len(context(counter, *said[1:], max_messages=0)) == 0
