"""Sessions, users and tenants erased while others append, learn, recall, remember and erase the same."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg

from chatmemory import ChatMemory, InvalidInputError, MemoryNotFoundError, SessionError, Settings, Tenant

CALLS = 60
ORPHANS = (
    "select count(*) from chatmemory.memory_terms t where not exists (select from chatmemory.memories m "
    "where m.tenant_id = t.tenant_id and m.user_id = t.user_id and m.place = t.place)"
)
MISCOUNTED = (
    "select u.tenant_id, u.user_id, u.places, count(m.id) from chatmemory.memory_users u "
    "left join chatmemory.memories m on m.tenant_id = u.tenant_id and m.user_id = u.user_id "
    "group by 1, 2, 3 having u.places <> count(m.id)"
)


def some_call(memory: ChatMemory, chance: random.Random) -> Callable[[], object]:
    """A call on one of four sessions of two users."""
    acme = memory.tenant("acme")
    user, other, id = chance.choice("uv"), chance.choice("uv"), chance.choice("wxyz")
    calls: list[Callable[[], object]] = [
        lambda: talk(acme, id, user),
        lambda: talk(acme, id, user),
        lambda: acme.sessions.get(id).consolidate(),
        lambda: acme.sessions.get(id).consolidate(),
        lambda: acme.memories.recall("office Lisbon", user_id=user),
        lambda: acme.memories.remember("It is in Lisbon.", user_id=other, sources=[(id, 1, 1)]),
        lambda: acme.memories.remember("The office is in May.", sources=[(id, 1, 1)]),
        lambda: acme.sessions.get(id).fork(user_id=other),
        lambda: acme.sessions.get(id).erase(),
        lambda: acme.users.erase(user),
        lambda: acme.sessions.end_many(["z", "x", "w", "y"]),
        lambda: list(acme.export()),
        acme.erase,
    ]
    return chance.choice(calls)


def talk(acme: Tenant, id: str, user: str) -> None:
    """A turn in a session that begins with it, or goes on."""
    session = acme.sessions.resume_or_create(id, user_id=user, on_missing="adopt")
    session.append_many([{"role": "user", "content": "The office is in Lisbon."}] * 4)


def test_erasing_disturbs_nobody_else(postgres_url: str) -> None:
    """Typed answers only, no deadlock, and what is left agrees: words have their memories, and users their number."""
    settings = Settings(cleanup_inactive_sessions=False)
    with ChatMemory.open(postgres_url, settings=settings) as memory, ThreadPoolExecutor(6) as pool:

        def work(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(CALLS):
                try:
                    some_call(memory, chance)()
                except (SessionError, MemoryNotFoundError, InvalidInputError):  # gone, or not there to be cited
                    continue

        for done in [pool.submit(work, seed) for seed in range(6)]:
            done.result()
        with psycopg.connect(postgres_url) as connection:
            assert connection.execute(ORPHANS.encode()).fetchall() == [(0,)]
            assert connection.execute(MISCOUNTED.encode()).fetchall() == []
        memory.tenant("acme").erase()
        assert len(list(memory.tenant("acme").export())) == 1, "the line that names the format"
