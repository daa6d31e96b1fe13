"""Resource use of a training process: CPU, memory, and GPU memory if torch reports one."""

import sys
import time
from contextlib import suppress
from typing import Any

MEGABYTE = 1_000_000


def resource_usage() -> dict[str, float]:
    """Return what this process uses: resources/cpu_seconds, memory_mb (with psutil), and gpu_memory_mb (with torch)."""
    usage = {"resources/cpu_seconds": time.process_time()}
    with suppress(Exception):  # not installed, or not allowed here
        import psutil

        usage["resources/memory_mb"] = psutil.Process().memory_info().rss / MEGABYTE
        usage["resources/cpu_percent"] = psutil.cpu_percent(None)
    torch: Any = sys.modules.get("torch")  # a script that uses a GPU has imported it
    with suppress(Exception):  # a driver that fails
        if torch is not None and torch.cuda.is_available():
            usage["resources/gpu_memory_mb"] = torch.cuda.memory_allocated() / MEGABYTE
    return usage
