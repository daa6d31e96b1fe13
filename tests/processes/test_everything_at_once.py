"""All calls on the same few sessions, from many threads: typed outcomes only, and consistent rows."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg

from chatmemory import ChatMemory, SessionError, Settings

CALLS = 300
TURN = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
COUNTS = (
    "select s.id from chatmemory.sessions s left join lateral (select count(*) as n, coalesce(max(seq), 0) as top "
    "from chatmemory.messages m where m.tenant_id = s.tenant_id and m.session_id = s.id) found on true "
    "where found.n <> s.message_count or found.top <> s.last_seq"
)


def some_call(memory: ChatMemory, chance: random.Random) -> Callable[[], object]:
    """A call on one of four ids of two users in two tenants."""
    sessions = memory.tenant(chance.choice("ab")).sessions
    user, other, id = chance.choice("uv"), chance.choice("uv"), chance.choice("wxyz")
    return chance.choice(
        [
            lambda: sessions.resume_or_create(id, user_id=user, on_missing="adopt").append_many(TURN),
            lambda: sessions.resume_or_create(id, user_id=user, on_missing="adopt").append_many(TURN),
            lambda: sessions.create(user_id=user).append("user", "x", message_id="m"),
            lambda: sessions.get(id).end(),
            lambda: sessions.get(id).fork(user_id=other),
            lambda: sessions.get(id).delete(),
            lambda: sessions.restore(id),
            lambda: sessions.get(id).update(title=user, metadata={"k": 1}),
            lambda: sessions.get(id).erase(),
            lambda: memory.tenant("a").users.erase(user),
            lambda: memory.tenant("b").erase(),
            lambda: sessions.end_inactive(timedelta(milliseconds=50)),
            memory.clean_up,
        ]
    )


def test_no_call_fails_for_the_others_sake(postgres_url: str) -> None:
    """No deadlock and no broken constraint reaches a caller, and counters agree with messages."""
    settings = Settings(max_sessions_per_user=3, session_timeout_hours=0.0001, cleanup_inactive_sessions=False)
    with ChatMemory.open(postgres_url, settings=settings) as memory, ThreadPoolExecutor(8) as pool:

        def work(seed: int) -> None:
            chance = random.Random(seed)
            for _ in range(CALLS):
                try:
                    some_call(memory, chance)()
                except SessionError:  # ended, deleted or erased by somebody else: that is an answer
                    continue

        for done in [pool.submit(work, seed) for seed in range(8)]:
            done.result()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute(COUNTS.encode()).fetchall() == []
