"""Marks that ChatGPT puts into its answers for its own pages: citations, links, entities."""

import json
import re

_MARK = re.compile("\ue200([^\ue200\ue201]*)\ue201")
_SOURCE = re.compile(r"【\d+(?::\d+)?†[^】\n]*】")
_REMAINS = re.compile("[\ue200-\ue206]")


def without_citations(text: str) -> str:
    """Return the text as it was read on the page: a link as its label, an entity as its name, no citations."""
    return _REMAINS.sub("", _SOURCE.sub("", _MARK.sub(_shown, text)))


def _shown(mark: re.Match[str]) -> str:
    kind, *values = mark[1].split("\ue202")
    if kind == "url" and values:
        return values[0]
    return _entity(values[0]) if kind == "entity" and values else ""


def _entity(value: str) -> str:
    try:
        name = json.loads(value)[1]
    except (ValueError, LookupError, TypeError):
        return ""
    return name if isinstance(name, str) else ""
