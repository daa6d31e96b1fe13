# Generated from tests/_async/test_memories.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Long-term memories: kept once, recalled by words and meaning, closed and not lost, erased without a trace."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis

from chatmemory import ChatMemory, InvalidInputError, MemoryNotFoundError, Tenant
from chatmemory._concurrency import side_by_side
from chatmemory.errors import LlmError
from tests.fixtures.openai_server import FAULTS, HANGS, OpenAIServer, embeddings, fact, failing, learnt, vector_of
from tests.helpers import calls

MARKER = "zanzibarine"


@pytest.fixture
def acme(memory: ChatMemory) -> Tenant:
    """A tenant of a memory without models."""
    return memory.tenant("acme")


@pytest.fixture
def meaning(postgres_url: str, openai_server: OpenAIServer) -> Iterator[ChatMemory]:
    """A memory with an embedder, and without a language model."""
    settings = openai_server.settings(llm_model=None, embedding_model="compass")
    with ChatMemory.open(postgres_url, settings=settings) as memory:
        yield memory


def rows(url: str, query: str, *params: object) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, across tenants."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), params)
        return cursor.fetchall() if cursor.description else []


def texts(tenant: Tenant, query: str, user_id: str = "ann", **more: Any) -> list[str]:
    """Return the recalled texts, best first."""
    return [each.memory.text for each in tenant.memories.recall(query, user_id=user_id, **more)]


def test_what_is_remembered_is_recalled(acme: Tenant) -> None:
    """With everything that was given, and with why it came."""
    memory = acme.memories.remember(
        "Ann is allergic to peanuts.", user_id="ann", importance=0.9, metadata={"from": "form"}
    )
    acme.memories.remember("Ann likes the sea.", user_id="ann", kind="preference")
    [recalled] = acme.memories.recall("Does she eat peanuts?", user_id="ann")
    assert recalled.memory.id == memory.id
    assert (recalled.memory.metadata, recalled.memory.trust, recalled.memory.user_id) == (
        {"from": "form"},
        "app",
        "ann",
    )
    assert recalled.ranks == {"lexical": 1}
    assert acme.memories.get(memory.id).recall_count == 1


def test_recall_can_be_narrowed(acme: Tenant) -> None:
    """By kind, trust, session, score and number, and to the user's own."""
    session = acme.sessions.create(user_id="ann")
    session.append("user", "The tea is green.")
    session.append("assistant", "Green tea is fine.")
    session.append("tool", "tea: sold out")
    session.consolidate()
    acme.memories.remember("The office tea is black.", kind="fact")
    acme.memories.remember("Ann prefers tea.", user_id="ann", kind="preference", trust="user")
    acme.memories.remember("tea in a run", user_id="ann", kind="result")

    assert set(texts(acme, "tea")) == {
        "The tea is green.", "Green tea is fine.", "tea: sold out", "The office tea is black.", "Ann prefers tea."
    }  # fmt: skip
    assert texts(acme, "tea", kinds=["preference"]) == ["Ann prefers tea."]
    assert texts(acme, "tea", kinds=["result"]) == ["tea in a run"]
    assert texts(acme, "tea", kinds=[]) == []
    assert set(texts(acme, "tea", min_trust="user", include_shared=False)) == {
        "The tea is green.", "Ann prefers tea."
    }  # fmt: skip
    assert texts(acme, "tea", min_trust="app") == ["The office tea is black."]
    assert len(texts(acme, "tea", session_id=session.id)) == 3
    assert texts(acme, "tea", session_id="unknown") == []
    assert len(texts(acme, "tea", k=2)) == 2
    assert texts(acme, "tea", k=0) == []
    best = acme.memories.recall("tea", user_id="ann")[0].score
    assert len(acme.memories.recall("tea", user_id="ann", min_score=best)) >= 1
    assert acme.memories.recall("tea", user_id="ann", min_score=best + 0.01) == []
    assert set(texts(acme, "tea", user_id="bob")) == {"The office tea is black."}


def test_what_a_minimum_score_leaves_out_was_not_recalled(acme: Tenant) -> None:
    """It is not counted as recalled either."""
    memory = acme.memories.remember("Ann drinks tea.", user_id="ann")
    assert acme.memories.recall("tea", user_id="ann", min_score=1.7) == []
    assert acme.memories.get(memory.id).recall_count == 0
    assert acme.memories.stats("ann").never_recalled == 1


@pytest.mark.parametrize("query", ["", " ", "the of and", "\0", "a' | b & !c:*", "漢字", "x" * 30_000, "🙂", "%_\\"])
def test_any_question_is_answered(acme: Tenant, query: str) -> None:
    """Operators of text search, stop words and overlong texts are words like others, or a typed refusal."""
    acme.memories.remember("Ann drinks tea.", user_id="ann")
    if "\0" in query:
        with pytest.raises(InvalidInputError):
            acme.memories.recall(query, user_id="ann")
    else:
        assert acme.memories.recall(query, user_id="ann") == []


def test_bad_input_is_refused_before_anything_is_written(acme: Tenant, postgres_url: str) -> None:
    """Values out of range, kinds that are not there, sources that do not exist or are another tenant's."""
    session = acme.sessions.create(user_id="ann", session_id="s-1")
    session.append("user", "Hello")
    theirs = acme.sessions.create(user_id="bob", session_id="s-2")
    remember = acme.memories.remember
    for call in calls(
        lambda: remember(""),
        lambda: remember("  "),
        lambda: remember("x" * 10_001),
        lambda: remember("a\0b"),
        lambda: remember("x", kind="episode"),
        lambda: remember("x", kind="opinion"),  # type: ignore[arg-type]
        lambda: remember("x", trust="god"),  # type: ignore[arg-type]
        lambda: remember("x", importance=1.1),
        lambda: remember("x", importance=float("nan")),
        lambda: remember("x", user_id=""),
        lambda: remember("x", metadata={"a": float("nan")}),
        lambda: remember("x", sources=[("s-1", 1, 2)]),
        lambda: remember("x", sources=[("s-1", 2, 1)]),
        lambda: remember("x", sources=[("s-2", 1, 1)]),
        lambda: remember("x", sources=[("unknown", 1, 1)]),
        lambda: remember("x", sources=["s-1"]),  # type: ignore[list-item]
        lambda: acme.memories.recall("x", user_id="ann", k=-1),
        lambda: acme.memories.recall("x", user_id="ann", kinds="fact"),  # type: ignore[arg-type]
        lambda: acme.memories.recall("x", user_id="ann", as_of=datetime(2026, 1, 1)),
        lambda: acme.memories.recall("x", user_id="ann", min_score="high"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInputError):
            call()
    assert theirs.info.message_count == 0
    assert rows(postgres_url, "select count(*) from chatmemory.memories") == [(0,)]


def test_correcting_closes_and_links(acme: Tenant) -> None:
    """The new memory is in force, the old one is in the history, and each day has its answer."""
    old = acme.memories.remember("Ann lives in Lisbon.", user_id="ann", importance=0.8, metadata={"a": 1})
    before = datetime.now(UTC)
    new = acme.memories.correct(old.id, "Ann lives in Porto.")
    assert (new.importance, new.metadata, new.kind, new.user_id) == (0.8, {"a": 1}, "fact", "ann")
    assert texts(acme, "Where does Ann live?") == ["Ann lives in Porto."]
    assert texts(acme, "Where does Ann live?", as_of=before) == ["Ann lives in Lisbon."]
    for id in (old.id, new.id):
        assert [each.id for each in acme.memories.history(id)] == [old.id, new.id]
    assert acme.memories.get(old.id).superseded_by == new.id
    with pytest.raises(InvalidInputError):
        acme.memories.correct(old.id, "Ann lives in Faro.")
    assert [each.id for each in acme.memories.list(user_id="ann")] == [new.id]
    assert acme.memories.list(user_id="ann", include_closed=True, with_total=True).total == 2
    assert [each.id for each in acme.memories.list(user_id="ann", valid_at=before)] == [old.id]
    assert acme.memories.stats("ann").superseded == 1


def test_correcting_into_what_is_known_merges(acme: Tenant) -> None:
    """The wrong one is closed in favour of the one that says so already."""
    right = acme.memories.remember("Ann lives in Porto.", user_id="ann")
    wrong = acme.memories.remember("Ann lives in Lisbon.", user_id="ann")
    assert acme.memories.correct(wrong.id, "ann lives in PORTO").id == right.id
    assert [each.id for each in acme.memories.list(user_id="ann")] == [right.id]
    assert acme.memories.get(wrong.id).superseded_by == right.id


def test_correcting_only_the_spelling_makes_a_new_one(acme: Tenant) -> None:
    """The old one is no reason not to store what takes its place."""
    old = acme.memories.remember("ann lives in porto", user_id="ann")
    new = acme.memories.correct(old.id, "Ann lives in Porto.")
    assert new.id != old.id
    assert [each.text for each in acme.memories.list(user_id="ann")] == ["Ann lives in Porto."]


def test_of_many_corrections_at_once_one_wins(acme: Tenant) -> None:
    """The others are told that it was superseded; one memory is in force."""
    old = acme.memories.remember("Ann lives in Lisbon.", user_id="ann")
    refused = []
    numbers = iter(range(8))

    def correct() -> None:
        try:
            acme.memories.correct(old.id, f"Ann lives in house {next(numbers)}.")
        except InvalidInputError:
            refused.append(1)

    side_by_side([correct] * 8)
    assert len(refused) == 7
    assert acme.memories.list(user_id="ann", with_total=True).total == 1


def test_forgetting_removes_for_good(acme: Tenant, postgres_url: str) -> None:
    """No row, no word and no vector of it is left, and what it superseded stays closed."""
    old = acme.memories.remember("Ann lives in Lisbon.", user_id="ann")
    new = acme.memories.correct(old.id, f"Ann lives in {MARKER}.")
    acme.memories.forget(new.id)
    assert texts(acme, MARKER) == []
    assert texts(acme, "Ann lives") == []
    with pytest.raises(MemoryNotFoundError):
        acme.memories.get(new.id)
    with pytest.raises(MemoryNotFoundError):
        acme.memories.forget(new.id)
    assert found(postgres_url, MARKER) == []
    assert acme.memories.get(old.id).superseded_by is None


def test_trust_is_the_lowest_of_the_sources(acme: Tenant) -> None:
    """The app cannot raise the trust above that of the sources."""
    session = acme.sessions.create(user_id="ann")
    for role in ("system", "user", "assistant", "tool"):
        session.append(role, "x")
    for first, last, trust in ((1, 1, "app"), (1, 2, "user"), (2, 3, "assistant"), (2, 4, "tool"), (4, 4, "tool")):
        memory = acme.memories.remember(f"{first} {last}", sources=[(session.id, first, last)])
        assert memory.trust == trust
    memory = acme.memories.remember("all", sources=[(session.id, 2, 2), (session.id, 4, 4)], trust="assistant")
    assert memory.trust == "tool"
    assert acme.memories.remember("modest", sources=[(session.id, 2, 2)], trust="tool").trust == "tool"


def test_who_is_trusted_less_vouches_for_nothing(acme: Tenant) -> None:
    """Confirming what is known adds no source that is trusted less than it, and takes no trust from it."""
    session = acme.sessions.create(user_id="ann")
    session.append("user", "x")
    session.append("tool", "x")
    memory = acme.memories.remember("Ann is tall.", user_id="ann", sources=[(session.id, 1, 1)])
    again = acme.memories.remember("Ann is tall", user_id="ann", sources=[(session.id, 2, 2)], importance=1)
    assert (again.id, again.confirmations, again.trust) == (memory.id, 1, "user")
    assert [(each.from_seq, each.to_seq) for each in again.sources] == [(1, 1)]


@pytest.mark.parametrize("many", ["the same", "in other words"])
@pytest.mark.vectors
def test_concurrent_remembering_keeps_one_row(meaning: ChatMemory, many: str) -> None:
    """20 at once: one row, confirmed 19 times; also where only the meaning is the same."""
    memories = meaning.tenant("acme").memories
    numbers = iter(range(20))

    def remember() -> None:
        words = ["Ann", "lives", "in", "Lisbon", "by", "the", "sea"]
        turn = next(numbers) if many == "in other words" else 0
        memories.remember(" ".join(words[turn % 7 :] + words[: turn % 7]), user_id="ann")

    side_by_side([remember] * 20)
    [memory] = memories.list(user_id="ann")
    assert memory.confirmations == 19
    stats = memories.stats("ann")
    assert (stats.by_kind, stats.merged) == ({"fact": 1}, 19)


@pytest.mark.vectors
def test_what_others_know_is_no_reason_not_to_keep_it(meaning: ChatMemory) -> None:
    """Another user's, the tenant's, another tenant's and a closed fact are no duplicates."""
    for tenant, user in (("acme", "ann"), ("acme", "bob"), ("acme", None), ("umbrella", "ann")):
        memories = meaning.tenant(tenant).memories
        memory = memories.remember("The office is in Lisbon.", user_id=user)
        assert (memory.confirmations, memory.user_id) == (0, user)
    memories = meaning.tenant("acme").memories
    old = memories.list(user_id="ann")[0]
    memories.correct(old.id, "Nobody knows where she works now")
    assert memories.remember("The office is in Lisbon.", user_id="ann").id != old.id


@pytest.mark.vectors
def test_a_hostile_tenant_recalls_nothing(meaning: ChatMemory) -> None:
    """Neither by words nor by vector neighbours, nor by id, list, history or profile; nor does another user."""
    mine = meaning.tenant("acme")
    session = mine.sessions.create(user_id="ann", session_id="s-1")
    session.append("user", f"My password is {MARKER}")
    session.consolidate()
    memory = mine.memories.remember(f"Ann's password is {MARKER}", user_id="ann")
    assert len(texts(mine, f"password {MARKER}")) == 2
    theirs = meaning.tenant("umbrella")
    own = theirs.sessions.create(user_id="ann", session_id="s-1")
    own.append("user", "Hello")
    own.consolidate()
    for query in (f"My password is {MARKER}", "password", "Hello"):
        for tenant, user in ((theirs, "ann"), (mine, "bob"), (theirs, "bob")):
            recalled = tenant.memories.recall(query, user_id=user, k=100)
            assert [each.memory.text for each in recalled] in ([], ["Hello"])
            narrowed = tenant.memories.recall(query, user_id=user, session_id="s-1")
            assert MARKER not in str([each.memory.text for each in narrowed])
    assert [each.text for each in theirs.memories.list()] == ["Hello"]
    assert theirs.memories.stats().by_kind == {"episode": 1}
    assert theirs.memories.prune(older_than=timedelta(0), max_importance=1, user_id="bob") == []
    assert theirs.users.profile("ann").facts == ()
    assert MARKER not in "".join([line for line in theirs.users.export("ann")])
    assert own.context(1000, query=MARKER).memories_text is None or MARKER not in str(
        own.context(1000, query=MARKER).memories_text
    )
    for call in calls(
        lambda: theirs.memories.get(memory.id),
        lambda: theirs.memories.history(memory.id),
        lambda: theirs.memories.correct(memory.id, "x"),
        lambda: theirs.memories.forget(memory.id),
    ):
        with pytest.raises(MemoryNotFoundError):
            call()
    theirs.users.erase("ann")
    assert len(texts(mine, f"password {MARKER}")) == 2


def test_pruning_closes_and_can_be_undone(acme: Tenant, postgres_url: str) -> None:
    """Only what was never recalled, matters little and is old; a dry run only tells."""
    old = {}
    for name, importance in (("dull", 0.2), ("grave", 0.9), ("recalled", 0.2)):
        old[name] = acme.memories.remember(f"{name} memory", user_id="ann", importance=importance).id
    rows(postgres_url, "update chatmemory.memories set created_at = now() - interval '100 days'")
    acme.memories.remember("new memory", user_id="ann", importance=0.2)
    acme.memories.recall("recalled", user_id="ann")
    month = timedelta(days=30)
    assert [each.id for each in acme.memories.prune(older_than=month, dry_run=True)] == [old["dull"]]
    assert acme.memories.list(user_id="ann", with_total=True).total == 4
    assert acme.memories.prune(older_than=month, user_id="bob") == []
    assert [each.id for each in acme.memories.prune(older_than=month)] == [old["dull"]]
    assert texts(acme, "dull") == []
    assert acme.memories.stats("ann").pruned == 1
    assert acme.memories.unprune("bob") == 0
    assert acme.memories.unprune() == 1
    assert texts(acme, "dull") == ["dull memory"]
    assert acme.memories.stats("ann").pruned == 0


def test_undoing_a_pruning_doubles_nothing(acme: Tenant) -> None:
    """A pruned memory that was learnt again meanwhile stays closed."""
    acme.memories.remember("Ann is tall.", user_id="ann")
    acme.memories.prune(older_than=timedelta(0))
    acme.memories.remember("Ann is tall.", user_id="ann")
    assert acme.memories.unprune() == 0
    assert acme.memories.list(user_id="ann", with_total=True).total == 1


def test_lists_are_paged(acme: Tenant) -> None:
    """Newest first, with the total."""
    for number in range(5):
        acme.memories.remember(f"number {number}", user_id="ann")
    page = acme.memories.list(user_id="ann", limit=2, offset=1, with_total=True)
    assert ([each.text for each in page], page.total) == (["number 3", "number 2"], 5)


def test_profile_recent_and_export(acme: Tenant) -> None:
    """The profile has valid memories by importance, recent() the newest of all chats, export() every line."""
    first = acme.sessions.create(user_id="ann", title="One")
    second = acme.sessions.create(user_id="ann")
    run = acme.sessions.create(user_id="ann", kind="training")
    for number, session in enumerate((first, second, first, run, second)):
        session.append("user", f"number {number}")
    acme.memories.remember("Ann is tall.", user_id="ann", importance=0.3)
    acme.memories.remember("Ann is kind.", user_id="ann", importance=0.9)
    acme.memories.remember("Ann likes tea.", user_id="ann", kind="preference")
    acme.memories.remember("The office is closed.")
    acme.memories.remember("Ann counts.", sources=[(first.id, 1, 1)])
    acme.memories.remember("Bob met Ann.", user_id="bob", sources=[(first.id, 1, 1)])
    run.log_metrics({"loss": float("nan"), "rate": 0.5}, step=3)
    profile = acme.users.profile("ann")
    assert [each.text for each in profile.facts] == ["Ann is kind.", "Ann is tall."]
    assert [each.text for each in profile.preferences] == ["Ann likes tea."]
    assert [each.text for each in acme.users.recent("ann", 3)] == ["number 1", "number 2", "number 4"]
    assert acme.users.recent("ann", 0) == []
    second.delete()
    assert [each.text for each in acme.users.recent("ann")] == ["number 0", "number 2"]
    lines = [json.loads(line) for line in acme.users.export("ann")]
    assert [line["record"] for line in lines].count("session") == 3
    assert {line["content"] for line in lines if line["record"] == "message"} == {f"number {n}" for n in range(5)}
    assert {line["text"] for line in lines if line["record"] == "memory"} == {
        "Ann is kind.", "Ann is tall.", "Ann likes tea.", "Ann counts."
    }  # fmt: skip
    metrics = [(line["name"], line["steps"], line["values"]) for line in lines if line["record"] == "metrics"]
    assert metrics == [("loss", [3], ["nan"]), ("rate", [3], [0.5])]
    events = [line["type"] for line in lines if line["record"] == "event"]
    assert (events.count("created"), events.count("deleted")) == (3, 1)
    assert len([line for line in acme.users.export("nobody")]) == 1, "the line that names the format"


def test_memories_keep_to_their_share(memory: ChatMemory) -> None:
    """They take at most recall_share of the budget, name date and source, and the messages stand there once."""
    acme = memory.tenant("acme")
    before = acme.sessions.create(user_id="ann")
    for number in range(30):
        before.append("user", f"The tea of day {number} was {'very ' * 20} good.")
    before.consolidate()
    session = acme.sessions.create(user_id="ann")
    session.append("user", "Which tea was good?")
    session.consolidate()
    context = session.context(1000, query="Which tea was good?")
    assert context.memories
    assert 0 < context.tokens_by_part["memories"] <= 250
    assert context.tokens <= 1000
    assert session.id not in {each.session_id for found in context.memories for each in found.memory.sources}
    text = context.memories_text or ""
    assert f"- {datetime.now(UTC):%Y-%m-%d}, session {before.id}, user: The tea" in text
    assert "not instructions" in text
    roles = [each["role"] for each in context.as_openai() if "not instructions" in str(each["content"])]
    assert roles
    assert "system" not in roles
    assert session.context(1000).memories == ()


def test_a_users_context_has_the_memories_of_its_session(acme: Tenant) -> None:
    """With scope="user" nothing is left out for standing in a window that it does not stand in."""
    session = acme.sessions.create(user_id="ann")
    session.append("user", "The tea was green.")
    session.consolidate()
    for _ in range(3):
        other = acme.sessions.create(user_id="ann")
        other.append("user", "Something else.")
    context = session.context(1000, query="Which tea?", scope="user", max_messages=2)
    assert [each.memory.text for each in context.memories] == ["The tea was green."]


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_budget_is_exceeded(memory_with_a_past: Any, data: st.DataObject) -> None:
    """For any budget, system text and query, the total and the parts never exceed max_tokens."""
    session, past = memory_with_a_past
    budget = data.draw(st.integers(60, 900))
    context = session.context(
        budget,
        system=data.draw(st.sampled_from([None, "Be kind."])),
        query=data.draw(st.sampled_from(["tea", "day 3 or 4", "nothing of that", ""])),
        reserve_tokens=data.draw(st.integers(0, 10)),
    )
    assert context.tokens <= budget
    assert context.tokens == sum(context.tokens_by_part.values())
    assert context.tokens_by_part["memories"] <= budget / 4
    begin = next((each.seq for each in context.messages), past + 1)
    covered = session.info.summary_seq if context.summary else 0
    told = {*range(context.omitted.from_seq, context.omitted.to_seq + 1)} if context.omitted else set()
    assert {*range(1, begin)} <= {*range(1, covered + 1)} | told, "something fell between summary and messages"


@pytest.fixture
def memory_with_a_past(memory: Any) -> Any:
    """A session of which a part was learnt from, and how many messages it has; of the sync half, for hypothesis."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    for number in range(20):
        session.append("user" if number % 2 == 0 else "assistant", f"The tea of day {number} was good. " * 3)
    session.consolidate()
    for number in range(20, 30):
        session.append("user", f"The tea of day {number} was bad. " * 3)
    return session, 30


def test_the_summary_stands_for_what_is_left_out(acme: Tenant) -> None:
    """Behind the watermark the summary speaks; what is neither in it nor in the messages is told."""
    session = acme.sessions.create(user_id="ann")
    session.append_many([{"role": "user", "content": f"day {number} was sunny " * 5} for number in range(20)])
    behind = session.context(250)
    assert behind.summary is None
    assert behind.omitted is not None
    assert behind.omitted.from_seq == 1
    session.consolidate()
    done = session.context(250)
    assert "sunny" in (done.summary or "")
    assert done.omitted is None
    assert done.tokens <= 250
    session.append_many([{"role": "user", "content": f"night {number} was dark " * 5} for number in range(20)])
    later = session.context(250)
    assert later.summary
    assert later.omitted is not None
    assert later.omitted.from_seq == 21
    assert session.context(5000).omitted is None


@pytest.mark.parametrize("fault", ["500", "429", "a web page", "broken body", "no body", "hangs"])
@pytest.mark.vectors
def test_an_outage_of_models_neither_fails_nor_delays_a_turn(
    postgres_url: str, openai_server: OpenAIServer, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first question waits at most recall_timeout_seconds, the next ones not at all; words go on recalling."""
    settings = openai_server.settings(embedding_model="compass", recall_timeout_seconds=0.5)
    with ChatMemory.open(postgres_url, settings=settings) as memory:
        session = memory.tenant("acme").sessions.create(user_id="ann")
        memory.tenant("acme").memories.remember("Ann drinks tea.", user_id="ann")
        openai_server.embed = lambda _: FAULTS[fault]
        openai_server.chat = lambda _: HANGS
        asked = len(openai_server.embedded)
        for number in range(5):
            begin = datetime.now(UTC)
            context = session.context(1000, query="What does Ann drink?")
            took = (datetime.now(UTC) - begin).total_seconds()
            assert [each.memory.text for each in context.memories] == ["Ann drinks tea."]
            assert took < (2 if number == 0 else 0.4)
            session.append("user", "And now?")
        assert len(openai_server.embedded) == asked + 1
    assert "by words alone" in caplog.text


@pytest.mark.vectors
def test_an_embedder_that_fails_refuses_remember(meaning: ChatMemory, openai_server: OpenAIServer) -> None:
    """Nothing is stored, and the caller is told."""
    openai_server.embed = lambda texts: embeddings([vector_of(texts[0])[:5]]) if "old" in texts[0] else failing(500)
    memories = meaning.tenant("acme").memories
    with pytest.raises(LlmError):
        memories.remember("Ann drinks tea.", user_id="ann")
    assert memories.list(with_total=True).total == 0
    memories.remember("an old fact", user_id="ann")
    openai_server.embed = lambda texts: embeddings(list(map(vector_of, texts)))
    with pytest.raises(LlmError, match="dimensions"):
        memories.remember("Ann drinks tea.", user_id="ann")
    assert memories.list(with_total=True).total == 1


def found(url: str, marker: str, redis: str | None = None) -> list[str]:
    """Return the tables and Redis keys that still have a text."""
    places = []
    with psycopg.connect(url) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'chatmemory'").fetchall()
        for (table,) in tables:
            dumped = connection.execute(f"select t::text from chatmemory.{table} t".encode()).fetchall()
            places += [table for (row,) in dumped if marker in row.lower()]
    if redis is not None:
        with Redis.from_url(redis) as client:
            for key in client.scan_iter():
                kind = client.type(key).decode()
                read: Any = {"hash": client.hgetall, "string": client.get}[kind]
                held = f"{key!r} {read(key)!r}"
                places += [repr(key)] if marker in held.lower() else []
    return places


@pytest.mark.vectors
def test_erasing_leaves_no_trace(postgres_url: str, redis_url: str, openai_server: OpenAIServer) -> None:
    """A dump of every table and of every Redis key, before and after a session and a user are erased."""
    told = f"I am {MARKER}."
    openai_server.chat = lambda _: learnt(f"Ann is {MARKER}.", fact(f"Ann is {MARKER}.", 1))
    settings = openai_server.settings(embedding_model="compass")
    with ChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        acme = memory.tenant("acme")
        other = acme.sessions.create(user_id="bob", title="harmless")
        other.append("user", "I am Bob.")
        for whole in (False, True):
            session = acme.sessions.resume_or_create(user_id=f"ann-{MARKER}", metadata={"name": MARKER})
            session.append_many([{"role": "user", "content": told, "metadata": {"speaker": MARKER}}] * 4)
            session.update(title=MARKER)
            session.consolidate()
            session.context(500, query=MARKER)
            acme.memories.remember(f"Bob knows {MARKER}.", user_id="bob", sources=[(session.id, 1, 2)])
            acme.memories.remember(f"All know {MARKER}.", sources=[(session.id, 1, 2)])
            if whole:
                acme.memories.remember(f"By the app: {MARKER}.", user_id=f"ann-{MARKER}")
                fork = session.fork()
                session.delete()
                assert fork.info.message_count == 4
            everywhere = set(found(postgres_url, MARKER, redis_url))
            assert {"sessions", "messages", "memories", "memory_terms", "spend"} <= everywhere
            if whole:
                erased = acme.users.erase(f"ann-{MARKER}")
                assert (erased.sessions, erased.messages) == (2, 8)
                assert min(erased.memories, erased.events, erased.spend) > 0
                assert found(postgres_url, MARKER, redis_url) == []
                assert acme.users.erase(f"ann-{MARKER}") == type(erased)()
            else:
                erased = session.erase()
                assert (erased.sessions, erased.messages) == (1, 4)
                assert min(erased.memories, erased.events, erased.spend) > 0
                left = found(postgres_url, f"{MARKER}.", redis_url)
                assert left == []
        assert [message.text for message in other.history()] == ["I am Bob."]
    assert rows(postgres_url, "select count(*) from chatmemory.memory_terms") == [(0,)]
