"""An adapter for sessions of the OpenAI Agents SDK."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chatmemory.errors import missing_extra

if TYPE_CHECKING:
    from chatmemory_openai_agents.import_sqlite import agents_sqlite_conversations
    from chatmemory_openai_agents.items import from_item, to_item
    from chatmemory_openai_agents.session import ChatMemorySession

_HOME = {
    "ChatMemorySession": "chatmemory_openai_agents.session",
    "agents_sqlite_conversations": "chatmemory_openai_agents.import_sqlite",
    "from_item": "chatmemory_openai_agents.items",
    "to_item": "chatmemory_openai_agents.items",
}

__all__ = ["ChatMemorySession", "agents_sqlite_conversations", "from_item", "to_item"]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use, so that the SDK is needed only then."""
    if name not in _HOME:
        raise AttributeError(f"module 'chatmemory_openai_agents' has no attribute {name!r}")
    try:
        import_module("agents")
    except ImportError as error:
        raise missing_extra("chatmemory_openai_agents", "openai-agents", "openai-agents") from error
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
