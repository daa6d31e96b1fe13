"""Training and testing sessions as dicts; methods return None instead of raising."""

import logging
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from chatmemory import ChatMemoryError, InvalidInputError, MoveError, Session, SessionEndedError, SessionInfo, Tenant
from chatmemory_training.connection import tenant_of
from chatmemory_training.json_values import as_float, json_number, metric_name, with_json_numbers
from chatmemory_training.session_dicts import DETAIL_NAMES, SESSION_TYPES, Answer, page_dict, session_dict

LOG = logging.getLogger("chatmemory_training")
P = ParamSpec("P")
MAX_LOGGED_CHARACTERS = 200
ENDS = ("completed", "failed", "expired")
_RUN_STATUS = {"training": "training_status", "testing": "testing_status", "general": ""}


def _never_raises(
    method: Callable[Concatenate["SessionManagerService", P], Answer],
) -> Callable[Concatenate["SessionManagerService", P], Answer | None]:
    """Return None where the method raises, and store the reason in last_error."""

    @wraps(method)
    def answer(self: "SessionManagerService", /, *args: P.args, **kwargs: P.kwargs) -> Answer | None:
        try:
            result = method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  # this class promises not to raise
            reason = (
                str(error) if isinstance(error, ChatMemoryError) else f"{type(error).__name__} in {method.__name__}"
            )
            self.last_error = reason
            LOG.warning("%s: %s", method.__name__, reason)
            return None
        self.last_error = None
        return result

    return answer


class SessionManagerService:
    """Training, testing and general sessions of one tenant; no method raises.

    Args:
        tenant: A Tenant, or a SQLAlchemy Session: then tenant "default" on the database of its engine.

    Attributes:
        last_error: The reason why the last call returned None; None after a success.

    Raises:
        ConfigurationError: tenant is neither of the two.
    """

    def __init__(self, tenant: Any) -> None:
        self._tenant: Tenant = tenant_of(tenant)
        self.last_error: str | None = None

    @_never_raises
    def start_session(self, user_id: object, session_type: str, metadata: Mapping[str, Any] | None = None) -> Answer:
        """Create an active session; a run in it is pending.

        Args:
            user_id: The session's user.
            session_type: training, testing or general.
            metadata: Stored as given. Keys that the type declares as details (model_id, dataset_name, total_epochs,
                learning_rate, batch_size; test_type, test_params) are also stored as details.

        Returns:
            {"user_session": {…}}, and "training_session" or "testing_session" with it. None: see last_error.
        """
        _check_type(session_type)
        given = _checked_dict(metadata, "metadata")
        details = {name: json_number(given[name]) for name in DETAIL_NAMES[session_type] if given.get(name) is not None}
        if session_type == "training":
            details.setdefault("current_epoch", 0)
        sessions = self._tenant.sessions
        session = sessions.create(
            user_id=user_id,
            kind=session_type,
            metadata=with_json_numbers(given),
            details=details,
            on_limit="exceed",  # no new run may end another one
        )
        return session_dict(session.info)

    @_never_raises
    def update_session(self, session_id: object, update_data: Mapping[str, Any]) -> Answer:
        """Update an active session: all changes or none.

        Args:
            session_id: The session's id.
            update_data: training_status or testing_status (the run's new status), status (the same, or the session's
                end: completed, failed, expired), results, metadata (merged; its numbers also become metrics: of a
                training at the current epoch, of others at the next step), and the type's details: current_epoch,
                learning_rate and so on. Other keys are ignored, and logged.

        Returns:
            The same as start_session().
        """
        session = self._tenant.sessions.get(session_id)
        info = session.info
        _check_type(info.kind)
        if not info.is_active:
            raise SessionEndedError(f"Session {info.id!r} is {info.status} and cannot be updated.")
        given = _checked_dict(update_data, "update_data")
        changes, status = _changes(info.kind, given), _requested_end(given)
        epoch, points = _epoch(info, changes["details"]), _points(given.get("metadata"))
        if status is None:
            session.update(**changes)
            if points:
                session.log_metrics(points, step=epoch)
        elif status == "expired":
            session.expire()
        else:
            session.end(success=status == "completed", metrics=points, step=epoch, **changes)
        return session_dict(session.info)

    @_never_raises
    def end_session(self, session_id: object, success: bool = True, results: Any = None) -> Answer:
        """End a session; one that has already ended is returned unchanged.

        Args:
            session_id: The session's id.
            success: Whether the session succeeded. A successful training is set to its last epoch; a failed one
                keeps its current epoch.
            results: The results, as JSON.

        Returns:
            The same as start_session().
        """
        session = self._tenant.sessions.get(session_id)
        _check_type(session.info.kind)
        if session.info.is_active:
            try:
                session.end(
                    success=success,
                    results=with_json_numbers(results),
                    details=_last_details(session, success),
                    keep_run_status=True,
                )
            except (MoveError, SessionEndedError):
                if session.refresh().is_active:
                    raise
        return session_dict(session.info)

    @_never_raises
    def get_session_info(self, session_id: object) -> Answer:
        """Return a session.

        Returns:
            The same as start_session().
        """
        return session_dict(self._tenant.sessions.get(session_id).info)

    @_never_raises
    def list_user_sessions(
        self,
        user_id: object,
        session_type: str | None = None,
        active_only: bool = False,
        limit: int = 100,
        offset: int = 0,
    ) -> Answer:
        """Return one page of a user's sessions, newest start first.

        Returns:
            {"items": […], "total": matches on all pages, "limit", "offset"}. None: see last_error.
        """
        if session_type is not None:
            _check_type(session_type)
        page = self._tenant.sessions.list(
            user_id=user_id,
            kind=session_type or SESSION_TYPES,
            active_only=active_only,
            order="created",
            limit=limit,
            offset=offset,
            with_total=True,
        )
        return page_dict(page)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._tenant!r}>"


def _check_type(session_type: object) -> None:
    if session_type not in SESSION_TYPES:
        raise InvalidInputError(f"session_type must be one of {', '.join(SESSION_TYPES)}.")


def _checked_dict(given: Any, what: str) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise InvalidInputError(f"{what} must be a dict, not {type(given).__name__}.")
    return dict(given or {})


def _requested_end(given: Mapping[str, Any]) -> str | None:
    """Return the end status that an update requests; None if it does not end the session."""
    status = given.get("status")
    if status not in ENDS:
        return None
    others = sorted(given.keys() - {"status"})
    if status == "expired" and others:
        raise InvalidInputError(f"A session that expires takes no other changes; this update has {', '.join(others)}.")
    return str(status)


def _changes(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return an update as the arguments of Session.update()."""
    inner = _RUN_STATUS[kind]
    unknown = given.keys() - {*DETAIL_NAMES[kind], inner, "status", "results", "metadata"}
    if unknown:
        names = ", ".join(sorted(map(repr, unknown)))[:MAX_LOGGED_CHARACTERS]
        LOG.warning("update_session: a %s session has no %s; ignored", kind, names)
    changes: dict[str, Any] = {
        "details": {name: json_number(given[name]) for name in DETAIL_NAMES[kind] if given.get(name) is not None},
        "metadata": with_json_numbers(_checked_dict(given.get("metadata"), "metadata")),
        "results": with_json_numbers(given.get("results")),
    }
    moves = {given[name] for name in (inner, "status") if given.get(name) not in (None, "active")}
    if len(moves) > 1:
        raise InvalidInputError("update_data holds two different statuses; give one of them.")
    if moves and given.get("status") not in ENDS:
        changes["run_status"] = moves.pop()
    return changes


def _points(metadata: Mapping[str, Any] | None) -> dict[str, float]:
    """Return the numbers in metadata that become metrics; those without a name are skipped."""
    metrics = [(metric_name(name), value) for name, value in (metadata or {}).items() if isinstance(name, str)]
    named = {name: value for name, value in metrics if name is not None}
    floats = {name: as_float(value) for name, value in named.items()}
    return {name: value for name, value in floats.items() if value is not None}


def _epoch(info: SessionInfo, changed: Mapping[str, Any]) -> int | None:
    """Return the step of an update's metrics: a training's epoch; None, the next step, for a session without epochs."""
    if info.kind != "training":
        return None
    epoch = changed.get("current_epoch", info.details.get("current_epoch"))
    return epoch if isinstance(epoch, int) else 0


def _last_details(session: Session, success: bool) -> dict[str, Any]:
    info = session.info
    total = info.details.get("total_epochs")
    reaches_total = success and info.kind == "training" and info.run_status not in ("failed", "stopped")
    return {"current_epoch": total} if reaches_total and total is not None else {}
