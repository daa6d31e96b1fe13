"""Metrics of the machine, sampled beside the run."""

import threading

import pytest

from chatmemory_training.system_metrics import SystemMetrics


def join() -> None:
    """Wait until no thread samples."""
    for thread in threading.enumerate():
        if thread.name == "chatmemory-system-metrics":
            thread.join(60)
            assert not thread.is_alive()


def test_samples_come_until_it_is_stopped() -> None:
    """Each has the machine's values, and its step is the seconds since the start."""
    samples: list[tuple[dict[str, float], int]] = []
    enough = threading.Event()

    def log(values: dict[str, float], step: int) -> None:
        samples.append((values, step))
        if len(samples) == 3:
            enough.set()

    metrics = SystemMetrics(log, seconds=0.05)
    metrics.start()
    assert enough.wait(60)
    metrics.stop()
    join()
    for values, step in samples:
        assert step >= 0
        assert 0 < values["system/process_memory_mb"] < 1_000_000
        assert 0 <= values["system/memory_percent"] <= 100
        assert {"system/cpu_percent", "system/process_cpu_percent", "system/disk_percent"} <= values.keys()


def test_a_machine_that_tells_nothing_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread ends, quietly."""
    samples: list[object] = []
    asked = threading.Event()

    def refused() -> None:
        asked.set()
        raise PermissionError

    monkeypatch.setattr("psutil.virtual_memory", refused)
    SystemMetrics(lambda values, step: samples.append(values), seconds=0.01).start()
    assert asked.wait(60)
    join()
    assert samples == []
