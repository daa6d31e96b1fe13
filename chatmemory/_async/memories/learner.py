"""Learning from one session: read, ask, embed, and commit everything with the new watermark at once."""

import logging
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from chatmemory._async.memories.recall import Asked, AsyncRecall
from chatmemory._async.runs.results import AsyncResults
from chatmemory._async.shared import AsyncParts
from chatmemory.errors import ChatMemoryError, LlmError
from chatmemory.memories.episodes import cut_episodes, extractive_summary
from chatmemory.memories.learning import (
    Lesson,
    batch,
    from_episodes,
    from_facts,
    from_summary,
    texts_of,
    with_vectors,
)
from chatmemory.memories.prompts import Learnt, learning_prompt
from chatmemory.memories.records import Consolidation, Memory, NewMemory
from chatmemory.messages.records import Message, message_from_row
from chatmemory.records import to_json
from chatmemory.storage import queries
from chatmemory.validation import new_id

LOG = logging.getLogger("chatmemory")
MOST_READ = 500  # messages
KNOWN = 20  # facts a model is shown
QUERY_LENGTH = 2000  # characters of what was said, to find the facts it may be about


class Leased(NamedTuple):
    """A session as LEASED_SESSION gives it."""

    user_id: str
    learns: str
    summary: str | None
    summary_seq: int
    last_seq: int
    number: int
    message_count: int
    has_ended: bool
    attempts: int


class Made(NamedTuple):
    """What a batch became, not yet stored."""

    lesson: Lesson
    summary: str
    memories: list[NewMemory]
    after: int  # the watermark it was made behind
    fallback: str | None  # why no model was asked, though there is one
    had_ended: bool  # when it was read; what ends later is looked at once more


class _LeaseLost(Exception):  # noqa: N818  # no failure: somebody else is at it
    """Nothing may be committed."""


class AsyncLearner:
    """Learns from claimed sessions of all tenants."""

    def __init__(self, parts: AsyncParts) -> None:
        self._parts = parts
        self._database, self._settings, self._windows = parts.database, parts.settings, parts.windows
        self._providers, self._store, self._spending = parts.providers, parts.store, parts.spending

    async def learn(self, tenant_id: str, session_id: str, owner: str) -> Consolidation:
        """Learn from one batch of a session that `owner` has claimed; whatever happens, the claim ends.

        Returns:
            What it came to; errors of models and of the database are told, not raised.
        """
        try:
            return await self._learn(tenant_id, session_id, owner)
        except ChatMemoryError as error:
            await self._fail(tenant_id, session_id, owner, error)
            return Consolidation(session_id=session_id, status="error", reason=str(error))
        except BaseException:  # cancelled
            await self.hand_back(tenant_id, session_id, owner)
            raise

    async def hand_back(self, tenant_id: str, session_id: str, owner: str) -> None:
        """End a claim as if it had not been made, if that can be done."""
        with suppress(ChatMemoryError):
            await self._run(tenant_id, queries.learning.RELEASE, (session_id, owner))

    async def _learn(self, tenant_id: str, session_id: str, owner: str) -> Consolidation:
        try:
            state = await self._state(tenant_id, session_id, owner)
            if state is not None and state.learns == "result":
                return await AsyncResults(tenant_id, self._parts).leave(session_id, owner)
            made = await self._make(tenant_id, session_id, owner, state) if state else "the lease was lost"
            if isinstance(made, str):
                return Consolidation(session_id=session_id, status="skipped", reason=made)
            return await self._commit(tenant_id, owner, made)
        except ChatMemoryError:
            raise
        except _LeaseLost:
            return Consolidation(session_id=session_id, status="skipped", reason="the lease was lost")
        except Exception as error:  # a fault of our own: it must not end the worker, and what it says may be content
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}, line {place.lineno}"
            raise ChatMemoryError(f"A {type(error).__name__} in {where}: please report it.") from error

    async def _state(self, tenant_id: str, session_id: str, owner: str) -> Leased | None:
        """The session as it is; None: the lease was lost."""
        rows = await self._database.fetch(tenant_id, queries.learning.LEASED_SESSION, (session_id, owner))
        if not rows:
            return None
        state = Leased(*rows[0])
        if state.attempts > self._settings.worker_max_attempts:  # a failure that was told has it parked before
            raise ChatMemoryError(f"The worker was killed each of the last {state.attempts - 1} times it tried.")
        return state

    async def _make(self, tenant_id: str, session_id: str, owner: str, state: Leased) -> Made | str:
        """What the next batch teaches, or why it teaches nothing."""
        messages = await self._messages_after(state.summary_seq, tenant_id, session_id)
        lesson = Lesson(session_id, state.user_id, state.number, messages)
        if not messages:
            return await self._close(tenant_id, owner, lesson, state)
        learnt, known, fallback = await self._ask(tenant_id, lesson, state)
        episodes = cut_episodes(messages)
        memories = from_episodes(lesson, episodes, new_id)
        others: list[NewMemory] = []
        if learnt is not None:
            others, dropped = from_facts(lesson, learnt, known, new_id)
            if dropped:
                LOG.warning("session %r: %s facts cite no message there is, and were dropped", session_id, dropped)
            if self._is_summarised(state) and messages[-1].seq == state.last_seq:
                others.append(await self._summarised(tenant_id, lesson, learnt.summary))
        vectors = await self._embedded(tenant_id, lesson, texts_of(episodes, others))
        summary = learnt.summary if learnt else extractive_summary(state.summary, messages)
        made = with_vectors(episodes, memories, others, vectors)
        return Made(lesson, summary, made, state.summary_seq, fallback, state.has_ended)

    def _is_summarised(self, state: Leased) -> bool:
        """Whether the session leaves a summary memory: not while it goes on, nor if it was short."""
        return state.has_ended and state.message_count >= self._settings.min_messages_for_summary

    async def _summarised(self, tenant_id: str, lesson: Lesson, summary: str) -> NewMemory:
        """What a whole session came to, no more trusted than what a tool said in it."""
        params = (lesson.session_id, lesson.messages[-1].seq)
        [(has_tools,)] = await self._database.fetch(tenant_id, queries.messages.HAS_TOOLS, params)
        return from_summary(lesson, summary, "tool" if has_tools else "assistant", new_id)

    async def _messages_after(self, seq: int, tenant_id: str, session_id: str) -> list[Message]:
        params = (tenant_id, session_id, seq, MOST_READ)
        rows = await self._database.call(queries.messages.MESSAGES_AFTER, params, subject=session_id)
        return batch([message_from_row(row) for row in rows], self._settings.consolidation_batch_tokens)

    async def _close(self, tenant_id: str, owner: str, lesson: Lesson, state: Leased) -> Made | str:
        """A session whose messages were all learnt from before it ended leaves its summary."""
        last = await self._messages_after(state.last_seq - 1, tenant_id, lesson.session_id)
        if not (self._is_summarised(state) and state.summary and last and self._providers.has_llm):
            params = {"id": lesson.session_id, "owner": owner, "had_ended": state.has_ended, "seq": state.last_seq}
            await self._run(tenant_id, queries.learning.NOTHING_LEFT, params)
            return "nothing to learn"
        lesson = lesson._replace(messages=last)
        memories = [await self._summarised(tenant_id, lesson, state.summary)]
        vectors = await self._embedded(tenant_id, lesson, texts_of([], memories))
        return Made(lesson, state.summary, with_vectors([], [], memories, vectors), state.summary_seq, None, True)

    async def _ask(
        self, tenant_id: str, lesson: Lesson, state: Leased
    ) -> tuple[Learnt | None, list[Memory], str | None]:
        """What the model makes of the messages, and the known facts it was shown; None where none is asked."""
        if not self._providers.has_llm:
            return None, [], None
        if not await self._spending.may_spend(tenant_id):
            return None, [], "the tenant's hard cap is reached"
        said = " ".join(message.text for message in lesson.messages if message.role == "user")[:QUERY_LENGTH]
        asked = Asked(said, [lesson.user_id], KNOWN, ["fact", "preference"], None, None, 0)
        recall = AsyncRecall(tenant_id, self._parts)
        known = [each.memory for each in await recall.find(asked, spent_on=lesson.session_id)]
        learnt = await self._answer(tenant_id, lesson, learning_prompt(state.summary, known, lesson.messages))
        return learnt, known, None

    async def _answer(self, tenant_id: str, lesson: Lesson, asked: list[dict[str, Any]]) -> Learnt:
        """The model's answer; it is paid for, also where it is of no use."""
        name = self._providers.llm_model
        spent, failure = (0, 0), None
        try:
            answer = await self._providers.complete(asked, Learnt)
            spent = (answer.input_tokens, answer.output_tokens)
        except LlmError as error:
            spent, failure = error.spent, error
        if any(spent):
            await self._spending.add(tenant_id, lesson.user_id, lesson.session_id, "learn", name, spent)
        if failure is not None:
            raise failure
        learnt = answer.value
        if not isinstance(learnt, Learnt) or not learnt.summary.strip():
            raise LlmError(f"The model {name!r} answered without a summary.")
        return learnt

    async def _embedded(self, tenant_id: str, lesson: Lesson, texts: list[str]) -> list[list[float]]:
        vectors = await self._store.embedded(texts)
        if vectors:
            counter = self._parts.tokenizer.at_hand()
            spent = (sum(map(counter.count, texts)), 0)
            model = self._providers.embedding_model
            await self._spending.add(tenant_id, lesson.user_id, lesson.session_id, "embed", model, spent)
        return vectors

    async def _commit(self, tenant_id: str, owner: str, made: Made) -> Consolidation:
        lesson = made.lesson
        first, last = lesson.span
        async with self._database.transaction(tenant_id, lesson.session_id) as connection:
            await connection.execute(queries.memories.LOCK_MEMORIES, (tenant_id, lesson.user_id))
            rows = await (await connection.execute(queries.learning.LOCK_LEASED, (lesson.session_id, owner))).fetchall()
            if not rows or Leased(*rows[0]).summary_seq != made.after:
                raise _LeaseLost  # and roll back: the user may be gone, too
            stored = await self._store.add(connection, tenant_id, lesson.user_id, made.memories)
            due_messages, due_tokens = self._settings.due_after
            params = {
                "id": lesson.session_id, "summary": made.summary, "seq": last, "had_ended": made.had_ended,
                "due_messages": due_messages, "due_tokens": due_tokens,
            }  # fmt: skip
            await connection.execute(queries.learning.LEARN, params)
            told: dict[str, Any] = {"from_seq": first, "to_seq": last, "memories": stored.created}
            if made.fallback:
                told["without_model"] = made.fallback
            await connection.execute(
                queries.sessions.ADD_EVENT, (tenant_id, lesson.session_id, "learnt", to_json(told))
            )
        await self._windows.drop(tenant_id, lesson.session_id)
        return Consolidation(
            session_id=lesson.session_id,
            status="success",
            from_seq=first,
            to_seq=last,
            memories=stored.created,
            confirmed=stored.confirmed,
            reason=made.fallback,
        )

    async def _fail(self, tenant_id: str, session_id: str, owner: str, error: ChatMemoryError) -> None:
        LOG.warning("learning from session %r failed: %s", session_id, error)
        params = {
            "id": session_id, "owner": owner, "reason": str(error)[:500],
            "most": self._settings.worker_max_attempts,
        }  # fmt: skip
        try:
            async with self._database.transaction(tenant_id, session_id) as connection:
                rows = await (await connection.execute(queries.learning.FAIL, params)).fetchall()
                if rows and rows[0][0]:
                    told = to_json({"reason": str(error)[:500]})
                    await connection.execute(queries.sessions.ADD_EVENT, (tenant_id, session_id, "parked", told))
        except ChatMemoryError:
            LOG.warning("session %r: the failure could not be noted; its lease ends by itself", session_id)

    async def _run(self, tenant_id: str, query: Any, params: tuple[Any, ...] | dict[str, Any]) -> None:
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(query, params)
