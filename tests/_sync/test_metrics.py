# Generated from tests/_async/test_metrics.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Metrics never block a run, are never lost, and are read back downsampled."""

import json
import math
import random
import time

import psycopg
import pytest

from chatmemory import ChatMemory, InvalidInputError, MetricCurve, Session, Settings
from tests.helpers import calls


def begin(memory: ChatMemory, tenant: str = "acme") -> Session:
    """A training of its own."""
    return memory.tenant(tenant).sessions.create(user_id="ann", kind="training")


def url_of(memory: ChatMemory) -> str:
    """The database it is on."""
    assert memory.settings.postgres_url is not None
    return memory.settings.postgres_url.get_secret_value()


def points(curve: MetricCurve) -> list[tuple[int, float]]:
    """Return the points of a curve."""
    return list(zip(curve.steps, curve.values, strict=True))


def test_what_is_logged_is_read_at_once(memory: ChatMemory) -> None:
    """Names, steps, values and times; NaN and infinities too; only the names that are asked for."""
    session = begin(memory)
    logged = [0.5, math.inf, -math.inf, 1e-300, -0.0]
    before = time.time()
    for step, value in enumerate(logged):
        session.log_metrics({"loss": value, "accuracy": step}, step=step * 10)
    session.log_metrics({"loss": math.nan}, step=50)
    session.log_metrics({})
    series = session.metrics()
    assert list(series) == ["accuracy", "loss"]
    assert points(series["loss"])[:5] == [(step * 10, value) for step, value in enumerate(logged)]
    assert math.isnan(series["loss"].values[5])
    assert before <= series["loss"].times[0] <= time.time()
    assert list(session.metrics(["accuracy", "none"])) == ["accuracy"]
    assert series["accuracy"].total == 5
    for call in calls(
        lambda: session.metrics("loss"),
        lambda: session.metrics(max_points=1),
        lambda: session.metrics([""]),
    ):
        with pytest.raises(InvalidInputError):
            call()
    with pytest.raises(InvalidInputError, match="loss"):
        session.log_metrics({"loss": "low"})


def test_the_last_step_there_can_be_holds_nothing_up(memory: ChatMemory, postgres_url: str, settings: Settings) -> None:
    """Later points, from any process, get the same step; other runs are written."""
    session = begin(memory)
    session.log_metrics({"loss": 1}, step=2**63 - 1)
    session.log_metrics({"loss": 2})
    assert session.metrics()["loss"].steps == (2**63 - 1,) * 2
    with ChatMemory.open(postgres_url, settings=settings) as other_memory:
        other = begin(other_memory)
        elsewhere = other_memory.tenant("acme").sessions.get(session.id)
        elsewhere.log_metrics({"loss": 3})
        other.log_metrics({"loss": 4}, step=1)
        assert other.metrics()["loss"].values == (4.0,)
        assert elsewhere.metrics()["loss"].total == 3


def test_a_point_without_a_step_follows_those_on_their_way(memory: ChatMemory) -> None:
    """One more than the last of the session, whether Postgres has that one already or not."""
    session = begin(memory)
    session.log_metrics({"loss": 1.0}, step=100)
    session.log_metrics({"loss": 0.5})
    assert session.metrics()["loss"].steps == (100, 101)


def test_the_last_numbers_come_with_the_end(memory: ChatMemory) -> None:
    """Stored with it, and known to the run's result; a second end adds none."""
    session = begin(memory)
    session.log_metrics({"loss": 1.0}, step=4)
    session.end(metrics={"loss": 0.25, "rmse": 0.5})
    session.end(metrics={"loss": 0.1})
    assert points(session.metrics()["loss"]) == [(4, 1.0), (5, 0.25)]
    [result] = memory.tenant("acme").memories.list(kinds=["result"])
    assert "loss 0.25 at step 5" in result.text
    with pytest.raises(InvalidInputError, match="rmse"):
        session.end(metrics={"rmse": "low"})


def test_a_user_gets_the_metrics_too(memory: ChatMemory) -> None:
    """users.export() holds every point that users.erase() would remove."""
    session = begin(memory)
    session.log_metrics({"loss": math.nan}, step=1)
    session.log_metrics({"loss": 0.5}, step=2)
    session.delete()
    users = memory.tenant("acme").users
    lines = [json.loads(line) for line in users.export("ann")]
    [kept] = [line for line in lines if line["record"] == "metrics"]
    assert (kept["session_id"], kept["name"]) == (session.id, "loss")
    assert (kept["steps"], kept["values"], len(kept["times"])) == ([1, 2], ["nan", 0.5], 2)


def test_logging_waits_for_nothing_and_closing_loses_nothing(memory: ChatMemory, postgres_url: str) -> None:
    """While another transaction holds the tables, 20,000 calls return; close() writes all of them."""
    settings = memory.settings.model_copy(update={"postgres_timeout_seconds": 600})
    writer = ChatMemory.open(postgres_url, settings=settings)
    session = begin(writer)
    with psycopg.connect(postgres_url) as blocker:
        blocker.execute("lock table chatmemory.metrics, chatmemory.sessions in access exclusive mode")
        for step in range(20_000):  # one that waited would wait for the end of this block
            session.log_metrics({"loss": step / 7}, step=step)
    writer.close()
    curve = ((memory.tenant("acme").sessions.get(session.id)).metrics())["loss"]
    assert points(curve) == [(step, step / 7) for step in range(20_000)]


def test_ending_writes_what_was_logged(memory: ChatMemory, postgres_url: str) -> None:
    """Another process sees all of it as soon as the run has ended."""
    session = begin(memory)
    session.log_metrics({"loss": 1.0, "accuracy": 0.5})
    session.end()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select sum(count) from chatmemory.metrics").fetchall() == [(2,)]


def test_steps_go_on_after_a_restart(memory: ChatMemory, postgres_url: str) -> None:
    """Without a step each call is one further, in the next process too, and for a metric that is new."""
    session = begin(memory)
    for _ in range(300):
        session.log_metrics({"loss": 1.0})
    session.metrics()
    with ChatMemory.open(postgres_url, settings=memory.settings) as later:
        resumed = later.tenant("acme").sessions.get(session.id)
        resumed.log_metrics({"accuracy": 1.0})
        resumed.log_metrics({"loss": 2.0}, step=400)
        resumed.log_metrics({"loss": 3.0})
    series = session.metrics()
    assert series["loss"].steps == (*range(300), 400, 401)
    assert series["accuracy"].steps == (300,)


def test_it_is_written_beside_the_work(memory: ChatMemory, postgres_url: str) -> None:
    """Half a second later it stands in the database, though nobody asked; a row grows until it is full."""
    session = begin(memory)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for expected in (1, 2):
            session.log_metrics({"loss": 1.0})
            until, found = time.monotonic() + 30, None
            while found != [(expected, 1)]:
                assert time.monotonic() < until, found
                session.history()  # the caller's work
                found = connection.execute("select sum(count)::int, count(*) from chatmemory.metrics").fetchall()


def test_an_erased_run_takes_its_metrics_along(memory: ChatMemory, postgres_url: str) -> None:
    """The receipt counts points, also those on their way; a fork has none; what comes later is dropped."""
    session, other = begin(memory), begin(memory)
    for step in range(600):
        session.log_metrics({"loss": 1.0, "accuracy": 1.0}, step=step)
    fork = session.fork()
    assert len(fork.metrics()) == 0
    same = memory.tenant("acme").sessions.get(session.id)
    assert session.erase().metrics == 1200
    same.log_metrics({"loss": 1.0})
    other.log_metrics({"loss": 1.0})
    assert other.metrics()["loss"].values == (1.0,)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select session_id from chatmemory.metrics").fetchall() == [(other.id,)]


def test_metrics_are_kept_apart_by_tenant(memory: ChatMemory) -> None:
    """The same session id in two tenants: each reads, compares and erases its own."""
    mine, theirs = [
        memory.tenant(tenant).sessions.create(user_id="ann", session_id="s-1", kind="training")
        for tenant in ("acme", "umbrella")
    ]
    mine.log_metrics({"loss": 1.0, "secret": 1.0}, step=7)
    theirs.log_metrics({"loss": 2.0})
    assert points(theirs.metrics()["loss"]) == [(0, 2.0)]
    assert list(theirs.metrics()) == ["loss"]
    assert (memory.tenant("umbrella").sessions.compare(["s-1"]))[0].best == {"loss": 2.0}
    assert theirs.erase().metrics == 1
    assert points(mine.metrics()["loss"]) == [(7, 1.0)]


@pytest.mark.parametrize("seed", range(12))
def test_downsampling_keeps_every_peak(memory: ChatMemory, seed: int) -> None:
    """At most so many points, all of them real, with the least and the greatest of all and of each stretch."""
    rng = random.Random(seed)
    session = begin(memory)
    count = rng.choice([1, 2, 50, 255, 256, 257, 1000, 4000])
    values = [rng.choice([rng.gauss(0, 1), rng.gauss(0, 1), rng.uniform(-50, 50)]) for _ in range(count)]
    for place in rng.sample(range(count), count // 10):
        values[place] = math.nan
    steps = sorted(rng.sample(range(count * 3), count))
    for step, value in zip(steps, values, strict=True):
        session.log_metrics({"loss": value, "other": 1.0}, step=step)
    logged = list(zip(steps, values, strict=True))
    numbers = [value for value in values if not math.isnan(value)]
    for most in (2, 3, 20, 64, 500, 10_000):
        curve = session.metrics(["loss"], max_points=most)["loss"]
        assert curve.total == count
        assert len(curve) <= max(most, 2)
        if count <= most - most % 2:
            assert len(curve) == count
        assert curve.steps == tuple(sorted(curve.steps))
        assert {step for step, _ in points(curve)} <= set(steps)
        assert {point for point in points(curve) if point[1] == point[1]} <= set(logged)
        kept = [value for value in curve.values if not math.isnan(value)]
        if numbers:
            assert (min(kept), max(kept)) == (min(numbers), max(numbers))
        stretch = 2 * max(256, math.ceil(count / (most // 2)))  # any that is so long holds a whole bucket
        for start in range(0, count - stretch, stretch):
            low, high = steps[start], steps[start + stretch]
            assert any(low <= step <= high for step in curve.steps)


def test_two_writers_of_one_run(memory: ChatMemory, postgres_url: str) -> None:
    """The points that two processes log for one run are one curve, ordered by step."""
    session = begin(memory)
    with ChatMemory.open(postgres_url, settings=memory.settings) as other:
        same = other.tenant("acme").sessions.get(session.id)
        for step in range(600):
            (session, same)[step % 2].log_metrics({"loss": float(step)}, step=step)
            if step % 100 == 0:
                same.metrics()
    assert points(session.metrics()["loss"]) == [(step, float(step)) for step in range(600)]


def test_runs_are_compared(memory: ChatMemory) -> None:
    """Details, results and the best of each metric, in the order that was asked for; a table of all that differs."""
    sessions = memory.tenant("acme").sessions
    runs = []
    for rate in (0.1, 0.01):
        session = sessions.create(user_id="ann", kind="training", details={"learning_rate": rate})
        for step in range(400):
            session.log_metrics({"loss": abs(step - 300) * rate, "accuracy": step * rate}, step=step)
        session.end(results={"rmse": rate * 2})
        runs.append(session)
    first, second = compared = sessions.compare([runs[1].id, runs[0].id])
    assert [first.info.id, second.info.id] == [runs[1].id, runs[0].id]
    assert first.best == {"accuracy": pytest.approx(3.99), "loss": 0.0}
    loss = first.metrics["loss"]
    assert (loss.count, loss.low_step, loss.high_step, loss.best_step) == (400, 300, 0, 300)
    assert loss.high == pytest.approx(3.0)
    table = compared.to_pandas()
    assert table.loc[runs[0].id, "details.learning_rate"] == 0.1
    assert table.loc[runs[0].id, "results.rmse"] == 0.2
    assert table.loc[runs[0].id, "best.loss"] == 0.0
    assert runs[0].id in repr(compared)


def test_flush_waits_until_postgres_has_the_metrics(memory: ChatMemory, postgres_url: str) -> None:
    """After flush() of a session, or of the memory, another process reads what was logged."""
    session = memory.tenant("acme").sessions.create(user_id="ann", kind="training")
    for step, flush in enumerate((session.flush, memory.flush)):
        session.log_metrics({"loss": 1.0}, step=step)
        flush()
        with ChatMemory.open(postgres_url) as other:
            reader = other.tenant("acme").sessions.get(session.id)
            assert reader.metrics()["loss"].steps == tuple(range(step + 1))
