"""Records as pandas tables."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from chatmemory.errors import missing_extra
from chatmemory.runs.metric_records import MetricSeries

if TYPE_CHECKING:
    import pandas


def to_pandas(records: Iterable[Any]) -> "pandas.DataFrame":
    """Make a table of records: a row for each, and a column for each of its fields.

    Args:
        records: Messages, memories, recalled memories, a page of them, a context …; metrics of a run have a row for
            each point, with its name.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise missing_extra("to_pandas()", "pandas", "notebook") from None
    rows = records._long() if isinstance(records, MetricSeries) else map(_columns, records)
    return pandas.DataFrame(list(rows))


def _columns(record: Any) -> dict[str, Any]:
    if hasattr(record, "_columns"):  # a record that holds another one
        return dict(record._columns())
    if is_dataclass(record):
        return {field.name: getattr(record, field.name) for field in fields(record)}
    return dict(record) if isinstance(record, Mapping) else {"value": record}
