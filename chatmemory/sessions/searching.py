"""A search for words in titles and messages: the patterns that Postgres compares."""

import re
import unicodedata

from chatmemory.errors import InvalidInputError
from chatmemory.validation import check_text

MAX_SEARCH_LENGTH = 500  # characters
MAX_WORDS = 8
_SPECIAL = re.compile(r"([\\%_])")


def patterns_of(text: object) -> list[list[str]]:
    """Return for each word of a search the patterns of which one must match; every word must be found.

    The database's locale may not know the case of letters outside ASCII, so each usual form of a word is a pattern of
    its own. A word need not stand between spaces: scripts without spaces are found as well.

    Raises:
        InvalidInputError: There is no word, or too many.
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"text must be a string, not {type(text).__name__}.")
    check_text(text, "text")
    words = list(dict.fromkeys(text.split()))
    if not words:
        raise InvalidInputError("text has no word to search for.")
    if len(text) > MAX_SEARCH_LENGTH or len(words) > MAX_WORDS:
        raise InvalidInputError(f"text must have at most {MAX_WORDS} words and {MAX_SEARCH_LENGTH} characters.")
    return [["%" + _SPECIAL.sub(r"\\\1", form) + "%" for form in _forms(word)] for word in words]


def _forms(word: str) -> list[str]:
    """Return the forms of a word that ILIKE does not take for the same."""
    if word.isascii():
        return [word]
    normal = (word, *(unicodedata.normalize(form, word) for form in ("NFC", "NFD", "NFKC")))
    cased = (form for each in normal for form in (each, each.lower(), each.upper(), each.capitalize()))
    return list(dict.fromkeys(cased))
