"""The decision itself, on random conversations: no database, no Redis."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmemory import Context, ContextTooSmallError, InvalidInputError, Message
from chatmemory.context.trimming import MARK, build
from chatmemory.context.window import Window, needs_more
from chatmemory.messages.token_counts import ESTIMATE, MESSAGE_TOKENS, PROMPT_TOKENS, message_tokens
from chatmemory.messages.tokenizer import Tiktoken
from tests.unit.conversations import call, conversations, message, request, whole

budgets = st.integers(1, 400)
steps = st.sampled_from([0.0, 0.1, 0.5, 0.9])


def said(*texts: str) -> list[Message]:
    """User and assistant by turns."""
    return [message(seq, ("assistant", "user")[seq % 2], text) for seq, text in enumerate(texts, 1)]


def cost_of(context: Context) -> int:
    """Count the tokens of a context again, from its parts."""
    fixed = PROMPT_TOKENS + (MESSAGE_TOKENS + ESTIMATE.count(context.system) if context.system is not None else 0)
    return fixed + sum(message_tokens(ESTIMATE, each.content, each.metadata) for each in context.messages)


def made(messages: list[Message], max_tokens: int | None, **asked: Any) -> Context | None:
    """The context, or None where not even the system message fits."""
    try:
        return build(whole(messages), request(max_tokens, **asked), ESTIMATE, "s")
    except ContextTooSmallError:
        return None


@given(conversations(), budgets, steps, st.none() | st.just("Be brief."))
def test_the_budget_holds_and_what_is_left_out_is_said(
    messages: list[Message], max_tokens: int, step: float, system: str | None
) -> None:
    """Never larger than the budget; a contiguous end of the session behind its system message; omitted adds up."""
    context = made(messages, max_tokens, trim_step=step, system=system)
    if context is None:
        return
    assert context.tokens == cost_of(context) == sum(context.tokens_by_part.values()) <= max_tokens
    given = list(context.messages)
    begins = bool(messages) and messages[0].role == "system"
    if begins:
        assert given.pop(0) == messages[0]
    rest = [each.seq for each in messages[begins:]]
    omitted = context.omitted
    out = list(range(omitted.from_seq, omitted.to_seq + 1)) if omitted else []
    assert omitted is None or omitted.count == len(out)
    assert sorted([*out, *context.unpaired, *(each.seq for each in given)]) == rest
    assert all(seq > out[-1] for seq in context.unpaired if out)


@given(conversations(), budgets, steps)
def test_what_a_provider_refuses_is_left_out(messages: list[Message], max_tokens: int, step: float) -> None:
    """As OpenAI checks it: behind a call stand just its results, and results stand nowhere else."""
    context = made(messages, max_tokens, trim_step=step)
    waiting: set[str] = set()
    for each in context.as_openai() if context else ():
        if each["role"] == "tool":
            waiting.remove(each["tool_call_id"])
        else:
            assert not waiting
            waiting = {asked["id"] for asked in each.get("tool_calls", ())}
    assert not waiting


@given(conversations(), budgets, steps)
def test_a_tool_call_and_its_results_stay_together(messages: list[Message], max_tokens: int, step: float) -> None:
    """Each result in a context has its call in it, and each call all the results it got."""
    context = made(messages, max_tokens, trim_step=step)
    if context is None:
        return
    given = {each.seq for each in context.messages}
    asked: dict[str, int] = {}
    for each in messages:
        for made_call in each.tool_calls if each.role == "assistant" else ():
            asked[made_call.id] = each.seq
        if each.role == "tool" and each.tool_call_id in asked:
            assert (each.seq in given) == (asked[each.tool_call_id] in given)


@given(conversations(), budgets)
def test_without_steps_nothing_more_would_fit(messages: list[Message], max_tokens: int) -> None:
    """With trim_step=0 the context, begun at any earlier user's message, costs more than the budget."""
    context = made(messages, max_tokens, trim_step=0.0, on_oversize="omit")
    if context is None or context.omitted is None:
        return
    last = context.omitted.to_seq
    everything = build(whole(messages), request(), ESTIMATE, "s")
    for begin in (each.seq for each in everything if each.role == "user" and each.seq <= last):
        older = [each for each in everything if each.seq >= begin or (each.seq == 1 and each.role == "system")]
        costs = sum(message_tokens(ESTIMATE, each.content, each.metadata) for each in older)
        assert PROMPT_TOKENS + costs > max_tokens


@given(conversations(), budgets, steps)
def test_a_context_begins_with_a_user(messages: list[Message], max_tokens: int, step: float) -> None:
    """A context begins with a user's message if one fits with all that follows."""
    context = made(messages, max_tokens, trim_step=step, on_oversize="omit")
    if context is None or context.omitted is None:
        return
    begins = [each for each in context if not (each.seq == 1 and each.role == "system")]
    if any(each.role == "user" for each in begins):
        assert begins[0].role == "user"
    else:
        wider = made(messages, max_tokens, trim_step=0.0, on_oversize="omit")
        assert wider is not None
        assert not any(each.role == "user" for each in wider)


@given(conversations(), st.integers(0, 40))
def test_an_explicit_number_gives_just_the_newest(messages: list[Message], most: int) -> None:
    """max_messages=n alone is exactly the newest n, but for calls and results that are not all there.

    What says nothing, behind a call whose result may still come, waits with it.
    """
    context = made(messages, None, max_messages=most)
    assert context is not None
    begins = messages[:1] if messages and messages[0].role == "system" else []
    newest = messages[max(len(begins), len(messages) - most) :]
    given = {each.seq for each in context} - {each.seq for each in begins}
    missing = [each for each in newest if each.seq not in given]
    assert given <= {each.seq for each in newest}
    assert all(each.role == "tool" or each.tool_calls or not each.text for each in missing)


@given(conversations(most=60), budgets, steps)
def test_a_partial_window_decides_the_same(messages: list[Message], max_tokens: int, step: float) -> None:
    """A context built from enough of the newest messages equals one built from the whole session."""
    asked = request(max_tokens, trim_step=step)
    try:
        expected = build(whole(messages), asked, ESTIMATE, "s")
    except ContextTooSmallError:
        return
    for count in range(1, len(messages)):
        first = messages[0] if messages[0].role == "system" else None
        begin = len(messages) - count + 1
        window = whole(messages)._replace(messages=messages[-count:], first=first, first_seq=begin)
        if not needs_more(window, asked, ESTIMATE):
            assert build(window, asked, ESTIMATE, "s") == expected


def test_the_beginning_stays_the_same_over_200_turns() -> None:
    """At least 90 % of consecutive contexts share all up to the previous newest message; prefix_id tells which."""
    messages: list[Message] = []
    shared, told = 0, 0
    previous: Context | None = None
    for turn in range(200):
        for role in ("user", "assistant"):
            messages.append(message(len(messages) + 1, role, f"{role} says in turn {turn}: " + "word " * (turn % 37)))
        context = build(whole(messages), request(2000, system="Be brief."), ESTIMATE, "s")
        if previous is not None:
            before, now = previous.as_openai(), context.as_openai()
            same = now[: len(before)] == before
            shared += same
            told += (previous.prefix_id == context.prefix_id) == same
        previous = context
    assert shared >= 0.9 * 199
    assert told == 199


@given(conversations(most=60), steps)
def test_prefix_id_tells_whether_the_beginning_changed(messages: list[Message], step: float) -> None:
    """Message by message: the same prefix_id where, and only where, the new context goes on from the last."""
    previous: Context | None = None
    for end in range(1, len(messages) + 1):
        context = made(messages[:end], 150, trim_step=step, on_oversize="omit")
        if context is None:
            return
        if previous and previous.messages and context.messages:
            goes_on = context.messages[: len(previous.messages)] == previous.messages
            if (previous.prefix_id == context.prefix_id) != goes_on:
                assert previous.messages[0].role == "system"  # alone, because nothing else fitted
                assert len(previous.messages) == 1
        previous = context


def test_an_oversized_message_is_cut_with_a_mark() -> None:
    """The newest message alone exceeds the budget: its beginning stays, and a mark says that it was cut."""
    messages = [*said("hello", "hi"), message(3, "user", "word " * 1000)]
    context = build(whole(messages), request(50), ESTIMATE, "s")
    (only,) = context.messages
    assert only.text.startswith("word word")
    assert only.text.endswith(MARK)
    assert 40 <= context.tokens <= 50
    with pytest.raises(ContextTooSmallError, match="'m3'"):
        build(whole(messages), request(50, on_oversize="refuse"), ESTIMATE, "s")


def test_a_cut_ends_between_two_tokens() -> None:
    """With a real vocabulary the cut text is a whole number of tokens, also of characters of many bytes."""
    counter = Tiktoken(None)
    for text in ("漢字とかな" * 300, "👩‍👩‍👧‍👦" * 200, "plain words " * 300):
        context = build(whole([message(1, "user", text, counted=False)]), request(60), counter, "s")
        (only,) = context.messages
        beginning = only.text.removesuffix(MARK)
        assert text.startswith(beginning)
        assert "\ufffd" not in beginning
        assert context.tokens <= 60


def test_an_oversized_tool_result_is_cut_and_keeps_its_call() -> None:
    """A call with a result of any size stays a call with a result."""
    asked = message(2, "assistant", "", {"tool_calls": [call("c1")]})
    answer = message(3, "tool", "data " * 1000, {"tool_call_id": "c1"})
    context = build(whole([message(1, "user", "look"), asked, answer]), request(60), ESTIMATE, "s")
    assert [each.seq for each in context.messages][-2:] == [2, 3]
    assert context.messages[-1].text.endswith(MARK)
    assert context.messages[-1].tool_call_id == "c1"
    assert context.tokens <= 60


def test_the_system_message_is_always_in() -> None:
    """However small the budget; where it does not fit at all, the error says how much it needs."""
    messages = said(*["some words"] * 40)
    context = build(whole(messages), request(60, system="Always be kind."), ESTIMATE, "s")
    assert context.as_openai()[0] == {"role": "system", "content": "Always be kind."}
    with pytest.raises(ContextTooSmallError, match=r"\d+ tokens are needed .* leaves 5"):
        build(whole(messages), request(5, system="Always be kind."), ESTIMATE, "s")


def test_room_for_the_reply_is_kept() -> None:
    """reserve_tokens is taken off the budget, and must leave something."""
    messages = said(*["some words"] * 40)
    context = build(whole(messages), request(200, reserve_tokens=120), ESTIMATE, "s")
    assert context.max_tokens == 80
    assert context.tokens <= 80
    with pytest.raises(InvalidInputError, match="reserve_tokens"):
        request(100, reserve_tokens=101)
    with pytest.raises(InvalidInputError, match="reserve_tokens"):
        request(None, reserve_tokens=1)


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": -1}, {"max_tokens": True}, {"max_messages": -1}, {"trim_step": 1.0}, {"system": 7}]
)
def test_values_outside_their_range_are_refused(wrong: dict[str, Any]) -> None:
    """Before anything is read."""
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        request(**wrong)


def test_an_empty_session_has_an_empty_context() -> None:
    """Nothing but the prompt's own tokens."""
    context = build(Window([], None, 1, 0, 0, "postgres"), request(100), ESTIMATE, "s")
    assert (len(context), context.tokens, context.omitted) == (0, PROMPT_TOKENS, None)
