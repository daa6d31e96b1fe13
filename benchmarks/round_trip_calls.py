"""The public calls whose round trips are counted, each with its goal and its current number."""

import asyncio
import inspect
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda

from chatmemory import AsyncChatMemory, ChatMemory, NewItem, NewMessage, Settings
from chatmemory_langchain import with_memory

TENANT, USER = "bench", "ann"
TEXT = "I would like to work from Lisbon in July, if the team agrees."
QUERY = "Where does Ann want to work?"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
# No clean-up in the background; a limit that the benchmark's sessions do not reach.
SETTINGS = Settings(cleanup_inactive_sessions=False, max_sessions_per_user=1_000_000)
DUE = SETTINGS.consolidation_messages


class OneMeaning:
    """An embedder that answers at once, in this process: its HTTP call is not counted."""

    name, dimensions = "bench", 3

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The same vector for every text."""
        return [[1.0, 0.0, 0.0] for _ in texts]


class World:
    """One memory without and one with an embedder, sync or async, and the objects that calls are made on."""

    def __init__(self, url: str, face: type[ChatMemory] | type[AsyncChatMemory]) -> None:
        self._runner = asyncio.Runner()
        self._is_sync = face is ChatMemory
        self._numbers = itertools.count()
        self.memory: Any = face.open(url, settings=SETTINGS)
        self._embedding: Any = face.open(url, settings=SETTINGS, embedder=OneMeaning())
        self.tenant, self.embedding_tenant = self.memory.tenant(TENANT), self._embedding.tenant(TENANT)
        self.sessions, self.memories = self.tenant.sessions, self.tenant.memories
        self.items, self.users = self.tenant.items, self.tenant.users
        model: Any = RunnableLambda(lambda _: AIMessage("Noted."))
        chain = with_memory(model, self.memory, recall=False)
        recalling = with_memory(model, self.memory)
        self._ask = chain.invoke if self._is_sync else chain.ainvoke
        self._ask_recalling = recalling.invoke if self._is_sync else recalling.ainvoke
        self.kept = conversation(self)
        self.run = run(self)
        for about in ("Lisbon", "July", "tea"):
            fact(self, f"Ann likes {about}.")
        self.do(self.embedding_tenant.memories.remember, "Ann works in Porto.", user_id=USER)
        self.do(self.items.put, ("app", "ann"), "colour", {"is": "red"}, user_id=USER)

    def settle(self) -> None:
        """Write the recalls that wait to be counted, which otherwise happens beside a later call."""
        for memory in (self.memory, self._embedding):
            self.do(memory._parts.recall_counts.flush)

    def new(self, prefix: str) -> str:
        """Return an unused id."""
        return f"{prefix}-{self.memory.__class__.__name__}-{next(self._numbers)}"

    def do(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Return the result of a call, sync or async."""
        if self._is_sync:
            result = function(*args, **named)
            return list(result) if isinstance(result, Iterator) else result
        return self._runner.run(_done(function, *args, **named))

    def turn(self, *, recall: bool = False) -> Any:
        """One turn of a LangChain chain with memory, in a session of its own."""
        configurable = {"tenant_id": TENANT, "user_id": USER, "session_id": "chain"}
        ask = self._ask_recalling if recall else self._ask
        return ask(TEXT, {"configurable": configurable})

    def close(self) -> None:
        """Close both memories."""
        self.do(self.memory.close)
        self.do(self._embedding.close)
        self._runner.close()


async def _done(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    result = function(*args, **named)
    if isinstance(result, AsyncIterator):
        return [each async for each in result]
    return await result if inspect.isawaitable(result) else result


def turns(count: int) -> list[NewMessage]:
    """Make messages, alternately of the user and the assistant."""
    return [NewMessage(("user", "assistant")[number % 2], TEXT) for number in range(count)]


def conversation(world: World, length: int = 4, **how: Any) -> Any:
    """Make a session with a few messages."""
    session = world.do(world.sessions.create, **{"user_id": USER, **how})
    world.do(session.append_many, turns(length))
    return session


def appended(world: World) -> Any:
    """Make a session to which this handle has just appended."""
    world.do(world.kept.append_many, turns(2))
    return world.kept


def seen_before(world: World) -> Any:
    """Get another handle on a session that this process has used."""
    return world.do(world.sessions.get, world.kept.id)


def run(world: World) -> Any:
    """Make a running training with a metric."""
    session = world.do(world.sessions.create, user_id=USER, kind="training")
    world.do(session.move, "running")
    world.do(session.log_metrics, {"loss": 0.5}, step=1)
    world.do(session.flush)
    return session


def research(world: World) -> Any:
    """Make a running research."""
    session = world.do(world.sessions.create, user_id=USER, kind="research")
    for run_status in ("initializing", "running"):
        world.do(session.move, run_status)
    return session


def paused(world: World) -> Any:
    """Make a paused research."""
    session = research(world)
    world.do(session.pause)
    return session


def expired(world: World) -> Any:
    """Make a session that has expired."""
    session = conversation(world)
    world.do(session.expire)
    return session


def deleted(world: World) -> Any:
    """Make a deleted session."""
    session = conversation(world)
    world.do(session.delete)
    return session


def exported(world: World) -> BytesIO:
    """Make a session that is only in an export file."""
    session = conversation(world)
    file = BytesIO(world.do(session.export).encode())
    world.do(session.erase)
    return file


def nothing_due(world: World) -> None:
    """Learn from all due sessions."""
    while world.do(world.memory.run_due).processed:
        pass


def one_due(world: World) -> Any:
    """Make a session that is due, as the only one."""
    nothing_due(world)
    return conversation(world, DUE)


def fact(world: World, text: str) -> Any:
    """Make a memory of the user."""
    return world.do(world.memories.remember, text, user_id=USER)


def new_fact(world: World) -> Any:
    """Make a memory with a new text."""
    return fact(world, f"Ann has seen {world.new('place')}.")


def somebody(world: World) -> str:
    """Make another user, with a session, a memory and an item."""
    user = world.new("user")
    conversation(world, user_id=user)
    world.do(world.memories.remember, "Likes tea.", user_id=user)
    world.do(world.items.put, ("app", user), "colour", {"is": "red"}, user_id=user)
    return user


def organisation(world: World) -> Any:
    """Make another tenant, with a session, a memory and an item."""
    tenant = world.memory.tenant(world.new("tenant"))
    session = world.do(tenant.sessions.create, user_id=USER)
    world.do(session.append_many, turns(4))
    world.do(tenant.memories.remember, "Likes tea.", user_id=USER)
    world.do(tenant.items.put, ("app",), "colour", {"is": "red"}, user_id=USER)
    return tenant


def kept(world: World) -> Any:
    """Return the first session of the world."""
    return world.kept


class Call(NamedTuple):
    """A public call.

    Attributes:
        name: As users write it.
        now: The round trips that it takes at most today.
        make: Makes the call, with what `given` returned.
        goal: The round trips that it may take; None: no goal was set.
        given: Prepares what the call needs, uncounted.
    """

    name: str
    now: int
    make: Callable[[World, Any], Any]
    goal: int | None = None
    given: Callable[[World], Any] = kept

    @property
    def most(self) -> int:
        """The number a test accepts: the goal, or the current number if the goal is not reached yet."""
        return max(self.now, self.goal or 0)

    @property
    def method(self) -> str:
        """The method's name, with its owner's."""
        return self.name.replace(",", " ").split()[0]

    @property
    def is_read(self) -> bool:
        """True if the call only reads, so that no commit waits for a disk."""
        return self.method.partition(".")[2] in READS.split()


CALLS = [
    Call("session.append", 1, lambda _, s: s.append("user", TEXT), 1),
    Call("session.append_many (2)", 1, lambda _, s: s.append_many(turns(2)), 1),
    Call("session.append_and_context", 1, lambda _, s: s.append_and_context(turns(2)), 1),
    Call("session.context after its own append", 1, lambda _, s: s.context(), 1, appended),
    Call("session.context of a second handle", 0, lambda _, s: s.context(), 1, seen_before),
    Call("session.context, fresh", 1, lambda _, s: s.context(fresh=True), 1),
    Call("session.context, of all the user's chats", 1, lambda _, s: s.context(scope="user")),
    Call("session.context with a query", 3, lambda _, s: s.context(query=QUERY), 3),
    Call("session.history", 1, lambda _, s: s.history(), 1),
    Call("session.messages", 1, lambda _, s: s.messages()),
    Call("sessions.create", 1, lambda w, _: w.sessions.create(user_id=USER), 1),
    Call("sessions.resume_or_create, resuming", 1, lambda w, s: w.sessions.resume_or_create(s.id, user_id=USER), 1),
    Call("sessions.resume_or_create, creating", 1, lambda w, _: w.sessions.resume_or_create(user_id=USER), 1),
    Call(
        "sessions.resume_or_create, reopening",
        1,
        lambda w, s: w.sessions.resume_or_create(s.id, user_id=USER, on_expired="reopen"),
        None,
        expired,
    ),
    Call("sessions.get", 1, lambda w, s: w.sessions.get(s.id), 1),
    Call("sessions.list", 1, lambda w, _: w.sessions.list(user_id=USER, limit=20), 1),
    Call("sessions.search", 1, lambda w, _: w.sessions.search("soup", user_id=USER), 1),
    Call("sessions.compare", 1, lambda w, _: w.sessions.compare([w.run.id])),
    Call("sessions.runs", 3, lambda w, _: w.sessions.runs("best.loss < 1", order_by="best.loss")),
    Call("sessions.end_many (1)", 5, lambda w, s: w.sessions.end_many([s.id]), None, conversation),
    Call("sessions.end_inactive, nothing idle", 1, lambda w, _: w.sessions.end_inactive(timedelta(days=1))),
    Call("sessions.restore", 1, lambda w, s: w.sessions.restore(s.id), None, deleted),
    Call("session.reopen", 1, lambda _, s: s.reopen(), None, expired),
    Call("session.refresh", 1, lambda _, s: s.refresh()),
    Call("session.update", 2, lambda w, s: s.update(title=w.new("title")), 2),
    Call("session.move", 2, lambda _, s: s.move("paused"), 2, research),
    Call("session.pause", 2, lambda _, s: s.pause(), 2, research),
    Call("session.unpause", 2, lambda _, s: s.unpause(), 2, paused),
    Call("session.status_history", 1, lambda w, _: w.run.status_history()),
    Call(
        "session.flush after log_metrics", 4, lambda _, s: (s.log_metrics({"loss": 1}, step=2), s.flush())[1], None, run
    ),
    Call("session.drop_metrics", 1, lambda _, s: s.drop_metrics(0), None, run),
    Call("session.beat", 1, lambda _, s: s.beat(), None, run),
    Call("session.reopen_run", 1, lambda _, s: s.reopen_run(), None, run),
    Call("memory.flush, nothing on its way", 0, lambda w, _: w.memory.flush()),
    Call("session.metrics", 1, lambda w, _: w.run.metrics()),
    Call("session.events", 1, lambda _, s: s.events()),
    Call("session.export", 4, lambda _, s: s.export(), None, conversation),
    Call("session.export_lines", 2, lambda _, s: s.export_lines(), None, conversation),
    Call("session.end", 4, lambda _, s: s.end(), 2, conversation),
    Call("session.end of a run", 10, lambda _, s: s.end(results={"loss": 0.1}), 2, run),
    Call("session.cancel", 4, lambda _, s: s.cancel(), 2, conversation),
    Call("session.expire", 4, lambda _, s: s.expire(), 2, conversation),
    Call("session.fork", 2, lambda _, s: s.fork(), None, conversation),
    Call("session.delete", 1, lambda _, s: s.delete(), None, conversation),
    Call("session.restore", 1, lambda _, s: s.restore(), None, deleted),
    Call("session.erase", 2, lambda _, s: s.erase(), 2, conversation),
    Call("session.consolidate", 20, lambda _, s: s.consolidate(), None, conversation),
    Call("memories.recall", 2, lambda w, _: w.memories.recall(QUERY, user_id=USER), 2),
    Call(
        "memories.recall with an embedder",
        2,
        lambda w, _: w.embedding_tenant.memories.recall(QUERY, user_id=USER),
        3,
    ),
    Call("memories.remember", 2, lambda w, _: w.memories.remember(w.new("Saw place"), user_id=USER)),
    Call("memories.correct", 3, lambda w, m: w.memories.correct(m.id, w.new("Saw place")), None, new_fact),
    Call("memories.forget", 2, lambda w, m: w.memories.forget(m.id), None, new_fact),
    Call("memories.get", 1, lambda w, m: w.memories.get(m.id), None, new_fact),
    Call("memories.history", 1, lambda w, m: w.memories.history(m.id), None, new_fact),
    Call("memories.list", 1, lambda w, _: w.memories.list(user_id=USER)),
    Call("memories.stats", 1, lambda w, _: w.memories.stats(USER)),
    Call("memories.prune, dry", 2, lambda w, _: w.memories.prune(older_than=timedelta(days=1), dry_run=True)),
    Call("memories.unprune", 4, lambda w, _: w.memories.unprune(USER)),
    Call("memories.reembed, nothing to do", 2, lambda w, _: w.embedding_tenant.memories.reembed()),
    Call("items.put", 1, lambda w, _: w.items.put(("app", "ann"), "colour", {"is": "red"}, user_id=USER)),
    Call("items.put_many (2)", 1, lambda w, _: w.items.put_many([NewItem(("app",), key, {}) for key in "ab"])),
    Call("items.get", 1, lambda w, _: w.items.get(("app", "ann"), "colour")),
    Call("items.search", 1, lambda w, _: w.items.search(("app",), query="red")),
    Call("items.sweep", 1, lambda w, _: w.items.sweep()),
    Call("items.namespaces", 1, lambda w, _: w.items.namespaces()),
    Call("items.delete", 1, lambda w, _: w.items.delete(("app",), "a")),
    Call("users.list", 1, lambda w, _: w.users.list()),
    Call("memory.tenants", 1, lambda w, _: w.memory.tenants()),
    Call("users.recent", 1, lambda w, _: w.users.recent(USER)),
    Call("users.profile", 1, lambda w, _: w.users.profile(USER)),
    Call("users.export", 3, lambda w, user: w.users.export(user), None, somebody),
    Call("users.erase", 2, lambda w, user: w.users.erase(user), None, somebody),
    Call("tenant.spend", 1, lambda w, _: w.tenant.spend(since=LONG_AGO)),
    Call("memory.run_due, one session", 12, lambda w, _: w.memory.run_due(1), None, one_due),
    Call("memory.run_due, nothing due", 2, lambda w, _: w.memory.run_due(), None, nothing_due),
    Call("memory.clean_up, nothing idle", 2, lambda w, _: w.memory.clean_up()),
    Call("memory.examine", 33, lambda w, _: w.memory.examine()),
    Call("memory.migrate, up to date", 9, lambda w, _: w.memory.migrate()),
    Call("tenant.export", 3, lambda _, tenant: tenant.export(), None, organisation),
    Call("tenant.erase", 3, lambda _, tenant: tenant.erase(), None, organisation),
    Call("tenant.import_conversations (1)", 10, lambda w, file: w.tenant.import_conversations(file), None, exported),
    Call("memory.retry_parked", 1, lambda w, _: w.memory.retry_parked()),
    Call("memory.health", 1, lambda w, _: w.memory.health()),
    Call("a with_memory turn, recall=False", 2, lambda w, _: w.turn(), 2),
    Call("a with_memory turn", 5, lambda w, _: w.turn(recall=True)),
]
READS = (
    "compare context end_inactive events examine export export_lines get health history list messages metrics "
    "namespaces profile prune recall recent refresh runs search spend stats status_history tenants"
)
# Public calls without a row, and why.
UNCOUNTED = {
    "memory.run_worker": "run_due, again and again",
    "memory.migration_script": "no I/O",
    "memory.open": "no I/O",
    "memory.tenant": "no I/O",
    "memory.close": "ends the connections",
    "session.info": "no I/O",
    "session.log_metrics": "never waits; flush writes",
    "session.summary": "no I/O",
    "session.with_own_buffer": "no I/O",
}
