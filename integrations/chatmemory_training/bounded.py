"""Calls into other people's code, which may hang."""

import threading
from collections.abc import Callable


class HungError(TimeoutError):
    """The call did not return in time; its thread is left behind."""


def bounded(call: Callable[[], object], seconds: float) -> None:
    """Make a call, and wait at most so long for it.

    Raises:
        HungError: It has not returned.
        Exception: Whatever it raises.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            raised.append(error)

    thread = threading.Thread(target=run, name="chatmemory-training-bounded", daemon=True)
    thread.start()
    thread.join(max(seconds, 0.0))
    if thread.is_alive():
        raise HungError(f"it did not return in {seconds:.1f} s")
    if raised:
        raise raised[0]
