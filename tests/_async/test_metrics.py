"""Metrics never block a run, are never lost, and are read back downsampled."""

import json
import math
import random
import time

import psycopg
import pytest

from chatmemory import AsyncChatMemory, AsyncSession, InvalidInputError, MetricCurve, Settings
from tests.helpers import calls


async def begin(memory: AsyncChatMemory, tenant: str = "acme") -> AsyncSession:
    """A training of its own."""
    return await memory.tenant(tenant).sessions.create(user_id="ann", kind="training")


def url_of(memory: AsyncChatMemory) -> str:
    """The database it is on."""
    assert memory.settings.postgres_url is not None
    return memory.settings.postgres_url.get_secret_value()


def points(curve: MetricCurve) -> list[tuple[int, float]]:
    """Return the points of a curve."""
    return list(zip(curve.steps, curve.values, strict=True))


async def test_what_is_logged_is_read_at_once(async_memory: AsyncChatMemory) -> None:
    """Names, steps, values and times; NaN and infinities too; only the names that are asked for."""
    session = await begin(async_memory)
    logged = [0.5, math.inf, -math.inf, 1e-300, -0.0]
    before = time.time()
    for step, value in enumerate(logged):
        session.log_metrics({"loss": value, "accuracy": step}, step=step * 10)
    session.log_metrics({"loss": math.nan}, step=50)
    session.log_metrics({})
    series = await session.metrics()
    assert list(series) == ["accuracy", "loss"]
    assert points(series["loss"])[:5] == [(step * 10, value) for step, value in enumerate(logged)]
    assert math.isnan(series["loss"].values[5])
    assert before <= series["loss"].times[0] <= time.time()
    assert list(await session.metrics(["accuracy", "none"])) == ["accuracy"]
    assert series["accuracy"].total == 5
    for call in calls(
        lambda: session.metrics("loss"),
        lambda: session.metrics(max_points=1),
        lambda: session.metrics([""]),
    ):
        with pytest.raises(InvalidInputError):
            await call()
    with pytest.raises(InvalidInputError, match="loss"):
        session.log_metrics({"loss": "low"})


async def test_the_last_step_there_can_be_holds_nothing_up(
    async_memory: AsyncChatMemory, postgres_url: str, settings: Settings
) -> None:
    """Later points, from any process, get the same step; other runs are written."""
    session = await begin(async_memory)
    session.log_metrics({"loss": 1}, step=2**63 - 1)
    session.log_metrics({"loss": 2})
    assert (await session.metrics())["loss"].steps == (2**63 - 1,) * 2
    async with AsyncChatMemory.open(postgres_url, settings=settings) as other_memory:
        other = await begin(other_memory)
        elsewhere = await other_memory.tenant("acme").sessions.get(session.id)
        elsewhere.log_metrics({"loss": 3})
        other.log_metrics({"loss": 4}, step=1)
        assert (await other.metrics())["loss"].values == (4.0,)
        assert (await elsewhere.metrics())["loss"].total == 3


async def test_a_point_without_a_step_follows_those_on_their_way(async_memory: AsyncChatMemory) -> None:
    """One more than the last of the session, whether Postgres has that one already or not."""
    session = await begin(async_memory)
    session.log_metrics({"loss": 1.0}, step=100)
    session.log_metrics({"loss": 0.5})
    assert (await session.metrics())["loss"].steps == (100, 101)


async def test_the_last_numbers_come_with_the_end(async_memory: AsyncChatMemory) -> None:
    """Stored with it, and known to the run's result; a second end adds none."""
    session = await begin(async_memory)
    session.log_metrics({"loss": 1.0}, step=4)
    await session.end(metrics={"loss": 0.25, "rmse": 0.5})
    await session.end(metrics={"loss": 0.1})
    assert points((await session.metrics())["loss"]) == [(4, 1.0), (5, 0.25)]
    [result] = await async_memory.tenant("acme").memories.list(kinds=["result"])
    assert "loss 0.25 at step 5" in result.text
    with pytest.raises(InvalidInputError, match="rmse"):
        await session.end(metrics={"rmse": "low"})


async def test_a_user_gets_the_metrics_too(async_memory: AsyncChatMemory) -> None:
    """users.export() holds every point that users.erase() would remove."""
    session = await begin(async_memory)
    session.log_metrics({"loss": math.nan}, step=1)
    session.log_metrics({"loss": 0.5}, step=2)
    await session.delete()
    users = async_memory.tenant("acme").users
    lines = [json.loads(line) async for line in users.export("ann")]
    [kept] = [line for line in lines if line["record"] == "metrics"]
    assert (kept["session_id"], kept["name"]) == (session.id, "loss")
    assert (kept["steps"], kept["values"], len(kept["times"])) == ([1, 2], ["nan", 0.5], 2)


async def test_logging_waits_for_nothing_and_closing_loses_nothing(
    async_memory: AsyncChatMemory, postgres_url: str
) -> None:
    """While another transaction holds the tables, 20,000 calls return; close() writes all of them."""
    settings = async_memory.settings.model_copy(update={"postgres_timeout_seconds": 600})
    writer = AsyncChatMemory.open(postgres_url, settings=settings)
    session = await begin(writer)
    with psycopg.connect(postgres_url) as blocker:
        blocker.execute("lock table chatmemory.metrics, chatmemory.sessions in access exclusive mode")
        for step in range(20_000):  # one that waited would wait for the end of this block
            session.log_metrics({"loss": step / 7}, step=step)
    await writer.close()
    curve = (await (await async_memory.tenant("acme").sessions.get(session.id)).metrics())["loss"]
    assert points(curve) == [(step, step / 7) for step in range(20_000)]


async def test_ending_writes_what_was_logged(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """Another process sees all of it as soon as the run has ended."""
    session = await begin(async_memory)
    session.log_metrics({"loss": 1.0, "accuracy": 0.5})
    await session.end()
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select sum(count) from chatmemory.metrics").fetchall() == [(2,)]


async def test_steps_go_on_after_a_restart(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """Without a step each call is one further, in the next process too, and for a metric that is new."""
    session = await begin(async_memory)
    for _ in range(300):
        session.log_metrics({"loss": 1.0})
    await session.metrics()
    async with AsyncChatMemory.open(postgres_url, settings=async_memory.settings) as later:
        resumed = await later.tenant("acme").sessions.get(session.id)
        resumed.log_metrics({"accuracy": 1.0})
        resumed.log_metrics({"loss": 2.0}, step=400)
        resumed.log_metrics({"loss": 3.0})
    series = await session.metrics()
    assert series["loss"].steps == (*range(300), 400, 401)
    assert series["accuracy"].steps == (300,)


async def test_it_is_written_beside_the_work(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """Half a second later it stands in the database, though nobody asked; a row grows until it is full."""
    session = await begin(async_memory)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for expected in (1, 2):
            session.log_metrics({"loss": 1.0})
            until, found = time.monotonic() + 30, None
            while found != [(expected, 1)]:
                assert time.monotonic() < until, found
                await session.history()  # the caller's work
                found = connection.execute("select sum(count)::int, count(*) from chatmemory.metrics").fetchall()


async def test_an_erased_run_takes_its_metrics_along(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """The receipt counts points, also those on their way; a fork has none; what comes later is dropped."""
    session, other = await begin(async_memory), await begin(async_memory)
    for step in range(600):
        session.log_metrics({"loss": 1.0, "accuracy": 1.0}, step=step)
    fork = await session.fork()
    assert len(await fork.metrics()) == 0
    same = await async_memory.tenant("acme").sessions.get(session.id)
    assert (await session.erase()).metrics == 1200
    same.log_metrics({"loss": 1.0})
    other.log_metrics({"loss": 1.0})
    assert (await other.metrics())["loss"].values == (1.0,)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("select session_id from chatmemory.metrics").fetchall() == [(other.id,)]


async def test_metrics_are_kept_apart_by_tenant(async_memory: AsyncChatMemory) -> None:
    """The same session id in two tenants: each reads, compares and erases its own."""
    mine, theirs = [
        await async_memory.tenant(tenant).sessions.create(user_id="ann", session_id="s-1", kind="training")
        for tenant in ("acme", "umbrella")
    ]
    mine.log_metrics({"loss": 1.0, "secret": 1.0}, step=7)
    theirs.log_metrics({"loss": 2.0})
    assert points((await theirs.metrics())["loss"]) == [(0, 2.0)]
    assert list(await theirs.metrics()) == ["loss"]
    assert (await async_memory.tenant("umbrella").sessions.compare(["s-1"]))[0].best == {"loss": 2.0}
    assert (await theirs.erase()).metrics == 1
    assert points((await mine.metrics())["loss"]) == [(7, 1.0)]


@pytest.mark.parametrize("seed", range(12))
async def test_downsampling_keeps_every_peak(async_memory: AsyncChatMemory, seed: int) -> None:
    """At most so many points, all of them real, with the least and the greatest of all and of each stretch."""
    rng = random.Random(seed)
    session = await begin(async_memory)
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
        curve = (await session.metrics(["loss"], max_points=most))["loss"]
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


async def test_two_writers_of_one_run(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """The points that two processes log for one run are one curve, ordered by step."""
    session = await begin(async_memory)
    async with AsyncChatMemory.open(postgres_url, settings=async_memory.settings) as other:
        same = await other.tenant("acme").sessions.get(session.id)
        for step in range(600):
            (session, same)[step % 2].log_metrics({"loss": float(step)}, step=step)
            if step % 100 == 0:
                await same.metrics()
    assert points((await session.metrics())["loss"]) == [(step, float(step)) for step in range(600)]


async def test_runs_are_compared(async_memory: AsyncChatMemory) -> None:
    """Details, results and the best of each metric, in the order that was asked for; a table of all that differs."""
    sessions = async_memory.tenant("acme").sessions
    runs = []
    for rate in (0.1, 0.01):
        session = await sessions.create(user_id="ann", kind="training", details={"learning_rate": rate})
        for step in range(400):
            session.log_metrics({"loss": abs(step - 300) * rate, "accuracy": step * rate}, step=step)
        await session.end(results={"rmse": rate * 2})
        runs.append(session)
    first, second = compared = await sessions.compare([runs[1].id, runs[0].id])
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


async def test_flush_waits_until_postgres_has_the_metrics(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """After flush() of a session, or of the memory, another process reads what was logged."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann", kind="training")
    for step, flush in enumerate((session.flush, async_memory.flush)):
        session.log_metrics({"loss": 1.0}, step=step)
        await flush()
        async with AsyncChatMemory.open(postgres_url) as other:
            reader = await other.tenant("acme").sessions.get(session.id)
            assert (await reader.metrics())["loss"].steps == tuple(range(step + 1))
