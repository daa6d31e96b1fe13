"""Kinds of sessions: run statuses, the moves between them, and typed details."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatmemory._public import public
from chatmemory.errors import InvalidInputError, KindError, MoveError
from chatmemory.records import JsonObject, Learns, to_json

_WORD = re.compile(r"[a-z][a-z0-9_-]{0,63}")
ENDS = ("completed", "failed", "cancelled", "expired")  # the final statuses of a session


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The declaration of one kind of sessions.

    Attributes:
        name: A letter, then letters, digits, _ or -, in lower case.
        moves: The allowed next statuses of each run status. A run begins in the first status; a status without next
            ones is final. Empty: sessions of this kind are conversations and have no run status.
        endings: The final run status for each end of a session: completed, failed, cancelled and expired. Ending a
            session sets it from any run status that is not final; it is not a move.
        details: A Pydantic model that validates the details, which are stored as given. None: any details.
        progress: The names of two details: the number done and the total. None: the app reports progress.
        learns: The source of long-term memories: the messages, the result of the run, or nothing.
        key_details: The details that identify a run, the most important first.
    """

    name: str
    moves: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    endings: Mapping[str, str] = field(default_factory=dict)
    details: type[BaseModel] | None = None
    progress: tuple[str, str] | None = None
    learns: Learns = "messages"
    key_details: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        moves = {old: tuple(new) for old, new in self.moves.items()}
        object.__setattr__(self, "moves", MappingProxyType(moves))
        object.__setattr__(self, "endings", MappingProxyType(dict(self.endings)))
        problem = _problem(self)
        if problem:
            raise KindError(f"The kind {self.name!r} is invalid: {problem}.")

    @property
    def is_run(self) -> bool:
        """True if sessions of this kind have a run status."""
        return bool(self.moves)

    @property
    def initial(self) -> str | None:
        """The first run status of a session; None for conversations."""
        return next(iter(self.moves), None)

    @property
    def run_statuses(self) -> tuple[str, ...]:
        """All run statuses, in the order of their declaration."""
        return tuple(dict.fromkeys([*self.moves, *(new for targets in self.moves.values() for new in targets)]))

    @property
    def finals(self) -> frozenset[str]:
        """The run statuses without a next one."""
        return frozenset(status for status in self.run_statuses if not self.moves.get(status))

    def way_to(self, new: str) -> tuple[str, ...]:
        """Return the shortest path of moves from the initial run status to another; () if there is none."""
        paths: dict[str | None, tuple[str, ...]] = {self.initial: ()}
        todo = [self.initial]
        for old in todo:
            for status in self.moves.get(old or "", ()):
                if status not in paths:
                    paths[status] = (*paths[old], status)
                    todo.append(status)
        return paths.get(new, ())

    def __hash__(self) -> int:
        return hash(self.name)

    def check_move(self, session_id: str, old: str | None, new: str) -> None:
        """Check that a move is declared; moving to the current status is always allowed.

        Raises:
            MoveError: The move is not declared; the message names the allowed ones.
        """
        if old is None:
            runs = ", ".join(name for name, kind in registered().items() if kind.is_run)
            reason = (
                "it was created before its kind had any" if self.is_run else f"its kind is {self.name}; runs are {runs}"
            )
            raise MoveError(f"Session {session_id!r} has no run status: {reason}.")
        allowed = self.moves.get(old, ())
        if new != old and new not in allowed:
            hint = f"allowed: {', '.join(allowed)}" if allowed else "that status is final"
            raise MoveError(f"Session {session_id!r} is {old} and cannot become {_word(new)}; {hint}.")

    def check_details(self, details: JsonObject) -> None:
        """Check details against the kind's model.

        Raises:
            InvalidInputError: They do not fit; the message names the fields and shows no values.
        """
        if self.details is None:
            return
        try:
            self.details.model_validate_json(to_json(details), strict=True)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, problem['loc'])) or 'all'}: {problem['msg']}"
                for problem in error.errors(include_input=False, include_url=False)
            )
            raise InvalidInputError(f"details of a {self.name} session cannot be stored: {problems}.") from None

    def progress_of(self, details: JsonObject) -> float | None:
        """Return the progress of a run from its details, in percent from 0 to 100; None if they do not count it."""
        if self.progress is None:
            return None
        done, total = (details.get(name) for name in self.progress)
        if not isinstance(done, (int, float)) or not isinstance(total, (int, float)) or total <= 0:
            return None
        return min(100.0, max(0.0, 100.0 * done / total))


def _problem(kind: Kind) -> str | None:
    """Return the fault of a declaration; None if it is valid."""
    words: list[object] = [kind.name, *kind.run_statuses]
    wrong = next((word for word in words if not isinstance(word, str) or not _WORD.fullmatch(word)), None)
    if wrong is not None:
        return f"{wrong!r} must be a lower-case letter followed by lower-case letters, digits, _ or -"
    if kind.learns not in get_args(Learns):
        return f"learns must be one of {', '.join(get_args(Learns))}"
    if not _is_model(kind.details):
        return "details is not a Pydantic model"
    return _run_problem(kind) if kind.is_run else "it has endings but no moves" if kind.endings else None


def _is_model(value: object) -> bool:
    return value is None or (isinstance(value, type) and issubclass(value, BaseModel))


def _run_problem(kind: Kind) -> str | None:
    unreached = set(kind.run_statuses) - _reachable(kind)
    if unreached:
        return f"no moves lead from {kind.initial} to {', '.join(sorted(unreached))}"
    if set(kind.endings) != set(ENDS):
        return f"endings must name a final run status for each of {', '.join(ENDS)}"
    wrong = set(kind.endings.values()) - kind.finals
    if wrong:
        finals = ", ".join(sorted(kind.finals)) or "none"
        return f"endings name {', '.join(sorted(wrong))}; the final run statuses are {finals}"
    if kind.endings["completed"] == kind.endings["failed"]:
        return "endings must differ for completed and failed"
    return None


def _reachable(kind: Kind) -> set[str]:
    reached: set[str] = set()
    todo = [kind.initial]
    while todo:
        status = todo.pop()
        if status is not None and status not in reached:
            reached.add(status)
            todo += kind.moves.get(status, ())
    return reached


def _word(status: object) -> str:
    return status if isinstance(status, str) and _WORD.fullmatch(status) else f"that {type(status).__name__}"


Count = Annotated[int, Field(ge=0, lt=2**63)]  # the same range as a step


class _Details(BaseModel):
    """Details with some declared fields; any others are kept."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class TrainingDetails(_Details):
    """Details of a training."""

    model_id: str | int | None = None
    dataset_name: str | None = None
    total_epochs: Count | None = None
    current_epoch: Count | None = None
    learning_rate: float | None = None
    batch_size: Count | None = None


class TestingDetails(_Details):
    """Details of a test of a model."""

    __test__ = False  # keeps pytest from collecting it

    model_id: str | int | None = None
    dataset_name: str | None = None
    test_type: str | None = None
    test_params: dict[str, Any] | None = None


class ResearchDetails(_Details):
    """Details of longer work by agents: budgets and spending."""

    budget_tokens: Count | None = None
    used_tokens: Count | None = None
    budget_usd: Annotated[float, Field(ge=0)] | None = None
    used_usd: Annotated[float, Field(ge=0)] | None = None
    budget_seconds: Annotated[float, Field(ge=0)] | None = None
    used_seconds: Annotated[float, Field(ge=0)] | None = None


def _research(name: str) -> Kind:
    return Kind(
        name=name,
        moves={
            "queued": ("initializing", "cancelled", "timeout"),
            "initializing": ("running", "failed", "cancelled", "timeout"),
            "running": ("paused", "completed", "failed", "cancelled", "timeout"),
            "paused": ("running", "cancelled", "timeout"),
        },
        endings={"completed": "completed", "failed": "failed", "cancelled": "cancelled", "expired": "timeout"},
        details=ResearchDetails,
        learns="result",
    )


_BUILT_IN = (
    Kind(name="chat"),
    Kind(name="general"),
    Kind(
        name="training",
        moves={"pending": ("running", "failed", "stopped"), "running": ("completed", "failed", "stopped")},
        endings={"completed": "completed", "failed": "failed", "cancelled": "stopped", "expired": "failed"},
        details=TrainingDetails,
        progress=("current_epoch", "total_epochs"),
        learns="result",
        key_details=("model_id", "dataset_name", "learning_rate", "batch_size", "total_epochs"),
    ),
    Kind(
        name="testing",
        moves={"pending": ("running", "failed"), "running": ("completed", "failed")},
        endings={"completed": "completed", "failed": "failed", "cancelled": "failed", "expired": "failed"},
        details=TestingDetails,
        learns="result",
        key_details=("model_id", "dataset_name", "test_type"),
    ),
    *map(_research, ("research", "analysis", "synthesis")),
)
_kinds = {kind.name: kind for kind in _BUILT_IN}


def registered() -> Mapping[str, Kind]:
    """Return all kinds registered in this process, by name."""
    return MappingProxyType(_kinds)


def is_name(name: str) -> bool:
    """Return whether a kind may have this name."""
    return _WORD.fullmatch(name) is not None


def find(name: str) -> Kind | None:
    """Return the kind of this name; None if it is not registered in this process."""
    return _kinds.get(name)


def check_details(name: str, details: JsonObject) -> JsonObject:
    """Return the details of a new session after checking them against its kind."""
    kind = find(name)
    if kind is not None and details:
        kind.check_details(details)
    return details


def declared(name: str, details: JsonObject, due: tuple[int, int], *, otherwise: Learns = "messages") -> str:
    """Return what a new session's row must hold of its kind, as JSON.

    Args:
        name: The kind's name.
        details: The session's details.
        due: New messages, and new tokens, after which the session is due to be learnt from.
        otherwise: What it learns where this process does not know the kind.
    """
    kind = find(name)
    learns = otherwise if kind is None else kind.learns
    row: JsonObject = {"learns": learns, "due_messages": due[0], "due_tokens": due[1]}
    if kind is not None and kind.is_run:
        row |= {"status": kind.initial, "endings": dict(kind.endings), "progress": kind.progress_of(details)}
    return to_json(row)


def register_kind(kind: Kind) -> Kind:
    """Register a kind of your own. Every process that creates or moves sessions of this kind must register it.

    Args:
        kind: The declaration; registering the same one again changes nothing.

    Returns:
        The kind.

    Raises:
        KindError: Another kind has this name, or the argument is not a Kind.
    """
    if not isinstance(kind, Kind):
        raise KindError(f"register_kind takes a Kind, not a {type(kind).__name__}.")
    if _kinds.setdefault(kind.name, kind) != kind:
        raise KindError(f"Another kind is already named {kind.name!r}; use another name.")
    return kind
