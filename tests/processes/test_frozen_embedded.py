"""The embedded server neither answers nor hangs up."""

from pathlib import Path

import pytest

from chatmemory import ChatMemory, Settings, StorageUnavailableError
from tests.processes.conftest import postmaster_of, suspended

SECONDS = 1.0


def open_memory(data_dir: Path) -> ChatMemory:
    """A memory of its own embedded server, whose calls end soon."""
    return ChatMemory.open(settings=Settings(data_dir=data_dir, postgres_timeout_seconds=SECONDS, redis_url=None))


def test_a_frozen_one_is_not_waited_for(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody starts what runs: that would wait for it longer than any call may."""
    with open_memory(data_dir) as memory:
        session = memory.tenant("acme").sessions.create(user_id="ann")
        session.append("user", "before")
        with monkeypatch.context() as patched, suspended(postmaster_of(data_dir)):
            patched.setattr("chatmemory.embedded.server.EmbeddedPostgres.start", lambda _: pytest.fail("started"))
            for call in (lambda: session.append("user", "during"), session.refresh, lambda: session.history(5)):
                with pytest.raises(StorageUnavailableError):
                    call()
            assert memory.health().postgres == "unreachable"
