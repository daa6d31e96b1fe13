"""The object in a model's answer, whatever stands around it."""

import json

import pytest

from chatmemory.memories.answers import find_answer
from chatmemory.memories.prompts import Learnt

ANSWER = json.dumps(
    {"summary": "Ann <think> {likes} soup.", "facts": [{"text": "Ann likes soup, } and ]", "sources": [1]}]}
)
DRAFT = json.dumps({"summary": "A draft.", "facts": []})


def short(text: str) -> str:
    """The name of a test."""
    return text[:30]


@pytest.mark.parametrize(
    "text",
    [
        ANSWER,
        f"```json\n{ANSWER}\n```",
        f"<think>{DRAFT}</think>{ANSWER}",
        f"<think>{{…}}</think>\n\n```json\n{ANSWER}\n```",
        f"<thinking>one {DRAFT} </think> more {DRAFT}</thinking> {ANSWER}",
        f"I think {DRAFT} … </think>\n{ANSWER}",
        f"Draft:\n```json\n{DRAFT}\n```\nFinal:\n```json\n{ANSWER}\n```",
        f"```json\n{ANSWER}\n```\nIn short:\n```json\n{{}}\n```",
        f"{ANSWER}}}}}",
        f"{ANSWER}\n{{",
        f"{{{{ {ANSWER}",
        f"An object {{like this}} follows: {ANSWER} {{as asked}}.",
        ANSWER[:-2] + ",\n ] ,}",
        ANSWER.replace("[1]", "[1, ]"),
        ANSWER.replace("}]}", ",}]}") + "}",
        f'{{"schema": {{"type": "object"}}}} {ANSWER}',
        f"{'{' * 500}{ANSWER}",
        f"{'[' * 100_000} {ANSWER}",
    ],
    ids=short,
)
def test_the_object_is_found(text: str) -> None:
    """Thoughts, fences, drafts, stray braces and trailing commas do not hide the object; its strings stay whole."""
    answer = find_answer(text, Learnt)
    assert answer is not None
    assert answer == Learnt.model_validate_json(ANSWER)


def test_a_tag_within_a_string() -> None:
    """An answer that writes of a closing tag is no thought."""
    text = json.dumps({"summary": "Ann asked about </think>."})
    found = find_answer(text, Learnt)
    assert found is not None
    assert found.summary == "Ann asked about </think>."


@pytest.mark.parametrize(
    "text",
    ["", "{", "}{", "[]", "null", "<think>" + DRAFT, f"<think>{DRAFT}</think>", '{"a": ' * 100_000, "{" * 100_000],
    ids=short,
)
def test_no_answer(text: str) -> None:
    """Thoughts alone, broken JSON and other values are no answer."""
    assert find_answer(text, Learnt) is None
