"""Ranking is a pure function: bounded, stable, and no list can hide what the other found."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chatmemory.memories.ranking import Candidate, Hit, Ranked, by_place, rank

MOST = 1.7  # what recall() says that a score is at most
TERMS = ["tea", "green", "ann", "sea"]

hits = st.builds(
    Hit,
    place=st.integers(1, 30),
    term=st.sampled_from(TERMS),
    often=st.integers(1, 5),
    length=st.integers(5, 50),
    frequency=st.integers(1, 40),
    total=st.integers(0, 40),
)
candidates = st.lists(
    st.builds(
        Candidate,
        id=st.sampled_from([f"m{number}" for number in range(15)]),
        place=st.integers(1, 30),
        speaker_terms=st.frozensets(st.sampled_from(TERMS), max_size=2),
        importance=st.floats(0, 1),
    ),
    unique_by=(lambda each: each.id, lambda each: each.place),
)
near = st.dictionaries(st.sampled_from([f"m{number}" for number in range(20)]), st.floats(-1, 1))


def ranked_by(hits: Sequence[Hit], near: Mapping[str, float], candidates: Iterable[Candidate], k: int) -> list[Ranked]:
    """rank() as recall calls it."""
    return rank(hits, by_place(hits), near, candidates, k)


def hit(place: int, term: str, often: int = 1, frequency: int = 2) -> Hit:
    """A word of a text of 10 words, among 100 texts."""
    return Hit(place, term, often, 10, frequency, 100)


def memory(name: str, place: int, *speaker: str, importance: float = 0.5) -> Candidate:
    """A memory at a place."""
    return Candidate(name, place, frozenset(speaker), importance)


@given(hits=st.lists(hits), near=near, candidates=candidates, k=st.integers(0, 20))
def test_scores_are_bounded_and_sorted(hits: Any, near: Any, candidates: Any, k: int) -> None:
    """At most k, each once, best first, between 0 and 1.7, and each says which list it came from."""
    ranked = ranked_by(hits, near, candidates, k)
    scores = [each.score for each in ranked]
    assert len(ranked) <= k
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= MOST for score in scores)
    ids = [each.id for each in ranked]
    assert len(ids) == len(set(ids))
    assert set(ids) <= {each.id for each in candidates}
    assert all(each.ranks for each in ranked)


@given(hits=st.lists(hits), near=near, candidates=candidates, data=st.data())
def test_the_order_of_what_is_given_does_not_matter(hits: Any, near: Any, candidates: Any, data: st.DataObject) -> None:
    """Two processes rank alike, and the best of k is the best of all."""
    unique = list({(each.term, each.place): each for each in hits}.values())
    ranked = ranked_by(unique, near, candidates, 50)
    shuffled = ranked_by(unique, dict(reversed(near.items())), data.draw(st.permutations(candidates)), 50)
    assert [each.id for each in shuffled] == [each.id for each in ranked]
    assert ranked_by(unique, near, candidates, 3) == ranked[:3]


@given(hits=st.lists(hits), candidates=candidates)
def test_words_alone_give_the_best_its_full_score(hits: Any, candidates: Any) -> None:
    """Without an embedder the best scores 1, give or take its importance."""
    ranked = ranked_by(hits, {}, candidates, 50)
    if ranked:
        assert 0.9 <= ranked[0].score <= 1.1
        assert {tuple(each.ranks) for each in ranked} == {("lexical",)}


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    """A word in few memories has more weight."""
    found = [hit(10, "tea", frequency=50), hit(20, "zanzibar", frequency=1)]
    assert [each.id for each in ranked_by(found, {}, [memory("a", 10), memory("b", 20)], 5)] == ["b", "a"]


def test_a_neighbour_lends_its_words() -> None:
    """The answer beside a question that has the word is found, the farther the weaker, and not beyond 5."""
    found = [hit(100, "tea")]
    places = [memory(f"{distance}", 100 + distance) for distance in range(8)]
    ranked = ranked_by(found, {}, places, 10)
    assert [each.id for each in ranked] == ["0", "1", "2", "3", "4", "5"]


def test_who_is_named_is_preferred_and_not_searched_for() -> None:
    """A speaker's name in the question prefers what that speaker said; alone it is a word like others."""
    said = [memory("by ann", 10, "ann"), memory("by bob", 30, "bob")]
    assert ranked_by([hit(10, "tea"), hit(30, "tea"), hit(30, "ann")], {}, said, 5)[0].id == "by ann"
    assert [each.id for each in ranked_by([hit(30, "ann")], {}, said, 5)] == ["by bob"]


def test_meaning_finds_what_words_do_not() -> None:
    """A near memory without a common word is found; a memory with both ranks best."""
    ranked = ranked_by([hit(10, "tea"), hit(30, "tea")], {"b": 0.9, "c": 0.7, "d": 0.1}, [
        memory("a", 10), memory("b", 30), memory("c", 60), memory("d", 90)
    ], 5)  # fmt: skip
    assert ranked[0].id == "b"
    assert ranked[0].ranks == {"lexical": 2, "vector": 1}
    assert {"a", "b", "c"} == {each.id for each in ranked}


def test_importance_decides_between_equals_only() -> None:
    """An unimportant answer beats an important memory that answers less."""
    found = [hit(10, "tea"), hit(30, "tea")]
    ranked = ranked_by(found, {}, [memory("dull", 10, importance=0), memory("grave", 30, importance=1)], 5)
    assert [each.id for each in ranked] == ["grave", "dull"]
    found.append(hit(10, "green"))
    ranked = ranked_by(found, {}, [memory("dull", 10, importance=0), memory("grave", 30, importance=1)], 5)
    assert [each.id for each in ranked] == ["dull", "grave"]
