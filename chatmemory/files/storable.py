"""Conversations of another store or of the caller's own, checked, with those of their messages that can be stored."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any, get_args

from chatmemory.errors import InvalidInputError
from chatmemory.files.conversations import Conversation, RefusedConversation
from chatmemory.messages.records import NewMessage
from chatmemory.runs.metric_checks import check_curve
from chatmemory.runs.metric_records import MetricCurve
from chatmemory.sessions.changes import Changes
from chatmemory.sessions.records import Status
from chatmemory.validation import (
    check_choice,
    check_count,
    check_id,
    check_iterable,
    check_mapping,
    check_message,
    check_text,
    check_time,
    check_title,
    check_values,
)


def storable(
    conversations: Iterable[Conversation | RefusedConversation], max_bytes: int
) -> Iterator[Conversation | RefusedConversation]:
    """Read conversations one at a time; their messages are checked as they are read, and bad ones left out.

    Args:
        conversations: The conversations of a store.
        max_bytes: The largest content of a message, in bytes.

    Raises:
        InvalidInputError: One of them is no conversation.
    """
    for index, conversation in enumerate(conversations):
        if isinstance(conversation, RefusedConversation):
            yield conversation
        elif isinstance(conversation, Conversation):
            try:
                yield _checked(conversation, max_bytes)
            except InvalidInputError as error:
                id = conversation.id if isinstance(conversation.id, str) else f"number {index + 1}"
                yield RefusedConversation(id, str(error))
        else:
            raise InvalidInputError(
                f"each item of an iterable must be a Conversation, not {type(conversation).__name__}."
            )


def _checked(conversation: Conversation, max_bytes: int) -> Conversation:
    whole = replace(
        conversation,
        id=check_id(conversation.id, "id"),
        created_at=check_time(conversation.created_at, "created_at"),
        last_active_at=check_time(conversation.last_active_at, "last_active_at"),
        title=check_title(conversation.title),
        user_id=None if conversation.user_id is None else check_id(conversation.user_id, "user_id"),
        tenant_id=None if conversation.tenant_id is None else check_id(conversation.tenant_id, "tenant_id"),
        status=check_choice(conversation.status, "status", get_args(Status)),
        results=check_values(conversation.results, "results"),
        run=_checked_run(conversation.run),
        metrics=_checked_metrics(conversation.metrics),
    )
    for name in ("origin", "metadata", "details"):
        check_values(check_mapping(getattr(whole, name), name), name)
    _check_counts(whole.left_out)
    messages = _storable(whole, max_bytes)
    first = list(islice(messages, 1))
    return replace(whole, messages=chain(first, messages) if first else [])  # no session without a message


def _checked_run(run: Any) -> dict[str, Any]:
    checked = check_mapping(run, "run")
    check_values(checked, "run")
    Changes(progress=checked.get("progress"), stage=checked.get("stage"), error=checked.get("error")).checked()
    if checked.get("run_status") is not None:
        check_text(checked["run_status"], "run_status")
    return checked


def _check_counts(left_out: Any) -> None:
    if not isinstance(left_out, dict):  # it grows while messages are read, so no copy can take its place
        raise InvalidInputError(f"left_out must be a dict, not {type(left_out).__name__}.")
    for name, count in left_out.items():
        check_text(name, "a name in left_out")
        check_count(count, "a count in left_out")


def _checked_metrics(metrics: Any) -> Iterable[MetricCurve]:
    """Return curves that are checked as they are read; those that are in memory are checked now."""
    curves = _curves(check_iterable(metrics, "metrics"))
    return list(curves) if isinstance(metrics, Collection) else curves


def _curves(curves: Iterable[Any]) -> Iterator[MetricCurve]:
    for curve in curves:
        if not isinstance(curve, MetricCurve):
            raise InvalidInputError(f"each of metrics must be a MetricCurve, not {type(curve).__name__}.")
        yield check_curve(curve)


def _storable(conversation: Conversation, max_bytes: int) -> Iterator[NewMessage]:
    left_out = conversation.left_out
    for message in check_iterable(conversation.messages, "messages"):
        if not isinstance(message, NewMessage):
            raise InvalidInputError(f"each of messages must be a NewMessage, not {type(message).__name__}.")
        if message.message_id is None:
            raise InvalidInputError("a message has no message_id, so importing it twice would store it twice")
        try:
            check_message(message, max_bytes)
        except InvalidInputError as error:
            name = f"messages that cannot be stored: {str(error).rstrip('.')}"
            left_out[name] = left_out.get(name, 0) + 1
        else:
            yield message
