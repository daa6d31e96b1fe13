"""Records of a session: its state, its timeline, and the results of appends, moves, clean-ups and erasures."""

# No `from __future__ import annotations`: public() moves these classes to another module name,
# where typing.get_type_hints could not resolve annotations that are strings.
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

from chatmemory._public import public
from chatmemory.json_form import Record
from chatmemory.notebook.html import Table
from chatmemory.records import Json, JsonObject, Learns, Shown, shorten

Status: TypeAlias = Literal["active", "completed", "failed", "cancelled", "expired"]


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo(Shown):
    """The state of a session at the time it was read.

    Attributes:
        status: The lifecycle: active, then completed, failed, cancelled or expired.
        last_active_at: The time of the last message, resume, move, update or metric; at first the creation time. A
            resume within a minute of it does not change it.
        last_seq: The `seq` of the newest message; 0 in an empty session.
        parent_id: The session this one was forked from, or continues.
        summary: The running summary of the messages up to summary_seq.
        summary_seq: The watermark: the seq up to which the session has been learnt from.
        run_status: The status of its run, as its kind declares; None for conversations.
        progress: The progress of a run, from 0 to 100.
        stage: The current stage of a run, in the app's words.
        error: The error of a run, in the app's words.
        learns: The source of long-term memories: "messages", the "result" of the run, or "nothing".
        prior_summary: The summary of the ended session that this one continues; `summary` begins with it.
        imported_at: The time when the session was stored, if it was created with a created_at of its own.
        lost_after_seconds: Seconds without activity after which an active run counts as lost; None: its process does
            not beat, and it never does.
    """

    tenant_id: str
    id: str
    user_id: str
    kind: str
    status: Status
    title: str | None
    metadata: JsonObject
    details: JsonObject
    results: Json
    created_at: datetime
    updated_at: datetime
    last_active_at: datetime
    last_message_at: datetime | None
    ended_at: datetime | None
    archived_at: datetime | None
    message_count: int
    token_count: int
    last_seq: int
    parent_id: str | None
    summary: str | None = None
    summary_seq: int = 0
    run_status: str | None = None
    progress: float | None = None
    stage: str | None = None
    error: str | None = None
    learns: Learns = "messages"
    prior_summary: str | None = None
    imported_at: datetime | None = None
    lost_after_seconds: int | None = None

    @property
    def born_at(self) -> datetime:
        """The time when the session was stored; no later session with the same id has the same."""
        return self.imported_at or self.created_at

    @property
    def is_active(self) -> bool:
        """True if the session takes messages."""
        return self.status == "active"

    def _row(self) -> Mapping[str, object]:
        return {
            "id": self.id, "user": self.user_id, "kind": self.kind, "status": self.run_status or self.status,
            "messages": self.message_count, "last active": self.last_active_at, "title": self.title,
        }  # fmt: skip

    def _tables(self) -> list[Table]:
        rows = [
            ("id", self.id),
            ("user", self.user_id),
            ("kind", self.kind),
            ("status", self.status if self.run_status is None else f"{self.status}, {self.run_status}"),
            ("messages", self.message_count),
            ("last active", self.last_active_at),
            *self.details.items(),
        ]
        return [Table(("session", self.title or ""), rows)]

    def __repr__(self) -> str:
        title = f" {shorten(self.title, 40)!r}" if self.title else ""
        state = f"{self.status}, {self.run_status}" if self.run_status else self.status
        return (
            f"<SessionInfo {self.id}{title} {self.kind} of {self.user_id}: "
            f"{state}, {self.message_count} message{'' if self.message_count == 1 else 's'}>"
        )


SUMMARY_BREAK = "\n\n"  # between the summaries of a session and of the one that it continues
SESSION_COLUMNS = tuple(column.name for column in fields(SessionInfo))
_ID, _CREATED_AT, _LAST_ACTIVE_AT = map(SESSION_COLUMNS.index, ("id", "created_at", "last_active_at"))


def creation_key(row: Sequence[Any]) -> tuple[datetime, str]:
    """Return what sessions are sorted by in the order of their creation."""
    return row[_CREATED_AT], row[_ID]


def activity_key(row: Sequence[Any]) -> tuple[datetime, str]:
    """Return what sessions are sorted by in the order of their last activity."""
    return row[_LAST_ACTIVE_AT], row[_ID]


def session_from_row(row: Sequence[Any]) -> SessionInfo:
    """Build a session's info from SESSION_COLUMNS in their order."""
    values = dict(zip(SESSION_COLUMNS, row, strict=True))
    values["metadata"] = values["metadata"] or {}
    values["details"] = values["details"] or {}
    values["summary"] = SUMMARY_BREAK.join(filter(None, (values["prior_summary"], values["summary"]))) or None
    return SessionInfo(**values)


def own_summary(info: SessionInfo) -> str | None:
    """Return the summary without that of the session it continues."""
    if info.summary is None or info.prior_summary is None:
        return info.summary
    return info.summary.removeprefix(info.prior_summary).removeprefix(SUMMARY_BREAK) or None


# Index among the appended messages, seq, created_at, tokens, token_encoding, content_json, metadata.
StoredRow: TypeAlias = tuple[int, int, str, int | None, str | None, list[JsonObject] | None, JsonObject | None]


class Appended(NamedTuple):
    """The result of an append: the session's counters after it."""

    first_seq: int  # of the first new message
    at: datetime | None  # when the new messages were stored; None: there were none
    last_seq: int
    message_count: int
    token_count: int
    title: str | None
    last_message_at: datetime | None
    summary_seq: int
    stored: list[StoredRow] | None  # the messages that were stored already


def after(appended: Appended, info: SessionInfo) -> SessionInfo:
    """Return a session's info after an append."""
    return replace(
        info,
        title=appended.title,
        last_seq=appended.last_seq,
        message_count=appended.message_count,
        token_count=appended.token_count,
        updated_at=appended.at or info.updated_at,
        last_active_at=appended.at or info.last_active_at,
        last_message_at=appended.last_message_at,
    )


@public
@dataclass(frozen=True, slots=True)
class Event(Record):
    """One entry of a session's timeline.

    Attributes:
        at: When it happened.
        type: created, resumed, renamed, updated, moved, ended, expired, reopened, forked, deleted, restored, archived.
        data: Details of the event, such as the new title or the reason.
    """

    at: datetime
    type: str
    data: JsonObject

    def __repr__(self) -> str:
        return f"<Event {self.at:%Y-%m-%d %H:%M:%S} {self.type} {json.dumps(self.data, ensure_ascii=False)}>"


EVENT_COLUMNS = tuple(column.name for column in fields(Event))


def event_from_row(row: Sequence[Any]) -> Event:
    """Build an event from EVENT_COLUMNS in their order."""
    values = dict(zip(EVENT_COLUMNS, row, strict=True))
    return Event(**{**values, "data": values["data"] or {}})


@public
@dataclass(frozen=True, slots=True)
class StatusChange(Record):
    """One move of a run.

    Attributes:
        at: When it happened.
        old: The run status it left.
        new: The run status it went to.
        by: Who made the move: the session's user unless `by` was passed; None: chatmemory itself.
        reason: The reason, if one was given.
    """

    at: datetime
    old: str
    new: str
    by: str | None = None
    reason: str | None = None


def status_change_from_row(row: Sequence[Any]) -> StatusChange:
    """Build a status change from (at, data) of an event."""
    at, data = row
    return StatusChange(at, data["old"], data["new"], data.get("by"), data.get("reason"))


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUp(Record):
    """The numbers of sessions that a clean-up ended and archived, and of expired items it removed, in all tenants.

    Attributes:
        expired: The sessions that it ended, because they were idle or, being runs, lost.
    """

    expired: int
    archived: int
    items: int = 0


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure(Record):
    """The receipt of an erasure: the number of records removed for good, metrics counted in points."""

    sessions: int = 0
    messages: int = 0
    events: int = 0
    memories: int = 0
    spend: int = 0
    metrics: int = 0
    items: int = 0
