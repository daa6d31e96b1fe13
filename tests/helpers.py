"""Helpers shared by several tests."""

from collections.abc import Callable
from typing import Any

from chatmemory import ChatMemory, Context, Tenant


def calls(*each: Callable[[], Any]) -> tuple[Callable[[], Any], ...]:
    """Calls that are still to be made, whatever each returns."""
    return each


def check_newest(context: Context, most: int, seen: int) -> int:
    """See that a context is the newest `most` messages without a gap, up to `seen` at least; return its last seq."""
    seqs = [message.seq for message in context]
    last = seqs[-1] if seqs else 0
    assert seqs == list(range(max(1, last - most + 1), last + 1)), seqs
    assert last >= seen, f"the reader had seen {seen}, the context ends at {last}"
    return last


def meanwhile(url: str, act: Callable[[Tenant], Any]) -> None:
    """Do something in tenant acme from another process's point of view, while the caller of a model waits."""
    with ChatMemory.open(url) as memory:
        act(memory.tenant("acme"))
