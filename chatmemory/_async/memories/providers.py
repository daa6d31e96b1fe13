"""The language model and the embedder of one memory: given, or made from the settings; their answers are checked."""

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from chatmemory._concurrency import async_ask
from chatmemory.errors import ChatMemoryError, LlmError
from chatmemory.memories.vectors import check_vectors
from chatmemory.protocols import Answer, Embedder, Llm
from chatmemory.settings import Settings
from chatmemory.storage.breaker import Breaker

if TYPE_CHECKING:
    from chatmemory._async.memories.openai_client import AsyncServerEmbedder, AsyncServerLlm

PAUSE = 30.0  # seconds after a failure in which nobody who is in haste waits for the embedder


class AsyncProviders:
    """Whoever answers and embeds, if anybody does."""

    def __init__(self, settings: Settings, llm: Llm | None, embedder: Embedder | None) -> None:
        self._settings = settings
        self._llm: Llm | AsyncServerLlm | None = llm
        self._embedder: Embedder | AsyncServerEmbedder | None = embedder
        self._own: list[Any] = []
        self._haste = Breaker(PAUSE)

    @property
    def has_llm(self) -> bool:
        """Whether a language model is configured."""
        return self._llm is not None or self._settings.llm_model is not None

    @property
    def has_embedder(self) -> bool:
        """Whether an embedder is configured."""
        return self._embedder is not None or self._settings.embedding_model is not None

    @property
    def llm_model(self) -> str:
        """Under which name its answers are counted."""
        return str(self._llm.name if self._llm is not None else self._settings.llm_model)

    @property
    def embedding_model(self) -> str:
        """Under which name vectors are kept."""
        return str(self._embedder.name if self._embedder is not None else self._settings.embedding_model)

    async def complete(self, messages: Sequence[dict[str, Any]], schema: type[BaseModel]) -> Answer:
        """The model's answer in the form asked for.

        Raises:
            LlmError: There is no usable answer.
        """
        if self._llm is None:
            from chatmemory._async.memories.openai_client import AsyncServerLlm

            self._llm = AsyncServerLlm(self._settings)
            self._own.append(self._llm)
        answer = await _asked(self._llm, "complete", messages, schema)
        if not isinstance(answer, Answer) or not isinstance(answer.value, schema):
            raise LlmError(f"The language model {self._llm.name!r} gave no {schema.__name__}.")
        return answer

    async def embed(self, texts: Sequence[str], *, in_haste: bool = False) -> list[list[float]]:
        """One vector for each text, of one length.

        Args:
            texts: What to embed.
            in_haste: Whether somebody waits for it: our own client then tries only once, and not for long, and after a
                failure nobody's does for a while.

        Raises:
            LlmError: The embedder failed, or gave something else.
        """
        if not texts:
            return []
        if in_haste and not (self._haste.is_closed or self._haste.probe_is_due(monotonic())):
            raise LlmError(f"The embedder {self.embedding_model!r} failed a moment ago, and is left alone for a while.")
        try:
            vectors = await self._embed(texts, in_haste)
        except LlmError:
            self._haste.failed(monotonic())
            raise
        self._haste.succeeded()
        return vectors

    async def _embed(self, texts: Sequence[str], in_haste: bool) -> list[list[float]]:
        from chatmemory._async.memories.openai_client import AsyncServerEmbedder

        if self._embedder is None:
            self._embedder = AsyncServerEmbedder(self._settings)
            self._own.append(self._embedder)
        if in_haste and isinstance(self._embedder, AsyncServerEmbedder):
            vectors = await self._embedder.embed_query(texts[0])
        else:
            vectors = await _asked(self._embedder, "embed", texts)
        return check_vectors(self._embedder.name, texts, vectors, self._embedder.dimensions)

    async def close(self) -> None:
        """Give back connections of our own."""
        for each in self._own:
            await each.close()


async def _asked(owner: Any, name: str, *arguments: object) -> Any:
    try:
        return await async_ask(owner, name, *arguments)
    except ChatMemoryError:
        raise
    except Exception as error:  # it is somebody else's code, and may raise anything
        raise LlmError(f"{owner.name!r} failed with a {type(error).__name__}.") from error
