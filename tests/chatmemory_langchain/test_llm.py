"""`as_llm` and `as_embedder`, on LangChain's own fakes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from chatmemory import AsyncChatMemory, ChatMemory, ConfigurationError, Llm, LlmError
from chatmemory_langchain import as_embedder, as_llm

ASKED = [{"role": "system", "content": "Say what you know."}, {"role": "user", "content": "Where is Ann?"}]
LEARNT = {"summary": "Ann rows.", "facts": [{"text": "Ann rows on Sundays.", "sources": [1]}]}


class Place(BaseModel):
    """The requested schema."""

    city: str


class WithTools(GenericFakeChatModel):
    """A model that takes tools, and with them LangChain's structured output."""

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Any:
        """Take them."""
        assert len(tools) == 1
        return self


def calling(arguments: dict[str, Any], tool: str = "Place") -> AIMessage:
    """An answer by a tool call."""
    usage = {"input_tokens": 20, "output_tokens": 3, "total_tokens": 23}
    return AIMessage("", tool_calls=[{"name": tool, "args": arguments, "id": "1"}], usage_metadata=usage)


def model_with(*answers: AIMessage) -> Llm:
    """A model that gives these answers."""
    return as_llm(WithTools(messages=iter(answers)))


async def both(make: Any) -> list[Any]:
    """Return the answers of the sync and the async method, each with a model of its own."""
    return [make().complete(ASKED, Place), await make().acomplete(ASKED, Place)]


async def test_structured_output() -> None:
    """A model with structured output answers by it, and its tokens are counted."""
    for answer in await both(lambda: model_with(calling({"city": "Lisbon"}))):
        assert answer == (Place(city="Lisbon"), 20, 3)


@pytest.mark.parametrize(
    "text", ['{"city": "Lisbon"}', '```json\n{"city": "Lisbon"}\n```', 'Sure: {"city": "Lisbon"}!']
)
async def test_json_where_there_is_no_structured_output(text: str) -> None:
    """A model without it is asked for JSON, which may stand in a fence or between words."""
    for answer in await both(lambda: as_llm(FakeListChatModel(responses=[text]))):
        assert answer == (Place(city="Lisbon"), 0, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: model_with(calling({"town": "secret"})),
        lambda: model_with(AIMessage("I refuse: secret")),
        lambda: as_llm(FakeListChatModel(responses=['{"town": "secret"}'])),
        lambda: as_llm(FakeListChatModel(responses=["secret"])),
    ],
)
async def test_no_usable_answer(make: Any) -> None:
    """An answer that does not match the schema is an LlmError that quotes nothing of it."""
    with pytest.raises(LlmError, match="does not match the requested schema") as sync:
        make().complete(ASKED, Place)
    with pytest.raises(LlmError, match="does not match the requested schema") as waiting:
        await make().acomplete(ASKED, Place)
    assert "secret" not in f"{sync.value} {waiting.value}"


def test_names() -> None:
    """A model is counted under the name it was given, or has, or under that of its class."""

    class Named(FakeListChatModel):
        """A model that says which it is."""

        model_name: str = "gpt-x"

    assert as_llm(Named(responses=["x"])).name == "gpt-x"
    assert as_llm(Named(responses=["x"]), name="mine").name == "mine"
    assert as_llm(FakeListChatModel(responses=["x"])).name == "FakeListChatModel"


def test_what_cannot_be_adapted() -> None:
    """Other objects, and embeddings without a name or a length, are refused."""
    wrong: Any = "gpt-4"
    fake = DeterministicFakeEmbedding(size=8)
    with pytest.raises(ConfigurationError, match="BaseChatModel"):
        as_llm(wrong)
    with pytest.raises(ConfigurationError, match="Embeddings"):
        as_embedder(wrong, name="e", dimensions=8)
    with pytest.raises(ConfigurationError, match="dimensions"):
        as_embedder(fake, name="e", dimensions=0)
    with pytest.raises(ConfigurationError, match="name"):
        as_embedder(fake, name="", dimensions=8)


def test_learning_and_recalling(postgres_url: str) -> None:
    """A memory learns with the model, recalls by its vectors too, and counts what both were paid for."""
    embedder = as_embedder(DeterministicFakeEmbedding(size=8), name="fake", dimensions=8)
    with ChatMemory.open(postgres_url, llm=model_with(calling(LEARNT, "Learnt")), embedder=embedder) as memory:
        acme = memory.tenant("acme")
        session = acme.sessions.create(user_id="ann")
        session.append_many([{"role": "user", "content": "I row on Sundays."}] * 4)
        session.end()
        assert memory.run_due().processed == 1
        [fact] = acme.memories.recall("Who rows?", user_id="ann", kinds=["fact"])
        assert fact.memory.text == "Ann rows on Sundays."
        assert set(fact.ranks) == {"lexical", "vector"}
        spent = acme.spend(since=datetime.now(UTC) - timedelta(hours=1))
        assert spent.by_model["WithTools"] == 23
        assert spent.by_model["fake"] > 0


async def test_learning_and_recalling_async(postgres_url: str) -> None:
    """The same, async."""
    embedder = as_embedder(DeterministicFakeEmbedding(size=8), name="fake", dimensions=8)
    model = model_with(calling(LEARNT, "Learnt"))
    async with AsyncChatMemory.open(postgres_url, llm=model, embedder=embedder) as memory:
        acme = memory.tenant("acme")
        session = await acme.sessions.create(user_id="ann")
        await session.append_many([{"role": "user", "content": "I row on Sundays."}] * 4)
        await session.end()
        assert (await memory.run_due()).processed == 1
        [fact] = await acme.memories.recall("Who rows?", user_id="ann", kinds=["fact"])
        assert fact.memory.text == "Ann rows on Sundays."
