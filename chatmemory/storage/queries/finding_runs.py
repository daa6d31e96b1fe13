"""Finding runs: the conditions and the order of a search as SQL. Names, paths and values are only ever parameters."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, LiteralString, NamedTuple

from chatmemory.errors import InvalidInputError
from chatmemory.runs.filtering import Absent, Compared, Condition, Field, Key, Like, Not, Operator, Several, Value
from chatmemory.runs.metric_records import less_is_better

_OPERATORS: dict[Operator, LiteralString] = {
    "=": " = ", "!=": " <> ", "<": " < ", "<=": " <= ", ">": " > ", ">=": " >= ",
}  # fmt: skip
_TEXTS: dict[str, LiteralString] = {
    "id": "s.id", "user_id": "s.user_id", "kind": "s.kind", "status": "s.status", "run_status": "s.run_status",
    "title": "s.title", "stage": "s.stage", "error": "s.error", "parent_id": "s.parent_id",
}  # fmt: skip
_NUMBERS: dict[str, LiteralString] = {
    "progress": "s.progress",
    "seconds": "extract(epoch from coalesce(s.ended_at, clock_timestamp()) - s.created_at)",
}
_TIMES: dict[str, LiteralString] = {
    "created_at": "s.created_at", "ended_at": "s.ended_at", "last_active_at": "s.last_active_at",
}  # fmt: skip
_OBJECTS: dict[str, LiteralString] = {"details": "s.details", "results": "s.results", "metadata": "s.metadata"}
_OF_METRIC: LiteralString = "from chatmemory.metrics m where m.session_id = s.id and m.name = %s"
# To Postgres, NaN is greater than any number; here it is no value.
_LEAST: LiteralString = "(select nullif(min(m.low), 'NaN') " + _OF_METRIC + ")"
_MOST: LiteralString = "(select max(m.high) " + _OF_METRIC + " and m.high <> 'NaN')"
_LAST: LiteralString = (
    "(select nullif(m.readings[cardinality(m.readings)], 'NaN') " + _OF_METRIC
    + " order by m.to_step desc, m.id desc limit 1)"
)  # fmt: skip
_METRICS: dict[str, Callable[[str], LiteralString]] = {
    "metrics": lambda _: _LAST,
    "best": lambda name: _LEAST if less_is_better(name) else _MOST,
    "min": lambda _: _LEAST,
    "max": lambda _: _MOST,
}
_JSON_TYPES: dict[type, tuple[LiteralString, LiteralString]] = {
    str: ("string", ""), Decimal: ("number", "::numeric"), bool: ("boolean", "::boolean"),
}  # fmt: skip


class Sql(NamedTuple):
    """A piece of a statement, with its parameters in order."""

    text: LiteralString
    params: tuple[Any, ...] = ()


def condition_on_runs(condition: Condition) -> Sql:
    """Return the condition on a session `s`. A comparison with what it does not have, or not in this type, is false.

    Raises:
        InvalidInputError: A field does not exist, or cannot be compared with the value.
    """
    match condition:
        case Several(how, conditions):
            separator: LiteralString = " and " if how == "and" else " or "
            joined = _joined(separator, map(condition_on_runs, conditions))
            return Sql("(" + joined.text + ")", joined.params)
        case Not(inner):
            negated = condition_on_runs(inner)
            return Sql("(" + negated.text + ") is not true", negated.params)
        case Absent(field):
            value = _shown(field)
            return Sql(value.text + " is null", value.params)
        case Like(field, pattern):
            if re.search(r"(?<!\\)(\\\\)*\\$", pattern):
                raise InvalidInputError(f"The pattern for {field} ends with a backslash; write two for one.")
            value = _of_type(field, str)
            return Sql(value.text + " like %s", (*value.params, pattern))
        case Compared(field, operator, literal):
            value = _of_type(field, type(literal))
            parameter, given = _parameter(field, literal)
            return Sql(value.text + _OPERATORS[operator] + parameter, (*value.params, given))


def order_of_runs(keys: Iterable[Key]) -> Sql:
    """Return what to order sessions `s` by; those without a value come last.

    Raises:
        InvalidInputError: A field does not exist.
    """
    pieces: list[Sql] = []
    for key in keys:
        direction: LiteralString = " desc nulls last" if key.descending else " nulls last"
        types: tuple[type, ...] = (Decimal, str, bool) if key.field.column in _OBJECTS else (_type_of(key.field),)
        pieces += [Sql(each.text + direction, each.params) for each in (_of_type(key.field, type) for type in types)]
    return _joined(", ", pieces)


def _joined(separator: LiteralString, pieces: Iterable[Sql]) -> Sql:
    listed = list(pieces)
    return Sql(separator.join(each.text for each in listed), tuple(param for each in listed for param in each.params))


def _type_of(field: Field) -> type:
    return str if field.column in _TEXTS or field.column in _TIMES else Decimal


def _of_type(field: Field, type: type) -> Sql:
    """Return a field's value, null if it has another type."""
    if field.column in _OBJECTS and field.path:
        value = _in_object(field)
        name, cast = _JSON_TYPES[type]
        text = "(case when json_typeof(" + value.text + ") = '" + name + "' then (" + value.text + " #>> '{}')" + cast
        return Sql(text + " end)", value.params * 2)
    if _type_of(field) is not type:
        _shown(field)
        kinds = {str: "a text", Decimal: "a number", bool: "true or false"}
        raise InvalidInputError(f"{field} is {kinds[_type_of(field)]}, and cannot be compared with {kinds[type]}.")
    return _shown(field)


def _shown(field: Field) -> Sql:
    """Return a field's value in its own type; null: the run has none."""
    if field.column in _METRICS and field.path:
        name = ".".join(field.path)
        return Sql(_METRICS[field.column](name), (name,))
    if field.column in _OBJECTS and field.path:
        value = _in_object(field)
        return Sql("(" + value.text + " #>> '{}')", value.params)
    columns = _TEXTS | _NUMBERS | _TIMES
    if field.column not in columns or field.path:
        names = map(repr, [*columns, *(f"{name}.NAME" for name in (*_OBJECTS, *_METRICS))])
        raise InvalidInputError(f"A run has no {str(field)!r}; it has {', '.join(names)}.")
    return Sql(columns[field.column])


def _in_object(field: Field) -> Sql:
    """Return what stands under a name with dots, or else under a path of names."""
    column = _OBJECTS[field.column]
    return Sql(
        "coalesce(case when json_typeof(" + column + ") = 'object' then " + column + " -> %s::text end, "
        + column + " #> %s::text[])",
        (".".join(field.path), list(field.path)),
    )  # fmt: skip


def _parameter(field: Field, value: Value) -> tuple[LiteralString, Any]:
    if field.column in _TIMES:
        return "%s::timestamptz", _moment(field, str(value))
    if isinstance(value, bool):
        return "%s::boolean", value
    if isinstance(value, str):
        return "%s::text", value
    return ("%s::numeric", value) if field.column in _OBJECTS else ("%s::double precision", float(value))


def _moment(field: Field, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(f"{field} is a time; give it as '2026-01-31' or '2026-01-31T18:00:00+00:00'.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def find_runs(where: Sql, order: Sql, *, of_user: bool, of_kind: bool) -> LiteralString:
    """The ids of the runs for which a condition holds; among equals, the last created first."""
    found: LiteralString = "select s.id from chatmemory.sessions s where s.listed and (s.run_status is not null)"
    found += " and s.user_id = %s" if of_user else ""
    found += " and s.kind = %s" if of_kind else ""
    found += " and " + where.text if where.text else ""
    found += " order by " + (order.text + ", " if order.text else "")
    return found + "s.created_minute desc, s.created_at desc, s.id desc limit %s offset %s"
