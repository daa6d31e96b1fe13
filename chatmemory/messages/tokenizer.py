"""The model's own encoding, where its vocabulary can be had.

tiktoken downloads a vocabulary at its first use, which fails or hangs without a network. So it is loaded once,
beside the caller's work; whoever needs an exact count waits a bounded time, and an append does not wait at all.
"""

import warnings
from functools import cache

from chatmemory._concurrency import Once
from chatmemory.messages.token_counts import ESTIMATE, Counter

DEFAULT_ENCODING = "o200k_base"
LOAD_SECONDS = 5.0
PIECE = 20_000  # characters given to tiktoken at once: it overflows its stack on a million spaces


class Tiktoken:
    """A vocabulary of OpenAI's."""

    def __init__(self, model: str | None) -> None:
        import tiktoken

        name = encoding_for(model)
        self.name = name or DEFAULT_ENCODING
        self.exact = model is None or name is not None
        self._encoding = tiktoken.get_encoding(self.name)

    def count(self, text: str) -> int:
        """How many tokens the text has; for one longer than PIECE, at most a few more than it has."""
        encode = self._encoding.encode_ordinary
        if len(text) <= PIECE:
            return len(encode(text))
        return sum(len(encode(text[start : start + PIECE])) for start in range(0, len(text), PIECE))

    def cut(self, text: str, tokens: int) -> str:
        """The longest beginning of the text that ends between two tokens and has at most this many."""
        kept: list[int] = []
        for start in range(0, len(text), PIECE):
            if len(kept) > tokens:
                break
            kept += self._encoding.encode_ordinary(text[start : start + PIECE])
        for end in range(min(len(kept), tokens), 0, -1):
            beginning = self._encoding.decode_bytes(kept[:end]).decode("utf-8", "ignore")
            if self.count(beginning) <= tokens:  # a cut inside a word may need other tokens
                return beginning
        return ""


def encoding_for(model: str | None) -> str | None:
    """The encoding a model uses; None for one that tiktoken does not know."""
    from tiktoken.model import encoding_name_for_model

    try:
        return encoding_name_for_model(model) if model else None
    except KeyError:
        return None


@cache
def _loading(model: str | None) -> Once[Tiktoken]:
    return Once(lambda: Tiktoken(model))


class Tokenizer:
    """The counter of one model, which may still be loading."""

    def __init__(self, model: str | None) -> None:
        self._model = model

    def at_hand(self) -> Counter:
        """The exact counter once it is loaded, and the estimate until then; never waits."""
        return _loading(self._model).start().result or ESTIMATE

    @property
    def is_loading(self) -> bool:
        """Whether waiting may help."""
        return _loading(self._model).start().is_running

    def best(self) -> Counter:
        """The exact counter, waited for up to LOAD_SECONDS; else the estimate, with a warning the first time."""
        loading = _loading(self._model).start()
        loading.wait(LOAD_SECONDS)
        if loading.result is None:
            _warn_once(self._model)
        return loading.result or ESTIMATE


@cache
def _warn_once(model: str | None) -> None:
    warnings.warn(
        f"chatmemory: the vocabulary of {model or DEFAULT_ENCODING} cannot be loaded (tiktoken downloads it once; "
        "TIKTOKEN_CACHE_DIR names where it is kept). Tokens are estimated at 4 characters each, which is far too few "
        "for Chinese or emoji.",
        stacklevel=2,
    )
