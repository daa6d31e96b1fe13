"""The share of a long conversation's prompts that a provider's cache serves, trimmed in steps or at each turn.

    python -m benchmarks.prefix [--turns 200] [--budgets 2000,4000,8000] [--seed 1] [--json]

A provider caches prompts, and serves the beginning that the next prompt shares with one of them: here the messages that
two consecutive prompts have in common from the beginning, in tokens. Providers round that down (OpenAI to steps of 128
tokens, from 1024 on), which is left out. Pure: no server, and the same numbers each time.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise, takewhile
from typing import Any

from rich.console import Console
from rich.table import Table

from chatmemory import Context, Message, Settings
from chatmemory.context.request import Budget, Request
from chatmemory.context.trimming import build
from chatmemory.context.window import Window
from chatmemory.messages.token_counts import Counter, message_tokens
from chatmemory.messages.tokenizer import Tiktoken
from tests.fixtures import tokens  # noqa: F401  # the vocabulary, without a network

SYSTEM = "You are the travel desk of a company. Answer in its tone, name the rule you go by, and ask if in doubt."
TEXT = (
    "the invoice of last month still shows our old address although it was changed in the portal two weeks ago so "
    "could you look into why that happened and tell me whether next one will be right before Friday please"
)
LENGTHS = {"user": (8, 60), "assistant": (30, 250)}  # words of a message, from and to
TRIMMINGS = {"in steps": None, "at each turn": 0.0}  # trim_step; None is the setting's default


def conversation(turns: int, counter: Counter, seed: int) -> list[Message]:
    """Make the messages of a conversation."""
    rng = random.Random(seed)
    messages = []
    for seq in range(1, 2 * turns + 1):
        role = "user" if seq % 2 else "assistant"
        text = " ".join(rng.choices(TEXT.split(), k=rng.randint(*LENGTHS[role])))
        cost, at = message_tokens(counter, text, {}), datetime.fromtimestamp(seq, UTC)
        messages.append(Message(seq, f"m{seq}", role, text, at, {}, cost, counter.name))  # type: ignore[arg-type]
    return messages


def contexts(messages: Sequence[Message], request: Request, counter: Counter) -> Iterator[Context]:
    """Yield the prompt of each turn, after the user's message."""
    for end in range(1, len(messages) + 1, 2):
        said = messages[:end]
        window = Window(said, None, 1, end, sum(message.tokens or 0 for message in said), "postgres")
        yield build(window, request, counter, "bench")


def in_common(one: Context, next: Context) -> int:
    """Return the tokens of the common beginning of two prompts."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(one.messages, next.messages, strict=False))
    return one.tokens_by_part["system"] + sum(message.tokens or 0 for message, _ in pairs)


def measured(prompts: Sequence[Context]) -> dict[str, float]:
    """Return the figures of one way of trimming, as shares."""
    pairs = list(pairwise(prompts))
    full = [context for context in prompts if context.omitted]
    return {
        "cached": sum(in_common(*pair) for pair in pairs) / sum(context.tokens for context in prompts),
        "same_beginning": sum(next.messages[: len(one)] == one.messages for one, next in pairs) / len(pairs),
        "used": sum(context.tokens / (context.max_tokens or 1) for context in full) / max(1, len(full)),
    }


def results(turns: int, budgets: Sequence[int], seed: int) -> list[dict[str, Any]]:
    """Return one record for each budget and way of trimming."""
    counter = Tiktoken(None)
    messages = conversation(turns, counter, seed)
    records = []
    for budget in budgets:
        for name, step in TRIMMINGS.items():
            request = Budget(budget, None, 0, step, "truncate").request(Settings(), SYSTEM)
            prompts = list(contexts(messages, request, counter))
            records.append({"budget": budget, "trimmed": name, **measured(prompts)})
    return records


def show(records: Sequence[dict[str, Any]], turns: int) -> None:
    """Print the records as a table."""
    table = Table(title=f"prompts of {turns} turns, in %", title_justify="left")
    columns = ("budget", "trimmed", "tokens from the prompt cache", "same beginning", "budget used when full")
    for column in columns:
        table.add_column(column, justify="left" if column == "trimmed" else "right")
    for record in records:
        shares = (f"{100 * record[name]:.1f}" for name in ("cached", "same_beginning", "used"))
        table.add_row(f"{record['budget']:,}", record["trimmed"], *shares)
    Console(width=100).print(table)


def main() -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--budgets", default="2000,4000,8000", help="tokens of a prompt, with commas between")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    budgets = sorted(int(budget) for budget in arguments.budgets.split(","))
    records = results(arguments.turns, budgets, arguments.seed)
    if arguments.json:
        print(json.dumps({"results": records}))
    else:
        show(records, arguments.turns)


if __name__ == "__main__":
    main()
