import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langchain_core.messages.utils import count_tokens_approximately

from chatmemory._concurrency import Once
from chatmemory.messages.openai_format import to_openai
from chatmemory.messages.records import Message
from chatmemory.messages.token_counts import ESTIMATE, IMAGE_TOKENS, MEDIA_TOKENS, MESSAGE_TOKENS, message_tokens
from chatmemory.messages.tokenizer import PIECE, SURPLUS, Tiktoken

COUNTER = Tiktoken(None)
ENCODING = tiktoken.get_encoding("o200k_base")


@given(st.text(max_size=300))
def test_counts_are_tiktokens(text: str) -> None:
    """Special tokens in a text are text."""
    assert COUNTER.count(text) == len(ENCODING.encode_ordinary(text))
    assert COUNTER.count("<|endoftext|>") > 1


@given(st.text(max_size=300), st.integers(0, 60))
def test_a_cut_is_the_longest_beginning_of_whole_tokens(text: str, most: int) -> None:
    """It begins the text, and costs no more than allowed; a text that fits stays whole."""
    cut = COUNTER.cut(text, most)
    assert text.startswith(cut)
    assert COUNTER.count(cut) <= most
    if COUNTER.count(text) <= most:
        assert cut == text


def test_a_text_of_a_million_spaces_is_counted() -> None:
    """Tiktoken alone overflows its stack on it; in pieces it counts a few tokens more than it would."""
    count = COUNTER.count(" " * 1_000_000)
    assert 0 < count <= 1_000_000
    assert COUNTER.count("word " * PIECE) == pytest.approx(len(ENCODING.encode_ordinary("word " * PIECE)), abs=10)


LONG = {
    "words": "The quick brown fox doesn't jump over Ann's lazy dogs, 12345 times. ",
    "code": "for (int i = 0; i < n; ++i) {\n    total_sum += values[i];  // add\n}\n\n",
    "one word": "Donaudampfschifffahrt",
    "Chinese": "我住在里斯本，我的狗叫小白。",
    "Chinese without marks": "我住在里斯本我的狗叫小白",
    "Hindi": "मैं लिस्बन में रहता हूँ और मेरा कुत्ता छोटा है। ",
    "accents": "e\u0301a\u0300o\u0302 n\u0303",
    "digits": "1234567",
    "signs": "=-/*'",
    "line breaks": "a\r\n\r\n  b's\t'T ",
    "emoji": "👩‍👩‍👧 hi 🏳️‍🌈",
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("counter", [COUNTER, Tiktoken("gpt-4")], ids=["o200k", "cl100k"])
def test_a_long_text_is_never_counted_too_low(counter: Tiktoken, name: str) -> None:
    """A text longer than a piece costs at least what its encoding says, and exactly that where it can be cut well."""
    text = (LONG[name] * (3 * PIECE))[: 4 * PIECE + 7]
    exact = len(tiktoken.get_encoding(counter.name).encode_ordinary(text))
    assert exact <= counter.count(text) <= exact + 4 * SURPLUS + 8
    if name in ("words", "code", "Chinese", "Hindi"):
        assert counter.count(text) == exact


@pytest.mark.parametrize(
    ("role", "blocks"),
    [
        ("user", [{"type": "tool_result", "tool_use_id": f"c{n}", "content": "ok"} for n in range(19)]),
        ("user", [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "a\tb " * 300}]}]),
        ("tool", [{"type": "tool_call", "tool_call_id": "c", "content": "a long answer " * 100}]),
        ("tool", [{"type": "image", "content": "a long answer " * 1000}, {"type": "x", "content": ["\n", "\n"]}]),
        ("tool", [{"type": "text", "text": "x"} for _ in range(50)]),
    ],
)
def test_tool_results_cost_what_is_sent(role: Any, blocks: list[Any]) -> None:
    """A message with results costs at least what the messages cost that are sent for it."""
    message = Message(1, "m", role, blocks, datetime.now(UTC))
    sent = sum(MESSAGE_TOKENS + COUNTER.count(each["content"]) for each in to_openai([message]))
    assert message_tokens(COUNTER, blocks, {}) >= sent


@pytest.mark.parametrize(
    ("model", "encoding"),
    [("gpt-4", "cl100k_base"), ("gpt-4o", "o200k_base"), ("llama-9-super", "o200k_base"), (None, "o200k_base")],
)
def test_the_encoding_is_the_models(model: str | None, encoding: str) -> None:
    """And o200k_base for a model tiktoken does not know, which then is not exact."""
    counter = Tiktoken(model)
    assert (counter.name, counter.exact) == (encoding, model != "llama-9-super")


@given(st.text(max_size=200))
def test_the_estimate_is_langchains(text: str) -> None:
    """4 characters a token, rounded up, as count_tokens_approximately counts a message's text."""
    overhead = count_tokens_approximately([HumanMessage("")])
    theirs = count_tokens_approximately([HumanMessage(text)])
    assert abs(ESTIMATE.count(text) - (theirs - overhead)) <= 1


def test_what_a_message_costs() -> None:
    """Its text, its parts, its tool calls in all three spellings, and what surrounds them."""
    text = COUNTER.count("Hello there")
    assert message_tokens(COUNTER, "Hello there", {}) == MESSAGE_TOKENS + text
    parts: list[dict[str, Any]] = [
        {"type": "text", "text": "Hello there"},
        {"type": "image_url", "image_url": {"url": "data:" + "A" * 100_000}},
        {"type": "input_audio", "data": "A" * 100_000},
    ]
    assert message_tokens(COUNTER, parts, {}) == MESSAGE_TOKENS + text + IMAGE_TOKENS + MEDIA_TOKENS
    arguments = {"city": "Lisbon"}
    expected = 2 * MESSAGE_TOKENS + COUNTER.count('weather{"city": "Lisbon"}')
    openai = {"tool_calls": [{"id": "1", "function": {"name": "weather", "arguments": '{"city": "Lisbon"}'}}]}
    langchain = {"langchain": {"tool_calls": [{"id": "1", "name": "weather", "args": arguments}]}}
    anthropic = [{"type": "tool_use", "id": "1", "name": "weather", "input": arguments}]
    assert message_tokens(COUNTER, "", openai) == expected
    assert message_tokens(COUNTER, "", langchain) == expected
    assert message_tokens(COUNTER, anthropic, {}) == expected
    assert message_tokens(COUNTER, [{"type": "thinking", "thought": "hm"}], {}) > MESSAGE_TOKENS


def test_a_load_that_hangs_is_waited_for_once() -> None:
    """Whoever comes after the time is over does not wait, however often."""
    hangs = Event()
    once = Once(hangs.wait).start()
    once.wait(0.05)
    before = time.monotonic()
    for _ in range(3):
        once.wait(60)
    assert time.monotonic() - before < 30
    hangs.set()


OFFLINE = """
import warnings
from chatmemory import ChatMemory
with warnings.catch_warnings(record=True) as caught, ChatMemory.open() as memory:
    warnings.simplefilter("always")
    session = memory.tenant("acme").sessions.create(user_id="ann")
    session.append("user", "x" * 400)
    contexts = [session.context(1000), session.context(1000)]
    print([c.exact_tokens for c in contexts], contexts[0].tokens, memory.health().tokens)
    print(len([w for w in caught if "estimated" in str(w.message)]))
"""


def test_without_a_vocabulary_tokens_are_estimated(postgres_url: str, tmp_path: Path) -> None:
    """No network, no cache: the estimate, one warning, and the context says that it is not exact."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIKTOKEN")}
    environment |= {"CHATMEMORY_POSTGRES_URL": postgres_url, "TIKTOKEN_CACHE_DIR": str(tmp_path)}
    environment |= dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:1")
    done = subprocess.run([sys.executable, "-c", OFFLINE], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["[False, False] 107 estimate", "1"], done.stderr
