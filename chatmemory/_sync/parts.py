# Generated from chatmemory/_async/parts.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""What every handle of one memory shares."""

from collections.abc import Callable
from typing import NamedTuple

from chatmemory._sync.database import Database
from chatmemory._sync.metrics import Metrics
from chatmemory._sync.providers import Providers
from chatmemory._sync.spending import Spending
from chatmemory._sync.store import MemoryStore
from chatmemory._sync.window import Windows
from chatmemory.settings import Settings
from chatmemory.tokenizer import Tokenizer


class Parts(NamedTuple):
    """The parts of a memory that handles work with; on_use is called when a session begins or is resumed."""

    settings: Settings
    database: Database
    windows: Windows
    tokenizer: Tokenizer
    providers: Providers
    store: MemoryStore
    spending: Spending
    metrics: Metrics
    on_use: Callable[[], None]
