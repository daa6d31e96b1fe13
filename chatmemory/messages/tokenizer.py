"""Counting with a model's own encoding, if its vocabulary is available.

tiktoken downloads a vocabulary at its first use, which fails or hangs without a network. The vocabulary is therefore
loaded once, in the background: exact counts wait a bounded time, appends do not wait.
"""

import warnings
from collections.abc import Iterator
from functools import cache
from unicodedata import category

from chatmemory._concurrency import Once
from chatmemory.messages.token_counts import ESTIMATE, Counter

DEFAULT_ENCODING = "o200k_base"
LOAD_SECONDS = 5.0
PIECE = 20_000  # characters per call of tiktoken, whose stack overflows on a million spaces


SURPLUS = 8  # tokens added for a cut within a word, where the whole may need more tokens than its pieces


def pieces(text: str) -> Iterator[tuple[str, int]]:
    """Yield the pieces of a text to encode one by one, each with the tokens to add for the cut behind it."""
    start = 0
    while len(text) - start > PIECE:
        end = next((end for end in range(start + PIECE, start, -1) if _is_boundary(text, end)), None)
        stop = end or start + PIECE
        yield text[start:stop], 0 if end else SURPLUS
        start = stop
    yield text[start:], 0


def _is_boundary(text: str, at: int) -> bool:
    """Return whether an encoding always splits here: behind a letter, before one other character and a letter."""
    between = text[at]
    return (
        text[at - 1].isalpha()
        and not between.isalnum()
        and between not in "'\r\n"
        and not category(between).startswith("M")
        and text[at + 1 : at + 2].isalpha()
    )


class Tiktoken:
    """A counter with one of OpenAI's encodings."""

    def __init__(self, model: str | None) -> None:
        import tiktoken

        name = encoding_for(model)
        self.name = name or DEFAULT_ENCODING
        self.exact = model is None or name is not None
        self._encoding = tiktoken.get_encoding(self.name)

    def count(self, text: str) -> int:
        """Return the number of tokens; a few too many for a text with a word longer than PIECE."""
        encode = self._encoding.encode_ordinary
        if len(text) <= PIECE:
            return len(encode(text))
        return sum(len(encode(piece)) + surplus for piece, surplus in pieces(text))

    def cut(self, text: str, tokens: int) -> str:
        """Return the longest prefix that ends between two tokens and has at most this many."""
        encoded: list[int] = []
        for piece, _ in pieces(text):
            if len(encoded) > tokens:
                break
            encoded += self._encoding.encode_ordinary(piece)
        for end in range(min(len(encoded), tokens), 0, -1):
            prefix = self._encoding.decode_bytes(encoded[:end]).decode("utf-8", "ignore")
            if self.count(prefix) <= tokens:  # the last part of a word may encode to more tokens
                return prefix
        return ""


def encoding_for(model: str | None) -> str | None:
    """Return a model's encoding; None if tiktoken does not know the model."""
    from tiktoken.model import encoding_name_for_model

    try:
        return encoding_name_for_model(model) if model else None
    except KeyError:
        return None


@cache
def _loading(model: str | None) -> Once[Tiktoken]:
    return Once(lambda: Tiktoken(model))


class Tokenizer:
    """Provides the counter of one model, which may still be loading."""

    def __init__(self, model: str | None) -> None:
        self._model = model

    def at_hand(self) -> Counter:
        """Return the exact counter if it is loaded, else the estimate, without waiting."""
        return _loading(self._model).start().result or ESTIMATE

    @property
    def is_loading(self) -> bool:
        """True while the exact counter is loading."""
        return _loading(self._model).start().is_running

    def best(self) -> Counter:
        """Return the exact counter after waiting at most LOAD_SECONDS, else the estimate with a warning once."""
        loading = _loading(self._model).start()
        loading.wait(LOAD_SECONDS)
        if loading.result is None:
            _warn_once(self._model)
        return loading.result or ESTIMATE


@cache
def _warn_once(model: str | None) -> None:
    warnings.warn(
        "chatmemory: tokens are only estimated, at 4 characters each (far too few for Chinese or emoji); all else "
        f"works. The vocabulary of {model or DEFAULT_ENCODING} cannot be loaded: tiktoken downloads it at first use, "
        "which needs the internet. Offline, let TIKTOKEN_CACHE_DIR name a directory to which it was downloaded.",
        stacklevel=2,
    )
