"""The interfaces of a language model and of an embedder."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel

from chatmemory._public import public


@public
class Answer(NamedTuple):
    """The answer of a language model.

    Attributes:
        value: An instance of the requested schema.
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens of the answer.
    """

    value: BaseModel
    input_tokens: int = 0
    output_tokens: int = 0


@public
@runtime_checkable
class Llm(Protocol):
    """A language model with structured answers. If it also has `acomplete`, the async half uses no thread.

    Attributes:
        name: The model's name, under which spend() counts.
    """

    name: str

    def complete(self, messages: Sequence[dict[str, Any]], schema: type[BaseModel]) -> Answer:
        """Answer messages in OpenAI's format with an instance of the schema.

        Raises:
            LlmError: There is no usable answer; the message says whether a retry may help.
        """


@public
@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors. If it also has `aembed`, the async half uses no thread.

    Attributes:
        name: The model's name; vectors of different names are never compared.
        dimensions: Length of each vector, 1 or more.
    """

    name: str
    dimensions: int

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Return one vector for each text."""
