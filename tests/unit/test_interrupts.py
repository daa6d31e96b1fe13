"""Postponed signals: which wait, which do not, and that none is lost."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from chatmemory import _interrupts
from chatmemory._interrupts import postponed, postponing, undisturbed, wait_until, waiting

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Stop(BaseException):
    """The exception that the handlers raise; its argument is the signal's number."""


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """All signals have a handler that raises, for the length of a test."""

    def stop(number: int, frame: FrameType | None) -> None:
        assert frame is not None
        raise Stop(number)

    before = {number: signal.signal(number, stop) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def heard(work: Callable[[], object]) -> Stop:
    """Run work, and return what its interrupt raised."""
    with pytest.raises(Stop) as stop:
        work()
    return stop.value


@pytest.mark.parametrize("number", NUMBERS)
def test_a_body_is_done_before_its_interrupt(number: signal.Signals) -> None:
    """Of any signal whose handler is written in Python; the handler is its own again afterwards."""
    handler, done = signal.getsignal(number), []

    @postponing
    def work() -> None:
        signal.raise_signal(number)
        with postponed():
            done.append("inner")
        done.append("outer")

    assert heard(work).args == (number,)
    assert (done, signal.getsignal(number)) == (["inner", "outer"], handler)


def test_a_wait_is_cut_short_by_what_came_before_it() -> None:
    """It does not begin."""
    reached = []

    @postponing
    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        with waiting():
            reached.append("wait")

    assert heard(work).args == (signal.SIGINT,)
    assert not reached


def test_a_wait_is_cut_short_at_once() -> None:
    """Its own body is, but not a postponed() body in it."""
    reached = []

    @postponing
    def work() -> None:
        with waiting():
            with postponed():
                assert heard(wait).args == (signal.SIGINT,)
                reached.append("inner")
            signal.raise_signal(signal.SIGTERM)
            reached.append("wait")

    def wait() -> None:
        signal.raise_signal(signal.SIGINT)
        reached.append("postponed")
        with waiting():
            reached.append("never")

    assert heard(work).args == (signal.SIGTERM,)
    assert reached == ["postponed", "inner"]


def test_two_signals_are_both_handled() -> None:
    """The second one's handler is called even though the first one's raises."""

    @postponing
    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    second = heard(work)
    first = second.__context__
    assert isinstance(first, Stop)
    assert {first.args[0], second.args[0]} == {signal.SIGINT, signal.SIGTERM}


def test_an_interrupt_wins_over_an_error() -> None:
    """The error of the body is its context."""

    @postponing
    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        raise ValueError

    assert isinstance(heard(work).__context__, ValueError)


def test_who_insists_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second signal after the time of patience is not postponed, not even in undisturbed()."""
    monkeypatch.setattr(_interrupts, "PATIENCE_SECONDS", -1.0)
    reached = []

    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        with waiting():
            reached.append("first")
        signal.raise_signal(signal.SIGINT)
        reached.append("second")

    with pytest.raises(Stop):
        undisturbed(work)
    assert reached == ["first"]


def test_a_handler_set_in_a_wait_stays() -> None:
    """A program may answer the first Ctrl-C by letting the second one kill it."""
    with postponed(), waiting():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_other_threads_change_nothing() -> None:
    """They are never interrupted, so that a signal in their call is handled as always."""
    begun, end = threading.Event(), threading.Event()

    @postponing
    def work() -> None:
        begun.set()
        end.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert begun.wait(60)
        with pytest.raises(Stop):
            signal.raise_signal(signal.SIGINT)
    finally:
        end.set()
        thread.join()


def test_waiting_for_an_event() -> None:
    """It says whether the event is set, and leaves its lock free when it is interrupted."""
    event = threading.Event()
    assert not wait_until(event, 0)
    main = threading.get_ident()
    timer = threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(Stop):
        wait_until(event, 60)
    timer.join()
    event.set()
    assert wait_until(event, 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking with threads is what is tried
def test_a_child_forked_meanwhile_is_interrupted_as_always() -> None:
    """Another thread may fork while the main thread postpones; in the child, that thread is the main one."""
    codes: list[int] = []

    def fork() -> None:
        child = os.fork()
        if child:
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            return
        try:
            signal.raise_signal(signal.SIGINT)
        except Stop:
            os._exit(7)
        finally:
            os._exit(1)

    thread = threading.Thread(target=fork)
    with postponed():
        thread.start()
        thread.join()
    assert codes == [7]
