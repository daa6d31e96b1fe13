from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError

from chatmemory import AsyncChatMemory, ChatMemory, ConfigurationError
from chatmemory_langchain import ChatMemoryRetriever

CITIES = ["Lisbon", "Porto", "Faro", "Braga", "Sintra"]


class TestStandard(RetrieversIntegrationTests):
    """LangChain's standard tests for retrievers."""

    @pytest.fixture(autouse=True)
    def _remembered(self, memory: ChatMemory) -> None:
        """Five memories that answer the example."""
        self.tenant = memory.tenant("acme")
        for city in CITIES:
            self.tenant.memories.remember(f"Ann once worked from {city}.", user_id="ann")

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        """The class under test."""
        return ChatMemoryRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        """The tenant and the user of the memories."""
        return {"tenant": self.tenant, "user_id": "ann"}

    @property
    def retriever_query_example(self) -> str:
        """A question that all of them answer."""
        return "Where has Ann worked?"


def test_documents_say_what_they_are_and_where_they_come_from(memory: ChatMemory) -> None:
    """Score, ranks, session, seqs, dates and trust stand in the metadata, as JSON."""
    acme = memory.tenant("acme")
    session = acme.sessions.create(user_id="ann", session_id="s-1")
    session.append("user", "Hello")
    session.append("user", "I work from Lisbon.")
    kept = acme.memories.remember(
        "Ann works from Lisbon.", user_id="ann", sources=[("s-1", 2, 2)], metadata={"score": "hers", "by": "app"}
    )
    [document] = ChatMemoryRetriever(tenant=acme, user_id="ann").invoke("Lisbon")
    assert document == Document(id=kept.id, page_content="Ann works from Lisbon.", metadata=document.metadata)
    score, ranks = document.metadata["score"], document.metadata["ranks"]
    assert 0 < score <= 1.7
    assert ranks == {"lexical": 1}
    source = {"session_id": "s-1", "from_seq": 2, "to_seq": 2}
    assert document.metadata == {
        "score": score,
        "ranks": ranks,
        "kind": "fact",
        "trust": "user",
        "speaker": None,
        "valid_from": kept.valid_from.isoformat(),
        "valid_to": None,
        "shared": False,
        **source,
        "sources": [source],
        "metadata": {"score": "hers", "by": "app"},
    }


def test_what_was_told_has_no_session(memory: ChatMemory) -> None:
    """A memory without sources has None for its session and seqs, and is marked where the tenant shares it."""
    acme = memory.tenant("acme")
    acme.memories.remember("The office is in Lisbon.")
    [document] = ChatMemoryRetriever(tenant=acme, user_id="ann").invoke("Lisbon")
    assert [document.metadata[name] for name in ("session_id", "from_seq", "to_seq", "sources")] == [None] * 3 + [[]]
    assert document.metadata["shared"] is True
    assert ChatMemoryRetriever(tenant=acme, user_id="ann", include_shared=False).invoke("Lisbon") == []


def test_only_this_user_of_this_tenant_is_recalled(memory: ChatMemory) -> None:
    """Neither another user's memory nor another tenant's is found."""
    acme, rival = memory.tenant("acme"), memory.tenant("rival")
    acme.memories.remember("Bob works from Lisbon.", user_id="bob")
    rival.memories.remember("Ann works from Lisbon.", user_id="ann")
    assert ChatMemoryRetriever(tenant=acme, user_id="ann").invoke("Lisbon") == []


def test_limits_reach_the_recall(memory: ChatMemory) -> None:
    """kinds, min_trust and min_score leave out what they say."""
    acme = memory.tenant("acme")
    acme.memories.remember("Ann likes Lisbon.", user_id="ann", kind="preference", trust="assistant")
    found = ChatMemoryRetriever(tenant=acme, user_id="ann", kinds=["preference"]).invoke("Lisbon")
    assert [document.metadata["kind"] for document in found] == ["preference"]
    for limit in ({"kinds": ["fact"]}, {"min_trust": "user"}, {"min_score": 1.7}, {"k": 0}):
        assert ChatMemoryRetriever(tenant=acme, user_id="ann", **limit).invoke("Lisbon") == []


async def test_async_is_native(async_memory: AsyncChatMemory) -> None:
    """With an AsyncChatMemory's tenant ainvoke works, k per call too, and invoke says what to do."""
    acme = async_memory.tenant("acme")
    for city in CITIES:
        await acme.memories.remember(f"Ann once worked from {city}.", user_id="ann")
    retriever = ChatMemoryRetriever(tenant=acme, user_id="ann", k=4)
    assert len(await retriever.ainvoke("Where has Ann worked?")) == 4
    assert len(await retriever.ainvoke("Where has Ann worked?", k=2)) == 2
    with pytest.raises(ConfigurationError, match="async methods"):
        retriever.invoke("Lisbon")


async def test_a_sync_tenant_also_answers_async_calls(memory: ChatMemory) -> None:
    """Ainvoke runs the recall in a thread, k per call too."""
    acme = memory.tenant("acme")
    for city in CITIES:
        acme.memories.remember(f"Ann once worked from {city}.", user_id="ann")
    retriever = ChatMemoryRetriever(tenant=acme, user_id="ann")
    assert len(await retriever.ainvoke("Where has Ann worked?", k=2)) == 2


def test_callbacks_see_the_documents(memory: ChatMemory) -> None:
    """A tracer gets what any retriever gives it."""
    seen = []

    class Watching(BaseCallbackHandler):
        def on_retriever_end(self, documents: Any, **_: Any) -> None:
            seen.extend(documents)

    acme = memory.tenant("acme")
    acme.memories.remember("Ann works from Lisbon.", user_id="ann")
    found = ChatMemoryRetriever(tenant=acme, user_id="ann").invoke("Lisbon", {"callbacks": [Watching()]})
    assert seen == found


def test_wrong_arguments_are_told(memory: ChatMemory) -> None:
    """The constructor rejects an object that is not a tenant, a negative k and a misspelt name."""
    for wrong in ({"tenant": "acme"}, {"k": -1}, {"limit": 3}):
        with pytest.raises(ValidationError):
            ChatMemoryRetriever(**{"tenant": memory.tenant("acme"), "user_id": "ann", **wrong})
