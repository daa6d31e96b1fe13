# Generated from chatmemory/_async/sessions/appending.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Appending messages: counted, stored, and handed to the caches."""

from typing import LiteralString

from chatmemory._concurrency import in_thread
from chatmemory._interrupts import postponing
from chatmemory._sync.sessions.state import SessionState
from chatmemory._sync.storage.transaction import Row, Statement
from chatmemory.context.records import Context
from chatmemory.context.request import Request
from chatmemory.errors import ChatMemoryError
from chatmemory.messages.drafts import (
    Draft,
    batch_arguments,
    counted,
    messages_from,
    title_from,
    turn_arguments,
    unique,
)
from chatmemory.messages.records import Message
from chatmemory.sessions.records import Appended
from chatmemory.storage import queries

LONG = 50_000  # characters, from which counting their tokens would hold up an event loop


class Appending:
    """Appends to one session."""

    def __init__(self, state: SessionState) -> None:
        self._state = state

    @postponing
    def append(self, drafts: list[Draft]) -> list[Message]:
        """Store messages; return them in the order they were given, also those that were stored before."""
        rows, once = self._store(drafts, (queries.messages.APPEND, queries.messages.APPEND_TURN))
        stored, _ = self._stored(once, Appended(*rows[0]))
        return [stored[draft.id] for draft in drafts]

    @postponing
    def append_and_read(self, drafts: list[Draft], request: Request) -> Context:
        """Store messages, and read the context that follows, in one round trip."""
        state = self._state
        statements = queries.messages.APPEND_AND_READ, queries.messages.APPEND_TURN_AND_READ
        plan = state.contexts.plan(request, state.counts)
        window = (state.tenant_id, state.id, state.origin.born_at, plan.limit, *plan.known)
        rows, once = self._store(drafts, statements, *window)
        count = len(Appended._fields)
        appended = Appended(*rows[0][:count])
        _, new = self._stored(once, appended)
        read = [row[count:] for row in rows] if rows[0][count] is not None else []
        return state.contexts.after(plan, appended, new, read, state.origin)

    def _store(
        self, drafts: list[Draft], statements: tuple[LiteralString, LiteralString], *window: object
    ) -> tuple[list[Row], list[Draft]]:
        """Run a statement that appends: the general one, or the one for one or two messages with new ids."""
        once = self._counted(unique(drafts) if len(drafts) > 1 else drafts)
        title = None if self._state.has_title else title_from(once)
        new_ids = not any(draft.has_own_id for draft in once)

        whose = (self._state.tenant_id, self._state.id, self._state.origin.born_at)

        def checked(check_ids: bool = True) -> Statement:
            return statements[0], (*whose, *batch_arguments(once), title, check_ids, *window)

        def again() -> Statement:  # after Postgres went away: the stored messages may be this call's own
            once[:] = [draft._replace(has_own_id=False) for draft in once]
            return checked()

        if new_ids and len(once) <= 2:
            call: Statement = statements[1], (*whose, title, *turn_arguments(once), *window)
        else:
            call = checked(not new_ids)
        try:
            return self._state.parts.database.call(*call, subject=self._state.id, again=again), once
        except ChatMemoryError:
            raise
        except BaseException:  # cancelled: it may be stored, or not
            self._state.parts.windows.forget_soon(self._state.tenant_id, self._state.id)
            raise

    def _counted(self, drafts: list[Draft]) -> list[Draft]:
        counter = self._state.parts.tokenizer.at_hand()
        if sum(len(draft.text) for draft in drafts) > LONG:
            return in_thread(lambda: counted(drafts, counter))
        return counted(drafts, counter)

    def _stored(self, once: list[Draft], appended: Appended) -> tuple[dict[str, Message], list[Message]]:
        """The messages of an append by their ids, and those of them that are new; the caches get the new ones."""
        self._state.append(appended)
        stored = messages_from(once, appended)
        new = [message for message in stored.values() if message.seq >= appended.first_seq]
        self._state.contexts.appended(appended, new)
        self._state.parts.windows.append(self._state.origin, new, appended.token_count)
        return stored, new
