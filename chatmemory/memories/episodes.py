"""Cutting messages into episodes, and what can be said of them without a language model."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from chatmemory.memories.records import Trust
from chatmemory.messages.records import Message

SUMMARY_LINES = 12
LINE_LENGTH = 200
METADATA_LENGTH = 200  # of a string in a message's metadata that is worth finding
PART_LENGTH, MOST_PARTS = 2000, 8  # characters of a long text that are embedded at a time, and how many times
AROUND = ((1, 0), (2, 2))  # turns before and after
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|\n+")
_WORD = re.compile(r"\w{3,}")
_TRUST: dict[str, Trust] = {"user": "user", "assistant": "assistant", "tool": "tool", "system": "app"}


class Episode(NamedTuple):
    """A message worth finding again.

    Attributes:
        seq: Which.
        text: What it says, with its speaker where that is known.
        indexed: The words under which it is found: the text, what its metadata says, and its date.
        embedded: The texts whose meanings together stand for it: it alone, with what it answers, and with the two
            turns on both sides.
        speaker: Who said it, where that is known.
        trust: Who vouches for it.
        at: When it was said.
    """

    seq: int
    text: str
    indexed: str
    embedded: tuple[str, ...]
    speaker: str | None
    trust: Trust
    at: datetime


def cut(messages: Sequence[Message]) -> list[Episode]:
    """One episode for each message that says something; system messages are the app's and no memory."""
    said = [message for message in messages if message.role != "system" and message.text.strip()]
    texts = [message.text.strip() for message in said]
    found = []
    for index, message in enumerate(said):
        known = [value for value in message.metadata.values() if isinstance(value, str)]
        words = " ".join(value for value in known if len(value) <= METADATA_LENGTH)
        episode = Episode(
            seq=message.seq,
            text=texts[index],
            indexed=f"{texts[index]}\n{words} {message.created_at.astimezone(UTC):%d %B %Y}",
            embedded=views_of(texts, index),
            speaker=_speaker(message),
            trust=_TRUST[message.role],
            at=message.created_at,
        )
        found.append(episode)
    return found


def views_of(texts: Sequence[str], index: int) -> tuple[str, ...]:
    """One of a session's texts alone, with what it answers, and with the two on both sides."""
    around = [texts[max(0, index - before) : index + after + 1] for before, after in AROUND]
    return (texts[index], *map("\n".join, around))


def _speaker(message: Message) -> str | None:
    for key in ("speaker", "name"):
        value = message.metadata.get(key)
        if isinstance(value, str) and 0 < len(value) <= METADATA_LENGTH:
            return value
    return None


def extract(summary: str | None, messages: Iterable[Message]) -> str:
    """A running summary without a language model: the most telling sentences, in the order they were said.

    The source of the idea is H. P. Luhn, "The Automatic Creation of Literature Abstracts" (1958): a sentence tells
    as much as the words in it that are said often, for its length.
    """
    lines = (summary or "").splitlines()
    for message in messages:
        if message.role in ("user", "assistant"):
            who = _speaker(message) or message.role
            sentences = filter(None, (" ".join(each.split()) for each in _SENTENCE.split(message.text)))
            lines += [f"{who}: {sentence[:LINE_LENGTH]}" for sentence in sentences]
    words = [set(_WORD.findall(line.lower())) for line in lines]
    often = Counter(word for line in words for word in line)
    weights = [sum(often[word] - 1 for word in line) / (len(line) + 3) for line in words]
    best = sorted(range(len(lines)), key=lambda index: (-weights[index], -index))
    kept: dict[str, int] = {}
    for index in best:
        kept.setdefault(lines[index], index)
    return "\n".join(lines[index] for index in sorted(list(kept.values())[:SUMMARY_LINES]))
