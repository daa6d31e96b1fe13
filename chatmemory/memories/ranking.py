"""Which memories answer a query: words and meaning, fused. Pure; the candidates come from the schema's functions.

Words: BM25F (Robertson, Zaragoza and Taylor 2004) over a turn and the turns around it, which count less the farther
they stand: an answer rarely repeats the words of the question it follows. A speaker who is named in the query is
preferred rather than searched for. Meaning: cosine similarity. Each list is scaled to its own range and then added,
which on LoCoMo's dialogues did better than reciprocal ranks, and keeps how much better one is than the next.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

WEIGHTS = (1.0, 0.5, 0.4, 0.3, 0.2, 0.1)  # of a turn's own words, and of its neighbours' by distance
AROUND = tuple((distance, WEIGHTS[abs(distance)]) for distance in range(-5, 6))
K1, B = 1.2, 0.4
SPEAKER_BONUS = 0.6
VECTOR_WEIGHT = 0.6
IMPORTANCE_WEIGHT = 0.1  # between two that answer alike, the important one; it must not outweigh an answer


class Hit(NamedTuple):
    """A word of the query at a place.

    Attributes:
        place: Where: places of neighbouring turns differ by 1.
        term: The word, stemmed.
        often: How often it stands there.
        length: How many words stand there.
        frequency: In how many places the word stands.
        total: How many places there are.
    """

    place: int
    term: str
    often: int
    length: int
    frequency: int
    total: int


class Candidate(NamedTuple):
    """A memory that may answer."""

    id: str
    place: int
    speaker_terms: frozenset[str]
    importance: float


def candidate_from_row(row: Sequence[Any]) -> Candidate:
    """Build a candidate from the columns of queries.memories.CANDIDATES."""
    id, place, speaker_terms, importance = row
    return Candidate(id, place, frozenset(speaker_terms or ()), importance)


class Ranked(NamedTuple):
    """A candidate's score, and its rank in each list."""

    id: str
    score: float
    ranks: dict[str, int]


def rank(
    hits: Sequence[Hit], places: Mapping[int, float], near: Mapping[str, float], candidates: Iterable[Candidate], k: int
) -> list[Ranked]:
    """The best k candidates, best first.

    Args:
        hits: Where words of the query stand, in candidates and around them.
        places: What by_place() makes of the hits.
        near: The similarity of the nearest candidates by meaning, by id.
        candidates: What may be recalled.
        k: How many at most.
    """
    memories = list(candidates)
    by_words = _by_words(hits, places, memories)
    known = {memory.id for memory in memories}
    by_meaning = _scaled({id: similarity for id, similarity in near.items() if id in known})
    best = max(by_words.values(), default=0.0)
    scores: dict[str, float] = {}
    for memory in memories:
        words = by_words.get(memory.id, 0.0) / best if best else 0.0
        score = words + VECTOR_WEIGHT * by_meaning.get(memory.id, 0.0)
        if score > 0:
            scores[memory.id] = score * (1 + IMPORTANCE_WEIGHT * (memory.importance - 0.5))
    ranks = {"lexical": _ranks(by_words), "vector": _ranks(by_meaning)}
    order = sorted(scores, key=lambda id: (-scores[id], id))[:k]
    return [Ranked(id, scores[id], {name: of[id] for name, of in ranks.items() if id in of}) for id in order]


def best_places(scores: Mapping[int, float], most: int) -> list[int]:
    """The places with the best scores, at most so many, in their order."""
    if len(scores) <= most:
        return sorted(scores)
    return sorted(sorted(scores, key=lambda place: (-scores[place], -place))[:most])


def _by_words(hits: Sequence[Hit], places: Mapping[int, float], memories: Sequence[Candidate]) -> dict[str, float]:
    """BM25F of each memory that has words of the query in it or around it."""
    terms = {hit.term for hit in hits}
    named = {term for memory in memories for term in memory.speaker_terms} & terms
    if named == terms:
        named = set()  # nothing else was asked for
    scores = by_place(hits, named) if named else places
    return {
        memory.id: scores[memory.place] * (1 + SPEAKER_BONUS if memory.speaker_terms & named else 1)
        for memory in memories
        if memory.place in scores
    }


def by_place(hits: Sequence[Hit], named: Set[str] = frozenset()) -> dict[int, float]:
    """BM25F of each place that has words of the query on it or around it.

    Args:
        hits: Where words of the query stand.
        named: Words that do not count.
    """
    average = sum(hit.length for hit in hits) / len(hits) if hits else 1.0
    total = max((hit.total for hit in hits), default=0)
    scores: dict[int, float] = defaultdict(float)
    by_term: dict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        by_term[hit.term].append(hit)
    for term in sorted(by_term.keys() - named):
        count = by_term[term][0].frequency
        rarity = math.log(1 + (max(total, count) - count + 0.5) / (count + 0.5)) * (K1 + 1)
        weighted: dict[int, float] = defaultdict(float)
        for hit in by_term[term]:
            often = hit.often / (1 - B + B * hit.length / average)
            for distance, weight in AROUND:
                weighted[hit.place + distance] += weight * often
        for place, weight in weighted.items():
            scores[place] += rarity * weight / (weight + K1)
    return scores


def _scaled(similarities: Mapping[str, float]) -> dict[str, float]:
    """Similarities between 0 for the farthest of them and 1 for the nearest."""
    low, high = min(similarities.values(), default=0.0), max(similarities.values(), default=0.0)
    if low == high:
        return dict.fromkeys(similarities, 1.0)
    return {id: (similarity - low) / (high - low) for id, similarity in similarities.items()}


def _ranks(scores: Mapping[str, float]) -> dict[str, int]:
    return {id: rank for rank, id in enumerate(sorted(scores, key=lambda id: (-scores[id], id)), 1)}
