"""The service of docs/chat-backend.md, over HTTP."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi.testclient import TestClient

PAGE = Path(__file__).parent.parent / "docs/chat-backend.md"
ANN, BEN, EVE = ({"X-Token": token} for token in ("acme/ann", "acme/ben", "evil/ann"))


@pytest.fixture
def client(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The service, on a database of the test's own."""
    monkeypatch.setenv("CHATMEMORY_POSTGRES_URL", postgres_url)
    [source] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    module = ModuleType("app")
    exec(source, vars(module))  # the page's own code
    with TestClient(module.app) as client:
        yield client


def ask(client: TestClient, chat: str, id: str, text: str) -> Any:
    """Ask a question."""
    return client.post(f"/chats/{chat}/messages", json={"id": id, "text": text}, headers=ANN)


def test_chats_of_a_user(client: TestClient) -> None:
    """Several chats, listed, renamed and deleted; nobody else sees them."""
    ids = [client.post("/chats", headers=ANN).json()["id"] for _ in "ab"]
    renamed = client.patch(f"/chats/{ids[0]}", json={"title": "Lisbon"}, headers=ANN).json()
    assert renamed["title"] == "Lisbon"
    listed = client.get("/chats", headers=ANN).json()
    assert {each["id"] for each in listed["items"]} == set(ids)
    for other in (BEN, EVE):
        assert client.get("/chats", headers=other).json()["items"] == []
        assert client.get(f"/chats/{ids[0]}/messages", headers=other).status_code == 404
        assert client.delete(f"/chats/{ids[0]}", headers=other).status_code == 404
    assert client.delete(f"/chats/{ids[0]}", headers=ANN).status_code == 204
    assert [each["id"] for each in client.get("/chats", headers=ANN).json()["items"]] == ids[1:]
    assert client.get("/chats", headers={"X-Token": "acme"}).status_code == 401


def test_questions_and_retries(client: TestClient) -> None:
    """An answer is streamed and stored; a retry gets the same one; the same id with other words is a conflict."""
    chat = client.post("/chats", headers=ANN).json()["id"]
    first = ask(client, chat, "q-1", "Hello")
    assert first.text == "You said 1 things. "
    assert first.headers["X-Chat"] == chat
    assert ask(client, chat, "q-1", "Hello").text == first.text
    assert ask(client, chat, "q-2", "And now?").text == "You said 3 things. "
    told = client.get(f"/chats/{chat}/messages", headers=ANN).json()
    assert [(each["role"], each["id"]) for each in told] == [
        ("user", "q-1"),
        ("assistant", "q-1-answer"),
        ("user", "q-2"),
        ("assistant", "q-2-answer"),
    ]
    assert ask(client, chat, "q-1", "Other words").status_code == 409


def test_a_late_retry_an_ended_chat_and_bad_input(client: TestClient) -> None:
    """A retry finds its answer behind many others; an ended chat continues in one other; nothing is a server error."""
    chat = client.post("/chats", headers=ANN).json()["id"]
    first = ask(client, chat, "q-1", "Hello").text
    for number in range(2, 15):
        ask(client, chat, f"q-{number}", "Go on")
    assert ask(client, chat, "q-1", "Hello").text == first
    memory = client.app.state.memory  # type: ignore[attr-defined]

    async def end() -> None:
        await (await memory.tenant("acme").sessions.get(chat)).end()

    assert client.portal is not None
    client.portal.call(end)
    answers = [ask(client, chat, "q-99", "Are you there?") for _ in range(2)]
    assert answers[0].text == answers[1].text
    assert answers[0].headers["X-Chat"] == answers[1].headers["X-Chat"] != chat
    assert ask(client, chat, "", "Hello").status_code == 422
    assert ask(client, chat, "q-100", "a\0b").status_code == 422
    assert client.get("/chats", params={"cursor": "foo"}, headers=ANN).status_code == 422
    assert client.get("/chats", headers={"X-Token": "/ann"}).status_code == 422
