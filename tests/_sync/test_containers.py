# Generated from tests/_async/test_containers.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Arguments that take a list or a mapping: every other type is a typed error, and nothing is written."""

from collections.abc import Iterator
from typing import Any

import pytest

from chatmemory import ChatMemory, InvalidInputError, Tenant
from tests.helpers import calls

# The method of a tenant, or of a session of it; the argument that takes a list or a mapping; what else it needs.
TAKES_A_LIST = [
    ("sessions.compare", "session_ids", {}),
    ("sessions.end_many", "session_ids", {}),
    ("items.put", "namespace", {"key": "k", "value": {}}),
    ("items.put_many", "items", {}),
    ("items.get", "namespace", {"key": "k"}),
    ("items.delete", "namespace", {"key": "k"}),
    ("items.search", "prefix", {}),
    ("memories.list", "kinds", {"user_id": "ann"}),
    ("memories.recall", "kinds", {"query": "q", "user_id": "ann"}),
    ("memories.remember", "sources", {"text": "t", "user_id": "ann"}),
    ("session.append_many", "messages", {}),
    ("session.append_and_context", "messages", {}),
    ("session.metrics", "names", {}),
]
TAKES_A_MAPPING = [
    ("sessions.create", "metadata", {"user_id": "ann"}),
    ("sessions.create", "details", {"user_id": "ann"}),
    ("sessions.resume_or_create", "metadata", {"user_id": "ann"}),
    ("items.put", "value", {"namespace": ("a",), "key": "k"}),
    ("items.search", "filter", {}),
    ("memories.remember", "metadata", {"text": "t", "user_id": "ann"}),
    ("session.append", "metadata", {"role": "user", "content": "x"}),
    ("session.update", "metadata", {}),
    ("session.update", "details", {}),
    ("session.log_metrics", "values", {}),
]
NO_LIST: list[Any] = [5, 3.5, True, "text", "", b"text", object(), {}, {"a": 1}, [5], [None], [object()]]
NO_MAPPING: list[Any] = [5, 0, 3.5, True, "text", "", b"text", object(), [], [5], ("a",)]
MAY_BE_NONE = {"kinds", "sources", "names", "metadata", "details", "filter"}


def call(tenant: Tenant, method: str, arguments: dict[str, Any]) -> None:
    """Call a method by its name."""
    room, name = method.split(".")
    owner: Any = tenant.sessions.create(user_id="ann") if room == "session" else getattr(tenant, room)
    if name == "log_metrics":  # it only takes the values, and does not wait
        owner.log_metrics(**arguments)
    else:
        getattr(owner, name)(**arguments)


@pytest.mark.parametrize(
    ("method", "argument", "others", "wrong"),
    [(*each, NO_LIST) for each in TAKES_A_LIST] + [(*each, NO_MAPPING) for each in TAKES_A_MAPPING],
)
def test_wrong_container(
    memory: ChatMemory, method: str, argument: str, others: dict[str, Any], wrong: list[Any]
) -> None:
    """None, a number, a string, bytes and other objects instead of a list or a mapping are InvalidInputErrors."""
    for value in wrong if argument in MAY_BE_NONE else [None, *wrong]:
        if value == [5] and argument in ("session_ids", "names"):
            continue  # an int is accepted as an id
        if method == "sessions.end_many" and isinstance(value, list):
            continue  # it reports each id's error by itself
        with pytest.raises(InvalidInputError):
            call(memory.tenant("acme"), method, {**others, argument: value})


@pytest.mark.parametrize("wrong", [0, False, 5, b"", b"text", [], {}, ("a",), object()])
def test_wrong_text(memory: ChatMemory, wrong: Any) -> None:
    """Only a string is a text, also where the other value is empty and None is allowed."""
    items = memory.tenant("acme").items
    for call in calls(
        lambda: items.put(("a",), "k", {}, text=wrong),
        lambda: items.search(query=wrong),
    ):
        with pytest.raises(InvalidInputError, match="must be a string"):
            call()


@pytest.mark.parametrize("wrong", ["", " ", "a\0b", False, b"ann", ["ann"], {}, object()])
def test_wrong_login(memory: ChatMemory, wrong: Any) -> None:
    """The login of a migration's script is a name."""
    with pytest.raises(InvalidInputError, match="login"):
        memory.migration_script(wrong)


@pytest.mark.parametrize("wrong", [None, 5, b"text", ["conversations.json"], object()])
def test_wrong_file(memory: ChatMemory, wrong: Any) -> None:
    """Only a path, a binary file and conversations can be imported."""
    results: Iterator[Any] = memory.tenant("acme").import_conversations(wrong, user_id="ann")
    with pytest.raises(InvalidInputError, match=r"must be a (path|Conversation)"):
        next(results)
