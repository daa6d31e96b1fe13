"""What a batch of messages teaches: the memories it becomes. Pure; the model's answer comes from elsewhere."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from chatmemory.memories.episodes import MOST_PARTS, PART_LENGTH, Episode, views_of
from chatmemory.memories.places import place
from chatmemory.memories.prompts import Learnt, LearntFact
from chatmemory.memories.records import TRUSTS, Memory, MemorySource, NewMemory, Trust
from chatmemory.memories.vectors import mean
from chatmemory.messages.records import Message
from chatmemory.sessions.records import SessionInfo

MOST_CLOSED = 3  # known facts that one new one may take the place of
MOST_CLOSED_AT_ONCE = 6  # by all facts of a batch: who says that nothing is true any more does not empty a memory
FULL_IMPORTANCE = 0.5
_TRUST: dict[str, Trust] = {"user": "user", "assistant": "assistant", "tool": "tool", "system": "app"}


class Lesson(NamedTuple):
    """One session's batch, as it was claimed.

    Attributes:
        session_id: The session.
        user_id: Whose it is.
        number: The session's number, which its turns' places begin with.
        messages: The messages behind the watermark, without gaps.
    """

    session_id: str
    user_id: str
    number: int
    messages: Sequence[Message]

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last seq."""
        return self.messages[0].seq, self.messages[-1].seq


def batch(messages: Sequence[Message], most_tokens: int) -> list[Message]:
    """As many of the oldest messages as a model is shown at once, one at least."""
    taken: list[Message] = []
    spent = 0
    for message in messages:
        cost = message.tokens or len(message.text) // 4
        if taken and spent + cost > most_tokens:
            break
        taken.append(message)
        spent += cost
    return taken


def from_episodes(lesson: Lesson, episodes: Iterable[Episode], new_id: Callable[[], str]) -> list[NewMemory]:
    """The verbatim memories."""
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
    """The facts whose sources exist, and how many were dropped because theirs do not."""
    by_seq = {message.seq: message for message in lesson.messages}
    made = []
    closable = MOST_CLOSED_AT_ONCE
    for fact in learnt.facts:
        cited = [by_seq[seq] for seq in sorted(set(fact.sources)) if seq in by_seq]
        if cited and fact.text.strip():
            new = _fact(lesson, fact, cited, known, new_id())
            made.append(new._replace(closes=new.closes[:closable]))
            closable -= len(made[-1].closes)
    return made, len(learnt.facts) - len(made)


def _fact(lesson: Lesson, fact: LearntFact, cited: Sequence[Message], known: Sequence[Memory], id: str) -> NewMemory:
    """A fact; where the model says that it is known, in the known one's words, so that it confirms that one."""
    same = known[fact.same_as - 1] if fact.same_as and 0 < fact.same_as <= len(known) else None
    text = same.text if same else fact.text.strip()
    trust = min((_TRUST[message.role] for message in cited), key=TRUSTS.index)
    said_at = max(message.created_at for message in cited)
    closes = [known[number - 1] for number in fact.supersedes if 0 < number <= len(known)][:MOST_CLOSED]
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
        valid_from=said_at,
        metadata={},
        sources=tuple(MemorySource(lesson.session_id, message.seq, message.seq) for message in cited),
        closes=tuple(
            each.id
            for each in closes
            if each is not same and TRUSTS.index(trust) >= _weight(each) and each.valid_from <= said_at
        ),
    )


def _weight(memory: Memory) -> int:
    """How trusted somebody must be to replace it; what the app wrote, its user may correct."""
    return min(TRUSTS.index(memory.trust), TRUSTS.index("user"))


def from_summary(lesson: Lesson, summary: str, trust: Trust, new_id: Callable[[], str]) -> NewMemory:
    """What a whole session came to."""
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
    )


def nothing_learnt(info: SessionInfo) -> str:
    """Why nothing of a session could be claimed to learn from."""
    if info.learns != "messages":
        return f"the messages of a {info.kind} are not learnt from"
    return "another worker is at it" if info.last_seq > info.summary_seq else "nothing to learn"


class Unembedded(NamedTuple):
    """A stored memory that has no vector of a model.

    Attributes:
        views: The texts whose meanings together stand for it, it alone first.
    """

    id: str
    user_id: str
    place: int
    views: tuple[str, ...]


def unembedded_from_row(row: Sequence[Any]) -> Unembedded:
    """Build one from the columns of queries.memories.UNEMBEDDED; an episode is seen among the turns around it."""
    id, user_id, place, kind, text, before, after = row
    views = views_of([*(before or ()), text, *(after or ())], len(before or ())) if kind == "episode" else (text,)
    return Unembedded(id, user_id, place, views)


def texts_of(episodes: Sequence[Episode], others: Sequence[NewMemory]) -> list[str]:
    """All that is embedded in one batch: each episode alone and with what stands around it, and each other memory."""
    texts = [text for episode in episodes for text in texts_to_embed(episode.embedded)]
    return [*texts, *(memory.text[:PART_LENGTH] for memory in others)]


def with_vectors(
    episodes: Sequence[Episode], memories: Sequence[NewMemory], others: Sequence[NewMemory],
    vectors: Sequence[Sequence[float]],
) -> list[NewMemory]:  # fmt: skip
    """The memories of texts_of(), each with what it means."""
    if not vectors:
        return [*memories, *others]
    left = iter(vectors)
    made = [
        memory._replace(vectors=vectors_of(episode.embedded, left))
        for episode, memory in zip(episodes, memories, strict=True)
    ]
    return [*made, *(memory._replace(vectors=(next(left),)) for memory in others)]


def texts_to_embed(views: Sequence[str]) -> list[str]:
    """What is embedded of one memory: it with what stands around it, as much as fits, and all parts of it alone."""
    alone, *around = views
    return [*(text[-PART_LENGTH:] for text in around), *_parts(alone)]


def vectors_of(views: Sequence[str], left: Iterator[Sequence[float]]) -> tuple[Sequence[float], ...]:
    """The vectors of one memory, out of those of its texts_to_embed(): the first is the mean of all views."""
    around = [next(left) for _ in views[1:]]
    first, *rest = [next(left) for _ in _parts(views[0])]
    return (mean([first, *around]), *rest)


def _parts(text: str) -> list[str]:
    pieces = [text[start : start + PART_LENGTH] for start in range(0, len(text), PART_LENGTH)]
    return pieces[:MOST_PARTS]
