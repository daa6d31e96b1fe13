"""The dicts that SessionManagerService returns for sessions."""

from typing import Any

from chatmemory import Page, SessionInfo

Answer = dict[str, Any]

_TRAINING = ("model_id", "dataset_name", "current_epoch", "total_epochs", "learning_rate", "batch_size")
_TESTING = ("model_id", "dataset_name", "test_type", "test_params")
DETAIL_NAMES: dict[str, tuple[str, ...]] = {"training": _TRAINING, "testing": _TESTING, "general": ()}
SESSION_TYPES = tuple(DETAIL_NAMES)


def session_dict(info: SessionInfo) -> Answer:
    """Return a session as a dict: the common fields, and those of its type under a key of their own."""
    view: Answer = {"user_session": {"user_id": info.user_id, **_common_fields(info), "metadata": info.metadata}}
    if info.kind not in ("training", "testing"):
        view["user_session"]["results"] = info.results
        return view
    details = {name: info.details.get(name) for name in DETAIL_NAMES[info.kind]}
    inner: Answer = {"id": info.id, "status": info.run_status, **details}
    if info.kind == "testing":
        inner["success"] = None if info.is_active else info.run_status == "completed"
    view[f"{info.kind}_session"] = {**inner, "results": info.results}
    return view


def page_dict(page: Page[SessionInfo]) -> Answer:
    """Return a page of sessions as a dict."""
    items = [_common_fields(info) for info in page]
    return {"items": items, "total": page.total, "limit": page.limit, "offset": page.offset}


def _common_fields(info: SessionInfo) -> Answer:
    values = info.to_dict()
    return {
        "id": values["id"],
        "type": values["kind"],
        "status": "failed" if info.status == "cancelled" else info.status,
        "is_active": info.is_active,
        "start_time": values["created_at"],
        "end_time": values["ended_at"],
    }
