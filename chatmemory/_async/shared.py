"""What every handle of one memory shares."""

from collections.abc import Callable
from typing import NamedTuple

from chatmemory._async.memories.providers import AsyncProviders
from chatmemory._async.memories.recall_counts import AsyncRecallCounts
from chatmemory._async.memories.spending import AsyncSpending
from chatmemory._async.memories.storing import AsyncMemoryStore
from chatmemory._async.runs.metrics import AsyncMetrics
from chatmemory._async.storage.database import AsyncDatabase
from chatmemory._async.storage.redis_windows import AsyncWindows
from chatmemory.messages.tokenizer import Tokenizer
from chatmemory.settings import Settings
from chatmemory.storage.recent_cache import RecentMessagesCache


class AsyncParts(NamedTuple):
    """The parts of a memory that handles work with; on_use is called when a session begins or is resumed."""

    settings: Settings
    database: AsyncDatabase
    windows: AsyncWindows
    recent: RecentMessagesCache
    tokenizer: Tokenizer
    providers: AsyncProviders
    store: AsyncMemoryStore
    spending: AsyncSpending
    metrics: AsyncMetrics
    recall_counts: AsyncRecallCounts
    on_use: Callable[[], None]
