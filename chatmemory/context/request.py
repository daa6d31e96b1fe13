"""The request for a context: its budget, and the memories that may go into it."""

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
        session_id: The context's session: a memory whose sources are all among its messages is left out.
        tokens: The tokens reserved for them, whatever they cost, so that the choice of messages does not depend on it.
    """

    found: Sequence[Recalled]
    session_id: str
    tokens: int | None


class Request(NamedTuple):
    """A checked request for a context.

    Attributes:
        max_tokens: The budget, without the tokens reserved for the reply; None: no budget.
        max_messages: The number of messages at most; None: as many as fit the budget.
        exactly: Whether to return exactly max_messages, without trimming in steps.
        system: The text of the app's own system message.
        trim_step: The share of the budget by which a full context is trimmed; 0: by as little as possible.
        on_oversize: The treatment of a newest message that is larger than the budget.
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
    """The arguments of Session.context()."""

    max_tokens: int | None
    max_messages: int | None
    reserve_tokens: int
    trim_step: float | None
    on_oversize: Oversize

    def request(self, settings: Settings, system: str | None) -> Request:
        """Make a request, with the settings as defaults.

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
