"""Several processes on one session, and on one empty database."""

from collections import Counter

from chatmemory.storage.schema import latest_version
from tests.processes import work


def test_eight_processes_append_without_gap_loss_or_double(postgres_url: str) -> None:
    """8 processes x 250 messages: seq is 1 … 2000, and each process's messages stand in its order."""
    session_id = work.new_session(postgres_url)
    acknowledged = work.together(work.append_250, postgres_url, session_id)
    stored = work.stored(postgres_url, session_id)
    assert len(stored) == 2000
    assert sorted(message for each in acknowledged for message in each) == stored
    for number in range(work.PROCESSES):
        mine = [id for _, id in stored if id.startswith(f"{number}-")]
        assert mine == [f"{number}-{turn}" for turn in range(250)]


def test_the_same_ids_at_once_are_stored_once(postgres_url: str) -> None:
    """8 processes append the same 50 ids: 50 messages, and all were told the same seq for each."""
    session_id = work.new_session(postgres_url)
    answers = work.together(work.append_the_same_50, postgres_url, session_id)
    stored = work.stored(postgres_url, session_id)
    assert len(stored) == 50
    assert answers == [stored] * work.PROCESSES


def test_the_same_id_with_other_content_has_one_winner(postgres_url: str) -> None:
    """8 processes append the same ids with other content: one gets each, the others get MessageConflictError."""
    session_id = work.new_session(postgres_url)
    won = work.together(work.append_other_content, postgres_url, session_id)
    winners = {id: number for number, ids in enumerate(won) for id in ids}
    assert Counter(id for ids in won for id in ids) == Counter({f"id-{turn}": 1 for turn in range(20)})
    work.stored(postgres_url, session_id)
    with work.open_memory(postgres_url) as memory:
        session = memory.tenant(work.TENANT).sessions.get(session_id)
        assert {m.id: m.content for m in session.messages()} == {id: f"from {number}" for id, number in winners.items()}


def test_eight_processes_reopen_what_the_others_push_out(postgres_url: str) -> None:
    """Five threads in turn, with room for three: no error, no deadlock, never more than three, nothing lost."""
    turns = work.together(work.reopen_and_push_out, postgres_url)
    with work.open_memory(postgres_url) as memory:
        sessions = memory.tenant(work.TENANT).sessions
        infos = sessions.list()
        assert sorted(info.id for info in infos) == [f"thread-{number}" for number in range(5)]
        assert sum(info.is_active for info in infos) == 3
        assert sum(info.message_count for info in infos) == sum(turns)
        for info in infos:
            assert [message.seq for message in sessions.get(info.id).messages()] == [*range(1, info.last_seq + 1)]


def test_eight_processes_migrate_an_empty_database(empty_postgres_url: str) -> None:
    """8 processes use an empty database for the first time at once: all succeed, at the library's version."""
    results = work.together(work.first_use, empty_postgres_url)
    assert results == [(latest_version(), 1)] * work.PROCESSES
