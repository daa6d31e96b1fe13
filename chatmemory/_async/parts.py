"""What every handle of one memory shares."""

from collections.abc import Callable
from typing import NamedTuple

from chatmemory._async.database import AsyncDatabase
from chatmemory._async.metrics import AsyncMetrics
from chatmemory._async.providers import AsyncProviders
from chatmemory._async.spending import AsyncSpending
from chatmemory._async.store import AsyncMemoryStore
from chatmemory._async.window import AsyncWindows
from chatmemory.settings import Settings
from chatmemory.tokenizer import Tokenizer


class AsyncParts(NamedTuple):
    """The parts of a memory that handles work with; on_use is called when a session begins or is resumed."""

    settings: Settings
    database: AsyncDatabase
    windows: AsyncWindows
    tokenizer: Tokenizer
    providers: AsyncProviders
    store: AsyncMemoryStore
    spending: AsyncSpending
    metrics: AsyncMetrics
    on_use: Callable[[], None]
