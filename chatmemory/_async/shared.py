"""The objects that all handles of one memory share."""

from collections.abc import Callable
from typing import NamedTuple

from chatmemory._async.memories.providers import AsyncProviders
from chatmemory._async.memories.recall_counts import AsyncRecallCounts
from chatmemory._async.memories.spending import AsyncSpending
from chatmemory._async.memories.storing import AsyncMemoryStore
from chatmemory._async.runs.metrics import AsyncMetrics
from chatmemory._async.storage.database import AsyncDatabase
from chatmemory._async.storage.pgvector import AsyncPgvector
from chatmemory._async.storage.redis_windows import AsyncWindows
from chatmemory.messages.tokenizer import Tokenizer
from chatmemory.settings import Settings
from chatmemory.storage.recent_cache import RecentMessagesCache


class AsyncShared(NamedTuple):
    """The shared objects of one memory.

    Attributes:
        on_use: Called when a session is created or resumed; starts a clean-up if one is due.
    """

    settings: Settings
    database: AsyncDatabase
    pgvector: AsyncPgvector
    windows: AsyncWindows
    recent: RecentMessagesCache
    tokenizer: Tokenizer
    providers: AsyncProviders
    store: AsyncMemoryStore
    spending: AsyncSpending
    metrics: AsyncMetrics
    recall_counts: AsyncRecallCounts
    on_use: Callable[[], None]
