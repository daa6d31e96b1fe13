"""Episodes from messages, and an extractive summary, without a language model."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from chatmemory.memories.notes import as_data
from chatmemory.memories.records import Trust
from chatmemory.memories.trust import message_trust
from chatmemory.messages.records import Message

SUMMARY_LINES = 12
LINE_LENGTH = 200
METADATA_LENGTH = 200  # longest string in a message's metadata that is indexed
PART_LENGTH, MAX_PARTS = 2000, 8  # a long text is embedded in parts: characters per part, parts per text
NEIGHBOURS = ((1, 0), (2, 2))  # messages before and after, for each view
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|\n+")
_WORD = re.compile(r"\w{3,}")


class Episode(NamedTuple):
    """A message as an episodic memory.

    Attributes:
        seq: The message's seq.
        text: The message's text.
        indexed: The searchable text: the message, the strings in its metadata, and its date.
        embedded: The views that are embedded: the text alone, with the message before it, and with two messages on
            both sides.
        speaker: The speaker's name, if known.
        trust: The trust of the message's words.
        at: The message's time.
    """

    seq: int
    text: str
    indexed: str
    embedded: tuple[str, ...]
    speaker: str | None
    trust: Trust
    at: datetime


def cut_episodes(messages: Sequence[Message]) -> list[Episode]:
    """Return an episode for each message with text, except system messages, which are the app's."""
    spoken = [message for message in messages if message.role != "system" and message.text.strip()]
    texts = [message.text.strip() for message in spoken]
    episodes = []
    for index, message in enumerate(spoken):
        strings = [value for value in message.metadata.values() if isinstance(value, str)]
        words = " ".join(value for value in strings if len(value) <= METADATA_LENGTH)
        episode = Episode(
            seq=message.seq,
            text=texts[index],
            indexed=f"{texts[index]}\n{words} {message.created_at.astimezone(UTC):%d %B %Y}",
            embedded=views_of(texts, index),
            speaker=_speaker(message),
            trust=message_trust(message),
            at=message.created_at,
        )
        episodes.append(episode)
    return episodes


def views_of(texts: Sequence[str], index: int) -> tuple[str, ...]:
    """Return the views of a text: alone, with the text before it, and with two texts on both sides."""
    neighbourhoods = [texts[max(0, index - before) : index + after + 1] for before, after in NEIGHBOURS]
    return (texts[index], *map("\n".join, neighbourhoods))


def _speaker(message: Message) -> str | None:
    for key in ("speaker", "name"):
        value = message.metadata.get(key)
        if isinstance(value, str) and 0 < len(value) <= METADATA_LENGTH:
            return value
    return None


def extractive_summary(summary: str | None, messages: Iterable[Message]) -> str:
    """Return a running summary without a language model: the highest-weighted sentences, in their order.

    After H. P. Luhn, "The Automatic Creation of Literature Abstracts" (1958): a sentence's weight is the frequency
    of its words, relative to its length.
    """
    lines = (summary or "").splitlines()
    for message in messages:
        if message.role in ("user", "assistant"):
            speaker = as_data(_speaker(message) or "") or message.role
            sentences = filter(None, (" ".join(each.split()) for each in _SENTENCE.split(message.text)))
            lines += [f"{speaker}: {sentence[:LINE_LENGTH]}" for sentence in sentences]
    words = [set(_WORD.findall(line.lower())) for line in lines]
    frequencies = Counter(word for line in words for word in line)
    weights = [sum(frequencies[word] - 1 for word in line) / (len(line) + 3) for line in words]
    best = sorted(range(len(lines)), key=lambda index: (-weights[index], -index))
    chosen: dict[str, int] = {}
    for index in best:
        chosen.setdefault(lines[index], index)
    return "\n".join(lines[index] for index in sorted(list(chosen.values())[:SUMMARY_LINES]))
