"""The calls that benchmarks/turn.py times: chatmemory's and the floor's, sync and async."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda

from benchmarks.floor import TENANT, AsyncFloor, Floor
from chatmemory import AsyncChatMemory, AsyncSession, ChatMemory, NewMessage, Session, Settings
from chatmemory_langchain import with_memory

TEXT = (
    "Thank you, that helps a lot. Before we go on: the invoice of last month still shows the old address, "
    "although I changed it in the portal two weeks ago. Could you look into why it was not taken over, and tell "
    "me whether the next one will be right? Our accountant needs it by Friday, and I would rather not ask twice. "
)
SETTINGS = Settings(cleanup_inactive_sessions=False)
REMEMBERING, QUERY = "remembering", "invoice or address"
MEMORIES = 100
MESSAGES = 4  # of a session to end: enough to be learnt from


class Operation(NamedTuple):
    """A timed operation.

    Attributes:
        growth: The messages by which it lengthens a session.
        goal: The p50 it may take, over the floor's; None: none was set.
        group: Operations of a group take place in the same sessions; None: in none, or in one of their own.
        lengths: The lengths of the sessions; None: those that were asked for.
    """

    growth: int
    goal: float | None
    group: str | None
    lengths: tuple[int, ...] | None = None


# A turn is append_many of 2 and context(20).
OPERATIONS = {
    "append": Operation(1, 1.3, "handles"),
    "append_many of 2": Operation(2, 1.3, "handles"),
    "history(20)": Operation(0, 1.3, "handles"),
    "turn": Operation(2, 1.4, "handles"),
    "append_and_context": Operation(2, 1.6, "handles"),
    "with_memory turn": Operation(2, 1.6, "chain", (10, 10_000)),
    "resume_or_create and context": Operation(0, None, "chain", (10, 10_000)),
    "end": Operation(0, None, None, (MESSAGES,)),
    "recall": Operation(0, None, None, (MEMORIES,)),
}
GROUPS = ("handles", "chain")
WITH_REDIS = ("turn", "append_and_context")


class Variant(NamedTuple):
    """A timed variant: one operation, of chatmemory or the floor, sync or async, at one length."""

    length: int
    operation: str
    style: str
    whose: str


def turn_of(count: int = 2) -> list[NewMessage]:
    """Make one or more turns to append."""
    return [NewMessage(("user", "assistant")[number % 2], TEXT) for number in range(count)]


async def _reply(_: object) -> AIMessage:
    return AIMessage(TEXT)


CHAIN = RunnableLambda(lambda _: AIMessage(TEXT), afunc=_reply)
"""A chain that returns its answer at once."""


def _prompt(rows: list[Any]) -> list[BaseMessage]:
    """Convert the floor's rows to LangChain's messages, and add a new one."""
    past = (HumanMessage(row[3], id=row[1]) if row[2] == "user" else AIMessage(row[3], id=row[1]) for row in rows)
    return [*past, HumanMessage(TEXT)]


def _config(session: Session | AsyncSession) -> RunnableConfig:
    return {"configurable": {"tenant_id": TENANT, "user_id": session.info.user_id, "session_id": session.id}}


class Calls:
    """The sync variants."""

    def __init__(self, memories: list[ChatMemory], floor: Floor) -> None:
        self._tenants = [memory.tenant(TENANT) for memory in memories]  # without Redis, and with
        self._chain = with_memory(CHAIN, memories[0], history_size=20, recall=False)
        self._floor = floor
        self._used: dict[tuple[str, bool], Session] = {}

    def time(self, variant: Variant, ids: list[str]) -> list[float]:
        """Return the seconds of each call."""
        took = []
        for call in [self._call(variant, id) for id in ids]:
            begun = time.perf_counter()
            call()
            took.append(time.perf_counter() - begun)
        return took

    def _call(self, variant: Variant, id: str) -> Callable[[], object]:
        if variant.whose == "floor":
            return self._by_hand(variant.operation, id)
        if variant.operation == "end":
            session = self._tenants[0].sessions.create(user_id=f"ending {uuid4()}")
            session.append_many(turn_of(MESSAGES))
            return session.end
        if variant.operation == "recall":
            return partial(self._tenants[0].memories.recall, QUERY, user_id=REMEMBERING)
        if OPERATIONS[variant.operation].group == "chain":
            return self._chained(variant.operation, id)
        return self._on_handle(variant.operation, id)

    def _by_hand(self, operation: str, id: str) -> Callable[[], object]:
        floor = self._floor
        if operation == "end":
            id = f"ending {uuid4()}"
            floor.begin(id)

        def chain_turn() -> None:
            CHAIN.invoke(_prompt(floor.history(id)))
            floor.append_two(id, TEXT)

        return {
            "append": lambda: floor.append(id, TEXT),
            "append_many of 2": lambda: floor.append_two(id, TEXT),
            "history(20)": lambda: floor.history(id),
            "turn": lambda: floor.turn(id, TEXT),
            "append_and_context": lambda: floor.append_and_read(id, TEXT),
            "with_memory turn": chain_turn,
            "resume_or_create and context": lambda: (floor.resume(id), floor.history(id)),
            "end": lambda: floor.end(id),
            "recall": lambda: floor.recall(REMEMBERING, QUERY),
        }[operation]

    def _chained(self, operation: str, id: str) -> Callable[[], object]:
        """Make a call on a session without a handle in this process; the session has had a turn."""
        sessions = self._tenants[0].sessions
        if (id, False) not in self._used:
            self._used[id, False] = sessions.get(id)
            self._chain.invoke(TEXT, _config(self._used[id, False]))
        config = _config(self._used[id, False])
        user = self._used[id, False].info.user_id
        return {
            "with_memory turn": lambda: self._chain.invoke(TEXT, config),
            "resume_or_create and context": (
                lambda: sessions.resume_or_create(id, user_id=user).context(max_messages=20)
            ),
        }[operation]

    def _on_handle(self, operation: str, id: str) -> Callable[[], object]:
        """A call on a handle that is kept, as in a conversation."""
        with_redis = operation in WITH_REDIS
        if (id, with_redis) not in self._used:
            self._used[id, with_redis] = self._tenants[with_redis].sessions.get(id)
            self._used[id, with_redis].context(max_messages=20)
        session = self._used[id, with_redis]

        def turn() -> object:
            session.append_many(turn_of())
            return session.context(max_messages=20)

        return {
            "append": lambda: session.append("user", TEXT),
            "append_many of 2": lambda: session.append_many(turn_of()),
            "turn": turn,
            "append_and_context": lambda: session.append_and_context(turn_of(), max_messages=20),
            "history(20)": lambda: session.history(20),
        }[operation]


class AsyncCalls:
    """The async variants."""

    def __init__(self, memories: list[AsyncChatMemory], floor: AsyncFloor) -> None:
        self._tenants = [memory.tenant(TENANT) for memory in memories]  # without Redis, and with
        self._chain = with_memory(CHAIN, memories[0], history_size=20, recall=False)
        self._floor = floor
        self._used: dict[tuple[str, bool], AsyncSession] = {}

    async def time(self, variant: Variant, ids: list[str]) -> list[float]:
        """Return the seconds of each call."""
        took = []
        for call in [await self._call(variant, id) for id in ids]:
            begun = time.perf_counter()
            await call()
            took.append(time.perf_counter() - begun)
        return took

    async def _call(self, variant: Variant, id: str) -> Callable[[], Awaitable[object]]:
        if variant.whose == "floor":
            return await self._by_hand(variant.operation, id)
        if variant.operation == "end":
            session = await self._tenants[0].sessions.create(user_id=f"ending {uuid4()}")
            await session.append_many(turn_of(MESSAGES))
            return session.end
        if variant.operation == "recall":
            return partial(self._tenants[0].memories.recall, QUERY, user_id=REMEMBERING)
        if OPERATIONS[variant.operation].group == "chain":
            return await self._chained(variant.operation, id)
        return await self._on_handle(variant.operation, id)

    async def _by_hand(self, operation: str, id: str) -> Callable[[], Awaitable[object]]:
        floor = self._floor
        if operation == "end":
            id = f"ending {uuid4()}"
            await floor.begin(id)

        async def chain_turn() -> None:
            await CHAIN.ainvoke(_prompt(await floor.history(id)))
            await floor.append_two(id, TEXT)

        async def resumed() -> object:
            return await floor.resume(id), await floor.history(id)

        return {
            "append": lambda: floor.append(id, TEXT),
            "append_many of 2": lambda: floor.append_two(id, TEXT),
            "history(20)": lambda: floor.history(id),
            "turn": lambda: floor.turn(id, TEXT),
            "append_and_context": lambda: floor.append_and_read(id, TEXT),
            "with_memory turn": chain_turn,
            "resume_or_create and context": resumed,
            "end": lambda: floor.end(id),
            "recall": lambda: floor.recall(REMEMBERING, QUERY),
        }[operation]

    async def _chained(self, operation: str, id: str) -> Callable[[], Awaitable[object]]:
        """Make a call on a session without a handle in this process; the session has had a turn."""
        sessions = self._tenants[0].sessions
        if (id, False) not in self._used:
            self._used[id, False] = await sessions.get(id)
            await self._chain.ainvoke(TEXT, _config(self._used[id, False]))
        config = _config(self._used[id, False])
        user = self._used[id, False].info.user_id

        async def resumed() -> object:
            session = await sessions.resume_or_create(id, user_id=user)
            return await session.context(max_messages=20)

        return {
            "with_memory turn": lambda: self._chain.ainvoke(TEXT, config),
            "resume_or_create and context": resumed,
        }[operation]

    async def _on_handle(self, operation: str, id: str) -> Callable[[], Awaitable[object]]:
        """A call on a handle that is kept, as in a conversation."""
        with_redis = operation in WITH_REDIS
        if (id, with_redis) not in self._used:
            self._used[id, with_redis] = await self._tenants[with_redis].sessions.get(id)
            await self._used[id, with_redis].context(max_messages=20)
        session = self._used[id, with_redis]

        async def turn() -> object:
            await session.append_many(turn_of())
            return await session.context(max_messages=20)

        return {
            "append": lambda: session.append("user", TEXT),
            "append_many of 2": lambda: session.append_many(turn_of()),
            "turn": turn,
            "append_and_context": lambda: session.append_and_context(turn_of(), max_messages=20),
            "history(20)": lambda: session.history(20),
        }[operation]
