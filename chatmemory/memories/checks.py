"""Checks of what a caller gives to recall and to remember."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Any

from chatmemory.errors import InvalidInputError
from chatmemory.memories.records import MEMORY_KINDS, TRUSTS, MemoryKind, MemorySource, Trust
from chatmemory.validation import check_choice, check_count, check_id, check_list, check_text

MAX_QUERY, MAX_TEXT = 10_000, 10_000  # characters


def check_kinds(kinds: Sequence[MemoryKind] | None, default: tuple[MemoryKind, ...]) -> list[MemoryKind]:
    """Return kinds of memories, or the default for None."""
    listed = default if kinds is None else check_list(kinds, "kinds")
    return [check_choice(kind, "kinds", MEMORY_KINDS) for kind in listed]


def check_query(query: object) -> str:
    """Return a query, cut to the longest that is searched for."""
    check_text(query, "query")
    return str(query)[:MAX_QUERY]


def check_memory_text(text: object) -> str:
    """Return the text of a memory; refuse one that is blank or too long."""
    check_text(text, "text")
    checked = str(text)
    if not checked.strip() or len(checked) > MAX_TEXT:
        raise InvalidInputError(f"text has {len(checked)} characters; it must say something, in at most {MAX_TEXT}.")
    return checked


def check_sources(sources: Iterable[MemorySource | tuple[str, int, int]] | None) -> tuple[MemorySource, ...]:
    """Return the sources of a memory; none for None."""
    return () if sources is None else tuple(map(_source, check_list(sources, "sources")))


def _source(source: MemorySource | tuple[str, int, int]) -> MemorySource:
    try:
        session_id, from_seq, to_seq = astuple(source) if isinstance(source, MemorySource) else source
    except (TypeError, ValueError):
        raise InvalidInputError("a source must be (session_id, from_seq, to_seq).") from None
    first = check_count(from_seq, "from_seq", least=0 if to_seq == 0 else 1)
    return MemorySource(check_id(session_id, "session_id"), first, check_count(to_seq, "to_seq", least=first))


def trust_of(trust: Trust, sources: Sequence[MemorySource], found: Sequence[Sequence[Sequence[Any]]]) -> Trust:
    """Return how far a memory can be trusted: no further than the least trusted of its sources.

    Args:
        trust: Who vouches for it.
        sources: What it cites.
        found: For each source, one row: how many of its messages there are, and the lowest trust among them.

    Raises:
        InvalidInputError: A source does not exist.
    """
    trusts = [TRUSTS.index(trust)]
    for source, [(count, lowest)] in zip(sources, found, strict=False):
        if source.to_seq == 0 and not count:
            raise InvalidInputError(f"there is no session {source.session_id!r} to cite.")
        if source.to_seq and count != source.to_seq - source.from_seq + 1:
            raise InvalidInputError(f"there are no messages {source.from_seq} to {source.to_seq} to cite.")
        trusts.append(lowest)
    return TRUSTS[min(trusts)]
