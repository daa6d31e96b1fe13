"""Memories from a batch: pure decisions about a model's answer."""

from datetime import timedelta
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chatmemory import Memory, Message
from chatmemory.memories.episodes import cut_episodes
from chatmemory.memories.learning import (
    MAX_CLOSED_PER_BATCH,
    MAX_CLOSED_PER_FACT,
    Lesson,
    batch,
    from_episodes,
    from_facts,
    texts_of,
    with_vectors,
)
from chatmemory.memories.prompts import Learnt, LearntFact, learning_prompt
from chatmemory.memories.records import TRUSTS, NewMemory, digest, normalised
from tests.unit.conversations import WHEN, conversations, message

ROLES = ["user", "assistant", "tool", "system"]
TRUST_OF = {"user": "user", "assistant": "assistant", "tool": "tool", "system": "app"}


def ids() -> Any:
    """New ids."""
    numbers = count(1)
    return lambda: f"new-{next(numbers)}"


def known(number: int, trust: Any = "user", day: int = -1) -> Memory:
    """A fact that is known."""
    return Memory(
        id=f"known-{number}", tenant_id="acme", user_id="ann", kind="fact", text=f"fact {number}", sources=(),
        speaker=None, trust=trust, importance=0.5, valid_from=WHEN + timedelta(days=day), valid_to=None,
        superseded_by=None, confirmations=0, recalled_at=None, recall_count=0, metadata={}, created_at=WHEN,
    )  # fmt: skip


def lesson(*roles: str) -> Lesson:
    """Messages 11, 12 … by these."""
    return Lesson("s-1", "ann", 7, [message(11 + index, role, f"text {index}") for index, role in enumerate(roles)])


facts = st.builds(
    LearntFact,
    text=st.text(min_size=1, max_size=20),
    sources=st.lists(st.integers(-2, 20), max_size=4),
    supersedes=st.lists(st.integers(-2, 12), max_size=12),
    same_as=st.none() | st.integers(-2, 12),
)


@given(
    st.lists(st.sampled_from(ROLES), min_size=1, max_size=6),
    st.lists(facts, max_size=6),
    st.lists(st.tuples(st.sampled_from(TRUSTS), st.integers(-2, 2)), max_size=8),
)
def test_whatever_a_model_answers_the_rules_hold(roles: Any, answered: Any, told: Any) -> None:
    """Sources exist, trust is the lowest of them, and little is closed: nothing newer, nothing more trusted."""
    before = [known(number, *each) for number, each in enumerate(told)]
    by_id = {each.id: each for each in before}
    taught = lesson(*roles)
    made, dropped = from_facts(taught, Learnt(summary="x", facts=answered), before, ids())
    assert len(made) + dropped == len(answered)
    by_seq = {each.seq: each for each in taught.messages}
    assert sum(len(new.closes) for new in made) <= MAX_CLOSED_PER_BATCH
    for new in made:
        cited = [by_seq[source.from_seq] for source in new.sources]
        assert cited
        assert TRUSTS.index(new.trust) == min(TRUSTS.index(TRUST_OF[each.role]) for each in cited)
        assert len(new.closes) <= MAX_CLOSED_PER_FACT
        assert new.user_id == "ann"
        for id in new.closes:
            assert by_id[id].valid_from <= new.valid_from
            assert TRUSTS.index(new.trust) >= min(TRUSTS.index(by_id[id].trust), TRUSTS.index("user"))


def test_the_same_as_a_known_fact_says_it_in_its_words() -> None:
    """So that storing it confirms that one; a number that is no fact's is ignored."""
    for same_as, text in ((1, "fact 0"), (2, "fact 1"), (3, "mine"), (0, "mine"), (-1, "mine")):
        learnt = Learnt(
            summary="x", facts=[LearntFact(text="mine", sources=[11], same_as=same_as, supersedes=[same_as])]
        )
        [[made], _] = from_facts(lesson("user"), learnt, [known(0), known(1)], ids())
        assert made.text == text
        assert made.closes == ()


@given(conversations(), st.integers(1, 200))
def test_a_batch_is_the_oldest_and_never_empty(messages: list[Message], most: int) -> None:
    """In order, one at least, and within the budget unless it is that one."""
    taken = batch(messages, most)
    assert taken == messages[: len(taken)]
    assert bool(taken) == bool(messages)
    assert len(taken) <= 1 or sum(each.tokens or 0 for each in taken) <= most


@given(conversations())
def test_each_text_gets_its_own_vectors(messages: list[Message]) -> None:
    """However long the texts, what is embedded and what comes back fit together."""
    if not messages:
        return
    longer = [*messages, message(len(messages) + 1, "user", "long " * 5000)]
    taught = Lesson("s-1", "ann", 7, longer)
    episodes = cut_episodes(longer)
    memories = from_episodes(taught, episodes, ids())
    [other], _ = from_facts(taught, Learnt(summary="x", facts=[LearntFact(text="f", sources=[1])]), [], ids())
    texts = texts_of(episodes, [other])
    assert all(text.strip() and len(text) <= 2000 for text in texts)
    made: list[NewMemory] = with_vectors(
        episodes, memories, [other], [[float(number), 1.0] for number in range(len(texts))]
    )
    assert [each.id for each in made] == [*(each.id for each in memories), other.id]
    assert made[-1].vectors == ([float(len(texts) - 1), 1.0],)
    assert all(each.vectors for each in made)
    assert len(made[-2].vectors) == 8
    assert [each.near for each in made[:-1]] == [(7 << 24) + each.seq for each in episodes]


def test_without_vectors_memories_stay_as_they_are() -> None:
    """No embedder, no vectors."""
    taught = lesson("user")
    episodes = cut_episodes(taught.messages)
    memories = from_episodes(taught, episodes, ids())
    assert with_vectors(episodes, memories, [], []) == memories


@given(st.text())
def test_normalising_is_stable(text: str) -> None:
    """Case, spacing and punctuation around words do not make another fact; normalising twice changes nothing."""
    assert normalised(normalised(text)) == normalised(text)
    assert digest(f"  {text.upper().lower()} ") == digest(text.upper().lower())
    assert digest("Ann lives in Lisbon.") == digest('ann  lives "in" LISBON')
    assert digest("Ann lives in Lisbon") != digest("Ann lived in Lisbon")


@given(st.text(), st.text())
def test_what_was_said_stays_inside_the_document(said: str, summary: str) -> None:
    """Text of users is one JSON string of the question's only document, whatever it contains."""
    import json

    asked = learning_prompt(summary, [known(1)], [message(1, "user", said)])
    assert [each["role"] for each in asked] == ["system", "user"]
    document = json.loads(asked[1]["content"])
    assert [each["text"] for each in document["messages"]] == [said]
    assert document["summary"] == summary
    assert asked[0] == learning_prompt(None, [], [])[0]
