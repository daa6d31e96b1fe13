"""`memories`, `recall` and `reembed`."""

from chatmemory import ChatMemory
from tests.cli.conftest import Cli
from tests.fixtures.openai_server import KEY, OpenAIServer


def learnt(memory: ChatMemory) -> str:
    """A talk in which Ann says where she lives, and the id of that memory."""
    session = memory.tenant("default").sessions.create(user_id="ann")
    for role, said in (
        ("user", "I moved to Lisbon."),
        ("assistant", "Lovely."),
        ("user", "And I row."),
        ("user", "Bye"),
    ):
        session.append(role, said)
    session.end()
    assert memory.run_due().processed == 1
    [found] = memory.tenant("default").memories.recall("Lisbon", user_id="ann", k=1)
    return found.memory.id


def test_recall(cli: Cli, memory: ChatMemory) -> None:
    """The best memory comes first; --explain says why, and --json all of it."""
    id = learnt(memory)
    session = memory.tenant("default").sessions.list()[0].id
    [first, *_] = cli.json("recall", "Who moved to Lisbon?", "-k", "2")
    assert (first["memory"]["id"], first["ranks"]) == (id, {"lexical": 1})
    assert first["memory"]["sources"] == [{"session_id": session, "from_seq": 1, "to_seq": 1}]
    page = cli("recall", "Who moved to Lisbon?", "-k", "1").stdout
    assert "I moved to Lisbon." in page
    assert "lexical" not in page
    explained = cli("recall", "Who moved to Lisbon?", "--user", "ann", "--explain").stdout
    assert "(lexical 1), trust user, from session" in explained
    assert f"{session}, message 1" in explained


def test_recall_stays_with_user_and_tenant(cli: Cli, memory: ChatMemory) -> None:
    """Another user, or the same name in another tenant, recalls nothing."""
    learnt(memory)
    assert cli.json("recall", "Lisbon", "--user", "bob") == []
    assert cli.json("recall", "Lisbon", "--tenant", "acme") == []
    assert "answers that" in cli("recall", "Lisbon", "--user", "bob").stdout


def test_list(cli: Cli, memory: ChatMemory) -> None:
    """The newest come first, of one user and kind where that is asked; what holds no longer only with --closed."""
    tenant = memory.tenant("default").memories
    old = tenant.remember("Ann drinks tea.", user_id="ann")
    new = tenant.correct(old.id, "Ann drinks coffee.")
    shared = tenant.remember("The office closes at six.", kind="preference")
    assert [each["id"] for each in cli.json("memories", "list")["items"]] == [shared.id, new.id]
    assert [each["id"] for each in cli.json("memories", "list", "--user", "ann")["items"]] == [new.id]
    assert [each["id"] for each in cli.json("memories", "list", "--kind", "preference")["items"]] == [shared.id]
    assert cli.json("memories", "list", "--closed", "--limit", "1")["total"] == 3
    until = f"{tenant.get(old.id).valid_to:%M}"
    for columns in ("100", "200"):
        closed = cli("memories", "list", "--closed", COLUMNS=columns).stdout
        assert "until" in closed
        assert closed.count(f":{until}") >= 2
    page = cli("memories", "list", "--limit", "1").stdout
    assert "The office closes at six." in page
    assert "2 memories in tenant 'default' (--tenant names another), shown: 1-1" in page
    assert "No memories in tenant 'acme'" in cli("memories", "list", "--tenant", "acme").stdout
    assert "--kind" in cli("memories", "list", "--kind", "rumour", code=1).stderr


def test_every_width_keeps_ids(cli: Cli, memory: ChatMemory) -> None:
    """At any width of the terminal, ids and dates are whole, and no line is too long."""
    made = memory.tenant("default").memories.remember("Ann drinks tea, and a lot of it. " * 9, user_id="ann")
    for columns in (80, 120, 150, 200):
        page = cli("memories", "list", COLUMNS=str(columns)).stdout
        for word in (made.id, f"{made.valid_from.astimezone():%Y-%m-%d %H:%M}", "ann", "fact", "Ann drinks tea"):
            assert word in page
        assert max(map(len, page.splitlines())) <= columns


def test_show_and_correct(cli: Cli, memory: ChatMemory) -> None:
    """A memory names its messages; correcting it closes it, and either one shows both."""
    id = learnt(memory)
    assert "message 1" in cli("memories", "show", id).stdout
    assert "history" not in cli("memories", "show", id).stdout
    new = cli.json("memories", "correct", id, "Ann moved to Porto.")["memory"]
    shown = cli.json("memories", "show", id)
    assert shown["memory"]["superseded_by"] == new["id"]
    assert [each["text"] for each in shown["history"]] == ["I moved to Lisbon.", "Ann moved to Porto."]
    page = cli("memories", "show", new["id"]).stdout
    assert "I moved to Lisbon." in page
    assert "holds no longer" in cli("memories", "correct", id, "Ann moved to Faro.", code=1).stderr


def test_forget(cli: Cli, memory: ChatMemory) -> None:
    """A forgotten memory is gone, and not found a second time."""
    id = learnt(memory)
    assert cli("memories", "forget", id).stdout == "forgotten\n"
    assert cli("memories", "forget", id, code=1).stderr == f"Error: There is no memory '{id}' here.\n"
    assert cli.json("recall", "Lisbon") == []


def test_prune(cli: Cli, memory: ChatMemory) -> None:
    """A dry run closes nothing; pruning closes what is dull, and --undo opens it again."""
    tenant = memory.tenant("default").memories
    tenant.remember("Ann once saw a heron.", user_id="ann", importance=0.1)
    tenant.remember("Ann is allergic to nuts.", user_id="ann", importance=0.9)
    words = ("memories", "prune", "--older-than", "0", "--max-importance", "0.5")
    assert "1 memory would be closed" in cli(*words, "--dry-run").stdout
    assert cli.json("memories", "list")["total"] == 2
    assert [each["text"] for each in cli.json(*words)["memories"]] == ["Ann once saw a heron."]
    assert cli.json("memories", "list")["total"] == 1
    assert cli("memories", "prune", "--undo").stdout == "1 memory reopened\n"
    assert cli.json("memories", "list")["total"] == 2


def test_prune_needs_an_age(cli: Cli) -> None:
    """Neither age nor --undo, or both, is a wrong command line."""
    assert "--older-than" in cli("memories", "prune", code=2).stderr
    cli("memories", "prune", "--undo", "--older-than", "3", code=2)
    cli("memories", "prune", "--undo", "--dry-run", code=2)


def test_reembed(cli: Cli, memory: ChatMemory, openai_server: OpenAIServer) -> None:
    """Memories learnt without an embedder get vectors; --drop-old removes those of the old model."""
    learnt(memory)
    cli.environment |= {"CHATMEMORY_EMBEDDING_BASE_URL": openai_server.url, "CHATMEMORY_LLM_API_KEY": KEY}
    told = cli.json("reembed", "--model", "first")
    assert told == {"embedded": 4, "left": 0, "dropped": 0}
    assert {body["model"] for body in openai_server.embedded} == {"first"}
    explained = cli("recall", "to Lisbon", "-k", "1", "--explain", CHATMEMORY_EMBEDDING_MODEL="first").stdout
    assert "vector 1" in explained
    told = cli("reembed", "--model", "second", "--drop-old").stdout
    assert "embedded: 4; left: 0; vectors of other models removed:" in told
    assert "removed: 0" not in told
