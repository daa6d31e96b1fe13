"""One tenant's long-term memories: recall, remember, correct, forget."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from chatmemory._async.memories.recall import Asked, AsyncRecall
from chatmemory._async.memories.reembedding import AsyncReembedding
from chatmemory._async.shared import AsyncShared
from chatmemory._async.storage.transaction import Statement
from chatmemory._public import public
from chatmemory.errors import InvalidInputError, MemoryNotFoundError
from chatmemory.memories.checks import check_kinds, check_memory_text, check_query, check_sources, trust_of
from chatmemory.memories.records import (
    MEMORY_KINDS,
    TRUSTS,
    Memory,
    MemoryKind,
    MemorySource,
    MemoryStats,
    NewMemory,
    Recalled,
    Reembedded,
    Trust,
    memory_from_row,
    memory_key,
)
from chatmemory.paging import check_page
from chatmemory.records import JsonObject, Page
from chatmemory.storage import queries
from chatmemory.validation import (
    check_choice,
    check_count,
    check_duration,
    check_id,
    check_object,
    check_share,
    check_time,
    new_id,
)

Statements: TypeAlias = list[Statement]  # inside the class, `list` is the method
ORDINARY: tuple[MemoryKind, ...] = ("episode", "summary", "fact", "preference")  # runs stay out unless asked for


@public
class AsyncMemories:
    """The long-term memories of one tenant's users."""

    def __init__(self, tenant_id: str, parts: AsyncShared) -> None:
        self._tenant_id = tenant_id
        self._database, self._store = parts.database, parts.store
        self._recall = AsyncRecall(tenant_id, parts)
        self._reembedding = AsyncReembedding(tenant_id, parts)

    async def recall(
        self,
        query: str,
        *,
        user_id: object,
        k: int = 10,
        kinds: Sequence[MemoryKind] | None = None,
        session_id: object = None,
        as_of: datetime | None = None,
        min_score: float | None = None,
        min_trust: Trust = "tool",
        include_shared: bool = True,
    ) -> list[Recalled]:
        """The memories of a user that answer a question best, best first.

        Without an answer of the embedder it goes by words alone, and a log says so.

        Args:
            query: The question, in plain words.
            user_id: Whose memories.
            k: How many at most.
            kinds: Which kinds; None: all but results of runs.
            session_id: Only what comes from this session.
            as_of: What held then; None: now.
            min_score: Only those with this score or more, from 0 to 1.7.
            min_trust: Only those that somebody at least so trusted said: tool, assistant, user, app.
            include_shared: Whether what the whole tenant shares may be recalled too.

        Raises:
            InvalidInputError: A value cannot be used.
        """
        users = [check_id(user_id, "user_id"), *([""] if include_shared else [])]
        wanted = check_kinds(kinds, ORDINARY)
        trust = TRUSTS.index(check_choice(min_trust, "min_trust", TRUSTS))
        session = None if session_id is None else check_id(session_id, "session_id")
        at = check_time(as_of, "as_of")
        least = 0.0 if min_score is None else check_share(min_score, "min_score", most=1.7)
        asked = Asked(check_query(query), users, check_count(k, "k"), wanted, session, at, trust)
        return await self._recall.find(asked, marks=True, min_score=least)

    async def remember(
        self,
        text: str,
        *,
        user_id: object = None,
        kind: MemoryKind = "fact",
        importance: float = 0.5,
        metadata: Mapping[str, Any] | None = None,
        sources: Iterable[MemorySource | tuple[str, int, int]] | None = None,
        trust: Trust = "app",
    ) -> Memory:
        """Keep something for good; a fact or preference that is known already is confirmed instead.

        Args:
            text: In plain words, at most 10,000 characters.
            user_id: Whose it is; None: shared by the tenant.
            kind: fact, preference, summary or result.
            importance: From 0 to 1.
            metadata: A JSON object to keep with it.
            sources: The messages it comes from: (session_id, from_seq, to_seq); (session_id, 0, 0) is the session
                itself, for a run without messages.
            trust: Who vouches for it; never more than its sources do.

        Raises:
            InvalidInputError: A value cannot be used, or a source does not exist.
            LlmError: The embedder failed; nothing was stored.
        """
        check_choice(kind, "kind", MEMORY_KINDS[1:])
        check_choice(trust, "trust", TRUSTS)
        cited = check_sources(sources)
        user = "" if user_id is None else check_id(user_id, "user_id")
        new = NewMemory(
            id=new_id(),
            user_id=user,
            kind=kind,
            text=check_memory_text(text),
            indexed=text,
            near=None,
            speaker=None,
            trust=trust,
            importance=check_share(importance, "importance", most=1.0),
            valid_from=datetime.now(UTC),
            metadata=check_object(metadata, "metadata"),
            sources=cited,
        )
        return await self._add(new)

    async def _add(self, new: NewMemory) -> Memory:
        new = new._replace(vectors=tuple(await self._store.embedded([new.text])))
        cited = new.sources[0].session_id if new.sources else ""
        async with self._database.transaction(self._tenant_id, cited) as transaction:
            lookups = self._store.lookups(self._tenant_id, new.user_id, [new])
            found = await transaction.run(*map(_citing, new.sources), *lookups)
            new = new._replace(trust=trust_of(new.trust, new.sources, found))
            stored, writes = self._store.writes(self._tenant_id, [new], found[len(new.sources) :])
            costs = self._recall.costs(new.user_id, "remember", new.text, new.vectors)
            [*_, rows] = await transaction.finish(*costs, *writes, (queries.memories.MEMORIES_BY_ID, (stored.ids,)))
        return memory_from_row(rows[0])

    async def correct(self, memory_id: object, text: str, *, trust: Trust = "app") -> Memory:
        """Put a new memory in the place of one that is wrong; the old one is closed, and stays readable.

        Where another memory of the user says the same already, that one takes its place.

        Args:
            memory_id: The one that is wrong.
            text: What is right, at most 10,000 characters.
            trust: Who vouches for it; anybody but the app no more than for what was wrong.

        Raises:
            InvalidInputError: The text cannot be kept, or the memory was superseded already.
            MemoryNotFoundError: There is no such memory.
        """
        check_choice(trust, "trust", TRUSTS)
        old = await self.get(memory_id)
        if old.valid_to is not None:
            raise InvalidInputError(f"memory {old.id!r} holds no longer; correct the one that superseded it.")
        new = NewMemory(
            id=new_id(),
            user_id=old.user_id or "",
            kind=old.kind,
            text=check_memory_text(text),
            indexed=text,
            near=None,
            speaker=old.speaker,
            trust="app" if trust == "app" else min(trust, old.trust, key=TRUSTS.index),
            importance=old.importance,
            valid_from=datetime.now(UTC),
            metadata=old.metadata,
            sources=old.sources,
            closes=(old.id,),
        )
        vectors = tuple(await self._store.embedded([new.text]))
        new = new._replace(vectors=vectors)
        async with self._database.transaction(self._tenant_id) as transaction:
            lookups = self._store.lookups(self._tenant_id, new.user_id, [new])
            *found, holding = await transaction.run(*lookups, (queries.memories.HOLDING, (old.id,)))
            if not holding:
                raise InvalidInputError(f"memory {old.id!r} was superseded meanwhile; correct what took its place.")
            stored, writes = self._store.writes(self._tenant_id, [new], found)
            costs = self._recall.costs(new.user_id, "remember", new.text, vectors)
            [*_, rows] = await transaction.finish(*costs, *writes, (queries.memories.MEMORIES_BY_ID, (stored.ids,)))
        return memory_from_row(rows[0])

    async def forget(self, memory_id: object) -> None:
        """Remove a memory for good; what it superseded stays closed.

        Raises:
            MemoryNotFoundError: There is no such memory.
        """
        id = (await self.get(memory_id)).id
        await self._database.call(queries.memories.REMOVE_MEMORIES, (self._tenant_id, [id]))

    async def get(self, memory_id: object) -> Memory:
        """One memory, also one that holds no longer.

        Raises:
            MemoryNotFoundError: There is no such memory here.
        """
        id = check_id(memory_id, "memory_id")
        await self._recall.counts.flush()
        rows = await self._database.fetch(self._tenant_id, queries.memories.GET_MEMORY, (id,))
        if not rows:
            raise _not_found(id)
        return memory_from_row(rows[0])

    async def history(self, memory_id: object) -> list[Memory]:
        """A memory with all that it superseded and that superseded it, oldest first.

        Raises:
            MemoryNotFoundError: There is no such memory.
        """
        id = check_id(memory_id, "memory_id")
        await self._recall.counts.flush()
        rows = await self._database.fetch(self._tenant_id, queries.memories.MEMORY_HISTORY, {"id": id})
        memories = [memory_from_row(row) for row in rows]
        if id not in {memory.id for memory in memories}:
            raise _not_found(id)
        return memories

    async def list(
        self,
        *,
        user_id: object = None,
        kinds: Sequence[MemoryKind] | None = None,
        valid_at: datetime | None = None,
        include_closed: bool = False,
        limit: int = 100,
        offset: int = 0,
        cursor: str | None = None,
        with_total: bool = False,
    ) -> Page[Memory]:
        """List memories by page, the newest first.

        Args:
            user_id: Only this user's, without what the tenant shares; None: everybody's.
            kinds: Only these; None: all.
            valid_at: What held then; None: what holds now.
            include_closed: Whether what holds no longer is listed too.
            limit: How many memories a page holds at most.
            offset: How many memories to skip, at most 10,000; a cursor goes further, and costs the same on every page.
            cursor: `next` of the page before; None: the first page.
            with_total: Whether to count all memories that match, which costs in proportion to them.

        Returns:
            The page. With its `next` as cursor, the same call returns the page after it; None: it is the last.

        Raises:
            InvalidInputError: A value cannot be used, or the cursor belongs to another list.
        """
        params: JsonObject = {
            "user_id": None if user_id is None else check_id(user_id, "user_id"),
            "kinds": sorted(set(check_kinds(kinds, MEMORY_KINDS))),
            "at": check_time(valid_at, "valid_at"),
        }
        which = {"of_user": user_id is not None, "valid": not include_closed}
        request = check_page("memories", {**params, **which, "tenant": self._tenant_id}, limit, offset, cursor)
        query = queries.memories.list_memories(**which, after=request.after is not None)
        statements: Statements = [(query, {**params, **request.params})]
        if with_total:
            statements.append((queries.memories.count_memories(**which), params))
        await self._recall.counts.flush()
        rows, *counted = await self._database.run(self._tenant_id, *statements)
        return request.page(rows, memory_from_row, memory_key, counted[0][0][0] if counted else None)

    async def stats(self, user_id: object = None) -> MemoryStats:
        """Return the growth of the memories of a user, or of the tenant."""
        user = None if user_id is None else check_id(user_id, "user_id")
        await self._recall.counts.flush()
        rows = await self._database.fetch(self._tenant_id, queries.memories.MEMORY_STATS, {"user_id": user})
        merged, superseded, never_recalled, pruned = (sum(row[column] for row in rows) for column in (2, 3, 4, 5))
        return MemoryStats(
            by_kind={row[0]: row[1] for row in rows},
            merged=merged,
            superseded=superseded,
            never_recalled=never_recalled,
            pruned=pruned,
        )

    async def prune(
        self,
        *,
        older_than: timedelta,
        max_importance: float = 0.5,
        user_id: object = None,
        dry_run: bool = False,
        limit: int = 1000,
    ) -> Sequence[Memory]:
        """Close memories that were never recalled, matter little and are old; unprune() opens them again.

        Args:
            older_than: How long ago they were learnt at least.
            max_importance: How important they are at most, from 0 to 1.
            user_id: Only this user's; None: the whole tenant's.
            dry_run: Whether only to tell which.
            limit: How many at most.

        Raises:
            InvalidInputError: A value cannot be used.
        """
        params = {
            "importance": check_share(max_importance, "max_importance", most=1.0),
            "age": check_duration(older_than, "older_than"),
            "user_id": None if user_id is None else check_id(user_id, "user_id"),
            "limit": check_count(limit, "limit"),
        }  # fmt: skip
        await self._recall.counts.flush()
        async with self._database.transaction(self._tenant_id, patient=True) as transaction:
            [rows] = await transaction.run((queries.memories.TO_PRUNE, params))
            found = [memory_from_row(row) for row in rows]
            if found and not dry_run:
                users = {"users": [memory.user_id or "" for memory in found]}
                prune = (queries.memories.PRUNE, ([memory.id for memory in found],))
                await transaction.finish((queries.memories.LOCK_USERS, users), prune)
        return found

    async def unprune(self, user_id: object = None) -> int:
        """Open again what prune() closed; return how many."""
        user = None if user_id is None else check_id(user_id, "user_id")
        params = {"user_id": user}
        async with self._database.transaction(self._tenant_id, patient=True) as connection:
            await connection.execute(queries.memories.LOCK_USERS, {"users": None if user is None else [user]})
            return (await connection.execute(queries.memories.UNPRUNE, params)).rowcount

    async def reembed(self, *, limit: int | None = None, drop_old: bool = False) -> Reembedded:
        """Give memories without a vector of the configured embedding model one, in the order they were learnt.

        May be stopped and called again at any time. Vectors of other models stay, and serve whoever is still
        configured for them, until drop_old.

        Args:
            limit: How many memories at most, 1 or more; None: all.
            drop_old: Whether to remove the vectors of other models where there is one of this model.

        Raises:
            ConfigurationError: There is no embedder, or Postgres has no pgvector.
            LlmError: The embedder failed; what was embedded before is kept.
        """
        most = None if limit is None else check_count(limit, "limit", least=1)
        return await self._reembedding.run(most, drop_old=drop_old)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of tenant {self._tenant_id!r}>"


def _citing(source: MemorySource) -> Statement:
    """Return the statement that looks a source up: how many messages it has, and how far they can be trusted."""
    if source.to_seq == 0:  # a run
        return queries.messages.TRUST_OF_SESSION, {"id": source.session_id}
    params = {"id": source.session_id, "from": source.from_seq, "to": source.to_seq}
    return queries.messages.TRUST_OF_MESSAGES, params


def _not_found(memory_id: str) -> MemoryNotFoundError:
    return MemoryNotFoundError(f"There is no memory {memory_id!r} here.")
