"""Long-term memories as frozen records, and what becomes of asking and learning."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from hashlib import sha256
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, get_args

from chatmemory._public import public
from chatmemory.json_form import Record
from chatmemory.notebook.html import Table
from chatmemory.records import JsonObject, Shown, list_table, shorten

MemoryKind: TypeAlias = Literal["episode", "summary", "fact", "preference", "result"]
"""What a memory is: a verbatim excerpt, a summary, something known, something liked, the outcome of a run."""


Trust: TypeAlias = Literal["tool", "assistant", "user", "app"]
"""Who vouches for a memory, least first: a tool or document, the assistant, the user, the app."""


MEMORY_KINDS: tuple[MemoryKind, ...] = get_args(MemoryKind)


TRUSTS: tuple[Trust, ...] = get_args(Trust)


@public
@dataclass(frozen=True, slots=True)
class MemorySource(Record):
    """Where a memory comes from: messages of a session.

    Attributes:
        session_id: The session.
        from_seq: The first message.
        to_seq: The last one.
    """

    session_id: str
    from_seq: int
    to_seq: int


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Shown):
    """One long-term memory.

    Attributes:
        user_id: Whose it is; None: shared by the tenant.
        kind: episode, summary, fact, preference or result.
        sources: The messages it comes from; empty if the app told it.
        speaker: Who said it, where the messages name one.
        trust: The lowest of its sources: tool, assistant, user, app.
        importance: From 0 to 1.
        valid_from: Since when it holds.
        valid_to: Until when it held; None: it holds.
        superseded_by: The memory that took its place.
        confirmations: How often it was said again.
        recall_count: How often it was recalled.
    """

    id: str
    tenant_id: str
    user_id: str | None
    kind: MemoryKind
    text: str
    sources: tuple[MemorySource, ...]
    speaker: str | None
    trust: Trust
    importance: float
    valid_from: datetime
    valid_to: datetime | None
    superseded_by: str | None
    confirmations: int
    recalled_at: datetime | None
    recall_count: int
    metadata: JsonObject
    created_at: datetime

    def _row(self) -> Mapping[str, object]:
        sources = ", ".join(f"{each.session_id} {each.from_seq}–{each.to_seq}" for each in self.sources[:3])  # noqa: RUF001
        return {
            "kind": self.kind, "memory": self.text, "since": self.valid_from, "until": self.valid_to,
            "trust": self.trust, "source": sources,
        }  # fmt: skip

    def __repr__(self) -> str:
        until = f" until {self.valid_to:%Y-%m-%d}" if self.valid_to else ""
        return f"<Memory {self.kind} {shorten(self.text, 60)!r} of {self.valid_from:%Y-%m-%d}{until}>"


MEMORY_COLUMNS = tuple(field.name for field in fields(Memory))
_ID, _VALID_FROM = map(MEMORY_COLUMNS.index, ("id", "valid_from"))


def memory_key(row: Sequence[Any]) -> tuple[datetime, str]:
    """Return what memories are listed by: since when they hold, and their id."""
    return row[_VALID_FROM], row[_ID]


def memory_from_row(row: Sequence[Any]) -> Memory:
    """Build a memory from MEMORY_COLUMNS in their order."""
    values = dict(zip(MEMORY_COLUMNS, row, strict=True))
    values["user_id"] = values["user_id"] or None
    values["sources"] = tuple(MemorySource(*source) for source in values["sources"] or ())
    values["trust"] = TRUSTS[values["trust"]]
    values["metadata"] = values["metadata"] or {}
    return Memory(**values)


@public
@dataclass(frozen=True, slots=True)
class Recalled(Shown):
    """A memory that was recalled, and why.

    Attributes:
        memory: The memory.
        score: How well it answers, beside the others of the same recall; 1.7 at most.
        ranks: Its place in each list it came from, 1 is best: "lexical" (words), "vector" (meaning).
    """

    memory: Memory
    score: float
    ranks: Mapping[str, int]

    def _row(self) -> Mapping[str, object]:
        why = ", ".join(f"{name} {rank}" for name, rank in self.ranks.items())
        return {"score": f"{self.score:.2f}", "why": why, **self.memory._row()}

    def _columns(self) -> Mapping[str, object]:
        memory = {field.name: getattr(self.memory, field.name) for field in fields(self.memory)}
        return {"score": self.score, **self.ranks, **memory}

    def __repr__(self) -> str:
        why = ", ".join(f"{name} {rank}" for name, rank in self.ranks.items())
        return f"<Recalled {self.score:.2f} ({why}) {self.memory!r}>"


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Consolidation(Record):
    """What learning from one session came to.

    Attributes:
        session_id: The session.
        status: success; skipped (nothing to learn, or another worker is at it); error.
        from_seq: The first message learnt from.
        to_seq: The last one: the new watermark.
        memories: How many memories were created, by kind.
        confirmed: How many known facts were said again.
        reason: Why it was skipped or failed.
    """

    session_id: str
    status: Literal["success", "skipped", "error"]
    from_seq: int = 0
    to_seq: int = 0
    memories: Mapping[str, int] = field(default_factory=dict)
    confirmed: int = 0
    reason: str | None = None


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Record):
    """What one pass of a worker did.

    Attributes:
        processed: Sessions that were learnt from.
        failed: Sessions that failed, and stay due.
        parked: Sessions that were given up after too many attempts.
    """

    processed: int = 0
    failed: int = 0
    parked: int = 0


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStats(Record):
    """How a store of memories grows.

    Attributes:
        by_kind: How many hold now, by kind.
        merged: How often a fact was known already, and confirmed instead of added.
        superseded: How many were replaced by newer ones.
        never_recalled: How many that hold were never recalled.
        pruned: How many were closed by prune().
    """

    by_kind: Mapping[str, int]
    merged: int
    superseded: int
    never_recalled: int
    pruned: int


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Reembedded(Record):
    """What re-embedding came to.

    Attributes:
        embedded: How many memories got vectors of the model.
        left: How many still have none.
        dropped: How many vectors of other models were removed.
    """

    embedded: int
    left: int
    dropped: int


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Shown):
    """What is known of a user now.

    Attributes:
        user_id: The user.
        facts: What is known, the most important first.
        preferences: What is liked and wanted.
    """

    user_id: str
    facts: tuple[Memory, ...]
    preferences: tuple[Memory, ...]

    def _tables(self) -> list[Table]:
        facts = list_table(self.facts, f"facts about {self.user_id}")
        return [facts, list_table(self.preferences, "preferences")]


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Spend(Record):
    """What models were paid for.

    Attributes:
        input_tokens: Tokens that were sent.
        output_tokens: Tokens that came back.
        by_model: Both together, by model.
        by_user: Both together, by user.
    """

    input_tokens: int
    output_tokens: int
    by_model: Mapping[str, int]
    by_user: Mapping[str, int]

    _derived: ClassVar = ("total",)

    @property
    def total(self) -> int:
        """All tokens."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Expense(Record):
    """One call of a model that was paid for, as an export has it."""

    at: datetime
    session_id: str | None
    purpose: str
    model: str
    input_tokens: int
    output_tokens: int


EXPENSE_COLUMNS = tuple(field.name for field in fields(Expense))


def expense_from_row(row: Sequence[Any]) -> Expense:
    """Build an expense from EXPENSE_COLUMNS in their order."""
    return Expense(**dict(zip(EXPENSE_COLUMNS, row, strict=True)))


class NewMemory(NamedTuple):
    """A memory on its way in.

    Attributes:
        indexed: The words under which it is found.
        near: Its place, where it has neighbours; None: one of its own.
        sources: The messages it comes from.
        closes: Ids of memories whose place it takes.
        vectors: What it means, by an embedder: one for each part of a long text.
    """

    id: str
    user_id: str
    kind: MemoryKind
    text: str
    indexed: str
    near: int | None
    speaker: str | None
    trust: Trust
    importance: float
    valid_from: datetime
    metadata: JsonObject
    sources: tuple[MemorySource, ...]
    closes: tuple[str, ...] = ()
    vectors: tuple[Sequence[float], ...] = ()

    @property
    def is_known_once(self) -> bool:
        """Whether saying it again adds nothing."""
        return self.kind in ("fact", "preference")

    def row(self) -> JsonObject:
        """As add_memories takes it."""
        return {
            "id": self.id,
            "user_id": self.user_id,
            "kind": self.kind,
            "text": self.text,
            "indexed": self.indexed,
            "near": self.near,
            "speaker": self.speaker,
            "trust": TRUSTS.index(self.trust),
            "importance": self.importance,
            "valid_from": self.valid_from.isoformat(),
            "digest": digest(self.text) if self.is_known_once else None,
            "metadata": self.metadata or None,
            "sources": [source.to_dict() for source in self.sources],
        }


_AROUND_WORDS = ".,;:!?\"'()[]…“”\u2018\u2019"


def normalised(text: str) -> str:
    """A text without what does not change what it says: case, spacing, punctuation at the ends of words."""
    return " ".join(filter(None, (word.strip(_AROUND_WORDS) for word in text.casefold().split())))


def digest(text: str) -> str:
    """What two texts share that say the same in the same words."""
    return sha256(normalised(text).encode()).hexdigest()[:32]


def joined(session_id: str, done: Sequence[Consolidation], nothing: str) -> Consolidation:
    """Several batches as one; `nothing` is the reason where there was none."""
    if not done:
        return Consolidation(session_id=session_id, status="skipped", reason=nothing)
    learnt = [each for each in done if each.status == "success"]
    if not learnt:
        return done[-1]
    counts: Counter[str] = Counter()
    for each in learnt:
        counts.update(each.memories)
    last = done[-1]
    failed = last.status == "error"
    return Consolidation(
        session_id=session_id,
        status="error" if failed else "success",
        from_seq=learnt[0].from_seq,
        to_seq=learnt[-1].to_seq,
        memories=dict(counts),
        confirmed=sum(each.confirmed for each in learnt),
        reason=last.reason if failed else learnt[-1].reason,
    )
