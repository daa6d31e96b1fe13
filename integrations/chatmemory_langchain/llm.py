"""LangChain's chat models and embeddings as what chatmemory learns and recalls with."""

from collections.abc import Sequence
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ValidationError

from chatmemory import Answer, ConfigurationError, Embedder, Llm, LlmError


def as_llm(chat_model: BaseChatModel, *, name: str | None = None) -> Llm:
    """A chat model as the `llm` of ChatMemory.open() and AsyncChatMemory.open().

    Answers come by the model's own structured output; a model without it is asked for JSON.

    Args:
        chat_model: Any chat model of LangChain.
        name: Under which its tokens are counted; None: what it calls its model.

    Raises:
        ConfigurationError: It is no chat model.
    """
    if not isinstance(chat_model, BaseChatModel):
        raise ConfigurationError(f"chat_model must be a BaseChatModel, not a {type(chat_model).__name__}.")
    return _ChatModel(chat_model, name or _name_of(chat_model))


def as_embedder(embeddings: Embeddings, *, name: str, dimensions: int) -> Embedder:
    """Embeddings as the `embedder` of ChatMemory.open() and AsyncChatMemory.open().

    Args:
        embeddings: Any embeddings of LangChain; texts and questions both go through embed_documents.
        name: The model; vectors of different names are never compared.
        dimensions: How long each vector is, 1 or more.

    Raises:
        ConfigurationError: They are no embeddings, or have no name or length.
    """
    if not isinstance(embeddings, Embeddings):
        raise ConfigurationError(f"embeddings must be LangChain's Embeddings, not a {type(embeddings).__name__}.")
    if not name or dimensions < 1:
        raise ConfigurationError("embeddings need a name, and dimensions of 1 or more.")
    return _Embeddings(embeddings, name, dimensions)


class _ChatModel:
    """Both halves: invoke and ainvoke."""

    def __init__(self, model: BaseChatModel, name: str) -> None:
        self._model, self.name = model, name

    def complete(self, messages: Sequence[dict[str, Any]], schema: type[BaseModel]) -> Answer:
        structured = self._structured(schema)
        if structured is not None:
            return _from_structured(self.name, structured.invoke(convert_to_messages(messages)), schema)
        return _from_json(self.name, self._model.invoke(_asking_for_json(messages, schema)), schema)

    async def acomplete(self, messages: Sequence[dict[str, Any]], schema: type[BaseModel]) -> Answer:
        structured = self._structured(schema)
        if structured is not None:
            return _from_structured(self.name, await structured.ainvoke(convert_to_messages(messages)), schema)
        return _from_json(self.name, await self._model.ainvoke(_asking_for_json(messages, schema)), schema)

    def _structured(self, schema: type[BaseModel]) -> Runnable[LanguageModelInput, Any] | None:
        try:
            return self._model.with_structured_output(schema, include_raw=True)
        except NotImplementedError:
            return None


class _Embeddings:
    """Both halves: embed_documents and aembed_documents."""

    def __init__(self, embeddings: Embeddings, name: str, dimensions: int) -> None:
        self._embeddings, self.name, self.dimensions = embeddings, name, dimensions

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return self._embeddings.embed_documents(list(texts))

    async def aembed(self, texts: Sequence[str]) -> list[list[float]]:
        return await self._embeddings.aembed_documents(list(texts))


def _name_of(model: BaseChatModel) -> str:
    named = (getattr(model, attribute, None) for attribute in ("model_name", "model", "model_id"))
    return next((name for name in named if isinstance(name, str) and name), type(model).__name__)


def _asking_for_json(messages: Sequence[dict[str, Any]], schema: type[BaseModel]) -> list[BaseMessage]:
    told = f"Answer with one JSON object of this schema, and nothing else: {schema.model_json_schema()}"
    return convert_to_messages([{"role": "system", "content": told}, *messages])


def _from_structured(name: str, result: Any, schema: type[BaseModel]) -> Answer:
    parsed = result["parsed"]
    if not isinstance(parsed, schema):
        raise LlmError(f"The answer of the model {name!r} has not the form asked for.")
    return Answer(parsed, *_spent(result["raw"]))


def _from_json(name: str, reply: AIMessage, schema: type[BaseModel]) -> Answer:
    """The answer as an instance of the schema, also out of a fence or between words; it is shown to nobody."""
    text = str(reply.text)
    begin, end = text.find("{"), text.rfind("}")
    try:
        return Answer(schema.model_validate_json(text[begin : end + 1]), *_spent(reply))
    except ValidationError as error:
        faults = error.error_count()
    raise LlmError(f"The answer of the model {name!r} has not the form asked for ({faults} faults).")


def _spent(reply: BaseMessage) -> tuple[int, int]:
    usage = getattr(reply, "usage_metadata", None)
    return (usage["input_tokens"], usage["output_tokens"]) if usage else (0, 0)
