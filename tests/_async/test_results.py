from collections.abc import Sequence
from datetime import timedelta

import pytest

from chatmemory import AsyncChatMemory, AsyncSession, InvalidInputError, MoveError
from chatmemory.errors import LlmError

DETAILS = {"model_id": "lstm", "dataset_name": "bitcoin_2020_2022", "learning_rate": 0.001, "layers": [1, 2]}
QUESTION = "Which run on bitcoin_2020_2022 had the lowest RMSE, and with what learning rate?"


async def trained(memory: AsyncChatMemory, rmse: float = 0.05, **end: object) -> AsyncSession:
    """A training of Ann's that has ended."""
    metadata = {"artifacts": "s3://models/lstm", "password": "hunter2"}
    sessions = memory.tenant("acme").sessions
    session = await sessions.create(user_id="ann", kind="training", details=DETAILS, metadata=metadata)
    for step in range(3):
        session.log_metrics({"loss": 1 / (step + 1)}, step=step)
    await session.end(results={"rmse": rmse, "by": {"fold": 3}}, **end)  # type: ignore[arg-type]  # a test's own
    return session


async def test_a_finished_run_becomes_one_result(async_memory: AsyncChatMemory) -> None:
    """It says what was run, on what, the key numbers and where the artifacts are; ending again adds nothing."""
    session = await trained(async_memory)
    await session.end()
    await session.end(results={"rmse": 0.01})
    with pytest.raises(MoveError):
        await session.end(success=False)
    page = await async_memory.tenant("acme").memories.list()
    [result] = page.items
    for told in (
        f"Training run {session.id}: completed", "model_id lstm", "dataset_name bitcoin_2020_2022",
        "learning_rate 0.001", "rmse 0.05", "by.fold 3", "loss 0.333333 at step 2", "artifacts: s3://models/lstm",
    ):  # fmt: skip
        assert told in result.text
    assert "hunter2" not in result.text
    assert (result.kind, result.user_id, result.trust) == ("result", "ann", "app")
    assert [(source.session_id, source.from_seq, source.to_seq) for source in result.sources] == [(session.id, 0, 0)]
    assert result.metadata == {"kind": "training", "run_status": "completed"}


async def test_every_end_of_a_run_leaves_a_result(async_memory: AsyncChatMemory) -> None:
    """Failed, cancelled, ended with others and expired; conversations leave none."""
    sessions = async_memory.tenant("acme").sessions
    failed, cancelled, among, expired = [
        await sessions.create(user_id="ann", kind="testing", session_id=name) for name in ("f", "c", "m", "e")
    ]
    await failed.end(success=False, error="Traceback\n  line 3\nValueError: no data")
    await cancelled.cancel(reason="enough")
    ended = await sessions.end_many([among.id, "nowhere"])
    assert not isinstance(ended["m"], Exception)
    assert isinstance(ended["nowhere"], LookupError)
    info = await expired.expire(reason="too old")
    assert (info.status, info.run_status) == ("expired", "failed")
    assert (await expired.expire()).status == "expired"
    chat = await sessions.create(user_id="ann")
    await chat.end()
    found = {result.sources[0].session_id: result.text for result in await async_memory.tenant("acme").memories.list()}
    assert set(found) == {"f", "c", "m", "e"}
    assert found["e"] == "Testing run e: failed."
    assert found["f"].endswith("error: ValueError: no data.")


async def test_results_come_in_only_when_asked_for(async_memory: AsyncChatMemory) -> None:
    """Ordinary recall and contexts know nothing of runs; kinds=["result"] and results=True do."""
    acme = async_memory.tenant("acme")
    run = await trained(async_memory)
    chat = await acme.sessions.create(user_id="ann")
    await chat.append("user", QUESTION)
    assert await acme.memories.recall(QUESTION, user_id="ann") == []
    [recalled] = await acme.memories.recall(QUESTION, user_id="ann", kinds=["result"])
    assert "learning_rate 0.001" in recalled.memory.text
    [of_session] = await acme.memories.recall(QUESTION, user_id="ann", kinds=["result"], session_id=run.id)
    assert of_session.memory.id == recalled.memory.id
    assert (await chat.context(2000, query=QUESTION)).memories == ()
    context = await chat.context(2000, query=QUESTION, results=True)
    assert [each.memory.id for each in context.memories] == [recalled.memory.id]
    assert "rmse 0.05" in str(context.as_openai())


@pytest.mark.parametrize("share", [False, True])
async def test_a_result_is_its_users_or_the_tenants(async_memory: AsyncChatMemory, share: bool) -> None:
    """Shared where the end said so; never another tenant's."""
    await trained(async_memory, share_result=share)
    recall = async_memory.tenant("acme").memories.recall
    assert len(await recall(QUESTION, user_id="ann", kinds=["result"])) == 1
    assert len(await recall(QUESTION, user_id="bob", kinds=["result"])) == int(share)
    assert await async_memory.tenant("other").memories.recall(QUESTION, user_id="ann", kinds=["result"]) == []


@pytest.mark.parametrize("share", [False, True])
async def test_erasing_the_run_or_the_user_erases_the_result(async_memory: AsyncChatMemory, share: bool) -> None:
    """Deleting hides it; erasing removes it for good, shared or not."""
    memories = async_memory.tenant("acme").memories
    session = await trained(async_memory, share_result=share)
    await session.delete()
    assert (await memories.list(with_total=True)).total == 0
    await session.restore()
    assert (await memories.list(with_total=True)).total == 1
    assert (await session.erase()).memories == 1
    assert (await memories.list(with_total=True)).total == 0
    await trained(async_memory, share_result=share)
    await async_memory.tenant("acme").users.erase("ann")
    assert (await memories.list(with_total=True)).total == 0


async def test_what_an_end_brings_stands_in_the_result(async_memory: AsyncChatMemory) -> None:
    """Metadata and details of the end too."""
    sessions = async_memory.tenant("acme").sessions
    session = await sessions.create(user_id="ann", kind="training", title="night run")
    info = await session.end(metadata={"artifacts": "/m"}, details={"dataset_name": "eth"})
    assert (info.metadata, info.details) == ({"artifacts": "/m"}, {"dataset_name": "eth"})
    [result] = await async_memory.tenant("acme").memories.list()
    assert result.text == "Training run night run: completed. dataset_name eth. artifacts: /m."


async def test_a_run_without_messages_can_be_cited(async_memory: AsyncChatMemory) -> None:
    """(session_id, 0, 0) is the session itself, which must be there."""
    memories = async_memory.tenant("acme").memories
    session = await async_memory.tenant("acme").sessions.create(user_id="ann", kind="testing")
    result = await memories.remember("It went well.", kind="result", user_id="ann", sources=[(session.id, 0, 0)])
    assert result.sources[0].session_id == session.id
    for wrong in (("nowhere", 0, 0), (session.id, 0, 1), (session.id, 1, 1)):
        with pytest.raises(InvalidInputError):
            await memories.remember("No.", kind="result", sources=[wrong])
    await session.erase()
    assert (await memories.list(with_total=True)).total == 0


class Embedder:
    """Embeds by the letters of a text; or fails."""

    name, dimensions = "letters", 8

    def __init__(self, fails: bool) -> None:
        self.fails = fails

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each."""
        if self.fails:
            raise LlmError("no answer")
        return [[float(text.lower().count(letter)) + 0.1 for letter in "abcdefgh"] for text in texts]


async def test_a_run_ends_although_the_embedder_fails(
    postgres_url: str, async_memory: AsyncChatMemory, caplog: pytest.LogCaptureFixture
) -> None:
    """Its result is then found by its words."""
    for fails in (False, True):
        embedder = Embedder(fails)
        async with AsyncChatMemory.open(postgres_url, settings=async_memory.settings, embedder=embedder) as memory:
            await trained(memory, share_result=True)
            assert ("by words only" in caplog.text) is fails
            found = await memory.tenant("acme").memories.recall(QUESTION, user_id="bob", kinds=["result"])
            assert len(found) == 1 + fails


async def test_metrics_may_say_when_they_were_measured(async_memory: AsyncChatMemory) -> None:
    """Metrics that are logged later keep their own time."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann", kind="training")
    at = session.info.created_at - timedelta(days=1)
    session.log_metrics({"loss": 1.0}, at=at)
    session.log_metrics({"loss": 2.0})
    first, second = (await session.metrics())["loss"]
    assert first.at == at
    assert second.at > session.info.created_at - timedelta(seconds=1)
    with pytest.raises(InvalidInputError):
        session.log_metrics({"loss": 1.0}, at=at.replace(tzinfo=None))
