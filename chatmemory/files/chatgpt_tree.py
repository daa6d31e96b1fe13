"""The branch of a ChatGPT conversation that was shown last: from the newest leaf up through its parents."""

from collections.abc import Iterator

from chatmemory.errors import InvalidInputError
from chatmemory.records import JsonObject

Nodes = dict[str, JsonObject]


class Tree:
    """The nodes of one conversation; parents decide, and children only where a node names no parent.

    Attributes:
        gaps: Places of the branch at which a node names a parent that is missing.
    """

    def __init__(self, mapping: JsonObject) -> None:
        self._nodes: Nodes = {id: node for id, node in mapping.items() if isinstance(node, dict)}
        self._order = {id: index for index, id in enumerate(self._nodes)}
        self._listed_by = {child: id for id, node in self._nodes.items() for child in _children(node)}
        self._parents = {id: self._parent(id) for id in self._nodes}
        self._children: dict[str, list[str]] = {}
        for id, parent in self._parents.items():
            self._children.setdefault(parent or "", []).append(id)
        self.gaps = 0

    def branch(self, current: object) -> list[tuple[str, JsonObject]]:
        """Return the nodes from the root to the newest leaf below the current node, or of all where it is unknown."""
        if not self._nodes:
            return []
        is_known = isinstance(current, str) and current in self._nodes
        path = self._path(self._newest_leaf(self._below(str(current)) if is_known else set(self._nodes)))
        while (before := self._before_gap(path)) is not None:
            self.gaps += 1
            path += self._path(before)
        return [(id, self._nodes[id]) for id in reversed(path)]

    def size(self) -> int:
        """Return the number of nodes with a message."""
        return sum(is_message(node) for node in self._nodes.values())

    def _parent(self, id: str) -> str | None:
        parent = self._nodes[id].get("parent")
        if isinstance(parent, str) and parent in self._nodes:
            return parent
        listed = self._listed_by.get(parent) if isinstance(parent, str) else None
        return listed or self._listed_by.get(id)

    def _below(self, id: str) -> set[str]:
        found, waiting = {id}, [id]
        while waiting:
            new = [child for child in self._children.get(waiting.pop(), ()) if child not in found]
            found.update(new)
            waiting += new
        return found

    def _newest_leaf(self, ids: set[str]) -> str:
        leaves = [id for id in ids if not self._children.get(id)]
        if not leaves:
            raise InvalidInputError(f"its node {min(ids)!r} is its own ancestor")
        return max(leaves, key=self._age)

    def _age(self, id: str) -> tuple[float, int]:
        """Return what sorts nodes from the oldest to the newest."""
        message = self._nodes[id].get("message")
        at = message.get("create_time") if isinstance(message, dict) else None
        return (float(at) if isinstance(at, (int, float)) else 0.0, self._order[id])

    def _path(self, leaf: str) -> list[str]:
        """Return a leaf and its ancestors, newest first."""
        path: dict[str, None] = {}
        id: str | None = leaf
        while id is not None:
            if id in path:
                raise InvalidInputError(f"its node {id!r} is its own ancestor")
            path[id] = None
            id = self._parents[id]
        return list(path)

    def _before_gap(self, path: list[str]) -> str | None:
        """Return the leaf that the branch continues, where its first node names a parent that is missing."""
        first = path[-1]
        if not isinstance(self._nodes[first].get("parent", ""), str):
            return None  # a root
        others = self._nodes.keys() - self._below(first) - set(path)
        older = {id for id in others if self._age(id) < self._age(first) and self._says_something(id)}
        leaves = {id for id in older if not older.intersection(self._children.get(id, ()))}
        return max(leaves, key=self._age) if leaves else None

    def _says_something(self, id: str) -> bool:
        return is_message(self._nodes[id])


def is_message(node: JsonObject) -> bool:
    """Return whether a node has a message."""
    return isinstance(node.get("message"), dict)


def _children(node: JsonObject) -> Iterator[str]:
    children = node.get("children")
    for child in children if isinstance(children, list) else ():
        if isinstance(child, str):
            yield child
