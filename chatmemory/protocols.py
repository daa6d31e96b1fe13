"""What a language model and an embedder must offer, whoever makes them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel

from chatmemory._public import public


@public
class Answer(NamedTuple):
    """What a language model answered.

    Attributes:
        value: An instance of the schema that was asked for.
        input_tokens: What the question cost.
        output_tokens: What the answer cost.
    """

    value: BaseModel
    input_tokens: int = 0
    output_tokens: int = 0


@public
@runtime_checkable
class Llm(Protocol):
    """A language model that answers in a given form. With `acomplete` too, the async half need not use a thread.

    Attributes:
        name: The model, as it is counted in spend().
    """

    name: str

    def complete(self, messages: Sequence[dict[str, Any]], schema: type[BaseModel]) -> Answer:
        """Answer messages of OpenAI's form with an instance of the schema.

        Raises:
            LlmError: There is no usable answer; it says whether trying again may help.
        """


@public
@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors. With `aembed` too, the async half need not use a thread.

    Attributes:
        name: The model; vectors of different names are never compared.
        dimensions: How long each vector is.
    """

    name: str
    dimensions: int

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector for each text."""
