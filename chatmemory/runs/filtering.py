"""The question of a search for runs, such as `metrics.val_loss < 0.3 and details.optimizer = 'adamw'`."""

from decimal import Decimal
from typing import Literal, NamedTuple, TypeAlias

Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">="]
Value: TypeAlias = str | Decimal | bool


class Field(NamedTuple):
    """The thing compared: a column such as `status`, or what has a name in one, such as `details.optimizer`."""

    column: str
    path: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join((self.column, *self.path))


class Compared(NamedTuple):
    """A field beside a value."""

    field: Field
    operator: Operator
    value: Value


class Like(NamedTuple):
    """A text beside a pattern with % and _."""

    field: Field
    pattern: str


class Absent(NamedTuple):
    """A field without a value."""

    field: Field


class Not(NamedTuple):
    """The opposite; true also where nothing can be compared."""

    condition: "Condition"


class Several(NamedTuple):
    """Conditions that are all to hold, or of which one is."""

    how: Literal["and", "or"]
    conditions: "tuple[Condition, ...]"


class Key(NamedTuple):
    """A field to order by."""

    field: Field
    descending: bool


Condition: TypeAlias = Compared | Like | Absent | Not | Several
