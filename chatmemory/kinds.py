"""What a session can be: the run statuses of each kind, the moves between them, and its typed details."""

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
ENDS = ("completed", "failed", "cancelled", "expired")  # how the lifecycle of a session can end


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What sessions of one kind are: declared, not coded.

    Attributes:
        name: A letter, then letters, digits, _ or -, in lower case.
        moves: Where each run status may go; the first is where a run begins, and one that is only gone to is final.
            Empty: sessions of this kind are conversations and have no run status.
        endings: The final run status that each end of a session's lifecycle brings: completed, failed, cancelled and
            expired. Ending is no move: it takes a run there from wherever it is, unless it is in a final one already.
        details: A Pydantic model of the details; what it lets through is kept as it was given. None: anything.
        progress: Which two details count: what is done, and of how many. None: the app says how far a run is.
        learns: What becomes long-term memory: its messages, the result of the run, or nothing.
        key_details: The details that say what was run, the most telling first.
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
            raise KindError(f"The kind {self.name!r} cannot be: {problem}.")

    @property
    def is_run(self) -> bool:
        """Whether its sessions have a run status."""
        return bool(self.moves)

    @property
    def initial(self) -> str | None:
        """The run status a session begins in."""
        return next(iter(self.moves), None)

    @property
    def run_statuses(self) -> tuple[str, ...]:
        """All run statuses, in the order of their declaration."""
        return tuple(dict.fromkeys([*self.moves, *(new for targets in self.moves.values() for new in targets)]))

    @property
    def finals(self) -> frozenset[str]:
        """The run statuses that nothing follows."""
        return frozenset(status for status in self.run_statuses if not self.moves.get(status))

    def way_to(self, new: str) -> tuple[str, ...]:
        """The fewest moves from where a run begins to a run status; none: it begins there, or nothing leads there."""
        ways: dict[str | None, tuple[str, ...]] = {self.initial: ()}
        todo = [self.initial]
        for old in todo:
            for status in self.moves.get(old or "", ()):
                if status not in ways:
                    ways[status] = (*ways[old], status)
                    todo.append(status)
        return ways.get(new, ())

    def __hash__(self) -> int:
        return hash(self.name)

    def check_move(self, session_id: str, old: str | None, new: str) -> None:
        """Refuse a move that is not declared; staying where it is, is none.

        Raises:
            MoveError: It says what is allowed.
        """
        if old is None:
            runs = ", ".join(name for name, kind in known().items() if kind.is_run)
            why = "it was begun before its kind had any" if self.is_run else f"it is a {self.name}; runs are {runs}"
            raise MoveError(f"Session {session_id!r} has no run status: {why}.")
        allowed = self.moves.get(old, ())
        if new != old and new not in allowed:
            told = f"it may go to {', '.join(allowed)}" if allowed else "that is final"
            raise MoveError(f"Session {session_id!r} is {old} and cannot be {_word(new)}; {told}.")

    def check_details(self, details: JsonObject) -> None:
        """Refuse details that the kind does not know in this form.

        Raises:
            InvalidInputError: It names them, and does not show what they hold.
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
            raise InvalidInputError(f"details of a {self.name} cannot be stored: {problems}.") from None

    def progress_of(self, details: JsonObject) -> float | None:
        """How far a run is, from 0 to 100, if its details count that."""
        if self.progress is None:
            return None
        done, total = (details.get(name) for name in self.progress)
        if not isinstance(done, (int, float)) or not isinstance(total, (int, float)) or total <= 0:
            return None
        return min(100.0, max(0.0, 100.0 * done / total))


def _problem(kind: Kind) -> str | None:
    """What is wrong with a declaration."""
    words: list[object] = [kind.name, *kind.run_statuses]
    wrong = next((word for word in words if not isinstance(word, str) or not _WORD.fullmatch(word)), None)
    if wrong is not None:
        return f"{wrong!r} is not a letter, then letters, digits, _ or -, in lower case"
    if kind.learns not in get_args(Learns):
        return f"learns is none of {', '.join(get_args(Learns))}"
    if not _is_model(kind.details):
        return "details is not a Pydantic model"
    return _problem_of_run(kind) if kind.is_run else "it has endings, but no moves" if kind.endings else None


def _is_model(value: object) -> bool:
    return value is None or (isinstance(value, type) and issubclass(value, BaseModel))


def _problem_of_run(kind: Kind) -> str | None:
    unreached = set(kind.run_statuses) - _reached(kind)
    if unreached:
        return f"nothing leads from {kind.initial} to {', '.join(sorted(unreached))}"
    if set(kind.endings) != set(ENDS):
        return f"endings must say the final run status for each of {', '.join(ENDS)}"
    wrong = set(kind.endings.values()) - kind.finals
    if wrong:
        return f"endings lead to {', '.join(sorted(wrong))}; final are {', '.join(sorted(kind.finals)) or 'none'}"
    if kind.endings["completed"] == kind.endings["failed"]:
        return "endings must tell completed from failed"
    return None


def _reached(kind: Kind) -> set[str]:
    reached: set[str] = set()
    todo = [kind.initial]
    while todo:
        status = todo.pop()
        if status is not None and status not in reached:
            reached.add(status)
            todo += kind.moves.get(status, ())
    return reached


def _word(status: object) -> str:
    return status if isinstance(status, str) and _WORD.fullmatch(status) else f"a {type(status).__name__} like that"


Count = Annotated[int, Field(ge=0, lt=2**63)]  # as large as a step


class _Details(BaseModel):
    """Details of which some are known; any others are kept."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class TrainingDetails(_Details):
    """What is known of a training."""

    model_id: str | int | None = None
    dataset_name: str | None = None
    total_epochs: Count | None = None
    current_epoch: Count | None = None
    learning_rate: float | None = None
    batch_size: Count | None = None


class TestingDetails(_Details):
    """What is known of a test of a model."""

    __test__ = False  # for pytest, which takes it for a test

    model_id: str | int | None = None
    dataset_name: str | None = None
    test_type: str | None = None
    test_params: dict[str, Any] | None = None


class ResearchDetails(_Details):
    """What is known of longer work by agents: what it may cost, and what it has cost."""

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
        moves={"pending": ("running",), "running": ("completed", "failed", "stopped")},
        endings={"completed": "completed", "failed": "failed", "cancelled": "stopped", "expired": "failed"},
        details=TrainingDetails,
        progress=("current_epoch", "total_epochs"),
        learns="result",
        key_details=("model_id", "dataset_name", "learning_rate", "batch_size", "total_epochs"),
    ),
    Kind(
        name="testing",
        moves={"pending": ("running",), "running": ("completed", "failed")},
        endings={"completed": "completed", "failed": "failed", "cancelled": "failed", "expired": "failed"},
        details=TestingDetails,
        learns="result",
        key_details=("model_id", "dataset_name", "test_type"),
    ),
    *map(_research, ("research", "analysis", "synthesis")),
)
_kinds = {kind.name: kind for kind in _BUILT_IN}


def known() -> Mapping[str, Kind]:
    """All kinds of this process, by name."""
    return MappingProxyType(_kinds)


def find(name: str) -> Kind | None:
    """The kind of this name; None: this process does not know it."""
    return _kinds.get(name)


def check_details(name: str, details: JsonObject) -> JsonObject:
    """Return the details of a new session, if its kind knows them in this form."""
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
    """Let sessions be of a kind of your own; every process that begins or moves such sessions has to do this.

    Args:
        kind: What it is; registering the same again changes nothing.

    Returns:
        The kind.

    Raises:
        KindError: Another kind has this name.
    """
    if not isinstance(kind, Kind):
        raise KindError(f"register_kind takes a Kind, not a {type(kind).__name__}.")
    if _kinds.setdefault(kind.name, kind) != kind:
        raise KindError(f"There is another kind {kind.name!r} already; use another name.")
    return kind
