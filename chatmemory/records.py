"""The types that every room shares: JSON, a record that a notebook can show, one page of a list."""

# No `from __future__ import annotations`: public() moves these classes to another module name,
# where typing.get_type_hints could not resolve annotations that are strings.
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, overload

from chatmemory._public import public

if TYPE_CHECKING:
    import pandas


Json: TypeAlias = "bool | int | float | str | list[Any] | dict[str, Any] | None"


JsonObject: TypeAlias = dict[str, Any]
Learns: TypeAlias = Literal["messages", "result", "nothing"]  # what becomes long-term memory of a session


class Shown:
    """A record that shows itself in a notebook."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from chatmemory.notebook.html import to_html

        return to_html(self)


T = TypeVar("T")


def shorten(text: str, width: int) -> str:
    """Cut `text` to at most `width` characters, at a word where there is one, with … for what is gone."""
    if len(text) <= width:
        return text
    cut = text[: width - 1]
    words = cut.rpartition(" ")[0] if text[width - 1] != " " else cut
    return (words or cut).rstrip() + "…"


@public
@dataclass(frozen=True, slots=True)
class Page(Shown, Generic[T], Sequence[T]):
    """One page of a list.

    Attributes:
        items: What is on this page.
        total: How many there are on all pages.
        limit: How many a page holds at most.
        offset: How many were passed over before this page.
    """

    items: tuple[T, ...]
    total: int
    limit: int
    offset: int

    def to_pandas(self) -> "pandas.DataFrame":
        """A table with a row for each item.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        from chatmemory.notebook.html import to_pandas

        return to_pandas(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self.items[index]

    def __repr__(self) -> str:
        lines = "".join(f"\n  {item!r}" for item in self.items)
        return f"<Page {self.offset}-{self.offset + len(self.items)} of {self.total}>{lines}"


def to_json(value: Any) -> str:
    """The JSON text that is stored."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
