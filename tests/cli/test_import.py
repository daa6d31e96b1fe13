"""`import`, and the reading of files behind it."""

import io
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from chatmemory import ChatMemory, InvalidInputError, SessionExistsError
from chatmemory.files.conversations import Conversation, RefusedConversation
from chatmemory.files.formats import conversations
from tests.cli.conftest import Cli
from tests.unit.test_display import info

Write = Callable[[Any], str]


def node(id: str, parent: str | None, role: str, *parts: Any, **more: Any) -> dict[str, Any]:
    """One node of ChatGPT's tree."""
    content = {"content_type": "text", "parts": list(parts)}
    message = {"id": id, "author": {"role": role}, "content": content, "create_time": 1_700_000_000.5, **more}
    return {"id": id, "parent": parent, "children": [], "message": message}


def conversation(id: str, *nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One conversation of ChatGPT's export, whose last node is the current one."""
    mapping: dict[str, Any] = {"root": {"id": "root", "parent": None, "message": None, "children": []}}
    mapping.update({node["id"]: node for node in nodes})
    current = nodes[-1]["id"] if nodes else "root"
    facts = {"id": id, "conversation_id": id, "title": f"Title of {id}", "create_time": 1_600_000_000.0}
    return {**facts, "mapping": mapping, "current_node": current, **more}


def lunch(*more: dict[str, Any]) -> dict[str, Any]:
    """A conversation with a branch that was given up, a system node that is empty, and an image."""
    return conversation(
        "lunch",
        node("system", "root", "system", ""),
        node("ask", "system", "user", "Soup or salad?"),
        node("given-up", "ask", "assistant", "Salad."),
        node("answer", "ask", "assistant", {"content_type": "image_asset_pointer", "asset": "f1"}, "Soup."),
        node("thanks", "answer", "user", "Thanks."),
        *more,
    )


def read(value: Any) -> list[Conversation | RefusedConversation]:
    """Read a value as a file."""
    return list(conversations(io.BytesIO(value if isinstance(value, bytes) else json.dumps(value).encode())))


def only(value: Any) -> Conversation:
    """The one conversation of a file."""
    [found] = read(value)
    assert isinstance(found, Conversation)
    return found


def test_active_branch() -> None:
    """Only the branch that leads to the current node is taken, without nodes that say nothing."""
    found = only([lunch()])
    assert [message.message_id for message in found.messages] == ["ask", "answer", "thanks"]


def strip(value: dict[str, Any], *keys: str) -> dict[str, Any]:
    """A conversation whose nodes lack these keys."""
    nodes = {id: {key: node[key] for key in node.keys() - keys} for id, node in value["mapping"].items()}
    return {**value, "mapping": nodes}


def test_the_branch_is_made_from_what_is_there() -> None:
    """Without the current node, with a wrong one, without children or parents: the newest leaf and all above it."""
    times = iter(range(1_700_000_000, 1_700_000_100))
    value = conversation(
        "c", *(node(id, above, "user", id, create_time=next(times)) for id, above in zip("abcde", "-aabd", strict=True))
    )
    value["mapping"]["a"]["parent"] = "root"
    for child, above in ("bd", "a"), ("e", "d"), ("cb", "a"):
        value["mapping"][above]["children"] = list(child)
    value["mapping"]["b"]["children"] = ["d"]
    value["mapping"]["a"]["children"] = ["b", "c"]
    for damaged in (
        value,
        {**value, "current_node": None},
        {**value, "current_node": "gone"},
        {**value, "current_node": "b"},
        strip(value, "children"),
        {**strip(value, "children"), "current_node": None},
        strip(value, "parent"),
        {**strip(value, "parent"), "current_node": 7},
    ):
        assert [message.message_id for message in only([damaged]).messages] == list("abde")


@pytest.mark.parametrize("lost", ["b", "c"])
def test_a_gap_in_the_parents(lost: str) -> None:
    """Where a node is missing, the branch goes on with the newest message before the gap, and the gap is counted."""
    nodes = [
        node(id, above, "user", id, create_time=1_700_000_000 + index)
        for index, (id, above) in enumerate([("a", "root"), ("b", "a"), ("c", "b"), ("d", "c")])
    ]
    value = conversation("c", *nodes)
    del value["mapping"][lost]
    found = only([value])
    assert [message.message_id for message in found.messages] == [id for id in "abcd" if id != lost]
    assert found.left_out == {"gaps": 1}


def test_what_is_left_out_is_named() -> None:
    """Thoughts, recaps, contexts, browsing, unknown roles and unknown content are counted, and the rest is taken."""
    kinds: dict[str, dict[str, Any]] = {
        "thoughts": {"thoughts": [{"summary": "Soup?", "content": "Hm."}]},
        "reasoning_recap": {"content": "Thought for 5 seconds"},
        "user_editable_context": {"user_profile": "A cook", "user_instructions": ""},
        "model_editable_context": {"model_set_context": "x"},
        "tether_browsing_display": {"result": "L0: page", "summary": None},
        "hologram": {"light": 3},
    }
    nodes = [node("start", "root", "user", "Soup?")]
    for kind, content in kinds.items():
        nodes.append(node(kind, nodes[-1]["id"], "assistant"))
        nodes[-1]["message"]["content"] = {"content_type": kind, **content}
    nodes += [
        node("odd", "hologram", "martian", "x"),
        node("given-up", "odd", "user", "y"),
        node("end", "odd", "user", "z"),
    ]
    found = only([conversation("c", *nodes)])
    assert [message.message_id for message in found.messages] == ["start", "end"]
    named = {**dict.fromkeys(list(kinds)[:-1], 1), "content of type hologram": 1, "messages of role martian": 1}
    assert found.left_out == {**named, "messages of other branches": 1}
    assert found.origin["left_out"] == found.left_out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Soup.\ue200cite\ue202turn0search1\ue202turn0news2\ue201 Yes.", "Soup. Yes."),
        ("See \ue200url\ue202the menu\ue202https://example.com\ue201.", "See the menu."),
        ('In \ue200entity\ue202["city","Lisbon","Portugal"]\ue201 now.', "In Lisbon now."),
        ("Cut \ue200cite\ue202turn0", "Cut citeturn0"),
        ("As written【12†source】【4:0†menu.pdf】.", "As written."),
        ("【注意】 stays", "【注意】 stays"),
    ],
)
def test_citation_marks(text: str, shown: str) -> None:
    """Marks for ChatGPT's own pages are no part of an answer; what they show is; a user's text stays as it is."""
    found = only([conversation("c", node("q", "root", "user", text), node("a", "q", "assistant", text))])
    assert [message.content for message in found.messages] == [text, shown]


def test_missing_times_lie_between_their_neighbours() -> None:
    """A missing or broken time is interpolated; at the ends the neighbour's counts, else the conversation's."""
    given = [None, 1_700_000_000, None, "noon", 1_700_000_030, float("1e18")]
    nodes = [node(str(n), str(n - 1) if n else "root", "user", "x", create_time=at) for n, at in enumerate(given)]
    times = [message.created_at for message in only([conversation("c", *nodes)]).messages]
    assert [at and at.timestamp() - 1_700_000_000 for at in times] == [0, 0, 10, 20, 30, 30]
    undated = conversation("c", node("a", "root", "user", "x", create_time=None))
    assert [m.created_at and m.created_at.timestamp() for m in only([undated]).messages] == [1_600_000_000]


def claude(**more: Any) -> dict[str, Any]:
    """A conversation of Claude's export."""
    messages = [
        {"uuid": "m1", "sender": "human", "text": "Soup?", "created_at": "2024-05-01T10:00:00.000000Z",
         "attachments": [{"file_name": "menu.txt", "extracted_content": "Soup 5 EUR"}], "files": []},
        {"uuid": "m2", "sender": "assistant", "text": "", "content": [{"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "Yes,"}, {"type": "text", "text": "soup."}]},
        {"uuid": "m3", "sender": "robot", "text": "?"},
    ]  # fmt: skip
    return {"uuid": "c-1", "name": "Lunch", "created_at": "2024-05-01T09:59:00Z", "chat_messages": messages, **more}


def test_claude_export() -> None:
    """Claude's conversations.json is read, with the text of attachments; an unknown sender is counted."""
    found = only([claude()])
    first, second = found.messages
    assert (found.id, found.title, found.source) == ("c-1", "Lunch", "claude")
    assert [block["text"] for block in first.content] == ["Soup?", "[attachment: menu.txt]\nSoup 5 EUR"]  # type: ignore[index]
    assert (second.role, second.content, second.created_at) == ("assistant", "Yes,\nsoup.", first.created_at)
    assert found.left_out == {"messages of an unknown sender": 1}
    refused, *_ = read([claude(chat_messages=None), claude()])
    assert isinstance(refused, RefusedConversation)


def test_parts_become_blocks() -> None:
    """Multimodal parts are kept as JSON blocks with a type."""
    answer = list(only([lunch()]).messages)[1]
    assert answer.content == [{"type": "image_asset_pointer", "asset": "f1"}, {"type": "text", "text": "Soup."}]


def test_times() -> None:
    """Messages keep their time; one without takes that of the one before it."""
    late = node("late", "ask", "assistant", "Yes.", create_time=None)
    found = only([conversation("c", node("ask", "root", "user", "Well?"), late)])
    at = datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC)
    assert [message.created_at for message in found.messages] == [at, at]


@pytest.mark.parametrize(
    "bad",
    [
        {"title": "no mapping"},
        "text",
        {"mapping": {}, "title": "no id"},
        conversation("loop", node("a", "b", "user", "x"), node("b", "a", "user", "y")),
        None,
        {"id": "folder", "name": "Trips", "conversations": []},
        {"id": "null", "mapping": None},
        {"id": "list", "mapping": []},
    ],
)
def test_what_cannot_be_read_stops_nothing(bad: Any) -> None:
    """A conversation that makes no sense is refused with a reason; the one after it is read."""
    for file, place in (([lunch(), bad, lunch()], 1), ([bad, lunch(), lunch()], 0)):
        found = read(file)
        refused = found.pop(place)
        assert isinstance(refused, RefusedConversation)
        assert refused.reason
        assert [type(each) for each in found] == [Conversation, Conversation]


@pytest.mark.parametrize("unknown", [b"", b"hello", b"PK\x03\x04", b"{}", b'{"format": "x/1"}', b"[1]", b'[{"a": 1}]'])
def test_unknown_format(unknown: bytes) -> None:
    """A file of another kind is an error that says what is understood."""
    with pytest.raises(InvalidInputError, match=r"Accepted are: .*conversations\.json.*chatmemory/1"):
        read(unknown)


@pytest.mark.parametrize(
    ("before", "bad", "good_bytes"),
    [(b"", b"nope", 1), (b"\n\n", b"\xff", 0), (b" " * 200_000, b"}", 0), (b"", b"{};", 2)],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_malformed_position(mark: bytes, before: bytes, bad: bytes, good_bytes: int) -> None:
    """The error for invalid JSON has the byte and the line."""
    good = mark + json.dumps([lunch()]).encode()[:-1] + b"," + before
    line = good.count(b"\n") + 1
    with pytest.raises(InvalidInputError, match=rf"at byte {len(good) + good_bytes:,} \(line {line}\)"):
        read(good + bad)


def test_truncated_file() -> None:
    """A file that ends too early is located at its end."""
    file = json.dumps([lunch(), lunch()]).encode()[:-20]
    with pytest.raises(InvalidInputError, match=f"at byte {len(file):,} .*premature EOF"):
        read(file)


def test_conversations_come_one_at_a_time() -> None:
    """The first conversation is there before the second one is read."""
    file = json.dumps([lunch()]).encode()[:-1] + b"," + b" " * 500_000 + b"broken"
    first = next(conversations(io.BytesIO(file)))
    assert isinstance(first, Conversation)


def test_byte_order_mark_and_numbers() -> None:
    """A byte order mark is passed over, and numbers of our own export come back as they were."""
    session = {**info("s").to_dict(), "metadata": {"float": 1.0, "tiny": 1e-7, "big": 10**30}}
    found = only(b"\xef\xbb\xbf" + json.dumps({"format": "chatmemory/1", "session": session, "messages": []}).encode())
    assert json.dumps(found.metadata) == json.dumps(session["metadata"])


def test_import_twice(cli: Cli, memory: ChatMemory, write_json: Write) -> None:
    """Ids, titles and times are kept, the session has ended, and a second run adds nothing."""
    file = write_json([lunch(), conversation("empty")])
    assert "Imported 1 conversation with 3 messages." in cli("import", file).stdout
    session = memory.tenant("default").sessions.get("lunch")
    assert (session.info.title, session.info.status, session.info.user_id) == ("Title of lunch", "completed", "ann")
    first = session.history()
    assert [message.id for message in first] == ["ask", "answer", "thanks"]
    assert first[0].created_at.year == 2023
    again = cli.json("import", file)
    assert (again["imported"], again["messages"], again["unchanged"], again["empty"]) == (0, 0, 1, 1)
    assert "Nothing new to import." in cli("import", file).stdout
    assert session.history() == first


def test_grown_conversation(cli: Cli, write_json: Write) -> None:
    """Messages added to a conversation since its import are added, once."""
    cli("import", write_json([lunch()]))
    grown = lunch(node("a", "thanks", "user", "One more?"), node("b", "a", "assistant", "Yes."))
    added = cli("import", write_json([grown])).stdout
    assert "Added 2 new messages to 1 conversation imported before." in added
    assert cli.json("import", write_json([grown]))["unchanged"] == 1
    more = lunch(*[node(id, parent, "user", id) for id, parent in (("a", "thanks"), ("b", "a"), ("c", "b"))])
    [result] = cli.json("import", write_json([more]))["grown"]
    assert (result["id"], result["title"], result["new_messages"]) == ("lunch", "Title of lunch", 1)


def test_several_files_and_standard_input(cli: Cli, memory: ChatMemory, tmp_path: Path) -> None:
    """The .zip as it is downloaded, another file and standard input; one that is broken stops none of the others."""
    archive = tmp_path / "export.zip"
    with ZipFile(archive, "w", ZIP_DEFLATED) as made:
        made.writestr("chat.html", "<html>")
        made.writestr("conversations.json", json.dumps([lunch()]))
    broken, other = tmp_path / "broken.json", tmp_path / "other.json"
    broken.write_text("[{]")
    other.write_text(json.dumps([conversation("tea", node("a", None, "user", "Tea?"))]))
    piped = json.dumps([conversation("cake", node("a", None, "user", "Cake?"))])
    done = cli("import", str(archive), str(broken), str(other), "-", stdin=piped, code=1)
    assert "Imported 3 conversations with 5 messages." in done.stdout
    assert str(broken) in done.stderr
    listed = {info.id: info for info in memory.tenant("default").sessions.list()}
    assert listed.keys() == {"lunch", "tea", "cake"}
    assert {info.created_at.year for info in listed.values()} == {2020}
    assert {info.last_active_at.year for info in listed.values()} == {2023}
    assert "just now" not in cli("sessions").stdout
    assert "standard input" in cli("import", "-", stdin="nothing", code=1).stderr


def test_malformed_keeps_what_was_imported(cli: Cli, tmp_path: Path) -> None:
    """A broken file says where it breaks; what came before stays, and the mended file goes on from there."""
    good = json.dumps([lunch(), conversation("tea", node("a", None, "user", "Tea?"))])
    file = tmp_path / "conversations.json"
    file.write_text(good[:-30])
    failed = cli("import", str(file), code=1)
    assert f"at byte {len(good) - 30:,}" in failed.stderr
    assert "The 1 conversation before it was imported." in failed.stderr
    assert cli.json("sessions")["total"] == 1
    file.write_text(good)
    done = cli.json("import", str(file))
    assert (done["imported"], done["unchanged"]) == (1, 1)


def test_refused_conversation_leaves_nothing(cli: Cli, write_json: Write) -> None:
    """A conversation that cannot be stored is not stored by half, and the exit code says so."""
    huge = conversation("huge", node("a", None, "user", "x"), node("b", "a", "user", "y" * 1_000_001))
    alien = conversation("alien", node("a", None, "user", "x"), node("b", "a", "user", "x" * 2_000_001))
    done = cli.json("import", write_json([huge, alien, lunch()]), code=1)
    assert [refused["id"] for refused in done["refused"]] == ["huge", "alien"]
    assert [session["id"] for session in cli.json("sessions")["items"]] == ["lunch"]


def test_import_ends_no_live_session(cli: Cli, memory: ChatMemory, write_json: Write) -> None:
    """A user with as many active sessions as allowed keeps them all."""
    sessions = memory.tenant("default").sessions
    live = [sessions.create(user_id="ann") for _ in range(20)]
    cli("import", write_json([lunch()]))
    assert all(session.refresh().is_active for session in live)


def test_interrupted_import_is_finished(cli: Cli, memory: ChatMemory, write_json: Write) -> None:
    """An import that was killed half-way is completed by the next one."""
    sessions = memory.tenant("default").sessions
    half = sessions.create(user_id="ann", session_id="lunch", metadata={"imported": {"from": "chatgpt"}})
    half.append("user", "Soup or salad?", message_id="ask")
    done = cli.json("import", write_json([lunch()]))
    assert (done["imported"], done["messages"]) == (1, 2)
    assert half.refresh().status == "completed"
    assert [message.id for message in half.history()] == ["ask", "answer", "thanks"]


def test_live_session_is_left_alone(cli: Cli, memory: ChatMemory) -> None:
    """Importing the export of a session that still lives here changes nothing."""
    session = memory.tenant("default").sessions.create(user_id="ann", session_id="s-1")
    session.append("user", "Hello")
    cli("export", "s-1", "-o", "s.json")
    assert cli.json("import", "s.json")["unchanged"] == 1
    assert session.refresh().is_active


def test_deleted_session_is_not_revived(cli: Cli, memory: ChatMemory, write_json: Write) -> None:
    """A conversation whose session was deleted is refused, and stays deleted; this is not told as nothing new."""
    cli("import", write_json([lunch()]))
    sessions = memory.tenant("default").sessions
    sessions.get("lunch").delete()
    assert cli("import", write_json([lunch()]), code=1).stdout.startswith("lunch could not be imported")
    assert cli("import", write_json({"a": 1}), code=1).stdout == ""
    assert "deleted here" in cli.json("import", write_json([lunch()]), code=1)["refused"][0]["reason"]
    with pytest.raises(SessionExistsError):
        sessions.create(user_id="ann", session_id="lunch")


def test_own_export_round_trip(cli: Cli, memory: ChatMemory) -> None:
    """Our own export in another tenant has the same messages, title, user, kind, metadata and results."""
    sessions = memory.tenant("default").sessions
    session = sessions.create(user_id="ben", session_id="s", kind="training", title="T", metadata={"a": [1.0, None]})
    messages = [{"role": "user", "content": f"{n} 🙂", "metadata": {"n": n}} for n in range(1200)]
    session.append_many([*messages, {"role": "tool", "content": [{"type": "x", "y": {"z": 1e100}}]}])
    session.end(success=False, results={"score": 0.5})
    cli("export", "s", "-o", "s.json")
    assert cli.json("import", "s.json", "--tenant", "other")["messages"] == 1201
    copy = memory.tenant("other").sessions.get("s")
    assert list(copy.messages()) == list(session.messages())
    for name in ("user_id", "kind", "title", "status", "results"):
        assert getattr(copy.info, name) == getattr(session.info, name)
    assert copy.info.metadata["a"] == [1.0, None]
    assert cli.json("import", "s.json", "--tenant", "other")["unchanged"] == 1


def test_a_run_comes_back_as_it_was(cli: Cli, memory: ChatMemory) -> None:
    """Its metrics to the point, its run status, details and results; its moves are kept beside it."""
    sessions = memory.tenant("default").sessions
    run = sessions.create(user_id="ann", session_id="r", kind="training", details={"total_epochs": 4})
    run.move("running", reason="go")
    for step in range(600):
        run.log_metrics({"loss": 1 / (step + 1)}, step=step)
    run.log_metrics({"loss": math.nan, "acc": math.inf}, step=600)
    run.update(details={"current_epoch": 3}, stage="warm", error="a warning")
    run.move("stopped")
    run.end(results={"rmse": 0.5})
    cli("export", "r", "-o", "r.json")
    assert cli.json("import", "r.json", "--tenant", "other")["imported"] == 1
    copy = memory.tenant("other").sessions.get("r")
    for name in ("status", "run_status", "details", "results", "progress", "stage", "error"):
        assert getattr(copy.info, name) == getattr(run.info, name), name
    for name, curve in run.metrics().items():
        copied = copy.metrics()[name]
        assert (copied.steps, str(copied.values)) == (curve.steps, str(curve.values))
        assert copied.times == pytest.approx(curve.times, abs=1e-6)
    moves = [(move["old"], move["new"]) for move in copy.info.metadata["imported"]["status_history"]]
    assert moves == [("pending", "running"), ("running", "stopped")]
    [result] = memory.tenant("other").memories.list(kinds=["result"])
    assert "rmse 0.5" in result.text
    assert "loss 0.00166667 at step 599" in result.text
    assert cli.json("import", "r.json", "--tenant", "other")["unchanged"] == 1
    page = run.export("markdown")
    assert "- run status: stopped" in page
    assert "| loss | 601 | 0.00166667 at 599 | 1 at 0 |" in page


@pytest.mark.parametrize(
    ("kind", "how", "status", "run_status"),
    [
        ("research", "pause", "cancelled", "cancelled"),  # it went on there, and does not here
        ("research", "expire", "expired", "timeout"),
        ("research", "cancel", "cancelled", "cancelled"),
        ("testing", "fail", "failed", "failed"),
        ("chat", "expire", "expired", None),
        ("chat", "refresh", "completed", None),
    ],
)
def test_a_session_ends_as_it_had_ended(
    cli: Cli, memory: ChatMemory, kind: str, how: str, status: str, run_status: str | None
) -> None:
    """Expired is expired, cancelled is cancelled; results and progress come with it."""
    session = memory.tenant("default").sessions.create(user_id="ann", session_id="s", kind=kind)
    if kind == "research":
        session.move("initializing")
        session.move("running")
        session.update(progress=40, results={"found": 3})
    session.end(success=False) if how == "fail" else getattr(session, how)()
    cli("export", "s", "-o", "s.json")
    cli("import", "s.json", "--tenant", "other")
    copy = memory.tenant("other").sessions.get("s").info
    assert (copy.status, copy.run_status) == (status, run_status)
    assert (copy.progress, copy.results) == (session.info.progress, session.info.results)


def test_an_import_of_metrics_that_was_cut_off_goes_on(cli: Cli, memory: ChatMemory, tmp_path: Path) -> None:
    """No point is there twice; metrics that are none are refused with their place."""
    run = memory.tenant("default").sessions.create(user_id="ann", session_id="r", kind="training")
    for step in range(1000):
        run.log_metrics({"loss": step}, step=step)
    document = json.loads(run.export())
    broken = {**document, "metrics": [*document["metrics"][:2], {"name": "loss"}]}
    (tmp_path / "r.json").write_text(json.dumps(broken))
    assert "Metric 3 in the file" in cli("import", "r.json", "--tenant", "other", code=1).stderr
    (tmp_path / "r.json").write_text(json.dumps(document))
    cli("import", "r.json", "--tenant", "other")
    assert memory.tenant("other").sessions.get("r").metrics()["loss"].steps == tuple(range(1000))


def test_own_export_cut_off(cli: Cli, memory: ChatMemory, tmp_path: Path) -> None:
    """Our own export, cut off, is an error with its place; mended, it is completed."""
    session = memory.tenant("default").sessions.create(user_id="ann", session_id="s")
    session.append_many([{"role": "user", "content": f"{n}"} for n in range(1200)])
    export = session.export()
    (tmp_path / "s.json").write_text(export[:-5])
    assert f"at byte {len(export) - 5:,}" in cli("import", "s.json", "--tenant", "t", code=1).stderr
    (tmp_path / "s.json").write_text(export)
    cli("import", "s.json", "--tenant", "t")
    copy = memory.tenant("t").sessions.get("s")
    assert (copy.info.message_count, copy.info.status) == (1200, "completed")


def test_missing_file_is_wrong_usage(cli: Cli) -> None:
    """A file that is not there is a mistake in the command line."""
    cli("import", "none.json", code=2)
