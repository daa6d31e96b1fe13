# Generated from chatmemory/_async/memories/providers.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The language model and the embedder of one memory, passed or made from the settings; their answers are checked."""

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from chatmemory._concurrency import ask
from chatmemory.errors import ChatMemoryError, LlmError
from chatmemory.memories.vectors import check_vectors
from chatmemory.protocols import Answer, Embedder, Llm
from chatmemory.settings import Settings
from chatmemory.storage.breaker import Breaker

if TYPE_CHECKING:
    from chatmemory._sync.memories.openai_client import ServerEmbedder, ServerLlm

PAUSE = 30.0  # seconds after a failure in which calls in haste fail without asking the embedder


class Providers:
    """The language model and the embedder, if there are any."""

    def __init__(self, settings: Settings, llm: Llm | None, embedder: Embedder | None) -> None:
        self._settings = settings
        self._llm: Llm | ServerLlm | None = llm
        self._embedder: Embedder | ServerEmbedder | None = embedder
        self._own: list[Any] = []
        self._haste = Breaker(PAUSE)

    @property
    def has_llm(self) -> bool:
        """True if a language model is configured."""
        return self._llm is not None or self._settings.llm_model is not None

    @property
    def has_embedder(self) -> bool:
        """True if an embedder is configured."""
        return self._embedder is not None or self._settings.embedding_model is not None

    @property
    def llm_model(self) -> str:
        """The name under which the language model's tokens are recorded."""
        return str(self._llm.name if self._llm is not None else self._settings.llm_model)

    @property
    def embedding_model(self) -> str:
        """The name under which vectors are stored."""
        return str(self._embedder.name if self._embedder is not None else self._settings.embedding_model)

    def complete(self, messages: Sequence[dict[str, Any]], schema: type[BaseModel]) -> Answer:
        """Ask the language model for an answer that matches a schema.

        Raises:
            LlmError: There is no usable answer.
        """
        if self._llm is None:
            from chatmemory._sync.memories.openai_client import ServerLlm

            self._llm = ServerLlm(self._settings)
            self._own.append(self._llm)
        answer = _asked(self._llm, "complete", messages, schema)
        if not isinstance(answer, Answer) or not isinstance(answer.value, schema):
            raise LlmError(f"The language model {self._llm.name!r} did not return a {schema.__name__}.")
        return answer

    def embed(self, texts: Sequence[str], *, in_haste: bool = False) -> list[list[float]]:
        """Embed texts; return one vector for each, all of the same length.

        Args:
            texts: The texts.
            in_haste: Whether a recall waits for it. The library's own client then tries once, with a short timeout, and
                for 30 s after a failure the call fails at once.

        Raises:
            LlmError: The embedder failed, or returned something else.
        """
        if not texts:
            return []
        if in_haste and not (self._haste.is_closed or self._haste.probe_is_due(monotonic())):
            raise LlmError(f"The embedder {self.embedding_model!r} failed a moment ago, and is not asked again yet.")
        try:
            vectors = self._embed(texts, in_haste)
        except LlmError:
            self._haste.failed(monotonic())
            raise
        self._haste.succeeded()
        return vectors

    def _embed(self, texts: Sequence[str], in_haste: bool) -> list[list[float]]:
        from chatmemory._sync.memories.openai_client import ServerEmbedder

        if self._embedder is None:
            self._embedder = ServerEmbedder(self._settings)
            self._own.append(self._embedder)
        if in_haste and isinstance(self._embedder, ServerEmbedder):
            vectors = self._embedder.embed_query(texts[0])
        else:
            vectors = _asked(self._embedder, "embed", texts)
        return check_vectors(self._embedder.name, texts, vectors, self._embedder.dimensions)

    def close(self) -> None:
        """Close the connections of clients made here."""
        for each in self._own:
            each.close()


def _asked(owner: Any, name: str, *arguments: object) -> Any:
    try:
        return ask(owner, name, *arguments)
    except ChatMemoryError:
        raise
    except Exception as error:  # code of the app, which may raise anything
        raise LlmError(f"{owner.name!r} failed with a {type(error).__name__}.") from error
