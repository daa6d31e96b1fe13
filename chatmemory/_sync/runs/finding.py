# Generated from chatmemory/_async/runs/finding.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Finding and comparing the runs of a tenant."""

from collections.abc import Iterable, Sequence

from chatmemory._sync.runs.lost import end_all_lost, end_lost
from chatmemory._sync.shared import Shared
from chatmemory._sync.storage.transaction import Row, Statement
from chatmemory.paging import check_page
from chatmemory.runs.comparison import Comparison, comparison_from_rows
from chatmemory.sessions.records import session_from_row
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found
from chatmemory.storage.queries.finding_runs import Sql, condition_on_runs, find_runs, order_of_runs
from chatmemory.validation import check_id, check_kind_name, check_list


class RunsFound:
    """The methods of a tenant's sessions that read many runs."""

    _tenant_id: str
    _parts: Shared

    def runs(
        self,
        where: str | None = None,
        *,
        order_by: str | None = None,
        user_id: object = None,
        kind: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Comparison:
        """Find runs by their metrics, details, results and metadata.

        A condition compares a field with a number, a text in quotes, or true or false, by = != < <= > >=, `in (…)`,
        `like '…%'` or `is null`; and, or, not and parentheses join conditions. Fields are `metrics.NAME` (the last
        value), `best.NAME`, `min.NAME`, `max.NAME`, `details.NAME`, `results.NAME`, `metadata.NAME`, and id, user_id,
        kind, status, run_status, title, stage, error, parent_id, progress, seconds (how long it took), created_at,
        ended_at and last_active_at. A name with other characters stands in backticks. A comparison with what a run
        does not have is false.

        Args:
            where: The condition, such as "metrics.val_loss < 0.3 and details.optimizer = 'adamw'", of at most 2,000
                characters. None: all runs.
            order_by: Fields, each with asc or desc, such as "metrics.accuracy desc". Runs without a value come last.
                None: the last created first.
            user_id: Only this user's.
            kind: Only of this kind.
            limit: How many runs at most, 0 or more.
            offset: How many runs to skip, at most 10,000.

        Returns:
            The runs side by side.

        Raises:
            InvalidInputError: The condition or the order cannot be read; the message shows from where on.
        """
        from chatmemory.runs.filter_language import parse_condition, parse_order  # loads a parser

        condition = Sql("") if where is None else condition_on_runs(parse_condition(where))
        order = Sql("") if order_by is None else order_of_runs(parse_order(order_by))
        user = None if user_id is None else check_id(user_id, "user_id")
        of_kind = None if kind is None else check_kind_name(kind)
        request = check_page("runs", {}, limit, offset, None)
        self._parts.metrics.flush()
        given = [value for value in (user, of_kind) if value is not None]
        params = (*given, *condition.params, *order.params, request.limit, request.offset)
        query = find_runs(condition, order, of_user=user is not None, of_kind=of_kind is not None)
        end_all_lost(self._parts, self._tenant_id)
        found = self._parts.database.fetch(self._tenant_id, query, params)
        ids = [id for (id,) in found]
        rows, extremes = self._read(ids)
        present = {session_from_row(row).id for row in rows}
        return comparison_from_rows([id for id in ids if id in present], rows, extremes)

    def compare(self, session_ids: Iterable[object]) -> Comparison:
        """Runs side by side: their details, their results, and the best of each of their metrics.

        Args:
            session_ids: Which, in this order.

        Raises:
            SessionNotFoundError: One of them is missing or deleted.
        """
        ids = [check_id(session_id, "session_id") for session_id in check_list(session_ids, "session_ids")]
        self._parts.metrics.flush()
        rows, extremes = self._read(ids)
        try:
            return comparison_from_rows(ids, rows, extremes)
        except KeyError as error:
            raise not_found(error.args[0]) from None

    def _read(self, ids: list[str]) -> list[list[Row]]:
        return self._current(((queries.sessions.SESSIONS_BY_ID, (ids,)), (queries.runs.EXTREMES, (ids,))))

    def _current(self, statements: Sequence[Statement], subject: str = "") -> list[list[Row]]:
        """Run statements, the first of which reads sessions; again, if runs among them turn out to be lost."""
        found = self._parts.database.run(self._tenant_id, *statements, subject=subject)
        if end_lost(self._parts, self._tenant_id, map(session_from_row, found[0])):
            return self._parts.database.run(self._tenant_id, *statements, subject=subject)
        return found
