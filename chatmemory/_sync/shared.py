# Generated from chatmemory/_async/shared.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The objects that all handles of one memory share."""

from collections.abc import Callable
from typing import NamedTuple

from chatmemory._sync.memories.providers import Providers
from chatmemory._sync.memories.recall_counts import RecallCounts
from chatmemory._sync.memories.spending import Spending
from chatmemory._sync.memories.storing import MemoryStore
from chatmemory._sync.runs.metrics import Metrics
from chatmemory._sync.storage.database import Database
from chatmemory._sync.storage.pgvector import Pgvector
from chatmemory._sync.storage.redis_windows import Windows
from chatmemory.messages.tokenizer import Tokenizer
from chatmemory.settings import Settings
from chatmemory.storage.recent_cache import RecentMessagesCache


class Shared(NamedTuple):
    """The shared objects of one memory.

    Attributes:
        on_use: Called when a session is created or resumed; starts a clean-up if one is due.
    """

    settings: Settings
    database: Database
    pgvector: Pgvector
    windows: Windows
    recent: RecentMessagesCache
    tokenizer: Tokenizer
    providers: Providers
    store: MemoryStore
    spending: Spending
    metrics: Metrics
    recall_counts: RecallCounts
    on_use: Callable[[], None]
