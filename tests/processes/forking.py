"""A server that opens its memory, forks workers (as gunicorn does with --preload), and goes on itself.

    python -m tests.processes.forking URL REDIS

An empty URL is the embedded server. Prints where each process's contexts came from, and what the parent read last, as
JSON lines.
"""

import asyncio
import gc
import json
import os
import sys

from chatmemory import AsyncChatMemory, ChatMemory, Session, Settings
from chatmemory._async.storage.redis_windows import AsyncWindows
from chatmemory._sync.storage.redis_windows import Windows
from tests.helpers import check_newest

WORKERS = 4
EACH = 15
MOST = 7
SETTINGS = Settings(cleanup_inactive_sessions=False, redis_timeout_seconds=60)  # a busy machine is no fault of Redis


def main(url: str, redis_url: str) -> None:
    """Append and read in the parent, in all workers at once, and in the parent again."""
    for windows in (AsyncWindows, Windows):
        windows.lag = 0.0  # type: ignore[method-assign, assignment]  # Redis is asked right after an append, too
    memory = ChatMemory.open(url or None, redis=redis_url, settings=SETTINGS)
    async_memory = AsyncChatMemory.open(url or None, redis=redis_url, settings=SETTINGS)
    session = memory.tenant("acme").sessions.create(user_id="ann")
    before = [[_turn(session)], asyncio.run(_async_turns(async_memory, session.id, 1))]  # which leaves its pools behind
    workers = []
    for _ in range(WORKERS):
        worker = os.fork()
        if not worker:
            _work(memory, async_memory, session)
            sys.exit(0)
        workers.append(worker)
    sources = {_turn(session) for _ in range(EACH)}
    failed = [status for status in (os.waitpid(worker, 0)[1] for worker in workers) if status]
    session.append("user", "after")
    seqs = [message.seq for message in session.history(1000)]
    assert check_newest(session.context(max_messages=MOST), MOST, seqs[-1]) == seqs[-1]
    print(json.dumps([failed, seqs, [*before, sorted(sources)]]), flush=True)
    memory.close()


def _work(memory: ChatMemory, async_memory: AsyncChatMemory, session: Session) -> None:
    sources = sorted({_turn(session) for _ in range(EACH)})
    async_sources = asyncio.run(_async_turns(async_memory, session.id, EACH))
    gc.collect()
    print(json.dumps([sources, async_sources]), flush=True)
    memory.close()


def _turn(session: Session) -> str:
    """Append, and read twice, since another process may have left a gap; where the second context came from."""
    seen = session.append("user", "x").seq
    seen = check_newest(session.context(max_messages=MOST), MOST, seen)
    context = session.context(max_messages=MOST)
    check_newest(context, MOST, seen)
    return context.source


async def _async_turns(memory: AsyncChatMemory, session_id: str, count: int) -> list[str]:
    session = await memory.tenant("acme").sessions.get(session_id)
    sources = set()
    for _ in range(count):
        seen = (await session.append("user", "x")).seq
        seen = check_newest(await session.context(max_messages=MOST), MOST, seen)
        context = await session.context(max_messages=MOST)
        check_newest(context, MOST, seen)
        sources.add(context.source)
    return sorted(sources)


if __name__ == "__main__":
    main(*sys.argv[1:])
