"""Which messages the next prompt gets: a pure decision over what was read, inside a budget of tokens or messages.

Trimming goes in steps, so that the beginning of the prompt stays the same for many turns and a provider's prompt
cache hits: a context begins at the first turn after a mark, the marks lie a fixed number of stored tokens apart from
the session's beginning on, and the next mark is only taken when the budget is full. So the decision needs no memory
of earlier ones, and every process makes the same.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import accumulate
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from chatmemory.errors import ContextTooSmallError
from chatmemory.models import Appended, Context, JsonObject, Message, Omitted, SessionInfo, Source, message_from_row
from chatmemory.pairing import is_result, unpaired
from chatmemory.settings import Settings
from chatmemory.tokens import ESTIMATE, MESSAGE_TOKENS, PROMPT_TOKENS, Counter, message_tokens
from chatmemory.tools import is_call
from chatmemory.validation import check_budget, check_choice, check_count, check_share, check_text

MARK = "… [truncated]"
AVERAGE_TOKENS = 100  # of a message, where it is not known
LEAST_READ, MOST_READ = 20, 500  # messages in one read

Oversize: TypeAlias = Literal["truncate", "refuse", "omit"]


class Request(NamedTuple):
    """What is asked for.

    Attributes:
        max_tokens: The budget, without what is kept free for the reply; None: no budget.
        max_messages: How many messages at most; None: as many as the budget takes.
        exactly: Whether to give just max_messages, and not to trim them in steps.
        system: What the app's own system message says.
        trim_step: By which share of the budget a full context is trimmed; 0: by no more than it must be.
        on_oversize: What to do with a newest message that is larger than the budget.
    """

    max_tokens: int | None
    max_messages: int | None
    exactly: bool
    system: str | None
    trim_step: float
    on_oversize: Oversize


class Budget(NamedTuple):
    """What a caller gave: see Session.context()."""

    max_tokens: int | None
    max_messages: int | None
    reserve_tokens: int
    trim_step: float | None
    on_oversize: Oversize

    def request(self, settings: Settings, system: str | None) -> Request:
        """What is asked for, with the settings where nothing was given.

        Raises:
            InvalidInputError: A value is outside its range.
        """
        check_choice(self.on_oversize, "on_oversize", get_args(Oversize))
        tokens = check_budget(self.max_tokens, self.reserve_tokens)
        messages = None if self.max_messages is None else check_count(self.max_messages, "max_messages")
        most = settings.max_context_messages if tokens is None and messages is None else messages
        step = settings.context_trim_step if self.trim_step is None else check_share(self.trim_step, "trim_step")
        if system is not None:
            check_text(system, "system")
        return Request(tokens, most, messages is not None, system or None, step, self.on_oversize)


class Window(NamedTuple):
    """What was read of a session.

    Attributes:
        messages: The newest, without gaps, oldest first.
        first: The system message the session begins with, where it is older than those.
        last_seq: How far the session has come.
        token_count: The stored tokens of all its messages.
        source: Where it was read.
    """

    messages: Sequence[Message]
    first: Message | None
    last_seq: int
    token_count: int
    source: Source


def window_from_rows(rows: Sequence[Sequence[Any]]) -> Window:
    """Build a window from what the schema's read_window gives."""
    last_seq, token_count = rows[0][:2]
    messages = [message_from_row(row[2:]) for row in reversed(rows) if row[2] is not None]
    first = None
    if messages and messages[0].seq == 1 and messages[-1].seq != len(messages):
        first, *messages = messages
    return Window(messages, first, last_seq, token_count, "postgres")


def limit_of(request: Request, counts: Appended | SessionInfo) -> int:
    """How many messages to read at first: about as many as the budget takes."""
    if request.max_messages is not None or request.max_tokens is None:
        return request.max_messages or 0
    average = counts.token_count / counts.message_count if counts.token_count else AVERAGE_TOKENS
    return max(LEAST_READ, min(MOST_READ, int(request.max_tokens / average * 1.2)))


def needs_more(window: Window, request: Request, counter: Counter) -> bool:
    """Whether older messages could still belong in the context."""
    read = _read(window)
    if read.complete:
        return False
    if request.max_messages is not None and window.last_seq - window.messages[0].seq + 1 >= request.max_messages:
        return False
    if request.max_tokens is None:
        return True
    return sum(_cost(counter, message) for message in read.messages) <= request.max_tokens


def build(window: Window, request: Request, counter: Counter, session: str) -> Context:
    """Make the context.

    Args:
        window: What was read; needs_more() says whether it is enough.
        request: What is asked for.
        counter: Counts what it did not count when it was stored.
        session: What tells this session from all others; it goes into the prefix_id.

    Raises:
        ContextTooSmallError: The system message, or a newest message that may not be cut, exceeds the budget.
    """
    read = _read(window)
    messages = read.messages
    system = 0 if request.system is None else MESSAGE_TOKENS + counter.count(request.system)
    system += _cost(counter, read.first) if read.first else 0
    room = _room(request.max_tokens, PROMPT_TOKENS + system)
    costs = [_cost(counter, message) for message in messages]
    start = _start(read, costs, room, request, window)
    chosen, spent = messages[start:], sum(costs[start:])
    if not chosen and room is not None:
        newest = max(_starts(messages), default=len(messages))
        if sum(costs[newest:]) > room and request.max_messages != 0:
            chosen, spent = _cut_to_size(messages[newest:], room, request.on_oversize, counter)
    omitted = _omitted(chosen, read, window.last_seq)
    return Context(
        messages=(read.first, *chosen) if read.first else tuple(chosen),
        system=request.system,
        summary=None,
        memories=(),
        tokens=PROMPT_TOKENS + system + spent,
        tokens_by_part={"prompt": PROMPT_TOKENS, "system": system, "messages": spent},
        max_tokens=request.max_tokens,
        omitted=omitted,
        unpaired=tuple(seq for seq in sorted(read.unpaired) if omitted is None or seq > omitted.to_seq),
        source=window.source,
        exact_tokens=counter.exact,
        prefix_id=_prefix_id(session, request.system, chosen[0].seq if chosen else 0),
    )


class _Read(NamedTuple):
    """What was read, looked at.

    Attributes:
        first: The system message the session begins with.
        messages: The others that may be sent.
        unpaired: The seqs of those that may not: see Context.
        complete: Whether there is nothing older.
    """

    first: Message | None
    messages: Sequence[Message]
    unpaired: set[int]
    complete: bool


def _read(window: Window) -> _Read:
    first, messages = window.first, window.messages
    if first is None and messages and messages[0].seq == 1 and messages[0].role == "system":
        first, messages = messages[0], messages[1:]
    left_out = unpaired(messages)
    complete = not messages or messages[0].seq == (2 if first else 1)
    if left_out:
        messages = [message for message in messages if message.seq not in left_out]
    return _Read(first, messages, left_out, complete)


def _cost(counter: Counter, message: Message) -> int:
    stored = message.token_encoding
    if message.tokens is not None and (stored == counter.name or (counter.name == ESTIMATE.name and stored)):
        return message.tokens  # whatever counted it, it was not worse than an estimate
    return message_tokens(counter, message.content, message.metadata)


def _room(max_tokens: int | None, fixed: int) -> int | None:
    if max_tokens is None:
        return None
    if fixed > max_tokens:
        raise ContextTooSmallError(
            f"{fixed} tokens are needed before the first message; the budget leaves {max_tokens}. Raise max_tokens."
        )
    return max_tokens - fixed


def _start(read: _Read, costs: Sequence[int], room: int | None, request: Request, window: Window) -> int:
    """The index the context begins at; len(messages) where nothing may."""
    messages = read.messages
    starts = _starts(messages)
    fits = 0 if room is None else len(costs) - sum(total <= room for total in accumulate(reversed(costs)))
    few = 0
    if request.max_messages is not None:
        few = sum(message.seq <= window.last_seq - request.max_messages for message in messages)
    least = max(fits, few)
    if (read.complete and least == 0) or (request.exactly and fits <= few):
        return next((start for start in starts if start >= least), len(messages))
    mark = few if request.exactly else _seq_mark(messages, few, request)
    return _turn(messages, starts, least, max(least, mark, _token_mark(messages, fits, request, window)))


def _starts(messages: Sequence[Message]) -> list[int]:
    """Where a context may begin: not between a tool call and its results."""
    return [index for index, message in enumerate(messages) if not is_result(message)]


def _turn(messages: Sequence[Message], starts: Sequence[int], least: int, mark: int) -> int:
    """Where to begin: with a user's message, after the mark or at least near it; else with what there is."""
    users = [start for start in starts if messages[start].role == "user"]
    after = [next((start for start in each if start >= mark), None) for each in (users, starts)]
    near = [next((start for start in reversed(each) if least <= start < mark), None) for each in (users, starts)]
    found = (start for start in (after[0], near[0], after[1], near[1]) if start is not None)
    return next(found, len(messages))


def _token_mark(messages: Sequence[Message], fits: int, request: Request, window: Window) -> int:
    """The first message after the next multiple of a step of stored tokens."""
    step = int((request.max_tokens or 0) * request.trim_step)
    if fits == 0 or step == 0:
        return fits
    before = window.token_count - sum(message.tokens or 0 for message in messages)
    sums = list(accumulate((message.tokens or 0 for message in messages), initial=before))
    mark = math.ceil(sums[fits] / step) * step
    return next((index for index in range(fits, len(messages)) if sums[index] >= mark), len(messages))


def _seq_mark(messages: Sequence[Message], few: int, request: Request) -> int:
    """The first message after the next multiple of a step of messages."""
    step = int((request.max_messages or 0) * request.trim_step)
    if step == 0 or not messages[few:]:
        return few
    mark = math.ceil((messages[few].seq - 1) / step) * step
    return next((index for index in range(few, len(messages)) if messages[index].seq > mark), len(messages))


def _cut_to_size(
    unit: Sequence[Message], room: int, on_oversize: Oversize, counter: Counter
) -> tuple[Sequence[Message], int]:
    """The newest message, or tool call with its results, made to fit: the longest texts are cut first."""
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
            f"The newest message, {unit[-1].id!r}, does not fit into the {room} tokens left, not even cut; "
            "raise max_tokens."
        )
    return [cut[message.seq] for message in unit], sum(costs.values())


def _truncated(message: Message, allowed: int, counter: Counter) -> Message:
    """The message with as much of its text as costs at most `allowed` tokens, and a mark; pictures are left out."""
    calls: list[JsonObject] = []
    if not isinstance(message.content, str):
        calls = [block for block in message.content if is_call(block)]

    def shortened(tokens: int) -> Message:
        text = counter.cut(message.text, tokens) + MARK
        return replace(message, content=text if not calls else [{"type": "text", "text": text}, *calls])

    tokens = allowed - message_tokens(counter, shortened(0).content, message.metadata)
    cut = shortened(max(0, tokens))
    while tokens > 0 and message_tokens(counter, cut.content, cut.metadata) > allowed:  # the mark may not stand alone
        tokens -= 1
        cut = shortened(tokens)
    return cut


def _omitted(chosen: Sequence[Message], read: _Read, last_seq: int) -> Omitted | None:
    begin, end = 2 if read.first else 1, chosen[0].seq if chosen else last_seq + 1
    if all(seq in read.unpaired for seq in range(begin, end)):
        return None
    return Omitted(count=end - begin, from_seq=begin, to_seq=end - 1)


def _prefix_id(session: str, system: str | None, start: int) -> str:
    digest = blake2b(f"{session}\n{start}\n".encode(), digest_size=8)
    digest.update((system or "").encode())
    return digest.hexdigest()
