"""The context a caller asks for: a budget, and which memories may go into it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

from chatmemory.memories.records import Recalled
from chatmemory.settings import Settings
from chatmemory.validation import check_budget, check_choice, check_count, check_share, check_text

Oversize: TypeAlias = Literal["truncate", "refuse", "omit"]


OVERSIZES = get_args(Oversize)


class Recalls(NamedTuple):
    """Memories that may go into a context.

    Attributes:
        found: The memories, best first.
        session_id: The context's session: what stands in its messages anyway is left out.
        tokens: What they may cost. It is kept free whatever they do cost, so that the messages stay the same.
    """

    found: Sequence[Recalled]
    session_id: str
    tokens: int | None


class Request(NamedTuple):
    """What is asked for.

    Attributes:
        max_tokens: The budget, without what is kept free for the reply; None: no budget.
        max_messages: How many messages at most; None: as many as the budget takes.
        exactly: Whether to give just max_messages, and not to trim them in steps.
        system: What the app's own system message says.
        trim_step: By which share of the budget a full context is trimmed; 0: by no more than it must be.
        on_oversize: What to do with a newest message that is larger than the budget.
        recalls: Memories that may be added.
    """

    max_tokens: int | None
    max_messages: int | None
    exactly: bool
    system: str | None
    trim_step: float
    on_oversize: Oversize
    recalls: Recalls | None = None


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
        check_choice(self.on_oversize, "on_oversize", OVERSIZES)
        tokens = check_budget(self.max_tokens, self.reserve_tokens)
        messages = None if self.max_messages is None else check_count(self.max_messages, "max_messages")
        most = settings.max_context_messages if tokens is None and messages is None else messages
        step = settings.context_trim_step if self.trim_step is None else check_share(self.trim_step, "trim_step")
        if system is not None:
            check_text(system, "system")
        return Request(tokens, most, messages is not None, system or None, step, self.on_oversize)
