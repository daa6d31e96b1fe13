"""Errors of the library in the words of a command: its options instead of the arguments of calls."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

# Arguments of calls that options have other names for.
_ALSO = {"user": "user_id", "kind": "kinds"}
_CAN_BE_A_WORD = r"\A{}(?= (?:is|must|has)\b)"  # as `limit`: it names an argument only where a sentence begins with it


def in_options(message: str, app: Any, words: Sequence[str]) -> str:
    """Return a message in which the arguments of calls have the names of the command's options.

    A name in quotes is data, and stays.

    Args:
        message: The message of an error.
        app: The whole command line, as click's group.
        words: The words that followed the program's name.
    """
    for name, shown in _names(_command(app, words)):
        pattern = rf"(?<!')\b{name}\b" if "_" in name else _CAN_BE_A_WORD.format(name)
        message = re.sub(pattern, shown, message)
    return message


def _command(app: Any, words: Sequence[str]) -> Any:
    """Return the command that was called."""
    for word in words:
        app = getattr(app, "commands", {}).get(word, app)
    return app


def _names(command: Any) -> Iterator[tuple[str, str]]:
    for param in command.params:
        if param.param_type_name == "option":
            shown = max(param.opts, key=len)
        else:
            shown = (param.metavar or param.name.upper()).strip("[].…")
        for name in filter(None, (param.name, _ALSO.get(param.name))):
            yield re.escape(name), shown
