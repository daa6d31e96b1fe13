"""Long-term memories as LangChain documents."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, Field

from chatmemory import AsyncTenant, MemoryKind, Recalled, Tenant, Trust
from chatmemory_langchain.sync_or_async import sync_tenant


class ChatMemoryRetriever(BaseRetriever):
    """Recalls the memories of one user that match a query, best first, as documents.

    A document's page_content is the memory's text, its id the memory's id. Its metadata is JSON: score and ranks (the
    reason for the recall), kind, trust, speaker, valid_from and valid_to (ISO 8601), session_id, from_seq and to_seq
    of the first source (None for a memory from the app), all sources, shared (with the tenant), and the memory's own
    metadata.
    With an AsyncTenant the async methods are native and the sync ones raise ConfigurationError; with a Tenant the sync
    methods are native, and the async ones run them in a thread.

    It stores nothing, but counts recalls. Each call costs one transaction, and one request to the embedder if there is
    one. The chain decides how the model sees the documents: recalled text is data, not instructions.

    Args:
        tenant: The memories' tenant, as returned by memory.tenant(id).
        user_id: The memories' user.
        k: Maximum number of documents, 0 or more; `retriever.invoke(query, k=3)` overrides it for one call.
        kinds: Kinds of memories; None: all except results of runs.
        min_score: Minimum score, 0 to 1.7.
        min_trust: Minimum trust: tool, assistant, user or app, in ascending order.
        include_shared: Whether to recall the memories that the whole tenant shares as well.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    tenant: Tenant | AsyncTenant
    user_id: str
    k: int = Field(default=10, ge=0)
    kinds: Sequence[MemoryKind] | None = None
    min_score: float | None = None
    min_trust: Trust = "tool"
    include_shared: bool = True

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        tenant = sync_tenant(self.tenant, "ChatMemoryRetriever")
        return [to_document(each) for each in tenant.memories.recall(query, **self._recall_options(k))]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        if isinstance(self.tenant, Tenant):
            recall = partial(self.tenant.memories.recall, query, **self._recall_options(k))
            recalled = await run_in_executor(None, recall)
        else:
            recalled = await self.tenant.memories.recall(query, **self._recall_options(k))
        return [to_document(each) for each in recalled]

    def _recall_options(self, k: int | None) -> dict[str, Any]:
        names = ("user_id", "kinds", "min_score", "min_trust", "include_shared")
        return {"k": self.k if k is None else k, **{name: getattr(self, name) for name in names}}


def to_document(recalled: Recalled) -> Document:
    """Convert a recalled memory to a document."""
    memory = recalled.memory
    sources: list[dict[str, Any]] = [source.to_dict() for source in memory.sources]
    first = sources[0] if sources else {"session_id": None, "from_seq": None, "to_seq": None}
    return Document(
        id=memory.id,
        page_content=memory.text,
        metadata={
            "score": recalled.score,
            "ranks": dict(recalled.ranks),
            "kind": memory.kind,
            "trust": memory.trust,
            "speaker": memory.speaker,
            "valid_from": memory.valid_from.isoformat(),
            "valid_to": memory.valid_to and memory.valid_to.isoformat(),
            "shared": memory.user_id is None,
            **first,
            "sources": sources,
            "metadata": memory.metadata,
        },
    )
