"""Ranking of memories for a query, by words and by meaning.

Words: BM25F (Robertson, Zaragoza and Taylor 2004) over a turn and its neighbours, whose weight falls with distance:
an answer rarely repeats the words of its question. A speaker named in the query raises the score of that speaker's
memories; the name is not searched for. Meaning: cosine similarity. The scores of each list are scaled and added.
On LoCoMo's dialogues this did better than reciprocal ranks, as it keeps the distances between scores.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, NamedTuple

WEIGHTS = (1.0, 0.5, 0.4, 0.3, 0.2, 0.1)  # of a turn's own words, and of its neighbours' words by distance
DISTANCES = tuple((distance, WEIGHTS[abs(distance)]) for distance in range(-5, 6))
K1, B = 1.2, 0.4
SPEAKER_BONUS = 0.6
VECTOR_WEIGHT = 0.6
IMPORTANCE_WEIGHT = 0.1  # breaks ties by importance; too small to outweigh a match


class Hit(NamedTuple):
    """A word of the query at a place.

    Attributes:
        place: The number of a turn; neighbours differ by 1.
        term: The word, stemmed.
        often: Occurrences of the word at the place.
        length: Words at the place.
        frequency: Places that have the word.
        total: All places.
    """

    place: int
    term: str
    often: int
    length: int
    frequency: int
    total: int


class Candidate(NamedTuple):
    """A memory that may match the query."""

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
    """Return the best k candidates, best first.

    Args:
        hits: Words of the query at the places of candidates and around them.
        places: The scores of by_place() for these hits.
        near: Cosine similarities of the nearest candidates, by id.
        candidates: The memories that may be recalled.
        k: Maximum number of results.
    """
    memories = list(candidates)
    by_words = _by_words(hits, places, memories)
    ids = {memory.id for memory in memories}
    by_meaning = _scaled({id: similarity for id, similarity in near.items() if id in ids})
    best = max(by_words.values(), default=0.0)
    scores: dict[str, float] = {}
    for memory in memories:
        words = by_words.get(memory.id, 0.0) / best if best else 0.0
        score = words + VECTOR_WEIGHT * by_meaning.get(memory.id, 0.0)
        if score > 0:
            scores[memory.id] = score * (1 + IMPORTANCE_WEIGHT * (memory.importance - 0.5))
    ranks = {"lexical": _ranks(by_words), "vector": _ranks(by_meaning)}
    order = sorted(scores, key=lambda id: (-scores[id], id))[:k]
    return [Ranked(id, scores[id], {name: by_id[id] for name, by_id in ranks.items() if id in by_id}) for id in order]


def best_places(scores: Mapping[int, float], limit: int) -> list[int]:
    """Return the places with the best scores, at most `limit`, in ascending order."""
    if len(scores) <= limit:
        return sorted(scores)
    return sorted(sorted(scores, key=lambda place: (-scores[place], -place))[:limit])


def _by_words(hits: Sequence[Hit], places: Mapping[int, float], memories: Sequence[Candidate]) -> dict[str, float]:
    """Return the BM25F score of each memory with words of the query in it or around it."""
    terms = {hit.term for hit in hits}
    named = {term for memory in memories for term in memory.speaker_terms} & terms
    if named == terms:
        named = set()  # the query has no other words
    scores = by_place(hits, named) if named else places
    return {
        memory.id: scores[memory.place] * (1 + SPEAKER_BONUS if memory.speaker_terms & named else 1)
        for memory in memories
        if memory.place in scores
    }


def by_place(hits: Sequence[Hit], named: Set[str] = frozenset()) -> dict[int, float]:
    """Return the BM25F score of each place with words of the query at it or around it.

    Args:
        hits: Words of the query at places.
        named: Words to ignore.
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
            frequency = hit.often / (1 - B + B * hit.length / average)
            for distance, weight in DISTANCES:
                weighted[hit.place + distance] += weight * frequency
        for place, weight in weighted.items():
            scores[place] += rarity * weight / (weight + K1)
    return scores


def _scaled(similarities: Mapping[str, float]) -> dict[str, float]:
    """Scale similarities to 0 for the least and 1 for the greatest."""
    low, high = min(similarities.values(), default=0.0), max(similarities.values(), default=0.0)
    if low == high:
        return dict.fromkeys(similarities, 1.0)
    return {id: (similarity - low) / (high - low) for id, similarity in similarities.items()}


def _ranks(scores: Mapping[str, float]) -> dict[str, int]:
    return {id: rank for rank, id in enumerate(sorted(scores, key=lambda id: (-scores[id], id)), 1)}
