# Generated from tests/_async/test_results.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
from collections.abc import Sequence
from datetime import timedelta

import pytest

from chatmemory import ChatMemory, InvalidInputError, MoveError, Session
from chatmemory.errors import LlmError

DETAILS = {"model_id": "lstm", "dataset_name": "bitcoin_2020_2022", "learning_rate": 0.001, "layers": [1, 2]}
QUESTION = "Which run on bitcoin_2020_2022 had the lowest RMSE, and with what learning rate?"


def trained(memory: ChatMemory, rmse: float = 0.05, **end: object) -> Session:
    """A training of Ann's that has ended."""
    metadata = {"artifacts": "s3://models/lstm", "password": "hunter2"}
    sessions = memory.tenant("acme").sessions
    session = sessions.create(user_id="ann", kind="training", details=DETAILS, metadata=metadata)
    for step in range(3):
        session.log_metrics({"loss": 1 / (step + 1)}, step=step)
    session.end(results={"rmse": rmse, "by": {"fold": 3}}, **end)  # type: ignore[arg-type]  # a test's own
    return session


def test_a_finished_run_becomes_one_result(memory: ChatMemory) -> None:
    """It says what was run, on what, the key numbers and where the artifacts are; ending again adds nothing."""
    session = trained(memory)
    session.end()
    session.end(results={"rmse": 0.01})
    with pytest.raises(MoveError):
        session.end(success=False)
    page = memory.tenant("acme").memories.list()
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


def test_every_end_of_a_run_leaves_a_result(memory: ChatMemory) -> None:
    """Failed, cancelled, ended with others and expired; conversations leave none."""
    sessions = memory.tenant("acme").sessions
    failed, cancelled, among, expired = [
        sessions.create(user_id="ann", kind="testing", session_id=name) for name in ("f", "c", "m", "e")
    ]
    failed.end(success=False, error="Traceback\n  line 3\nValueError: no data")
    cancelled.cancel(reason="enough")
    ended = sessions.end_many([among.id, "nowhere"])
    assert not isinstance(ended["m"], Exception)
    assert isinstance(ended["nowhere"], LookupError)
    info = expired.expire(reason="too old")
    assert (info.status, info.run_status) == ("expired", "failed")
    assert expired.expire().status == "expired"
    chat = sessions.create(user_id="ann")
    chat.end()
    found = {result.sources[0].session_id: result.text for result in memory.tenant("acme").memories.list()}
    assert set(found) == {"f", "c", "m", "e"}
    assert found["e"] == "Testing run e: failed."
    assert found["f"].endswith("error: ValueError: no data.")


def test_results_come_in_only_when_asked_for(memory: ChatMemory) -> None:
    """Ordinary recall and contexts know nothing of runs; kinds=["result"] and results=True do."""
    acme = memory.tenant("acme")
    run = trained(memory)
    chat = acme.sessions.create(user_id="ann")
    chat.append("user", QUESTION)
    assert acme.memories.recall(QUESTION, user_id="ann") == []
    [recalled] = acme.memories.recall(QUESTION, user_id="ann", kinds=["result"])
    assert "learning_rate 0.001" in recalled.memory.text
    [of_session] = acme.memories.recall(QUESTION, user_id="ann", kinds=["result"], session_id=run.id)
    assert of_session.memory.id == recalled.memory.id
    assert chat.context(2000, query=QUESTION).memories == ()
    context = chat.context(2000, query=QUESTION, results=True)
    assert [each.memory.id for each in context.memories] == [recalled.memory.id]
    assert "rmse 0.05" in str(context.as_openai())


@pytest.mark.parametrize("share", [False, True])
def test_a_result_is_its_users_or_the_tenants(memory: ChatMemory, share: bool) -> None:
    """Shared where the end said so; never another tenant's."""
    trained(memory, share_result=share)
    recall = memory.tenant("acme").memories.recall
    assert len(recall(QUESTION, user_id="ann", kinds=["result"])) == 1
    assert len(recall(QUESTION, user_id="bob", kinds=["result"])) == int(share)
    assert memory.tenant("other").memories.recall(QUESTION, user_id="ann", kinds=["result"]) == []


@pytest.mark.parametrize("share", [False, True])
def test_erasing_the_run_or_the_user_erases_the_result(memory: ChatMemory, share: bool) -> None:
    """Deleting hides it; erasing removes it for good, shared or not."""
    memories = memory.tenant("acme").memories
    session = trained(memory, share_result=share)
    session.delete()
    assert memories.list(with_total=True).total == 0
    session.restore()
    assert memories.list(with_total=True).total == 1
    assert session.erase().memories == 1
    assert memories.list(with_total=True).total == 0
    trained(memory, share_result=share)
    memory.tenant("acme").users.erase("ann")
    assert memories.list(with_total=True).total == 0


def test_what_an_end_brings_stands_in_the_result(memory: ChatMemory) -> None:
    """Metadata and details of the end too."""
    sessions = memory.tenant("acme").sessions
    session = sessions.create(user_id="ann", kind="training", title="night run")
    info = session.end(metadata={"artifacts": "/m"}, details={"dataset_name": "eth"})
    assert (info.metadata, info.details) == ({"artifacts": "/m"}, {"dataset_name": "eth"})
    [result] = memory.tenant("acme").memories.list()
    assert result.text == "Training run night run: completed. dataset_name eth. artifacts: /m."


def test_a_run_without_messages_can_be_cited(memory: ChatMemory) -> None:
    """(session_id, 0, 0) is the session itself, which must be there."""
    memories = memory.tenant("acme").memories
    session = memory.tenant("acme").sessions.create(user_id="ann", kind="testing")
    result = memories.remember("It went well.", kind="result", user_id="ann", sources=[(session.id, 0, 0)])
    assert result.sources[0].session_id == session.id
    for wrong in (("nowhere", 0, 0), (session.id, 0, 1), (session.id, 1, 1)):
        with pytest.raises(InvalidInputError):
            memories.remember("No.", kind="result", sources=[wrong])
    session.erase()
    assert memories.list(with_total=True).total == 0


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


def test_a_run_ends_although_the_embedder_fails(
    postgres_url: str, memory: ChatMemory, caplog: pytest.LogCaptureFixture
) -> None:
    """Its result is then found by its words."""
    for fails in (False, True):
        embedder = Embedder(fails)
        with ChatMemory.open(postgres_url, settings=memory.settings, embedder=embedder) as memory:
            trained(memory, share_result=True)
            assert ("by words only" in caplog.text) is fails
            found = memory.tenant("acme").memories.recall(QUESTION, user_id="bob", kinds=["result"])
            assert len(found) == 1 + fails


def test_metrics_may_say_when_they_were_measured(memory: ChatMemory) -> None:
    """Metrics that are logged later keep their own time."""
    session = memory.tenant("acme").sessions.create(user_id="ann", kind="training")
    at = session.info.created_at - timedelta(days=1)
    session.log_metrics({"loss": 1.0}, at=at)
    session.log_metrics({"loss": 2.0})
    first, second = session.metrics()["loss"]
    assert first.at == at
    assert second.at > session.info.created_at - timedelta(seconds=1)
    with pytest.raises(InvalidInputError):
        session.log_metrics({"loss": 1.0}, at=at.replace(tzinfo=None))
