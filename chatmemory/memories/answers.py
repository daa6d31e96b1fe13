"""The JSON object in a model's answer, which may stand behind its thoughts, in a fence, or among other words."""

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Schema = TypeVar("Schema", bound=BaseModel)
MAX_ATTEMPTS = 1_000  # at braces that begin no object
MAX_REPAIRS = 50
_THOUGHTS_BEGIN = re.compile(r"\s*<(?:think|thinking|thought|reasoning)\b[^>]*>", re.IGNORECASE)
_THOUGHTS_END = re.compile(r"</(?:think|thinking|thought|reasoning)\s*>", re.IGNORECASE)
_LAST_COMMA = re.compile(r",\s*[}\]]")
_STRING_OR_LAST_COMMA = re.compile(r'("(?:[^"\\]++|\\.)*+")|,(?=\s*[}\]])', re.DOTALL)
_DECODER = json.JSONDecoder(strict=False)  # line breaks within strings are common


def find_answer(text: str, schema: type[Schema]) -> Schema | None:
    """Return the last object in the text that matches the schema, after the model's thoughts; None without one."""
    for region in _regions(text):
        for value in reversed(list(_objects(region))):
            try:
                return schema.model_validate(value)
            except ValidationError:
                continue
    return None


def _regions(text: str) -> Iterator[str]:
    """Yield where the answer may stand: behind the thoughts, else in all of it, as a string may hold such a tag."""
    ends = [end.end() for end in _THOUGHTS_END.finditer(text)]
    for end in dict.fromkeys(ends[-1:] + ends[:1]):
        yield text[end:]
    if not _THOUGHTS_BEGIN.match(text):
        yield text


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the outermost objects of a text."""
    start = text.find("{")
    repairs = MAX_REPAIRS if _LAST_COMMA.search(text) else 0
    for _ in range(MAX_ATTEMPTS):
        if start < 0:
            return
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            value, end, repairs = _repaired(text[start:]) if repairs > 0 else None, start + 1, repairs - 1
        if value is not None:
            yield value
        start = text.find("{", end)


def _repaired(text: str) -> dict[str, Any] | None:
    """Return the object at the beginning of a text, without its trailing commas."""
    without = _STRING_OR_LAST_COMMA.sub(lambda match: match[1] or "", text)
    try:
        value: dict[str, Any] = _DECODER.raw_decode(without)[0]
    except (ValueError, RecursionError):
        return None
    return value
