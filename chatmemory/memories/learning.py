"""Memories from a batch of messages and the model's answer about them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from chatmemory.memories.episodes import MAX_PARTS, PART_LENGTH, Episode, views_of
from chatmemory.memories.places import place
from chatmemory.memories.prompts import Learnt, LearntFact
from chatmemory.memories.records import TRUSTS, Memory, MemorySource, NewMemory, Trust
from chatmemory.memories.sameness import may_say_the_same
from chatmemory.memories.trust import message_trust
from chatmemory.memories.vectors import mean
from chatmemory.messages.records import Message
from chatmemory.sessions.records import SessionInfo

MAX_CLOSED_PER_FACT = 3  # known facts that one new fact may supersede
MAX_CLOSED_PER_BATCH = 6  # so that one message cannot supersede a user's whole memory
FULL_IMPORTANCE = 0.5


class Lesson(NamedTuple):
    """The claimed batch of one session.

    Attributes:
        session_id: The session's id.
        user_id: The session's user.
        number: The session's number, the high part of its messages' places.
        messages: The messages after the watermark, without gaps.
    """

    session_id: str
    user_id: str
    number: int
    messages: Sequence[Message]

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last seq of the batch."""
        return self.messages[0].seq, self.messages[-1].seq


def batch(messages: Sequence[Message], max_tokens: int) -> list[Message]:
    """Return the oldest messages that fit one model call, at least one."""
    taken: list[Message] = []
    spent = 0
    for message in messages:
        cost = message.tokens or len(message.text) // 4
        if taken and spent + cost > max_tokens:
            break
        taken.append(message)
        spent += cost
    return taken


def from_episodes(lesson: Lesson, episodes: Iterable[Episode], new_id: Callable[[], str]) -> list[NewMemory]:
    """Return the episodes as memories."""
    return [
        NewMemory(
            id=new_id(),
            user_id=lesson.user_id,
            kind="episode",
            text=episode.text,
            indexed=episode.indexed,
            near=place(lesson.number, episode.seq),
            speaker=episode.speaker,
            trust=episode.trust,
            importance=FULL_IMPORTANCE,
            valid_from=episode.at,
            metadata={},
            sources=(MemorySource(lesson.session_id, episode.seq, episode.seq),),
        )
        for episode in episodes
    ]


def from_facts(
    lesson: Lesson, learnt: Learnt, known: Sequence[Memory], new_id: Callable[[], str]
) -> tuple[list[NewMemory], int]:
    """Return the facts that cite existing messages as memories, and the number of dropped facts."""
    by_seq = {message.seq: message for message in lesson.messages}
    memories = []
    closable = MAX_CLOSED_PER_BATCH
    for fact in learnt.facts:
        cited = [by_seq[seq] for seq in sorted(set(fact.sources)) if seq in by_seq]
        if cited and fact.text.strip():
            new = _memory_of_fact(lesson, fact, cited, known, new_id())
            memories.append(new._replace(closes=new.closes[:closable]))
            closable -= len(memories[-1].closes)
    return memories, len(learnt.facts) - len(memories)


def _memory_of_fact(
    lesson: Lesson, fact: LearntFact, cited: Sequence[Message], known: Sequence[Memory], id: str
) -> NewMemory:
    """Return a fact as a memory; a restated known fact takes the known wording, and so confirms it.

    A fact that the model takes for a known one though their words contradict each other is kept, and linked to it.
    """
    meant = known[fact.same_as - 1] if fact.same_as and 0 < fact.same_as <= len(known) else None
    same = meant if meant and may_say_the_same(fact.text, meant.text) else None
    text = same.text if same else fact.text.strip()
    trust = min(map(message_trust, cited), key=TRUSTS.index)
    stated_at = max(message.created_at for message in cited)
    closes = [known[number - 1] for number in fact.supersedes if 0 < number <= len(known)][:MAX_CLOSED_PER_FACT]
    return NewMemory(
        id=id,
        user_id=lesson.user_id,
        kind=fact.kind,
        text=text,
        indexed=text,
        near=None,
        speaker=None,
        trust=trust,
        importance=fact.importance,
        valid_from=stated_at,
        metadata={},
        sources=tuple(MemorySource(lesson.session_id, message.seq, message.seq) for message in cited),
        similar_to=() if meant is None or meant is same else (meant.id,),
        closes=tuple(
            each.id
            for each in closes
            if each is not same and TRUSTS.index(trust) >= _required_trust(each) and each.valid_from <= stated_at
        ),
    )


def _required_trust(memory: Memory) -> int:
    """Return the rank of trust needed to supersede a memory; a user may correct what the app wrote."""
    return min(TRUSTS.index(memory.trust), TRUSTS.index("user"))


def from_summary(
    lesson: Lesson, summary: str, trust: Trust, new_id: Callable[[], str], earlier: Sequence[str]
) -> NewMemory:
    """Return a session's summary as a memory, which supersedes those with the ids `earlier`."""
    return NewMemory(
        id=new_id(),
        user_id=lesson.user_id,
        kind="summary",
        text=summary,
        indexed=summary,
        near=None,
        speaker=None,
        trust=trust,
        importance=FULL_IMPORTANCE,
        valid_from=lesson.messages[-1].created_at,
        metadata={},
        sources=(MemorySource(lesson.session_id, 1, lesson.messages[-1].seq),),
        closes=tuple(earlier),
    )


def nothing_learnt(info: SessionInfo) -> str:
    """The reason why nothing of a session could be claimed to learn from."""
    if info.learns != "messages":
        return f"the messages of a {info.kind} are not learnt from"
    return "another worker is at it" if info.last_seq > info.summary_seq else "nothing to learn"


class Unembedded(NamedTuple):
    """A stored memory without a vector of a model.

    Attributes:
        views: The texts to embed, the memory alone first.
    """

    id: str
    user_id: str
    place: int
    views: tuple[str, ...]


def unembedded_from_row(row: Sequence[Any]) -> Unembedded:
    """Build one from the columns of queries.memories.UNEMBEDDED; an episode's views include its neighbours."""
    id, user_id, place, kind, text, before, after = row
    views = views_of([*(before or ()), text, *(after or ())], len(before or ())) if kind == "episode" else (text,)
    return Unembedded(id, user_id, place, views)


def texts_of(episodes: Sequence[Episode], others: Sequence[NewMemory]) -> list[str]:
    """Return all texts to embed for a batch: the views of each episode, and each other memory."""
    texts = [text for episode in episodes for text in texts_to_embed(episode.embedded)]
    return [*texts, *(memory.text[:PART_LENGTH] for memory in others)]


def with_vectors(
    episodes: Sequence[Episode], memories: Sequence[NewMemory], others: Sequence[NewMemory],
    vectors: Sequence[Sequence[float]],
) -> list[NewMemory]:  # fmt: skip
    """Return the memories of texts_of(), each with its vectors."""
    if not vectors:
        return [*memories, *others]
    remaining = iter(vectors)
    embedded = [
        memory._replace(vectors=vectors_of(episode.embedded, remaining))
        for episode, memory in zip(episodes, memories, strict=True)
    ]
    return [*embedded, *(memory._replace(vectors=(next(remaining),)) for memory in others)]


def texts_to_embed(views: Sequence[str]) -> list[str]:
    """Return the texts to embed for one memory: its views with neighbours, truncated, and the parts of it alone."""
    alone, *around = views
    return [*(text[-PART_LENGTH:] for text in around), *_parts(alone)]


def vectors_of(views: Sequence[str], remaining: Iterator[Sequence[float]]) -> tuple[Sequence[float], ...]:
    """Take the vectors of one memory's texts_to_embed(): the first result is the mean of all views."""
    around = [next(remaining) for _ in views[1:]]
    first, *rest = [next(remaining) for _ in _parts(views[0])]
    return (mean([first, *around]), *rest)


def _parts(text: str) -> list[str]:
    pieces = [text[start : start + PART_LENGTH] for start in range(0, len(text), PART_LENGTH)]
    return pieces[:MAX_PARTS]
