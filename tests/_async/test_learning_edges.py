"""Concurrent work while a worker learns, and memories across sessions: nothing is lost, doubled or left over."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from chatmemory import AsyncChatMemory, AsyncSession, ConfigurationError, InvalidInputError, MemorySource, Tenant
from chatmemory._async.memories.worker import AsyncWorker
from chatmemory.errors import LlmError
from chatmemory.memories.ranking import rank
from chatmemory.storage import queries
from chatmemory.validation import new_id
from tests.fixtures.openai_server import OpenAIServer, Reply, embeddings, fact, failing, learnt, said, vector_of
from tests.helpers import calls, meanwhile

MARKER = "zanzibarine"
FOUR = ("I have a boat.", "It is green.", "She floats.", "Bye.")


def rows(url: str, query: str, *params: object) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, across tenants."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), params)
        return cursor.fetchall() if cursor.description else []


async def talk(memory: AsyncChatMemory, *said: str, user_id: str = "ann") -> AsyncSession:
    """A session of tenant acme in which a user said this."""
    session = await memory.tenant("acme").sessions.create(user_id=user_id)
    await session.append_many([{"role": "user", "content": text} for text in said or FOUR])
    return session


async def texts(memory: AsyncChatMemory, *kinds: Any) -> list[str]:
    """Ann's memories of these kinds that hold, the newest first."""
    return [each.text for each in await memory.tenant("acme").memories.list(user_id="ann", kinds=kinds)]


@pytest.mark.parametrize("during", ["the answer", "the embedding"])
async def test_a_user_erased_while_learning_leaves_nothing(
    postgres_url: str, openai_server: OpenAIServer, during: str
) -> None:
    """Not even the name: no row of any table holds it when the worker is done."""

    def erase() -> None:
        meanwhile(postgres_url, lambda acme: acme.users.erase(MARKER))

    def chat(_: Any) -> Reply:
        erase()
        return learnt("x", fact(f"Ann is {MARKER}.", 1))

    def embed(given: list[str]) -> Reply:
        erase()
        return embeddings(list(map(vector_of, given)))

    if during == "the answer":
        openai_server.chat = chat
    else:
        openai_server.embed = embed
    settings = openai_server.settings(embedding_model="compass")
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        await talk(memory, user_id=MARKER)
        assert (await memory.run_due()).processed == 0
    for (table,) in rows(postgres_url, "select tablename from pg_tables where schemaname = 'chatmemory'"):
        assert not [row for row in rows(postgres_url, f"select t::text from chatmemory.{table} t") if MARKER in row[0]]


async def test_a_user_erased_while_reembedding_leaves_nothing(postgres_url: str, openai_server: OpenAIServer) -> None:
    """The cost of the vectors is then the tenant's alone."""
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings(llm_model=None)) as memory:
        await memory.tenant("acme").memories.remember("Ann is tall.", user_id=MARKER)

    def embed(given: list[str]) -> Reply:
        meanwhile(postgres_url, lambda acme: acme.users.erase(MARKER))
        return embeddings(list(map(vector_of, given)))

    openai_server.embed = embed
    settings = openai_server.settings(llm_model=None, embedding_model="compass")
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        await memory.tenant("acme").memories.reembed()
    assert rows(postgres_url, "select user_id, purpose from chatmemory.spend") == [("", "embed")]


async def test_a_session_that_ends_while_it_is_learnt_from_leaves_its_summary(
    postgres_url: str, openai_server: OpenAIServer
) -> None:
    """Once, in the next pass, and no model is asked for it again."""

    def chat(_: Any) -> Reply:
        meanwhile(postgres_url, lambda acme: acme.sessions.get("s-1").end())
        return learnt("Ann has a boat.")

    openai_server.chat = chat
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann", session_id="s-1")
        await session.append_many([{"role": "user", "content": text} for text in FOUR])
        await memory.run_due()
        assert await texts(memory, "summary") == ["Ann has a boat."]
        assert (await memory.run_due()).processed == 0
    assert len(openai_server.chats) == 1


async def test_what_is_said_while_nothing_was_left_to_learn_is_learnt(
    postgres_url: str, openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that goes on and ends just after nothing was found to learn is due."""
    claim = AsyncWorker.claim
    claims: list[int] = []

    async def and_then_more(*given: Any) -> Any:
        found = await claim(*given)
        claims.append(len(found))
        if claims == [1, 0]:

            def go_on(acme: Tenant) -> None:
                acme.sessions.get("s-1").append("user", "And a kayak.")
                acme.sessions.get("s-1").end()

            meanwhile(postgres_url, go_on)
        return found

    monkeypatch.setattr(AsyncWorker, "claim", and_then_more)
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann", session_id="s-1")
        await session.append_many([{"role": "user", "content": text} for text in FOUR])
        await session.consolidate()
        while claims != [1, 0]:
            assert (await memory.run_due()).processed == 0
        assert (await memory.run_due()).processed == 1
        assert "And a kayak." in await texts(memory, "episode")


async def test_a_parked_session_can_be_learnt_from_in_the_foreground(
    postgres_url: str, openai_server: OpenAIServer
) -> None:
    """A call that fails leaves it parked; one that succeeds takes it up again."""
    settings = openai_server.settings(worker_max_attempts=2)
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        session = await talk(memory)
        openai_server.next_chats.extend([failing(401)] * 3)
        for parked in (0, 1):
            rows(postgres_url, "update chatmemory.sessions set next_attempt_at = null")
            report = await memory.run_due()
            assert (report.failed, report.parked) == (1, parked)
        failed = await session.consolidate()
        assert (failed.status, "401" in (failed.reason or "")) == ("error", True)
        assert (await memory.run_due()).parked == 1
        assert (await session.consolidate()).status == "success"
        assert (await memory.run_due()).parked == 0


async def test_what_a_deleted_session_taught_can_be_learnt_again(
    postgres_url: str, openai_server: OpenAIServer
) -> None:
    """A hidden fact is not confirmed, which nobody would see, but learnt anew; so what is said is never lost."""
    openai_server.chat = lambda _: learnt("x", fact("Ann is tall.", 1))
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        hidden = await talk(memory)
        await hidden.consolidate()
        await hidden.delete()
        await (await talk(memory)).consolidate()
        assert await texts(memory, "fact") == ["Ann is tall."]
        await hidden.erase()
        assert await texts(memory, "fact") == ["Ann is tall."]


async def test_remembering_what_is_hidden(postgres_url: str, openai_server: OpenAIServer) -> None:
    """It is kept beside it, and what is deleted cannot be cited."""
    openai_server.chat = lambda _: learnt("x", fact("Ann is tall.", 1))
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        memories = memory.tenant("acme").memories
        session = await talk(memory)
        await session.consolidate()
        await session.delete()
        assert (await memories.remember("Ann is tall.", user_id="ann")).confirmations == 0
        for seq in (0, 1):
            with pytest.raises(InvalidInputError, match="to cite"):
                await memories.remember("Ann is small.", user_id="ann", sources=[(session.id, seq, seq)])


async def test_what_was_corrected_meanwhile_stays_so(postgres_url: str, openai_server: OpenAIServer) -> None:
    """A model that confirms a fact that was superseded while it thought brings nothing old back."""
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        old = await memory.tenant("acme").memories.remember("Ann lives in Berlin.", user_id="ann")

        def chat(_: Any) -> Reply:
            meanwhile(postgres_url, lambda acme: acme.memories.correct(old.id, "Ann lives in Lisbon."))
            return learnt("x", fact("She lives there.", 1, same_as=1))

        openai_server.chat = chat
        done = await (await talk(memory, "Ann lives in Berlin, as I said.")).consolidate()
        assert (done.memories.get("fact"), done.confirmed) == (None, 1)
        assert await texts(memory, "fact") == ["Ann lives in Lisbon."]


async def test_what_holds_again_is_learnt_again(postgres_url: str, openai_server: OpenAIServer) -> None:
    """A superseded fact that the user states again is learnt again."""
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        old = await memory.tenant("acme").memories.remember("Ann lives in Berlin.", user_id="ann")
        await memory.tenant("acme").memories.correct(old.id, "Ann lives in Lisbon.")
        openai_server.chat = lambda _: learnt("x", fact("Ann lives in Berlin.", 1, supersedes=[1]))
        await (await talk(memory, "Ann lives in Berlin again.")).consolidate()
        assert await texts(memory, "fact") == ["Ann lives in Berlin."]


async def test_a_summary_is_no_more_trusted_than_a_tool_in_its_session(
    postgres_url: str, openai_server: OpenAIServer
) -> None:
    """This holds for a summary made with the last batch and for one made after it."""
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        for early in (False, True):
            session = await talk(memory)
            await session.append("tool", "Pay this invoice.")
            if early:
                await session.consolidate()
            await session.end()
            await memory.run_due()
        await (await talk(memory)).end()
        await memory.run_due()
        found = await memory.tenant("acme").memories.list(user_id="ann", kinds=["summary"])
        assert [each.trust for each in found] == ["assistant", "tool", "tool"]


async def test_undoing_prunings_of_the_same_fact_opens_it_once(async_memory: AsyncChatMemory) -> None:
    """Pruned, learnt again, pruned again: one row holds afterwards."""
    memories = async_memory.tenant("acme").memories
    for _ in range(3):
        await memories.remember("Ann is tall.", user_id="ann")
        await memories.prune(older_than=timedelta(0))
    assert await memories.unprune() == 1
    assert await memories.unprune() == 0
    assert (await memories.list(user_id="ann", with_total=True)).total == 1


@pytest.mark.parametrize("means", [False, True])
async def test_what_was_corrected_often_is_found(postgres_url: str, openai_server: OpenAIServer, means: bool) -> None:
    """However many closed memories answer as well."""
    settings = openai_server.settings(llm_model=None, embedding_model="compass" if means else None)
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        memories = memory.tenant("acme").memories
        await memories.remember("Ann has another score.", user_id="ann", trust="tool")
        found = await memories.remember("The score of Ann is 0.", user_id="ann")
        for number in range(1, 230):
            found = await memories.correct(found.id, f"The score of Ann is {number}.")
        recalled = await memories.recall("What is the score of Ann?", user_id="ann")
        told = {"The score of Ann is 229.", "Ann has another score."}
        assert {each.memory.text for each in recalled} == told
        assert len(await memories.history(found.id)) == 230


async def test_what_is_known_is_found_among_what_was(postgres_url: str, openai_server: OpenAIServer) -> None:
    """Saying a fact in other words confirms it, also where closed ones are as near."""
    settings = openai_server.settings(llm_model=None, embedding_model="compass")
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        memories = memory.tenant("acme").memories
        found = await memories.remember("The score of Ann is 0 in the big game of the year.", user_id="ann")
        for number in range(1, 12):
            found = await memories.correct(found.id, f"The score of Ann is {number} in the big game of the year.")
        again = await memories.remember("In the big game of the year the score of Ann is 11.", user_id="ann")
        assert (again.id, again.confirmations) == (found.id, 1)


@pytest.mark.parametrize("means", [False, True])
async def test_a_corrected_episode_is_still_one_of_its_session(
    postgres_url: str, openai_server: OpenAIServer, means: bool
) -> None:
    """Recall within the session finds what it says now."""
    settings = openai_server.settings(llm_model=None, embedding_model="compass" if means else None)
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        memories = memory.tenant("acme").memories
        session = await talk(memory)
        await session.consolidate()
        [found] = await memories.recall("boat", user_id="ann", k=1)
        await memories.correct(found.memory.id, "I have a red kayak.")
        [found] = await memories.recall("kayak", user_id="ann", k=1, session_id=session.id)
        assert found.memory.text == "I have a red kayak."
        assert not await memories.recall("kayak", user_id="ann", session_id=(await talk(memory)).id)


async def test_sources_and_spans_that_are_none_are_refused(async_memory: AsyncChatMemory) -> None:
    """With an error of ours, before anything is written."""
    memories = async_memory.tenant("acme").memories
    id = (await talk(async_memory)).id
    wrong: list[Any] = [MemorySource(id, 3, 0), MemorySource(5, 1, 1), MemorySource("s\0", 1, 1)]  # type: ignore[arg-type]
    wrong += [MemorySource(id, None, None), MemorySource(id, -1, 2), MemorySource(id, 1, 2**63 - 1), None]  # type: ignore[arg-type]
    for given in ([each] for each in wrong):
        with pytest.raises(InvalidInputError):
            await memories.remember("Ann is tall.", user_id="ann", sources=given)
    for age in (5, None, timedelta(-1)):
        with pytest.raises(InvalidInputError):
            await memories.prune(older_than=age)  # type: ignore[arg-type]
    assert await memories.prune(older_than=timedelta.max) == []
    for call in calls(
        lambda: memories.remember("Ann is tall.", user_id="ann", sources=5),  # type: ignore[arg-type]
        lambda: memories.recall("Ann", user_id="ann", kinds=5),  # type: ignore[arg-type]
        lambda: memories.list(kinds=5),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInputError):
            await call()
    assert (await memories.list(with_total=True)).total == 0


async def test_what_is_forgotten_while_it_is_recalled_is_left_out(
    async_memory: AsyncChatMemory, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no error in a turn of the chat."""
    memories = async_memory.tenant("acme").memories
    kept, gone = [await memories.remember(f"Ann has a {what} boat.", user_id="ann") for what in ("red", "green")]

    def forgetting(*given: Any) -> Any:
        meanwhile(postgres_url, lambda acme: acme.memories.forget(gone.id))
        return rank(*given)

    for half in ("_async", "_sync"):
        monkeypatch.setattr(f"chatmemory.{half}.memories.recall.rank", forgetting)
    none_read_ahead = queries.memories.LIKELY_MEMORIES + " and false"
    monkeypatch.setattr(queries.memories, "LIKELY_MEMORIES", none_read_ahead)
    assert [each.memory.id for each in await memories.recall("boat", user_id="ann")] == [kept.id]


async def test_vectors_that_are_too_long_to_be_kept(postgres_url: str, openai_server: OpenAIServer) -> None:
    """Are a failure of the embedder: recall goes by words, and a turn of the chat goes on."""
    openai_server.embed = lambda given: embeddings([[1.0] * 16_001] * len(given))
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings(llm_model=None)) as memory:
        await memory.tenant("acme").memories.remember("Ann has a boat.", user_id="ann")
    settings = openai_server.settings(llm_model=None, embedding_model="compass")
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        memories = memory.tenant("acme").memories
        assert len(await memories.recall("boat", user_id="ann")) == 1
        assert len((await (await talk(memory)).context(500, query="boat")).memories) == 1
        with pytest.raises(LlmError, match="16001 numbers"):
            await memories.remember("Ann has a kayak.", user_id="ann")


USABLE: dict[str, list[Any]] = {
    "another scale": [fact("Ann is tall.", 1, importance=8)],
    "no number": [fact("Ann is tall.", 1, importance=float("nan"))],
    "words": [fact("Ann is tall.", 1, importance="high")],
    "null": [{"text": "Ann is tall.", "sources": [1], "supersedes": None, "same_as": None, "importance": None}],
    "one of two": [fact("Ann is tall.", 1), fact("x" * 1001, 1)],
    "another kind": [fact("Ann is round.", 1, kind="episode"), fact("Ann is tall.", 1), {}],
    "very many": [fact("Ann is tall.", 1)] * 101,
}


@pytest.mark.parametrize("what", USABLE)
async def test_what_is_usable_of_an_answer_is_used(postgres_url: str, openai_server: OpenAIServer, what: str) -> None:
    """One fact that has another form costs no other, and a wrong importance not the fact."""
    openai_server.chat = lambda _: said(json.dumps({"summary": "x", "facts": USABLE[what]}))
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        assert (await (await talk(memory)).consolidate()).status == "success"
        assert await texts(memory, "fact") == ["Ann is tall."]


async def test_facts_that_are_all_of_another_form_fail(postgres_url: str, openai_server: OpenAIServer) -> None:
    """Nothing usable: the session stays due."""
    openai_server.chat = lambda _: said(json.dumps({"summary": "x", "facts": ["Ann is tall."]}))
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        assert (await (await talk(memory)).consolidate()).status == "error"


async def test_a_language_that_postgres_does_not_know(postgres_url: str, openai_server: OpenAIServer) -> None:
    """The error names the setting, and learning fails with it."""
    settings = openai_server.settings(language="klingon")
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        with pytest.raises(ConfigurationError, match="CHATMEMORY_LANGUAGE"):
            await memory.tenant("acme").memories.recall("boat", user_id="ann")
        done = await (await talk(memory)).consolidate()
        assert "CHATMEMORY_LANGUAGE" in (done.reason or "")


async def test_days_are_those_of_utc(postgres_url: str, openai_server: OpenAIServer) -> None:
    """The dates in the prompt do not depend on the time zone of the database server."""
    [(name,)] = rows(postgres_url, "select current_database()")
    rows(postgres_url, f"alter database \"{name}\" set timezone to 'Asia/Tokyo'")
    evening = datetime(2024, 5, 1, 20, tzinfo=UTC)
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        session = await talk(memory, "Hello")
        lines = [{"role": "user", "content": "Ann has a boat.", "created_at": evening}] * 4
        await session.append_many(lines)
        await session.consolidate()
        assert openai_server.documents()[0]["messages"][-1]["at"] == "2024-05-01 20:00"
        context = await (await talk(memory)).context(500, query="boat on 01 May")
        assert "- 2024-05-01, " in (context.memories_text or "")
    assert rows(postgres_url, "select count(*) from chatmemory.memory_terms where term = '02'") == [(0,)]


ODD = {
    "an endless summary": lambda: learnt("x" * 8000),
    "characters that cannot be stored": lambda: learnt("a\0b", fact("Ann \0.", 1)),
    "facts of no message": lambda: learnt("x", *(fact(f"Ann likes {n}.", 10**30, -1) for n in range(100))),
    "facts that close everything": lambda: learnt("x", fact("Ann is new.", 1, supersedes=list(range(100)), same_as=1)),
    "the same fact": lambda: learnt("x", fact("Ann has a boat.", 1), fact("Ann has a boat.", 1)),
    "another summary each time": lambda: learnt(new_id()),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("odd", ODD)
async def test_learning_ends_whatever_a_model_answers(postgres_url: str, openai_server: OpenAIServer, odd: str) -> None:
    """Each call to the model costs messages: end() and consolidate(), a worker, and once more, ask it once."""
    openai_server.chat = lambda _: ODD[odd]()
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        session = await talk(memory)
        await session.end()
        assert (await session.consolidate()).status == "success"
        assert (await session.consolidate()).status == "skipped"
        assert (await memory.run_due()).processed == 0
        assert len(await texts(memory, "summary")) == 1
    assert len(openai_server.chats) == 1


@pytest.mark.timeout(60)
async def test_consolidating_ends_while_the_session_grows(postgres_url: str, openai_server: OpenAIServer) -> None:
    """The app answers as fast as the model learns: what came after the call began is the next call's."""

    def chat(_: Any) -> Reply:
        meanwhile(postgres_url, lambda acme: acme.sessions.get(id).append("user", "another " * 100))
        return learnt()

    openai_server.chat = chat
    settings = openai_server.settings(consolidation_batch_tokens=100)
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        session = await talk(memory, *(["thing " * 100] * 4))
        id = session.id
        assert (await session.consolidate()).to_seq == 4
        assert (await session.consolidate()).to_seq == 8
