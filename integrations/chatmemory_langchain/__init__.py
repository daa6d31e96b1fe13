"""LangChain and LangGraph adapters: chains, histories, retrievers, tools, agents and stores on chatmemory."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chatmemory.errors import missing_extra

if TYPE_CHECKING:
    from chatmemory_langchain.history import ChatMemoryHistory
    from chatmemory_langchain.import_langgraph import langgraph_postgres_conversations
    from chatmemory_langchain.import_postgres import langchain_postgres_conversations
    from chatmemory_langchain.import_redis import langchain_redis_conversations
    from chatmemory_langchain.llm import as_embedder, as_llm
    from chatmemory_langchain.messages import from_message, to_message
    from chatmemory_langchain.middleware import ChatMemoryMiddleware, MemoryContext
    from chatmemory_langchain.retriever import ChatMemoryRetriever
    from chatmemory_langchain.runnable import with_memory
    from chatmemory_langchain.store import ChatMemoryStore
    from chatmemory_langchain.tools import memory_tools

_HOME = {
    "ChatMemoryHistory": "chatmemory_langchain.history",
    "ChatMemoryMiddleware": "chatmemory_langchain.middleware",
    "ChatMemoryRetriever": "chatmemory_langchain.retriever",
    "ChatMemoryStore": "chatmemory_langchain.store",
    "MemoryContext": "chatmemory_langchain.middleware",
    "as_embedder": "chatmemory_langchain.llm",
    "as_llm": "chatmemory_langchain.llm",
    "from_message": "chatmemory_langchain.messages",
    "langchain_postgres_conversations": "chatmemory_langchain.import_postgres",
    "langchain_redis_conversations": "chatmemory_langchain.import_redis",
    "langgraph_postgres_conversations": "chatmemory_langchain.import_langgraph",
    "memory_tools": "chatmemory_langchain.tools",
    "to_message": "chatmemory_langchain.messages",
    "with_memory": "chatmemory_langchain.runnable",
}

__all__ = [
    "ChatMemoryHistory",
    "ChatMemoryMiddleware",
    "ChatMemoryRetriever",
    "ChatMemoryStore",
    "MemoryContext",
    "as_embedder",
    "as_llm",
    "from_message",
    "langchain_postgres_conversations",
    "langchain_redis_conversations",
    "langgraph_postgres_conversations",
    "memory_tools",
    "to_message",
    "with_memory",
]


_EXTRAS = {
    "ChatMemoryMiddleware": ("langchain.agents", "agents"),
    "ChatMemoryStore": ("langgraph.store.base", "agents"),
    "MemoryContext": ("langchain.agents", "agents"),
}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use, so that its part of LangChain is needed only then."""
    if name not in _HOME:
        raise AttributeError(f"module 'chatmemory_langchain' has no attribute {name!r}")
    package, extra = _EXTRAS.get(name, ("langchain_core", "langchain"))
    try:
        import_module(package)
    except ImportError as error:
        needed = package.partition(".")[0].replace("_", "-")
        raise missing_extra(f"chatmemory_langchain.{name}", needed, extra) from error
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
