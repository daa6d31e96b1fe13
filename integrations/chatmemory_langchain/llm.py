"""LangChain's chat models and embeddings as chatmemory's Llm and Embedder."""

from collections.abc import Sequence
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ValidationError

from chatmemory import Answer, ConfigurationError, Embedder, Llm, LlmError


def as_llm(chat_model: BaseChatModel, *, name: str | None = None) -> Llm:
    """Adapt a chat model to the `llm` of ChatMemory.open() and AsyncChatMemory.open().

    The model answers with its own structured output; a model without it is asked for JSON.

    Args:
        chat_model: Any LangChain chat model.
        name: The name under which its tokens are counted; None: the model's own name.

    Raises:
        ConfigurationError: chat_model is not a BaseChatModel.
    """
    if not isinstance(chat_model, BaseChatModel):
        raise ConfigurationError(f"chat_model must be a BaseChatModel, not a {type(chat_model).__name__}.")
    return _ChatModel(chat_model, name or model_name(chat_model))


def as_embedder(embeddings: Embeddings, *, name: str, dimensions: int) -> Embedder:
    """Adapt embeddings to the `embedder` of ChatMemory.open() and AsyncChatMemory.open().

    Args:
        embeddings: Any LangChain embeddings; texts and queries are both embedded with embed_documents.
        name: The model's name; vectors of different names are never compared.
        dimensions: Length of each vector, 1 or more.

    Raises:
        ConfigurationError: embeddings is not an Embeddings, or name or dimensions is missing.
    """
    if not isinstance(embeddings, Embeddings):
        raise ConfigurationError(f"embeddings must be LangChain's Embeddings, not a {type(embeddings).__name__}.")
    if not name or dimensions < 1:
        raise ConfigurationError("embeddings need a name, and dimensions of 1 or more.")
    return _Embeddings(embeddings, name, dimensions)


class _ChatModel:
    """An Llm on a chat model's invoke and ainvoke."""

    def __init__(self, model: BaseChatModel, name: str) -> None:
        self._model, self.name = model, name

    def complete(self, messages: Sequence[dict[str, Any]], schema: type[BaseModel]) -> Answer:
        structured = self._structured(schema)
        if structured is not None:
            return _answer_from_structured(self.name, structured.invoke(convert_to_messages(messages)), schema)
        return _answer_from_text(self.name, self._model.invoke(_with_json_instruction(messages, schema)), schema)

    async def acomplete(self, messages: Sequence[dict[str, Any]], schema: type[BaseModel]) -> Answer:
        structured = self._structured(schema)
        if structured is not None:
            return _answer_from_structured(self.name, await structured.ainvoke(convert_to_messages(messages)), schema)
        return _answer_from_text(self.name, await self._model.ainvoke(_with_json_instruction(messages, schema)), schema)

    def _structured(self, schema: type[BaseModel]) -> Runnable[LanguageModelInput, Any] | None:
        try:
            return self._model.with_structured_output(schema, include_raw=True)
        except NotImplementedError:
            return None


class _Embeddings:
    """An Embedder on embed_documents and aembed_documents."""

    def __init__(self, embeddings: Embeddings, name: str, dimensions: int) -> None:
        self._embeddings, self.name, self.dimensions = embeddings, name, dimensions

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return self._embeddings.embed_documents(list(texts))

    async def aembed(self, texts: Sequence[str]) -> list[list[float]]:
        return await self._embeddings.aembed_documents(list(texts))


def model_name(model: BaseChatModel | Embeddings) -> str:
    """Return the name of a model; that of its class if it has none."""
    names = (getattr(model, attribute, None) for attribute in ("model_name", "model", "model_id"))
    return next((name for name in names if isinstance(name, str) and name), type(model).__name__)


def _with_json_instruction(messages: Sequence[dict[str, Any]], schema: type[BaseModel]) -> list[BaseMessage]:
    instruction = f"Answer with one JSON object of this schema, and nothing else: {schema.model_json_schema()}"
    return convert_to_messages([{"role": "system", "content": instruction}, *messages])


def _answer_from_structured(name: str, result: Any, schema: type[BaseModel]) -> Answer:
    parsed = result["parsed"]
    if not isinstance(parsed, schema):
        raise LlmError(f"The answer of the model {name!r} does not match the requested schema.")
    return Answer(parsed, *_token_usage(result["raw"]))


def _answer_from_text(name: str, reply: AIMessage, schema: type[BaseModel]) -> Answer:
    """Parse the JSON object in a reply, also inside a code fence or prose. Errors do not quote the reply."""
    text = str(reply.text)
    begin, end = text.find("{"), text.rfind("}")
    try:
        return Answer(schema.model_validate_json(text[begin : end + 1]), *_token_usage(reply))
    except ValidationError as error:
        errors = error.error_count()
    raise LlmError(f"The answer of the model {name!r} does not match the requested schema ({errors} errors).")


def _token_usage(reply: BaseMessage) -> tuple[int, int]:
    usage = getattr(reply, "usage_metadata", None)
    return (usage["input_tokens"], usage["output_tokens"]) if usage else (0, 0)
