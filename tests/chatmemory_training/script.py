"""A training script, run by tests: NAME, URL, how many steps, and what to do at the end."""

import os
import signal
import sys
import time

from chatmemory import ChatMemory, Settings
from chatmemory_training import SessionManager


def main(name: str, url: str, steps: int, last: str) -> None:
    """Train."""
    settings = Settings(cleanup_inactive_sessions=False, postgres_timeout_seconds=1.0)
    with ChatMemory.open(url, settings=settings) as memory:
        config = {"logging": {"model_dir": "runs"}, "training": {"total_epochs": 10}}
        args = {"resume": os.environ.get("RESUME")}
        with SessionManager(config, args, name, tenant=memory.tenant("acme"), user_id="ann") as run:
            print("name", run.run_name, flush=True)
            for step in range(steps):
                run.log_metrics({"loss": 1 / (step + 1)})
                time.sleep(0.001)
                if step % 300 == 299:
                    print("step", step, flush=True)
            print("logged", flush=True)
            if last == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if last == "wait":
                sys.stdin.readline()
            if last == "fail":
                raise RuntimeError("diverged")
            run.update(current_epoch=10, results={"rmse": 0.25})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
