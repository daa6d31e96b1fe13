"""The script of the demo."""

import re
from typing import NamedTuple

TURNS = 41


class Scene(NamedTuple):
    """One conversation: its user, its topic, and the things it lists."""

    name: str
    user: str
    opening: str
    thing: str
    first_words: tuple[str, ...]
    second_words: tuple[str, ...]

    def line(self, turn: int) -> str:
        """Return the user's line of a turn; all lines of a conversation differ."""
        if turn == 1:
            return f"Hello, my name is {self.user.title()}. {self.opening}"
        if turn == TURNS:
            return f"What is my name, and which {self.thing}s have we got?"
        row, column = divmod(turn - 2, len(self.second_words))
        return f"{self.thing.title()} {turn - 1}: {self.first_words[row]} {self.second_words[column]}."


SCENES = (
    Scene(
        "lisbon",
        "ada",
        "Let us plan a long walk through Lisbon.",
        "stop",
        ("the café at", "the view from", "the market of", "the tram at", "the tiles of"),
        ("Rossio", "Chiado", "Alfama", "Graça", "Belém", "Estrela", "Mouraria", "Bica"),
    ),
    Scene(
        "engine",
        "ada",
        "I am writing down operations for the Analytical Engine.",
        "step",
        ("add", "subtract", "multiply", "divide", "store"),
        ("V1 and V2", "V2 and V3", "V3 and V4", "V4 and V5", "V5 and V6", "V6 and V7", "V7 and V8", "V8 and V9"),
    ),
    Scene(
        "compiler",
        "grace",
        "I keep a list of the bugs in our compiler.",
        "bug",
        ("a moth in", "a missing comma in", "a loop without end in", "a wrong sign in", "a stray byte in"),
        ("the lexer", "the parser", "the tables", "the linker", "the loader", "relay 70", "the tape", "the printer"),
    ),
)


def answer(lines: list[str]) -> str:
    """Return the reply to the last line, from all lines of the conversation."""
    name = next((match[1] for line in lines if (match := re.search(r"my name is (\w+)", line))), "a stranger")
    listed = [line.rstrip(".").partition(": ")[2] for line in lines if re.match(r"\w+ \d+: ", line)]
    if lines[-1].endswith("?"):
        return f"You are {name}, and there are {len(listed)}: from {listed[0]} to {listed[-1]}."
    if not listed:
        return f"Nice to meet you, {name}."
    return f"Noted, {name}. That makes {len(listed)}."


def session_id(run: str, scene: Scene) -> str:
    """Return the id of a scene's session in one run of the demo."""
    return f"demo-{run}-{scene.name}"
