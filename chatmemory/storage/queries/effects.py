"""The effect of a statement: when a connection is lost, a call that only reads must not say that it may have stored."""

import re
from functools import lru_cache

from chatmemory.storage.queries import learning, memories, runs

# Functions of the schema that store nothing; any other one counts as one that does. find_terms renews the words of
# memories that are stored already.
READING_FUNCTIONS = frozenset(
    (
        "find_near",
        "find_terms",
        "folded_text",
        "item_scores",
        "list_tenants",
        "messages_after",
        "read_metrics",
        "read_window",
        "words",
    )
)
# Records of reading: its caller did not ask to store them.
_BOOKKEEPING = frozenset((learning.ADD_SPEND, memories.RECALLED, memories.SOON, runs.END_LOST))
_BEGINS = re.compile(r"\s*(?:select|with)\b")
_WRITES = re.compile(r"\b(?:insert|delete|merge|truncate)\b|\bupdate chatmemory\.")  # not "for no key update"
_CALLED = re.compile(r"\bchatmemory\.(\w+)\(")


@lru_cache(maxsize=1024)  # a search for runs is made of what its caller asks
def may_store(query: str) -> bool:
    """Return whether a statement may store something for its caller."""
    if query in _BOOKKEEPING:
        return False
    if not _BEGINS.match(query) or _WRITES.search(query):
        return True
    return not READING_FUNCTIONS.issuperset(_CALLED.findall(query))
