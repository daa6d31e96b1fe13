"""A process that appends, and exits without closing its memory.

python -m tests.processes.leaving URL REDIS_URL SESSION HALF
"""

import asyncio
import sys

from chatmemory import AsyncChatMemory, ChatMemory, Settings

SETTINGS = Settings(cleanup_inactive_sessions=False)


def main(url: str, redis_url: str, session_id: str) -> None:
    """Leave without closing, with the sync half."""
    memory = ChatMemory.open(url, redis=redis_url, settings=SETTINGS)
    memory.tenant("acme").sessions.get(session_id).append("user", "the last")


async def async_main(url: str, redis_url: str, session_id: str) -> None:
    """Leave without closing, with the async half."""
    memory = AsyncChatMemory.open(url, redis=redis_url, settings=SETTINGS)
    await (await memory.tenant("acme").sessions.get(session_id)).append("user", "the last")


if __name__ == "__main__":
    *given, half = sys.argv[1:]
    if half == "sync":
        main(*given)
    else:
        asyncio.run(async_main(*given))
