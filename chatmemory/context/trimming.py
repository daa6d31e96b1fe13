"""The choice of messages for the next prompt, inside a budget of tokens or messages; a pure function of the window.

A context is trimmed in steps, so that the beginning of the prompt stays the same for many turns and a provider's
prompt cache hits. It begins at the first turn after a mark. Marks are a fixed number of stored tokens apart, counted
from the session's beginning, and the next mark is used only when the budget is full. So the choice needs no state, and
every process makes the same.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import accumulate

from chatmemory.context.records import Context, Omitted
from chatmemory.context.request import Oversize, Recalls, Request
from chatmemory.context.window import Window, _cost, _Read, _read
from chatmemory.errors import ContextTooSmallError
from chatmemory.memories.notes import notes_text, summary_text
from chatmemory.memories.records import Recalled
from chatmemory.messages.pairing import turn_starts
from chatmemory.messages.records import Message, text_of
from chatmemory.messages.token_counts import MESSAGE_TOKENS, PROMPT_TOKENS, Counter, message_tokens
from chatmemory.messages.tool_calls import answers, is_call, result_text
from chatmemory.records import JsonObject
from chatmemory.sessions.records import SUMMARY_BREAK

MARK = "… [truncated]"


def build(
    window: Window, request: Request, counter: Counter, session: str, prior_summary: str | None = None
) -> Context:
    """Make the context.

    Args:
        window: The messages read, enough of them by needs_more().
        request: The request.
        counter: Counts messages that were stored with another counter's tokens.
        session: A name that is unique to the session; it goes into the prefix_id.
        prior_summary: The summary of the session that this one continues, which is always in.

    Raises:
        ContextTooSmallError: The system message, or a newest message that may not be cut, exceeds the budget.
    """
    read = _read(window)
    system = 0 if request.system is None else MESSAGE_TOKENS + counter.count(request.system)
    system += _cost(counter, read.first) if read.first else 0
    room = _room(request.max_tokens, PROMPT_TOKENS + system)
    kept_free = None if room is None or not request.recalls else min(request.recalls.tokens or 0, room // 2)
    room = room if room is None else room - (kept_free or 0)
    costs = [_cost(counter, message) for message in read.messages]
    chosen, spent = _chosen(read, costs, room, request, window, counter)
    summary, summarised = None, 0
    own = None
    for _ in range(2):  # the prior summary may leave so little room that the session's own is needed too
        needed = window.summary if _omitted(chosen, read, window) else own
        if not (needed or prior_summary) or (summary and needed == own):
            break
        own = needed
        summary, summarised = _summary(prior_summary, own, room, counter)
        if room is not None and summary:
            chosen, spent = _chosen(read, costs, room - summarised, request, window, counter)
    omitted = _omitted(chosen, read, window)
    memories, recalled = _memories(request.recalls, kept_free, chosen, counter)
    uncovered = _uncovered(omitted, window.summary_seq if summary and own else 0)
    parts = {"prompt": PROMPT_TOKENS, "system": system, "summary": summarised, "memories": recalled, "messages": spent}
    return Context(
        messages=(read.first, *chosen) if read.first else tuple(chosen),
        system=request.system,
        summary=summary,
        memories=memories,
        tokens=sum(parts.values()),
        tokens_by_part=parts,
        max_tokens=request.max_tokens,
        omitted=uncovered,
        unpaired=tuple(seq for seq in sorted(read.unpaired) if omitted is None or seq > omitted.to_seq),
        source=window.source,
        exact_tokens=counter.exact,
        prefix_id=_prefix_id(session, request.system, summary, chosen, read),
    )


def _chosen(
    read: "_Read", costs: Sequence[int], room: int | None, request: Request, window: Window, counter: Counter
) -> tuple[Sequence[Message], int]:
    """Return the messages that go in, and their tokens."""
    messages = read.messages
    start = _start(read, costs, room, request, window)
    chosen, spent = messages[start:], sum(costs[start:])
    if not chosen and room is not None:
        newest = max(turn_starts(messages), default=len(messages))
        if sum(costs[newest:]) > room and request.max_messages != 0:
            return _cut_to_size(messages[newest:], room, request.on_oversize, counter)
    return chosen, spent


def _summary(prior: str | None, own: str | None, room: int | None, counter: Counter) -> tuple[str | None, int]:
    """Return both summaries and their tokens, in at most half of the room; None if nothing fits.

    If both do not fit, the prior one is left out; what is still too long is cut.
    """
    summary = SUMMARY_BREAK.join(filter(None, (prior, own)))
    cost = _cost_of_text(summary_text(summary), counter)
    if room is None or cost <= room // 2:
        return summary, cost
    if prior and own:
        return _summary(None, own, room, counter)
    allowed = room // 2 - _cost_of_text(summary_text(MARK), counter)
    while allowed > 0:
        cut = counter.cut(summary, allowed) + MARK
        cost = _cost_of_text(summary_text(cut), counter)
        if cost <= room // 2:
            return cut, cost
        allowed -= 1
    return None, 0


def _cost_of_text(text: str, counter: Counter) -> int:
    return MESSAGE_TOKENS + counter.count(text)


def _memories(
    recalls: Recalls | None, kept_free: int | None, chosen: Sequence[Message], counter: Counter
) -> tuple[tuple[Recalled, ...], int]:
    """Return the recalled memories that fit into the tokens reserved for them, and their tokens."""
    if recalls is None:
        return (), 0
    kept: list[Recalled] = []
    cost = 0
    begin = chosen[0].seq if chosen else math.inf
    for recalled in recalls.found:
        sources = recalled.memory.sources
        if sources and all(each.session_id == recalls.session_id and each.from_seq >= begin for each in sources):
            continue  # its sources are among the messages
        more = _cost_of_text(notes_text([*kept, recalled]), counter)
        if kept_free is None or more <= kept_free:
            kept.append(recalled)
            cost = more
    return tuple(kept), cost


def _uncovered(omitted: Omitted | None, summary_seq: int) -> Omitted | None:
    """Return the omitted messages that no summary covers."""
    if omitted is None or omitted.to_seq <= summary_seq:
        return None
    begin = max(omitted.from_seq, summary_seq + 1)
    return Omitted(count=omitted.to_seq - begin + 1, from_seq=begin, to_seq=omitted.to_seq)


def _room(max_tokens: int | None, fixed: int) -> int | None:
    if max_tokens is None:
        return None
    if fixed > max_tokens:
        raise ContextTooSmallError(
            f"{fixed} tokens are needed before the first message; the budget leaves {max_tokens}. Raise max_tokens."
        )
    return max_tokens - fixed


def _start(read: _Read, costs: Sequence[int], room: int | None, request: Request, window: Window) -> int:
    """Return the index at which the context begins; len(messages) if no message may go in."""
    messages = read.messages
    starts = turn_starts(messages)
    fits = 0 if room is None else len(costs) - sum(total <= room for total in accumulate(reversed(costs)))
    few = 0
    if request.max_messages is not None:
        few = sum(message.seq <= window.last_seq - request.max_messages for message in messages)
    least = max(fits, few)
    if (read.complete and least == 0) or (request.exactly and fits <= few):
        return next((start for start in starts if start >= least), len(messages))
    mark = few if request.exactly else _seq_mark(messages, few, request)
    return _turn(messages, starts, least, max(least, mark, _token_mark(messages, fits, request, window)))


def _turn(messages: Sequence[Message], starts: Sequence[int], least: int, mark: int) -> int:
    """Return the index of a user's message after the mark, else before it; else the same of any turn."""
    users = [start for start in starts if messages[start].role == "user"]
    after = [next((start for start in each if start >= mark), None) for each in (users, starts)]
    near = [next((start for start in reversed(each) if least <= start < mark), None) for each in (users, starts)]
    found = (start for start in (after[0], near[0], after[1], near[1]) if start is not None)
    return next(found, len(messages))


def _token_mark(messages: Sequence[Message], fits: int, request: Request, window: Window) -> int:
    """Return the index of the first message after the next mark in stored tokens."""
    step = int((request.max_tokens or 0) * request.trim_step)
    if fits == 0 or step == 0:
        return fits
    before = window.token_count - sum(message.tokens or 0 for message in messages)
    sums = list(accumulate((message.tokens or 0 for message in messages), initial=before))
    mark = math.ceil(sums[fits] / step) * step
    return next((index for index in range(fits, len(messages)) if sums[index] >= mark), len(messages))


def _seq_mark(messages: Sequence[Message], few: int, request: Request) -> int:
    """Return the index of the first message after the next mark in messages."""
    step = int((request.max_messages or 0) * request.trim_step)
    if step == 0 or not messages[few:]:
        return few
    mark = math.ceil((messages[few].seq - 1) / step) * step
    return next((index for index in range(few, len(messages)) if messages[index].seq > mark), len(messages))


def _cut_to_size(
    unit: Sequence[Message], room: int, on_oversize: Oversize, counter: Counter
) -> tuple[Sequence[Message], int]:
    """Cut the newest message, or tool call with its results, to the room; the longest texts first."""
    if on_oversize == "omit" or not unit:
        return (), 0
    costs = {message.seq: _cost(counter, message) for message in unit}
    if on_oversize == "refuse":
        raise ContextTooSmallError(
            f"The newest message, {unit[-1].id!r}, needs {sum(costs.values())} tokens with what belongs to it; "
            f'{room} are left. Raise max_tokens, or use on_oversize="truncate".'
        )
    cut = {message.seq: message for message in unit}
    for message in sorted(unit, key=lambda message: costs[message.seq], reverse=True):
        allowed = room - (sum(costs.values()) - costs[message.seq])
        if allowed >= costs[message.seq]:
            break
        cut[message.seq] = _truncated(message, allowed, counter)
        costs[message.seq] = message_tokens(counter, cut[message.seq].content, cut[message.seq].metadata)
    if sum(costs.values()) > room:
        raise ContextTooSmallError(
            f"The newest message, {unit[-1].id!r}, does not fit into the {room} tokens left even if it is "
            "truncated; raise max_tokens."
        )
    return [cut[message.seq] for message in unit], sum(costs.values())


def _truncated(message: Message, allowed: int, counter: Counter) -> Message:
    """Return the message with as much text as fits into `allowed` tokens, and a mark; pictures are left out."""

    def cost(of: Message) -> int:
        return message_tokens(counter, of.content, of.metadata)

    tokens = allowed - cost(_cut(message, 0, counter))
    cut = _cut(message, max(0, tokens), counter)
    while tokens > 0 and cost(cut) > allowed:  # tokens may merge with the marks
        tokens -= cost(cut) - allowed
        cut = _cut(message, max(0, tokens), counter)
    return cut


def _cut(message: Message, tokens: int, counter: Counter) -> Message:
    """Return the message with this many tokens of text; calls and references to them stay."""
    if isinstance(message.content, str):
        return replace(message, content=counter.cut(message.text, tokens) + MARK)
    made: list[JsonObject] = []
    for block in message.content:
        if answers(message.role, block):
            text = result_text(block)
            kept = counter.cut(text, tokens)
            tokens -= counter.count(kept)
            made.append({**block, "text" if "text" in block else "content": text if kept == text else kept + MARK})
    calls = [block for block in message.content if is_call(block)]
    text = text_of([block for block in message.content if not answers(message.role, block)])
    if not made and not calls:
        return replace(message, content=counter.cut(text, tokens) + MARK)
    if text or not made:
        made.append({"type": "text", "text": counter.cut(text, max(0, tokens)) + MARK})
    return replace(message, content=[*made, *calls])


def _omitted(chosen: Sequence[Message], read: _Read, window: Window) -> Omitted | None:
    """Return the messages that are not in, whether a summary covers them or not."""
    begin, end = 2 if read.first else 1, chosen[0].seq if chosen else window.last_seq + 1
    if all(seq in read.unpaired for seq in range(begin, end)):
        return None
    return Omitted(count=end - begin, from_seq=begin, to_seq=end - 1)


def _prefix_id(session: str, system: str | None, summary: str | None, chosen: Sequence[Message], read: _Read) -> str:
    digest = blake2b(f"{session}\n{chosen[0].seq if chosen else 0}\n".encode(), digest_size=8)
    whole = set(map(id, read.messages))
    for message in chosen:
        if id(message) not in whole:  # it was cut: its length matters
            digest.update(f"{message.seq} {len(repr(message.content))}\n".encode())
    digest.update(f"{system or ''}\0{summary or ''}".encode())
    return digest.hexdigest()
