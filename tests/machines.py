"""The state machines of the built-in kinds, as the specification draws them; written down anew, not read off."""

_TRAINING = {
    "pending": {"running", "failed", "stopped"},
    "running": {"completed", "failed", "stopped"},
    "completed": set[str](),
    "failed": set[str](),
    "stopped": set[str](),
}
_TESTING = {
    "pending": {"running", "failed"},
    "running": {"completed", "failed"},
    "completed": set[str](),
    "failed": set[str](),
}
_RESEARCH = {
    "queued": {"initializing", "cancelled", "timeout"},
    "initializing": {"running", "failed", "cancelled", "timeout"},
    "running": {"paused", "completed", "failed", "cancelled", "timeout"},
    "paused": {"running", "cancelled", "timeout"},
    "completed": set[str](),
    "failed": set[str](),
    "cancelled": set[str](),
    "timeout": set[str](),
}
MACHINES = {
    "training": _TRAINING,
    "testing": _TESTING,
    "research": _RESEARCH,
    "analysis": _RESEARCH,
    "synthesis": _RESEARCH,
}


def path_to(kind: str, status: str) -> list[str]:
    """The shortest way from where a run begins to a run status, without the beginning."""
    machine = MACHINES[kind]
    ways: list[list[str]] = [[next(iter(machine))]]
    for way in ways:
        if way[-1] == status:
            return way[1:]
        ways += [[*way, new] for new in sorted(machine[way[-1]]) if new not in way]
    raise ValueError(f"nothing leads to {status}")
