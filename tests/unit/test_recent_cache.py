"""The memory that the cache of recent messages takes."""

import gc
import os
import signal
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from chatmemory import Message, Settings
from chatmemory.context.window import Window
from chatmemory.storage.recent_cache import RecentMessagesCache

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BOUND = 8_000_000  # bytes


def short(number: int) -> str:
    """A message of a few words."""
    return f"message {number}"


def long(number: int) -> str:
    """A message of two paragraphs, not all of it ASCII."""
    return f"{number} Grüße aus Lissabon. " * 40


def touch(cache: RecentMessagesCache, number: int, text: Callable[[int], str]) -> None:
    """Read the ten messages of a session."""
    messages = [
        Message(seq, str(uuid4()), "user", text(seq), BEGIN + timedelta(seconds=number + seq), {}, 300 + seq, "o200k")
        for seq in range(1001, 1011)
    ]
    cached = cache.session("acme", str(uuid4()), BEGIN + timedelta(seconds=number))
    cache.read(cached, Window(messages, None, 1001, 1010, 1000, "postgres"), 0)


def taken(text: Callable[[int], str], sessions: int) -> tuple[int, int]:
    """The bytes that the cache counts, and those that Python has allocated for it, after so many sessions."""
    cache = RecentMessagesCache(Settings(recent_messages_bytes=BOUND), lambda: 0)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(sessions):
            touch(cache, number, text)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        return cache.size, after - before
    finally:
        tracemalloc.stop()


def test_ten_thousand_sessions_stay_within_the_bound() -> None:
    """Short messages and long ones: the cache counts no more than its bound, and Python has allocated no more."""
    for text, sessions in ((short, 10_000), (long, 2_000)):
        counted, allocated = taken(text, sessions)
        assert 0.95 * BOUND < counted <= BOUND
        assert 0.7 * counted < allocated < counted, f"{allocated} bytes for {counted} of {text.__name__} messages"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_begins_empty() -> None:
    """It waits for no thread of its parent that was at the cache, and the parent keeps what it has."""
    cache = RecentMessagesCache(Settings(), lambda: 0)
    touch(cache, 1, short)
    before = cache.size
    with cache.guard:  # as another thread may hold it
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            is_empty = cache.size == 0
            touch(cache, 2, short)
            os._exit(0 if is_empty and cache.size == before else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache.size == before
