"""The declared kinds: each move there is, and none that there is not."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from chatmemory import InvalidInputError, Kind, KindError, MoveError, kinds, register_kind
from chatmemory.kinds import ENDS
from tests.machines import MACHINES

ENDINGS = dict.fromkeys(ENDS, "over") | {"completed": "done"}
MOVES = {"open": ("done", "over")}


@pytest.fixture(autouse=True)
def _no_kind_stays() -> Iterator[None]:
    """Remove the kinds that a test registers."""
    before = dict(kinds._kinds)
    yield
    kinds._kinds.clear()
    kinds._kinds.update(before)


def test_the_built_in_kinds_are_these() -> None:
    """Two that are conversations, five that are runs."""
    assert {name for name, kind in kinds.registered().items() if kind.is_run} == set(MACHINES)
    assert {name for name, kind in kinds.registered().items() if not kind.is_run} == {"chat", "general"}


@pytest.mark.parametrize("name", MACHINES)
def test_every_status_and_every_move(name: str) -> None:
    """From each run status exactly the moves of the specification are allowed; the error names them."""
    kind, machine = kinds.registered()[name], MACHINES[name]
    assert set(kind.run_statuses) == set(machine)
    assert kind.initial == next(iter(machine))
    for old, allowed in machine.items():
        for new in [*machine, "flying"]:
            if new in allowed or new == old:
                kind.check_move("s", old, new)
                continue
            with pytest.raises(MoveError) as raised:
                kind.check_move("s", old, new)
            told = str(raised.value)
            assert all(word in told for word in [old, new, *allowed])
            assert ("final" in told) == (not allowed)


def test_an_end_leads_to_a_final_status() -> None:
    """Each kind of run says where each end of the lifecycle brings it, and nothing follows there."""
    for name in MACHINES:
        kind = kinds.registered()[name]
        assert set(kind.endings) == set(ENDS)
        assert set(kind.endings.values()) <= kind.finals
    assert kinds.registered()["research"].endings["expired"] == "timeout"
    assert kinds.registered()["training"].endings["cancelled"] == "stopped"


WRONG: list[dict[str, Any]] = [
    {"name": "Upper"},
    {"name": ""},
    {"name": 7},
    {"name": "x", "moves": {"Open": ("done",)}},
    {"name": "x", "moves": MOVES},  # no endings
    {"name": "x", "endings": ENDINGS},  # no moves
    {"name": "x", "moves": MOVES, "endings": {**ENDINGS, "expired": "open"}},  # not final
    {"name": "x", "moves": MOVES, "endings": {**ENDINGS, "expired": "gone"}},  # not there
    {"name": "x", "moves": MOVES, "endings": dict.fromkeys(ENDS, "over")},  # success looks like failure
    {"name": "x", "moves": {**MOVES, "island": ("over",)}, "endings": ENDINGS},  # unreachable
    {"name": "x", "learns": "everything"},
    {"name": "x", "details": dict},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_kind_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """A faulty declaration is rejected at once, not at the first run."""
    with pytest.raises(KindError, match="is invalid: "):
        Kind(**wrong)


def test_an_app_registers_its_own() -> None:
    """Registered twice alike is registered once; another kind of that name is refused, built-in ones too."""
    mine = Kind(name="import", moves=MOVES, endings=ENDINGS)
    assert register_kind(mine) is mine
    register_kind(Kind(name="import", moves=MOVES, endings=ENDINGS))
    assert kinds.find("import") == mine
    for other in (Kind(name="import"), Kind(name="training")):
        with pytest.raises(KindError, match=other.name):
            register_kind(other)
    with pytest.raises(KindError, match="takes a Kind"):
        register_kind("import")  # type: ignore[arg-type]  # that is the point


def test_details_are_typed_and_others_are_kept() -> None:
    """A declared detail must have its type, and the error names it without its value; other details pass."""
    training = kinds.registered()["training"]
    training.check_details({"total_epochs": 3, "learning_rate": 1, "model_id": 7, "anything": {"else": [1]}})
    for name, value in {"total_epochs": "secret", "current_epoch": -1, "batch_size": 1.5, "learning_rate": "x"}.items():
        with pytest.raises(InvalidInputError, match=name) as raised:
            training.check_details({name: value})
        assert "secret" not in str(raised.value)


def test_details_may_be_a_model_of_the_app() -> None:
    """A model that forbids the unknown forbids it."""

    class Details(BaseModel, extra="forbid"):
        rows: int

    kind = Kind(name="import", details=Details)
    kind.check_details({"rows": 3})
    for wrong in ({}, {"rows": 1, "more": 2}):
        with pytest.raises(InvalidInputError, match=r"rows|more"):
            kind.check_details(wrong)


@pytest.mark.parametrize(
    ("details", "progress"),
    [
        ({}, None),
        ({"current_epoch": 1}, None),
        ({"current_epoch": 1, "total_epochs": 0}, None),
        ({"current_epoch": None, "total_epochs": 4}, None),
        ({"current_epoch": 1, "total_epochs": 4}, 25.0),
        ({"current_epoch": 9, "total_epochs": 4}, 100.0),
    ],
)
def test_progress_follows_from_the_details(details: dict[str, Any], progress: float | None) -> None:
    """Epochs done of epochs in all, from 0 to 100."""
    assert kinds.registered()["training"].progress_of(details) == progress
