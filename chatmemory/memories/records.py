"""Records of long-term memories, recall and learning."""

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
"""The kind of a memory: a verbatim excerpt, a summary, a fact, a preference, or the result of a run."""


Trust: TypeAlias = Literal["tool", "assistant", "user", "app"]
"""The source that vouches for a memory, least trusted first: a tool or document, the assistant, the user, the app."""


MEMORY_KINDS: tuple[MemoryKind, ...] = get_args(MemoryKind)
TRUSTS: tuple[Trust, ...] = get_args(Trust)


@public
@dataclass(frozen=True, slots=True)
class MemorySource(Record):
    """The messages of one session that a memory was made from.

    Attributes:
        session_id: The session.
        from_seq: The seq of the first message.
        to_seq: The seq of the last message.
    """

    session_id: str
    from_seq: int
    to_seq: int


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Shown):
    """One long-term memory.

    Attributes:
        user_id: The user it is about; None: it is shared by the tenant.
        kind: episode, summary, fact, preference or result.
        sources: The messages it was made from; empty if the app stored it.
        speaker: The name of its speaker, if the messages have one.
        trust: The lowest trust of its sources: tool, assistant, user or app.
        importance: From 0 to 1.
        valid_from: The time from which it is valid.
        valid_to: The time until which it was valid; None: it is still valid.
        superseded_by: The id of the memory that replaced it.
        confirmations: The number of times it was said again.
        recall_count: The number of times it was recalled.
        similar_to: The ids of older, still valid facts that may say the same or the contrary.
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
    similar_to: tuple[str, ...] = ()

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
    values["similar_to"] = tuple(values["similar_to"] or ())
    return Memory(**values)


@public
@dataclass(frozen=True, slots=True)
class Recalled(Shown):
    """A recalled memory with its score.

    Attributes:
        memory: The memory.
        score: Its match relative to the others of the same recall, at most 1.7.
        ranks: Its rank in each list it came from, 1 is best: "lexical" (words), "vector" (meaning).
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
    """The result of learning from one session.

    Attributes:
        session_id: The session.
        status: "success"; "skipped": nothing to learn, or another worker has the session; "error".
        from_seq: The first message learnt from.
        to_seq: The last one: the new watermark.
        memories: The number of memories created, by kind.
        confirmed: The number of known facts that were said again.
        reason: The reason for being skipped or failing.
    """

    session_id: str
    status: Literal["success", "skipped", "error"]
    from_seq: int = 0
    to_seq: int = 0
    memories: Mapping[str, int] = field(default_factory=dict)
    confirmed: int = 0
    reason: str | None = None

    @property
    def line(self) -> str:
        """The result in one line, for a log."""
        if self.status != "success":
            return f"session {self.session_id!r}: {self.status}, {self.reason}"
        made = ", ".join(f"{kind} {count}" for kind, count in sorted(self.memories.items())) or "none"
        said = f"; confirmed {self.confirmed}" if self.confirmed else ""
        span = f"messages {self.from_seq} to {self.to_seq}"
        return f"session {self.session_id!r}: learnt from {span}; memories: {made}{said}"


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Record):
    """The work that a worker did.

    Attributes:
        processed: The number of sessions learnt from.
        failed: The number of sessions that failed and stay due.
        parked: The number of sessions that are parked after too many failures, over all tenants.
    """

    processed: int = 0
    failed: int = 0
    parked: int = 0


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStats(Record):
    """Counts of memories.

    Attributes:
        by_kind: The number of valid memories, by kind.
        merged: The number of times a known fact was confirmed instead of added.
        superseded: The number of memories replaced by newer ones.
        never_recalled: The number of valid memories that were never recalled.
        pruned: The number of memories closed by prune().
    """

    by_kind: Mapping[str, int]
    merged: int
    superseded: int
    never_recalled: int
    pruned: int


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Reembedded(Record):
    """The result of re-embedding.

    Attributes:
        embedded: The number of memories that got vectors of the model.
        left: The number of memories that still have none.
        dropped: The number of removed vectors of other models.
    """

    embedded: int
    left: int
    dropped: int


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Shown):
    """The valid facts and preferences of a user.

    Attributes:
        user_id: The user.
        facts: The facts, most important first.
        preferences: The preferences, most important first.
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
    """The tokens that models were paid for.

    Attributes:
        input_tokens: The tokens sent.
        output_tokens: The tokens received.
        by_model: The sum of both, by model.
        by_user: The sum of both, by user.
    """

    input_tokens: int
    output_tokens: int
    by_model: Mapping[str, int]
    by_user: Mapping[str, int]

    _derived: ClassVar = ("total",)

    @property
    def total(self) -> int:
        """The sum of input and output tokens."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Expense(Record):
    """One paid call of a model, as a record of an export."""

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
    """A memory to store.

    Attributes:
        indexed: The text whose words it is found by.
        near: Its place, next to its neighbours' places; None: a new place.
        sources: The messages it was made from.
        closes: The ids of memories that it supersedes.
        similar_to: The ids of memories that may say the same.
        vectors: Its vectors, one for each part of a long text.
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
    similar_to: tuple[str, ...] = ()
    vectors: tuple[Sequence[float], ...] = ()

    @property
    def is_known_once(self) -> bool:
        """True if saying it again confirms it instead of adding a memory."""
        return self.kind in ("fact", "preference")

    def row(self) -> JsonObject:
        """Return the argument of the SQL function add_memories."""
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
            "similar_to": list(self.similar_to) or None,
        }


_AROUND_WORDS = ".,;:!\"'()[]…“”\u2018\u2019"


def normalised(text: str) -> str:
    """Return a text without case, extra spacing, and punctuation at the ends of words; a question is no statement."""
    return " ".join(filter(None, (word.strip(_AROUND_WORDS) for word in text.casefold().split())))


def digest(text: str) -> str:
    """Return a hash that is the same for texts with the same words."""
    return sha256(normalised(text).encode()).hexdigest()[:32]


def goes_on(done: Sequence[Consolidation], last_seq: int) -> bool:
    """Return whether another batch may follow: the last one moved the watermark, which is not yet at `last_seq`."""
    reached = [each.to_seq or 0 for each in done]
    return reached[-1] < last_seq and reached[-1] > max(reached[:-1], default=0)


def joined(session_id: str, done: Sequence[Consolidation], nothing: str) -> Consolidation:
    """Merge the results of several batches; `nothing` is the reason if there were none."""
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
