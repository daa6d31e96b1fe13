"""The effective config of a run: written to disk with its secrets masked."""

import json
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chatmemory_training.json_values import to_json_value

MASKED = "***"
_SECRET = re.compile(
    r"secret|passw(or)?d|passphrase|credential|(^|_)(pwd|auth|dsn)($|_)|(api|access|private|auth|secret)_?key|"
    r"(^|_)(key|token)(_?\d+)?$|(auth|access|api|refresh|bearer|hf|hub)_?tokens?"
)
# Keys of data, and tokens of a vocabulary: names that end alike and hold no secret.
_HARMLESS = re.compile(
    r"(^|_)(primary|foreign|public|sort|partition|group|cache|row|dict|map|label|feature|target|metric|monitor)_key$|"
    r"(^|_)(pad|eos|bos|unk|sep|cls|mask|stop|start|end|image|special)_token$"
)
_ASSIGNED = re.compile(r"""([\w.-]+)(["']?\s*[:=]+\s*[rbf]?["']?)([^\s"',;)}\]]+)""")
_IN_URL = re.compile(r"(?<=://)[^/@\s]*@")


def masked(config: Any) -> Any:
    """Convert a config to JSON with masked secrets: values whose names denote secrets, and logins in URLs."""
    return _masked(to_json_value(config))


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: MASKED if _is_secret(name, each) else _masked(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return _IN_URL.sub(f"{MASKED}@", value) if isinstance(value, str) else value


def _is_secret(name: str, value: Any) -> bool:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[-. ]", "_", name).lower()
    if not value or isinstance(value, (bool, int, float)) or _HARMLESS.search(words):
        return False
    return bool(_SECRET.search(words))


def masked_arguments(arguments: Iterable[str]) -> list[str]:
    """Mask the secrets in command line arguments: values of options that denote secrets, and logins in URLs."""
    result: list[str] = []
    mask_next = False
    for argument in arguments:
        name, has_value, _ = argument.partition("=")
        is_secret = name.startswith("-") and _is_secret(name.lstrip("-"), name)
        result.append(MASKED if mask_next else f"{name}={MASKED}" if is_secret and has_value else masked(argument))
        mask_next = is_secret and not has_value
    return result


def masked_text(text: str) -> str:
    """Mask the secrets in a text such as source code: values that are assigned to names that denote secrets."""

    def mask(match: re.Match[str]) -> str:
        name, assigned, value = match.groups()
        return f"{name}{assigned}{MASKED}" if _is_secret(name, value) else match[0]

    return _IN_URL.sub(f"{MASKED}@", _ASSIGNED.sub(mask, text))


def save(config: Any, path: Path) -> None:
    """Write a config atomically.

    Raises:
        OSError: The file cannot be written; the old one is unchanged.
    """
    text = json.dumps(masked(config), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".config-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
