"""Conversational memory for LLM apps: durable, tenant-isolated, with a cost per turn that does not grow."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatmemory._async.client import AsyncChatMemory
    from chatmemory._async.items import AsyncItems
    from chatmemory._async.memories.memories import AsyncMemories
    from chatmemory._async.sessions.session import AsyncSession
    from chatmemory._async.sessions.sessions import AsyncSessions
    from chatmemory._async.tenant import AsyncTenant
    from chatmemory._async.users import AsyncUsers
    from chatmemory._sync.client import ChatMemory
    from chatmemory._sync.items import Items
    from chatmemory._sync.memories.memories import Memories
    from chatmemory._sync.sessions.session import Session
    from chatmemory._sync.sessions.sessions import Sessions
    from chatmemory._sync.tenant import Tenant
    from chatmemory._sync.users import Users
    from chatmemory.admin.records import Check, Examination, Health, Migrated
    from chatmemory.context.records import Context, Omitted
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
    from chatmemory.files.conversations import Conversation, RefusedConversation
    from chatmemory.files.records import ImportedConversation
    from chatmemory.items.records import Item, NewItem
    from chatmemory.kinds import Kind, register_kind
    from chatmemory.memories.records import (
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
    from chatmemory.messages.records import Message, NewMessage
    from chatmemory.notebook.dataframes import to_pandas
    from chatmemory.notebook.plots import plot_contexts, plot_timeline
    from chatmemory.protocols import Answer, Embedder, Llm
    from chatmemory.records import Page, TenantInfo, UserInfo
    from chatmemory.runs.comparison import ComparedRun, Comparison
    from chatmemory.runs.metric_records import MetricCurve, MetricPoint, MetricSeries, MetricSummary
    from chatmemory.sessions.records import CleanUp, Erasure, Event, SessionInfo, StatusChange
    from chatmemory.settings import Settings

_HOMES = {
    "chatmemory._async.client": ["AsyncChatMemory"],
    "chatmemory._async.items": ["AsyncItems"],
    "chatmemory._async.memories.memories": ["AsyncMemories"],
    "chatmemory._async.sessions.session": ["AsyncSession"],
    "chatmemory._async.sessions.sessions": ["AsyncSessions"],
    "chatmemory._async.tenant": ["AsyncTenant"],
    "chatmemory._async.users": ["AsyncUsers"],
    "chatmemory._sync.client": ["ChatMemory"],
    "chatmemory._sync.items": ["Items"],
    "chatmemory._sync.memories.memories": ["Memories"],
    "chatmemory._sync.sessions.session": ["Session"],
    "chatmemory._sync.sessions.sessions": ["Sessions"],
    "chatmemory._sync.tenant": ["Tenant"],
    "chatmemory._sync.users": ["Users"],
    "chatmemory.admin.records": ["Check", "Examination", "Health", "Migrated"],
    "chatmemory.context.records": ["Context", "Omitted"],
    "chatmemory.errors": [
        "ChatMemoryError",
        "ConfigurationError",
        "ContentTooLargeError",
        "ContextTooSmallError",
        "EmbeddedServerError",
        "InvalidInputError",
        "KindError",
        "LlmError",
        "MemoryNotFoundError",
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
    "chatmemory.files.conversations": ["Conversation", "RefusedConversation"],
    "chatmemory.files.records": ["ImportedConversation"],
    "chatmemory.items.records": ["Item", "NewItem"],
    "chatmemory.kinds": ["Kind", "register_kind"],
    "chatmemory.memories.records": [
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
    "chatmemory.messages.records": ["Message", "NewMessage"],
    "chatmemory.notebook.dataframes": ["to_pandas"],
    "chatmemory.notebook.plots": ["plot_contexts", "plot_timeline"],
    "chatmemory.protocols": ["Answer", "Embedder", "Llm"],
    "chatmemory.records": ["Page", "TenantInfo", "UserInfo"],
    "chatmemory.runs.comparison": ["ComparedRun", "Comparison"],
    "chatmemory.runs.metric_records": ["MetricCurve", "MetricPoint", "MetricSeries", "MetricSummary"],
    "chatmemory.sessions.records": ["CleanUp", "Erasure", "Event", "SessionInfo", "StatusChange"],
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
    "Check",
    "CleanUp",
    "ComparedRun",
    "Comparison",
    "ConfigurationError",
    "Consolidation",
    "ContentTooLargeError",
    "Context",
    "ContextTooSmallError",
    "Conversation",
    "EmbeddedServerError",
    "Embedder",
    "Erasure",
    "Event",
    "Examination",
    "Health",
    "ImportedConversation",
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
    "Migrated",
    "MissingExtraError",
    "MoveError",
    "NewItem",
    "NewMessage",
    "Omitted",
    "Page",
    "Profile",
    "Recalled",
    "Reembedded",
    "RefusedConversation",
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
    "TenantInfo",
    "Trust",
    "UserInfo",
    "Users",
    "plot_contexts",
    "plot_timeline",
    "register_kind",
    "to_pandas",
]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use, so that importing chatmemory is cheap."""
    if name not in _HOME:
        raise AttributeError(f"module 'chatmemory' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
