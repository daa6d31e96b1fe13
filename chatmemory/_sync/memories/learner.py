# Generated from chatmemory/_async/memories/learner.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Learning from one session: read, ask, embed, and commit everything with the new watermark in one transaction."""

import logging
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from chatmemory._sync.memories.recall import Asked, Recall
from chatmemory._sync.runs.results import Results
from chatmemory._sync.shared import Shared
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
MAX_READ = 500  # messages
KNOWN_FACTS = 20  # shown to the model
QUERY_LENGTH = 2000  # characters of the user's messages, as the query for known facts


class Leased(NamedTuple):
    """A leased session, as read by LEASED_SESSION."""

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
    """The result of one batch, to be stored.

    Attributes:
        after: The watermark before the batch.
        fallback: Why no model was asked, though one is configured.
        had_ended: Whether the session had ended when it was read; one that ends later stays due.
    """

    lesson: Lesson
    summary: str
    memories: list[NewMemory]
    after: int
    fallback: str | None
    had_ended: bool


class _LeaseLost(Exception):  # noqa: N818  # not an error: another worker has the session
    """The lease was lost, so nothing may be committed."""


class Learner:
    """Learns from claimed sessions of all tenants."""

    def __init__(self, parts: Shared) -> None:
        self._parts = parts
        self._database, self._settings, self._windows = parts.database, parts.settings, parts.windows
        self._providers, self._store, self._spending = parts.providers, parts.store, parts.spending

    def learn(self, tenant_id: str, session_id: str, owner: str) -> Consolidation:
        """Learn from one batch of a session that `owner` has claimed; the claim ends in any case.

        Returns:
            The result; errors of models and of the database are reported in it, not raised.
        """
        try:
            done = self._learn(tenant_id, session_id, owner)
        except ChatMemoryError as error:
            self._fail(tenant_id, session_id, owner, error)
            return Consolidation(session_id=session_id, status="error", reason=str(error))
        except BaseException:  # cancelled
            self.hand_back(tenant_id, session_id, owner)
            raise
        LOG.info("tenant %r, %s", tenant_id, done.line)
        return done

    def hand_back(self, tenant_id: str, session_id: str, owner: str) -> None:
        """Give a claim back without counting the attempt, if Postgres can be reached."""
        with suppress(ChatMemoryError):
            self._run(tenant_id, queries.learning.RELEASE, (session_id, owner))

    def _learn(self, tenant_id: str, session_id: str, owner: str) -> Consolidation:
        try:
            state = self._state(tenant_id, session_id, owner)
            if state is not None and state.learns == "result":
                return Results(tenant_id, self._parts).leave(session_id, owner)
            made = self._make(tenant_id, session_id, owner, state) if state else "the lease was lost"
            if isinstance(made, str):
                return Consolidation(session_id=session_id, status="skipped", reason=made)
            return self._commit(tenant_id, owner, made)
        except ChatMemoryError:
            raise
        except _LeaseLost:
            return Consolidation(session_id=session_id, status="skipped", reason="the lease was lost")
        except Exception as error:  # a bug: it must not end the worker, and its text may hold content
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}, line {place.lineno}"
            raise ChatMemoryError(f"A {type(error).__name__} in {where}: please report it.") from error

    def _state(self, tenant_id: str, session_id: str, owner: str) -> Leased | None:
        """Read the session; None: the lease was lost."""
        rows = self._database.fetch(tenant_id, queries.learning.LEASED_SESSION, (session_id, owner))
        if not rows:
            return None
        state = Leased(*rows[0])
        if state.attempts > self._settings.worker_max_attempts:  # a reported failure parks it earlier
            raise ChatMemoryError(f"The worker was killed in each of the last {state.attempts - 1} attempts.")
        return state

    def _make(self, tenant_id: str, session_id: str, owner: str, state: Leased) -> Made | str:
        """Learn from the next batch; return the result, or the reason why there is none."""
        messages = self._messages_after(state.summary_seq, tenant_id, session_id)
        lesson = Lesson(session_id, state.user_id, state.number, messages)
        if not messages:
            return self._close(tenant_id, owner, lesson, state)
        learnt, known, fallback = self._ask(tenant_id, lesson, state)
        episodes = cut_episodes(messages)
        memories = from_episodes(lesson, episodes, new_id)
        others: list[NewMemory] = []
        if learnt is not None:
            others, dropped = from_facts(lesson, learnt, known, new_id)
            if dropped:
                LOG.warning("session %r: %s facts cite unknown messages, and were dropped", session_id, dropped)
            if self._is_summarised(state) and messages[-1].seq == state.last_seq:
                others.append(self._summarised(tenant_id, lesson, learnt.summary))
        vectors = self._embedded(tenant_id, lesson, texts_of(episodes, others))
        summary = learnt.summary if learnt else extractive_summary(state.summary, messages)
        made = with_vectors(episodes, memories, others, vectors)
        return Made(lesson, summary, made, state.summary_seq, fallback, state.has_ended)

    def _is_summarised(self, state: Leased) -> bool:
        """Return whether the session gets a summary memory: it has ended, and was not short."""
        return state.has_ended and state.message_count >= self._settings.min_messages_for_summary

    def _summarised(self, tenant_id: str, lesson: Lesson, summary: str) -> NewMemory:
        """Make the summary memory of a session, which supersedes that of an earlier end.

        Its trust is that of tools if the session has tool messages.
        """
        last = lesson.messages[-1]
        params = {"id": lesson.session_id, "user_id": lesson.user_id, "seq": last.seq, "at": last.created_at}
        [(has_tools, earlier)] = self._database.fetch(tenant_id, queries.learning.BEFORE_SUMMARY, params)
        return from_summary(lesson, summary, "tool" if has_tools else "assistant", new_id, earlier)

    def _messages_after(self, seq: int, tenant_id: str, session_id: str) -> list[Message]:
        params = (tenant_id, session_id, seq, MAX_READ)
        rows = self._database.call(queries.messages.MESSAGES_AFTER, params, subject=session_id)
        return batch([message_from_row(row) for row in rows], self._settings.consolidation_batch_tokens)

    def _close(self, tenant_id: str, owner: str, lesson: Lesson, state: Leased) -> Made | str:
        """Make the summary memory of a session whose messages were all learnt from before it ended."""
        last = self._messages_after(state.last_seq - 1, tenant_id, lesson.session_id)
        if not (self._is_summarised(state) and state.summary and last and self._providers.has_llm):
            params = {"id": lesson.session_id, "owner": owner, "had_ended": state.has_ended, "seq": state.last_seq}
            self._run(tenant_id, queries.learning.NOTHING_LEFT, params)
            return "nothing to learn"
        lesson = lesson._replace(messages=last)
        memories = [self._summarised(tenant_id, lesson, state.summary)]
        vectors = self._embedded(tenant_id, lesson, texts_of([], memories))
        return Made(lesson, state.summary, with_vectors([], [], memories, vectors), state.summary_seq, None, True)

    def _ask(self, tenant_id: str, lesson: Lesson, state: Leased) -> tuple[Learnt | None, list[Memory], str | None]:
        """Ask the model; return its answer, the known facts it was shown, and the reason if it was not asked."""
        if not self._providers.has_llm:
            return None, [], None
        if not self._spending.may_spend(tenant_id):
            return None, [], "the tenant's hard cap is reached"
        query = " ".join(message.text for message in lesson.messages if message.role == "user")[:QUERY_LENGTH]
        asked = Asked(query, [lesson.user_id], KNOWN_FACTS, ["fact", "preference"], None, None, 0)
        recall = Recall(tenant_id, self._parts)
        known = [each.memory for each in recall.find(asked, spent_on=lesson.session_id)]
        learnt = self._answer(tenant_id, lesson, learning_prompt(state.summary, known, lesson.messages))
        return learnt, known, None

    def _answer(self, tenant_id: str, lesson: Lesson, asked: list[dict[str, Any]]) -> Learnt:
        """Return the model's answer; its tokens are recorded even if it is unusable."""
        name = self._providers.llm_model
        spent, failure = (0, 0), None
        try:
            answer = self._providers.complete(asked, Learnt)
            spent = (answer.input_tokens, answer.output_tokens)
        except LlmError as error:
            spent, failure = error.spent, error
        if any(spent):
            self._spending.add(tenant_id, lesson.user_id, lesson.session_id, "learn", name, spent)
        if failure is not None:
            raise failure
        learnt = answer.value
        if not isinstance(learnt, Learnt) or not learnt.summary.strip():
            raise LlmError(f"The model {name!r} answered without a summary.")
        return learnt

    def _embedded(self, tenant_id: str, lesson: Lesson, texts: list[str]) -> list[list[float]]:
        vectors = self._store.embedded(texts)
        if vectors:
            counter = self._parts.tokenizer.at_hand()
            spent = (sum(map(counter.count, texts)), 0)
            model = self._providers.embedding_model
            self._spending.add(tenant_id, lesson.user_id, lesson.session_id, "embed", model, spent)
        return vectors

    def _commit(self, tenant_id: str, owner: str, made: Made) -> Consolidation:
        lesson = made.lesson
        first, last = lesson.span
        with self._database.transaction(tenant_id, lesson.session_id) as connection:
            connection.execute(queries.memories.LOCK_MEMORIES, (tenant_id, lesson.user_id))
            rows = connection.execute(queries.learning.LOCK_LEASED, (lesson.session_id, owner)).fetchall()
            if not rows or Leased(*rows[0]).summary_seq != made.after:
                raise _LeaseLost  # rolls back
            stored = self._store.add(connection, tenant_id, lesson.user_id, made.memories)
            due_messages, due_tokens = self._settings.due_after
            params = {
                "id": lesson.session_id, "summary": made.summary, "seq": last, "had_ended": made.had_ended,
                "due_messages": due_messages, "due_tokens": due_tokens,
            }  # fmt: skip
            connection.execute(queries.learning.LEARN, params)
            event: dict[str, Any] = {"from_seq": first, "to_seq": last, "memories": stored.created}
            if made.fallback:
                event["without_model"] = made.fallback
            noted = {"tenant": tenant_id, "id": lesson.session_id, "data": to_json(event)}
            [(successors,)] = connection.execute(queries.learning.LEARNT, noted).fetchall()
        self._windows.drop(tenant_id, lesson.session_id)
        if successors:
            self._windows.forget_user(tenant_id, lesson.user_id)
        return Consolidation(
            session_id=lesson.session_id,
            status="success",
            from_seq=first,
            to_seq=last,
            memories=stored.created,
            confirmed=stored.confirmed,
            reason=made.fallback,
        )

    def _fail(self, tenant_id: str, session_id: str, owner: str, error: ChatMemoryError) -> None:
        LOG.warning("learning from session %r failed: %s", session_id, error)
        params = {
            "id": session_id, "owner": owner, "reason": str(error)[:500],
            "most": self._settings.worker_max_attempts,
        }  # fmt: skip
        try:
            with self._database.transaction(tenant_id, session_id) as connection:
                rows = connection.execute(queries.learning.FAIL, params).fetchall()
                if rows and rows[0][0]:
                    event = to_json({"reason": str(error)[:500]})
                    connection.execute(queries.sessions.ADD_EVENT, (tenant_id, session_id, "parked", event))
        except ChatMemoryError:
            LOG.warning("session %r: the failure could not be recorded; its lease will expire", session_id)

    def _run(self, tenant_id: str, query: Any, params: tuple[Any, ...] | dict[str, Any]) -> None:
        with self._database.transaction(tenant_id) as connection:
            connection.execute(query, params)
