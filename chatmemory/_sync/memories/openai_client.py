# Generated from chatmemory/_async/memories/openai_client.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""A language model and an embedder on any OpenAI-compatible server; the openai client retries and backs off."""

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import openai
from pydantic import BaseModel

from chatmemory.errors import LlmError
from chatmemory.memories.answers import find_answer
from chatmemory.protocols import Answer
from chatmemory.settings import Settings

if TYPE_CHECKING:
    from openai import OpenAI

RETRIES = 3  # with back-off and jitter, or after the time in Retry-After
REFUSED = (401, 403)
BATCH = 256  # texts in one request


class ServerLlm:
    """A language model whose answers match a schema.

    Args:
        settings: The model, its server and its key.
        retries: How often a failed request is repeated.
    """

    def __init__(self, settings: Settings, retries: int = RETRIES) -> None:
        assert settings.llm_model is not None
        self.name = settings.llm_model
        key = settings.llm_api_key
        self._client = _client(settings, settings.llm_base_url, key.get_secret_value() if key else None, retries)
        self._has_schemas = True

    def complete(self, messages: Sequence[dict[str, Any]], schema: type[BaseModel]) -> Answer:
        """Answer with an instance of the schema; a server without schemas is asked for JSON."""
        if self._has_schemas:
            try:
                return self._asked(messages, schema, _by_schema(schema))
            except openai.BadRequestError:  # it does not support schemas, or rejects something else
                answer = self._by_example(messages, schema)
                self._has_schemas = False
                return answer
            except openai.OpenAIError as error:
                raise _failed(self.name, error) from None
        return self._by_example(messages, schema)

    def _by_example(self, messages: Sequence[dict[str, Any]], schema: type[BaseModel]) -> Answer:
        form = json.dumps(schema.model_json_schema())
        instruction = {"role": "system", "content": f"Answer with one JSON object of this schema: {form}"}
        try:
            return self._asked([instruction, *messages], schema, {"type": "json_object"})
        except openai.OpenAIError as error:
            raise _failed(self.name, error) from None

    def _asked(
        self, messages: Sequence[dict[str, Any]], schema: type[BaseModel], response_format: dict[str, Any]
    ) -> Answer:
        create: Any = self._client.chat.completions.create
        reply = create(model=self.name, messages=list(messages), response_format=response_format)
        usage = getattr(reply, "usage", None)
        spent = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
        try:
            return Answer(_parsed(self.name, reply, schema), *spent)
        except LlmError as error:
            error.spent = spent
            raise

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()


class ServerEmbedder:
    """A model that turns texts into vectors.

    Args:
        settings: The model, its server and its key.
        retries: How often a failed request is repeated.
    """

    def __init__(self, settings: Settings, retries: int = RETRIES) -> None:
        assert settings.embedding_model is not None
        self.name = settings.embedding_model
        self.dimensions = settings.embedding_dimensions or 0
        self._recall_timeout = settings.recall_timeout_seconds
        key = settings.embedding_api_key or settings.llm_api_key
        url = settings.embedding_base_url or settings.llm_base_url
        self._client = _client(settings, url, key.get_secret_value() if key else None, retries)

    def embed_query(self, text: str) -> list[list[float]]:
        """The vector of a question that somebody waits for."""
        client = self._client.with_options(timeout=self._recall_timeout, max_retries=0)
        return self._embed(client, [text])

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text."""
        return self._embed(self._client, texts)

    def _embed(self, client: "OpenAI", texts: Sequence[str]) -> list[list[float]]:
        given: dict[str, Any] = {"dimensions": self.dimensions} if self.dimensions else {}
        vectors: list[list[float]] = []
        try:
            for start in range(0, len(texts), BATCH):
                batch = list(texts[start : start + BATCH])
                reply = client.embeddings.create(model=self.name, input=batch, **given)
                vectors += [list(each.embedding) for each in sorted(reply.data, key=lambda each: each.index)]
        except openai.OpenAIError as error:
            raise _failed(self.name, error) from None
        except (TypeError, ValueError, AttributeError):
            raise LlmError(f"The embedding model {self.name!r} did not return a list of vectors.") from None
        return vectors

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()


def _client(settings: Settings, url: str | None, key: str | None, retries: int) -> "OpenAI":
    if url and not (key or os.environ.get("OPENAI_API_KEY")):
        key = "none"  # self-hosted servers need none
    try:
        return openai.OpenAI(base_url=url, api_key=key, timeout=settings.llm_timeout_seconds, max_retries=retries)
    except openai.OpenAIError:
        raise LlmError("The model's server needs an API key: set CHATMEMORY_LLM_API_KEY or OPENAI_API_KEY.") from None


def _by_schema(schema: type[BaseModel]) -> dict[str, Any]:
    form = {"name": schema.__name__, "schema": schema.model_json_schema()}
    return {"type": "json_schema", "json_schema": form}


def _parsed(model: str, reply: Any, schema: type[BaseModel]) -> BaseModel:
    """Parse an answer; errors do not show its content."""
    try:
        choice = reply.choices[0]
        text = choice.message.content
    except (AttributeError, IndexError, TypeError):
        raise LlmError(f"The model {model!r} answered without a message.") from None
    if choice.finish_reason == "length":
        raise LlmError(f"The answer of the model {model!r} was cut off; lower consolidation_batch_tokens.")
    if not text:
        raise LlmError(f"The model {model!r} refused, or answered nothing.")
    answer = find_answer(text, schema)
    if answer is None:
        raise LlmError(f"The answer of the model {model!r} does not match the requested schema.")
    return answer


def _failed(model: str, error: openai.OpenAIError) -> LlmError:
    status = getattr(error, "status_code", None)
    what = f"HTTP {status}" if status else type(error).__name__
    advice = " Check CHATMEMORY_LLM_API_KEY or CHATMEMORY_EMBEDDING_API_KEY." if status in REFUSED else ""
    return LlmError(f"The server of the model {model!r} failed: {what}.{advice}")
