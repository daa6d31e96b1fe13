"""Cutting messages into episodes, and summaries without a model."""

from hypothesis import given
from hypothesis import strategies as st

from chatmemory import Message
from chatmemory.memories.episodes import LINE_LENGTH, SUMMARY_LINES, cut_episodes, extractive_summary
from tests.unit.conversations import conversations, message


@given(conversations())
def test_each_message_that_says_something_is_one_episode(messages: list[Message]) -> None:
    """In order, with its own words; the app's system messages are no memory."""
    episodes = cut_episodes(messages)
    said = [each for each in messages if each.role != "system" and each.text.strip()]
    assert [(each.seq, each.text) for each in episodes] == [(each.seq, each.text.strip()) for each in said]
    trusted = {"user": "user", "assistant": "assistant", "tool": "tool"}
    assert [each.trust for each in episodes] == [trusted[each.role] for each in said]
    assert all(each.text in each.indexed and "2026" in each.indexed for each in episodes)


@given(conversations(tools=False))
def test_an_episode_is_embedded_with_what_stands_around_it(messages: list[Message]) -> None:
    """Alone, with the turn before it, and with two turns on both sides."""
    episodes = cut_episodes(messages)
    texts = [each.text for each in episodes]
    for index, episode in enumerate(episodes):
        alone, answering, around = episode.embedded
        assert alone == episode.text
        assert answering == "\n".join(texts[max(0, index - 1) : index + 1])
        assert around == "\n".join(texts[max(0, index - 2) : index + 3])


def test_a_speaker_and_metadata_can_be_found() -> None:
    """A short name is the speaker; short strings of the metadata are indexed; anything else is not."""
    [named] = cut_episodes(
        [message(1, "user", "Hello", {"speaker": "Ann", "picture": "a red kite", "size": 3, "raw": "x" * 300})]
    )
    assert named.speaker == "Ann"
    assert "a red kite" in named.indexed
    assert "xxx" not in named.indexed
    for metadata in ({"speaker": ""}, {"speaker": 7}, {"speaker": "x" * 300}, {}):
        [nameless] = cut_episodes([message(1, "user", "Hello", metadata)])
        assert nameless.speaker is None


@given(st.none() | st.text(max_size=500), conversations())
def test_a_summary_is_short_and_made_of_what_was_said(summary: str | None, messages: list[Message]) -> None:
    """At most 12 different lines, each of the former summary or by a speaker, in the order of their saying."""
    lines = extractive_summary(summary, messages).splitlines()
    assert len(lines) <= SUMMARY_LINES or summary
    assert all(len(line) <= LINE_LENGTH + len("assistant: ") for line in lines if line not in (summary or ""))


@given(conversations(most=12), conversations(most=12))
def test_a_summary_goes_on_from_the_last_one(before: list[Message], after: list[Message]) -> None:
    """Nothing is said that was neither in the former summary nor in the messages, nor anything twice."""
    first = extractive_summary(None, before)
    second = extractive_summary(first, after).splitlines()
    said = " ".join(" ".join(each.text.split()) for each in after)
    assert all(line in first.splitlines() or line.partition(": ")[2] in said for line in second)
    assert len(second) == len(set(second)) <= SUMMARY_LINES


def test_what_is_said_often_is_kept() -> None:
    """Sentences with the words that matter stay when there is no room for all."""
    messages = [message(number, "user", f"Filler{number} nothing{number} else{number}.") for number in range(1, 30)]
    messages += [message(30 + number, "user", f"The Lisbon trip needs a ticket {number}.") for number in range(6)]
    assert extractive_summary(None, messages).count("Lisbon trip") == 6
    assert extractive_summary(None, []) == ""
