"""Time limits for calls into third-party code, which may hang."""

import threading
from collections.abc import Callable


class HungError(TimeoutError):
    """The call did not return in time; its thread is left behind."""


def call_within(call: Callable[[], object], seconds: float) -> None:
    """Run a call in a thread and wait at most `seconds` for it.

    Raises:
        HungError: The call has not returned in time.
        Exception: The call's own error.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # raised again by the waiting thread
            raised.append(error)

    thread = threading.Thread(target=run, name="chatmemory-training-time-limit", daemon=True)
    thread.start()
    thread.join(max(seconds, 0.0))
    if thread.is_alive():
        raise HungError(f"the call did not return in {seconds:.1f} s")
    if raised:
        raise raised[0]
