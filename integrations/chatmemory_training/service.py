"""Training and testing sessions for code that wants dicts, and None where something went wrong."""

import logging
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from chatmemory import ChatMemoryError, InvalidInputError, MoveError, Session, SessionEndedError, SessionInfo, Tenant
from chatmemory_training.connection import tenant_of
from chatmemory_training.values import is_name, number, plain_number, storable
from chatmemory_training.views import DETAILS, TYPES, Answer, page_view, session_view

LOG = logging.getLogger("chatmemory_training")
P = ParamSpec("P")
ENDS = ("completed", "failed", "expired")
_RUN_STATUS = {"training": "training_status", "testing": "testing_status", "general": ""}


def _never_raises(
    method: Callable[Concatenate["SessionManagerService", P], Answer],
) -> Callable[Concatenate["SessionManagerService", P], Answer | None]:
    """Answer None where the method raises, and keep why."""

    @wraps(method)
    def answer(self: "SessionManagerService", /, *args: P.args, **kwargs: P.kwargs) -> Answer | None:
        try:
            found = method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001  # that is the promise of this class
            told = str(error) if isinstance(error, ChatMemoryError) else f"{type(error).__name__} in {method.__name__}"
            self.last_error = told
            LOG.warning("%s: %s", method.__name__, told)
            return None
        self.last_error = None
        return found

    return answer


class SessionManagerService:
    """Training, testing and general sessions of one tenant; no method raises.

    Args:
        tenant: The tenant; or a SQLAlchemy Session: then tenant "default" on the database of its engine.

    Attributes:
        last_error: Why the last call answered None; None: it did not.

    Raises:
        ConfigurationError: tenant is neither.
    """

    def __init__(self, tenant: Any) -> None:
        self._tenant: Tenant = tenant_of(tenant)
        self.last_error: str | None = None

    @_never_raises
    def start_session(self, user_id: object, session_type: str, metadata: Mapping[str, Any] | None = None) -> Answer:
        """Begin a session: it is active, and a run is pending.

        Args:
            user_id: Whose it is.
            session_type: training, testing or general.
            metadata: Kept whole. What the type knows of it (model_id, dataset_name, total_epochs, learning_rate,
                batch_size; test_type, test_params) also stands beside it.

        Returns:
            {"user_session": {…}} and beside it "training_session" or "testing_session". None: last_error says why.
        """
        _check_type(session_type)
        given = _mapping(metadata, "metadata")
        details = {name: plain_number(given[name]) for name in DETAILS[session_type] if given.get(name) is not None}
        if session_type == "training":
            details.setdefault("current_epoch", 0)
        sessions = self._tenant.sessions
        session = sessions.create(user_id=user_id, kind=session_type, metadata=storable(given), details=details)
        return session_view(session.info)

    @_never_raises
    def update_session(self, session_id: object, update_data: Mapping[str, Any]) -> Answer:
        """Change what is known of an active session, all or nothing.

        Args:
            session_id: Which.
            update_data: training_status or testing_status (where the run is to go), status (the same, or how the
                session ends: completed, failed, expired), results, metadata (merged; its numbers also become points
                of metrics, at the current epoch), and what the type knows: current_epoch, learning_rate and so on.

        Returns:
            As start_session().
        """
        session = self._tenant.sessions.get(session_id)
        info = session.info
        _check_type(info.kind)
        if not info.is_active:
            raise SessionEndedError(f"Session {info.id!r} is {info.status} and takes no more updates.")
        given = _mapping(update_data, "update_data")
        changes, status = _changes(info.kind, given), _end_of(given)
        epoch, points = _points(given.get("metadata"), changes["details"].get("current_epoch", _epoch_of(info)))
        if status is None:
            session.update(**changes)
            if points:
                session.log_metrics(points, step=epoch)
        elif status == "expired":
            session.expire()
        else:
            session.end(success=status == "completed", metrics=points, step=epoch, **changes)
        return session_view(session.info)

    @_never_raises
    def end_session(self, session_id: object, success: bool = True, results: Any = None) -> Answer:
        """End a session; one that has ended answers as it is stored, and stays so.

        Args:
            session_id: Which.
            success: Whether it did what it was for. A training that did has reached its last epoch; one that did
                not stays at the epoch it was in.
            results: What came of it, as JSON.

        Returns:
            As start_session().
        """
        session = self._tenant.sessions.get(session_id)
        _check_type(session.info.kind)
        if session.info.is_active:
            try:
                session.end(success=success, results=storable(results), details=_last_details(session, success))
            except (MoveError, SessionEndedError):
                if session.refresh().is_active:
                    raise
        return session_view(session.info)

    @_never_raises
    def get_session_info(self, session_id: object) -> Answer:
        """What is known of a session.

        Returns:
            As start_session().
        """
        return session_view(self._tenant.sessions.get(session_id).info)

    @_never_raises
    def list_user_sessions(
        self,
        user_id: object,
        session_type: str | None = None,
        active_only: bool = False,
        limit: int = 100,
        offset: int = 0,
    ) -> Answer:
        """One page of a user's sessions, the one that started last first.

        Returns:
            {"items": […], "total": how many match on all pages, "limit", "offset"}. None: last_error says why.
        """
        if session_type is not None:
            _check_type(session_type)
        page = self._tenant.sessions.list(
            user_id=user_id,
            kind=session_type,
            active_only=active_only,
            order="created",
            limit=limit,
            offset=offset,
            with_total=True,
        )
        return page_view(page)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._tenant!r}>"


def _check_type(session_type: object) -> None:
    if session_type not in TYPES:
        raise InvalidInputError(f"session_type must be one of {', '.join(TYPES)}.")


def _mapping(given: Any, what: str) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise InvalidInputError(f"{what} must be a dict, not {type(given).__name__}.")
    return dict(given or {})


def _end_of(given: Mapping[str, Any]) -> str | None:
    """How an update ends the session; None: it does not."""
    status = given.get("status")
    if status not in ENDS:
        return None
    others = sorted(given.keys() - {"status"})
    if status == "expired" and others:
        raise InvalidInputError(f"A session that expires takes no other changes, and this has {', '.join(others)}.")
    return str(status)


def _changes(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """What an update changes, as Session.update() takes it."""
    inner = _RUN_STATUS[kind]
    unknown = given.keys() - {*DETAILS[kind], inner, "status", "results", "metadata"}
    if unknown:
        raise InvalidInputError(f"update_data of a {kind} session cannot hold {', '.join(sorted(map(repr, unknown)))}.")
    changes: dict[str, Any] = {
        "details": {name: plain_number(given[name]) for name in DETAILS[kind] if given.get(name) is not None},
        "metadata": storable(_mapping(given.get("metadata"), "metadata")),
        "results": storable(given.get("results")),
    }
    moves = {given[name] for name in (inner, "status") if given.get(name) not in (None, "active")}
    if len(moves) > 1:
        raise InvalidInputError("update_data holds two statuses; give one of them.")
    if moves and given.get("status") not in ENDS:
        changes["run_status"] = moves.pop()
    return changes


def _points(metadata: Mapping[str, Any] | None, epoch: int) -> tuple[int, dict[str, float]]:
    """Which numbers are points, at which epoch; what no metric can be called is kept as metadata alone."""
    found = {name: number(value) for name, value in (metadata or {}).items() if isinstance(name, str) and is_name(name)}
    return epoch, {name: value for name, value in found.items() if value is not None}


def _epoch_of(info: SessionInfo) -> int:
    epoch = info.details.get("current_epoch")
    return epoch if isinstance(epoch, int) else 0


def _last_details(session: Session, success: bool) -> dict[str, Any]:
    info = session.info
    total = info.details.get("total_epochs")
    reaches_it = success and info.kind == "training" and info.run_status not in ("failed", "stopped")
    return {"current_epoch": total} if reaches_it and total is not None else {}
