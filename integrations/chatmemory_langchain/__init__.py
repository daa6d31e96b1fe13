"""LangChain messages and chains on chatmemory."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chatmemory import MissingExtraError

if TYPE_CHECKING:
    from chatmemory_langchain.history import ChatMemoryHistory
    from chatmemory_langchain.messages import from_message, to_message
    from chatmemory_langchain.retriever import ChatMemoryRetriever
    from chatmemory_langchain.runnable import with_memory
    from chatmemory_langchain.tools import memory_tools

_HOME = {
    "ChatMemoryHistory": "chatmemory_langchain.history",
    "ChatMemoryRetriever": "chatmemory_langchain.retriever",
    "from_message": "chatmemory_langchain.messages",
    "memory_tools": "chatmemory_langchain.tools",
    "to_message": "chatmemory_langchain.messages",
    "with_memory": "chatmemory_langchain.runnable",
}

__all__ = ["ChatMemoryHistory", "ChatMemoryRetriever", "from_message", "memory_tools", "to_message", "with_memory"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used; only then is langchain-core needed."""
    if name not in _HOME:
        raise AttributeError(f"module 'chatmemory_langchain' has no attribute {name!r}")
    try:
        import_module("langchain_core")
    except ImportError as error:
        raise MissingExtraError(
            'chatmemory_langchain needs langchain-core: pip install "chatmemory[langchain]"'
        ) from error
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
