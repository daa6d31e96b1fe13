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
from chatmemory_langchain.halves import sync_tenant


class ChatMemoryRetriever(BaseRetriever):
    """Recalls the memories of one user that answer a question best, best first, as documents.

    A document's page_content is the memory's text, its id the memory's. Its metadata are JSON: score and ranks (why it
    was recalled), kind, trust, speaker, valid_from and valid_to (ISO 8601), session_id, from_seq and to_seq of the
    first source (None where the app told it), all sources, whether the tenant shares it, and the memory's own metadata.
    With an AsyncTenant the async methods are native and the sync ones raise ConfigurationError; with a Tenant the sync
    methods are native, and the async ones run them in a thread.

    It stores nothing, but counts what was recalled. Each call costs one transaction, and one request to the embedder
    where there is one. What it sends to the model is the chain's business: recalled text is data, not instructions.

    Args:
        tenant: Whose memories, as memory.tenant(id) gives it.
        user_id: Which user's; what the tenant shares is recalled too, unless include_shared is False.
        k: How many documents at most, 0 or more; `retriever.invoke(query, k=3)` says it for one call.
        kinds: Which kinds; None: all but results of runs.
        min_score: Only those with this score or more, from 0 to 1.7.
        min_trust: Only those that somebody at least so trusted said: tool, assistant, user, app.
        include_shared: Whether what the whole tenant shares may be recalled too.
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
        return [to_document(each) for each in tenant.memories.recall(query, **self._how(k))]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        if isinstance(self.tenant, Tenant):
            recall = partial(self.tenant.memories.recall, query, **self._how(k))
            found = await run_in_executor(None, recall)
        else:
            found = await self.tenant.memories.recall(query, **self._how(k))
        return [to_document(each) for each in found]

    def _how(self, k: int | None) -> dict[str, Any]:
        names = ("user_id", "kinds", "min_score", "min_trust", "include_shared")
        return {"k": self.k if k is None else k, **{name: getattr(self, name) for name in names}}


def to_document(recalled: Recalled) -> Document:
    """A recalled memory as a document."""
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
