"""The threads of a worker."""

import threading

from chatmemory import ChatMemory


def test_a_worker_that_ends_leaves_no_thread(memory: ChatMemory) -> None:
    """Also one that nobody stops, as it ends by itself when nothing is due."""
    memory.run_worker(until_idle=True)
    before = threading.active_count()
    for _ in range(3):
        memory.run_worker(until_idle=True, concurrency=2)
    stop = threading.Event()
    stop.set()
    memory.run_worker(stop=stop)
    for thread in threading.enumerate():
        if thread.name == "chatmemory-wakeup":
            thread.join(60)
    assert threading.active_count() <= before
