"""Sessions as the dicts that SessionManagerService answers with."""

from typing import Any

from chatmemory import Page, SessionInfo

Answer = dict[str, Any]

_TRAINING = ("model_id", "dataset_name", "current_epoch", "total_epochs", "learning_rate", "batch_size")
_TESTING = ("model_id", "dataset_name", "test_type", "test_params")
DETAILS: dict[str, tuple[str, ...]] = {"training": _TRAINING, "testing": _TESTING, "general": ()}
TYPES = tuple(DETAILS)


def session_view(info: SessionInfo) -> Answer:
    """One session: what all have, and beside it what its type has."""
    view: Answer = {"user_session": {"user_id": info.user_id, **_common(info), "metadata": info.metadata}}
    if info.kind not in ("training", "testing"):
        return view
    known = {name: info.details.get(name) for name in DETAILS[info.kind]}
    inner: Answer = {"id": info.id, "status": info.run_status, **known}
    if info.kind == "testing":
        inner["success"] = None if info.is_active else info.run_status == "completed"
    view[f"{info.kind}_session"] = {**inner, "results": info.results}
    return view


def page_view(page: Page[SessionInfo]) -> Answer:
    """One page of a list."""
    items = [_common(info) for info in page]
    return {"items": items, "total": page.total, "limit": page.limit, "offset": page.offset}


def _common(info: SessionInfo) -> Answer:
    values = info.to_dict()
    return {
        "id": values["id"],
        "type": values["kind"],
        "status": "failed" if info.status == "cancelled" else info.status,
        "is_active": info.is_active,
        "start_time": values["created_at"],
        "end_time": values["ended_at"],
    }
