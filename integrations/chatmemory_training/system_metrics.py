"""Metrics of the machine while a run goes on, sampled by a thread."""

import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

MEGABYTE = 1_000_000
SAMPLE_SECONDS = 15.0

Log = Callable[[dict[str, float], int], object]


class SystemMetrics:
    """Samples CPU, memory, disk and GPUs until it is stopped.

    Args:
        log: Takes the values and their step: the seconds since start().
        seconds: The time between two samples, in seconds.
    """

    def __init__(self, log: Log, seconds: float = SAMPLE_SECONDS) -> None:
        self._log, self._seconds = log, seconds
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to sample; without psutil nothing is sampled."""
        try:
            sample = _Sampler()
        except ImportError:
            return
        threading.Thread(target=self._run, args=(sample,), name="chatmemory-system-metrics", daemon=True).start()

    def stop(self) -> None:
        """Stop sampling, without waiting."""
        self._stopped.set()

    def _run(self, sample: "_Sampler") -> None:
        begun = time.monotonic()
        while not self._stopped.wait(self._seconds):
            try:
                values = sample()
            except Exception:  # noqa: BLE001  # a machine that tells nothing must not end a training
                return
            self._log(values, round(time.monotonic() - begun))


class _Sampler:
    """Reads the machine.

    Raises:
        ImportError: psutil is not installed.
    """

    def __init__(self) -> None:
        import psutil

        self._psutil, self._process, self._gpus = psutil, psutil.Process(), _gpus()
        self._process.cpu_percent()  # what it returns is since the last call
        psutil.cpu_percent()

    def __call__(self) -> dict[str, float]:
        """Return the values by name."""
        memory = self._psutil.virtual_memory()
        values = {
            "system/cpu_percent": self._psutil.cpu_percent(),
            "system/process_cpu_percent": self._process.cpu_percent(),
            "system/process_memory_mb": self._process.memory_info().rss / MEGABYTE,
            "system/memory_percent": memory.percent,
            "system/disk_percent": self._psutil.disk_usage(".").percent,
        }
        for number, read in enumerate(self._gpus):
            values.update({f"system/gpu{number}_{name}": value for name, value in read().items()})
        return values


def _gpus() -> list[Callable[[], dict[str, float]]]:
    """Return a reader for each NVIDIA GPU; none without nvidia-ml-py or its driver."""
    try:
        pynvml: Any = import_module("pynvml")
        pynvml.nvmlInit()
        return [_gpu(pynvml, number) for number in range(pynvml.nvmlDeviceGetCount())]
    except Exception:  # noqa: BLE001  # not installed, or a driver that fails
        return []


def _gpu(nvml: Any, number: int) -> Callable[[], dict[str, float]]:
    handle = nvml.nvmlDeviceGetHandleByIndex(number)

    def read() -> dict[str, float]:
        used = nvml.nvmlDeviceGetMemoryInfo(handle).used / MEGABYTE
        return {"percent": float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu), "memory_mb": used}

    return read
