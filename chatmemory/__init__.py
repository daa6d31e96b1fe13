"""Conversational memory for LLM apps: durable, tenant-isolated, at the same cost per turn however long it gets."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatmemory._async.client import AsyncChatMemory
    from chatmemory._async.items import AsyncItems
    from chatmemory._async.memories import AsyncMemories
    from chatmemory._async.session import AsyncSession
    from chatmemory._async.sessions import AsyncSessions
    from chatmemory._async.tenant import AsyncTenant
    from chatmemory._async.users import AsyncUsers
    from chatmemory._sync.client import ChatMemory
    from chatmemory._sync.items import Items
    from chatmemory._sync.memories import Memories
    from chatmemory._sync.session import Session
    from chatmemory._sync.sessions import Sessions
    from chatmemory._sync.tenant import Tenant
    from chatmemory._sync.users import Users
    from chatmemory.display import to_pandas
    from chatmemory.errors import (
        ChatMemoryError,
        ConfigurationError,
        ContentTooLargeError,
        ContextTooSmallError,
        EmbeddedServerError,
        InvalidInputError,
        KindError,
        LlmError,
        MemoryNotFoundError,
        MessageConflictError,
        MissingExtraError,
        MoveError,
        SchemaPermissionError,
        SchemaVersionError,
        SessionEndedError,
        SessionError,
        SessionExistsError,
        SessionLimitError,
        SessionNotFoundError,
        StorageError,
        StorageUnavailableError,
    )
    from chatmemory.items import Item, NewItem
    from chatmemory.kinds import Kind, register_kind
    from chatmemory.memory import (
        Consolidation,
        Memory,
        MemoryKind,
        MemorySource,
        MemoryStats,
        Profile,
        Recalled,
        Reembedded,
        Report,
        Spend,
        Trust,
    )
    from chatmemory.metrics import (
        ComparedRun,
        Comparison,
        MetricCurve,
        MetricPoint,
        MetricSeries,
        MetricSummary,
    )
    from chatmemory.models import (
        CleanUp,
        Context,
        Erasure,
        Event,
        Health,
        Message,
        NewMessage,
        Omitted,
        Page,
        SessionInfo,
        StatusChange,
    )
    from chatmemory.plots import plot_contexts, plot_timeline
    from chatmemory.protocols import Answer, Embedder, Llm
    from chatmemory.settings import Settings

_HOMES = {
    "chatmemory._async.client": ["AsyncChatMemory"],
    "chatmemory._async.items": ["AsyncItems"],
    "chatmemory._async.session": ["AsyncSession"],
    "chatmemory._async.sessions": ["AsyncSessions"],
    "chatmemory._async.tenant": ["AsyncTenant"],
    "chatmemory._sync.client": ["ChatMemory"],
    "chatmemory._sync.items": ["Items"],
    "chatmemory._sync.session": ["Session"],
    "chatmemory._sync.sessions": ["Sessions"],
    "chatmemory._sync.tenant": ["Tenant"],
    "chatmemory.errors": [
        "ChatMemoryError",
        "ConfigurationError",
        "ContentTooLargeError",
        "ContextTooSmallError",
        "EmbeddedServerError",
        "InvalidInputError",
        "LlmError",
        "MemoryNotFoundError",
        "KindError",
        "MessageConflictError",
        "MissingExtraError",
        "MoveError",
        "SchemaPermissionError",
        "SchemaVersionError",
        "SessionEndedError",
        "SessionError",
        "SessionExistsError",
        "SessionLimitError",
        "SessionNotFoundError",
        "StorageError",
        "StorageUnavailableError",
    ],
    "chatmemory.items": ["Item", "NewItem"],
    "chatmemory.kinds": ["Kind", "register_kind"],
    "chatmemory.metrics": [
        "ComparedRun",
        "Comparison",
        "MetricCurve",
        "MetricPoint",
        "MetricSeries",
        "MetricSummary",
    ],
    "chatmemory.models": [
        "CleanUp",
        "Context",
        "Erasure",
        "Event",
        "Health",
        "Message",
        "NewMessage",
        "Omitted",
        "Page",
        "SessionInfo",
        "StatusChange",
    ],
    "chatmemory._async.memories": ["AsyncMemories"],
    "chatmemory._async.users": ["AsyncUsers"],
    "chatmemory._sync.memories": ["Memories"],
    "chatmemory._sync.users": ["Users"],
    "chatmemory.memory": [
        "Consolidation",
        "Memory",
        "MemoryKind",
        "MemorySource",
        "MemoryStats",
        "Profile",
        "Recalled",
        "Reembedded",
        "Report",
        "Spend",
        "Trust",
    ],
    "chatmemory.protocols": ["Answer", "Embedder", "Llm"],
    "chatmemory.display": ["to_pandas"],
    "chatmemory.plots": ["plot_contexts", "plot_timeline"],
    "chatmemory.settings": ["Settings"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "AsyncChatMemory",
    "AsyncItems",
    "AsyncMemories",
    "AsyncSession",
    "AsyncSessions",
    "AsyncTenant",
    "AsyncUsers",
    "ChatMemory",
    "ChatMemoryError",
    "CleanUp",
    "ComparedRun",
    "Comparison",
    "ConfigurationError",
    "Consolidation",
    "ContentTooLargeError",
    "Context",
    "ContextTooSmallError",
    "EmbeddedServerError",
    "Embedder",
    "Erasure",
    "Event",
    "Health",
    "InvalidInputError",
    "Item",
    "Items",
    "Kind",
    "KindError",
    "Llm",
    "LlmError",
    "Memories",
    "Memory",
    "MemoryKind",
    "MemoryNotFoundError",
    "MemorySource",
    "MemoryStats",
    "Message",
    "MessageConflictError",
    "MetricCurve",
    "MetricPoint",
    "MetricSeries",
    "MetricSummary",
    "MissingExtraError",
    "MoveError",
    "NewItem",
    "NewMessage",
    "Omitted",
    "Page",
    "Profile",
    "Recalled",
    "Reembedded",
    "Report",
    "SchemaPermissionError",
    "SchemaVersionError",
    "Session",
    "SessionEndedError",
    "SessionError",
    "SessionExistsError",
    "SessionInfo",
    "SessionLimitError",
    "SessionNotFoundError",
    "Sessions",
    "Settings",
    "Spend",
    "StatusChange",
    "StorageError",
    "StorageUnavailableError",
    "Tenant",
    "Trust",
    "Users",
    "plot_contexts",
    "plot_timeline",
    "register_kind",
    "to_pandas",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing chatmemory costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'chatmemory' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
