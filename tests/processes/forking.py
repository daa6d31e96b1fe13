"""A server that opens its memory, forks workers (as gunicorn does with --preload), and goes on itself.

    python -m tests.processes.forking URL

An empty URL is the embedded server. Prints what each process read last, as JSON lines.
"""

import asyncio
import gc
import json
import os
import sys

from chatmemory import AsyncChatMemory, ChatMemory, Session, Settings

WORKERS = 4
EACH = 25
SETTINGS = Settings(cleanup_inactive_sessions=False)


def main(url: str) -> None:
    """Append in the parent, in all workers at once, and in the parent again."""
    memory = ChatMemory.open(url or None, settings=SETTINGS)
    async_memory = AsyncChatMemory.open(url or None, settings=SETTINGS)
    session = memory.tenant("acme").sessions.create(user_id="ann")
    session.append("user", "before")
    asyncio.run(_append(async_memory, session.id, "before"))  # leaves its pool behind, as a preloading app may
    workers = []
    for number in range(WORKERS):
        worker = os.fork()
        if not worker:
            _work(memory, async_memory, session, number)
            sys.exit(0)
        workers.append(worker)
    for turn in range(EACH):
        session.append("user", f"parent, {turn}")
    failed = [status for status in (os.waitpid(worker, 0)[1] for worker in workers) if status]
    session.append("user", "after")
    print(json.dumps([failed, [message.seq for message in session.history(1000)]]), flush=True)
    memory.close()


def _work(memory: ChatMemory, async_memory: AsyncChatMemory, session: Session, number: int) -> None:
    for turn in range(EACH):
        session.append("user", f"worker {number}, {turn}")
    asyncio.run(_append(async_memory, session.id, "worker"))
    gc.collect()
    print(json.dumps(len(session.history(1000))), flush=True)
    memory.close()


async def _append(memory: AsyncChatMemory, session_id: str, text: str) -> None:
    session = await memory.tenant("acme").sessions.get(session_id)
    await session.append("user", text)


if __name__ == "__main__":
    main(sys.argv[1])
