"""`migrate` and `doctor`."""

import psycopg
import pytest

from chatmemory import ChatMemory
from chatmemory.storage.schema import script
from tests.cli.conftest import Cli
from tests.fixtures.openai_server import DIMENSIONS, FAULTS, KEY, OpenAIServer, said


def test_migrate(cli: Cli, empty_postgres_url: str) -> None:
    """An empty database gets the schema; then there is nothing left to do."""
    assert "0001_sessions.sql" in cli("migrate", "--postgres", empty_postgres_url).stdout
    assert cli("migrate", "--postgres", empty_postgres_url).stdout == "up to date\n"


def test_migrate_print_needs_no_database(offline_cli: Cli) -> None:
    """The script is printed without a connection, for the user in the URL or the one that is named."""
    assert offline_cli("migrate", "--print").stdout == script("nobody")
    assert offline_cli("migrate", "--print", "--login", 'o"dd').stdout == script('o"dd')
    offline_cli.environment.pop("CHATMEMORY_POSTGRES_URL")
    assert offline_cli("migrate", "--print").stdout == script("postgres")


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("postgresql://d%40ve:secret@host:5432/db", "d@ve"),
        ("postgresql://ann@/db?host=/tmp", "ann"),
        ("postgresql:///db?user=ann&host=/tmp", "ann"),
        ("host=/tmp user=ann dbname=db", "ann"),
        ("postgresql:///db", "postgres"),
    ],
)
def test_login_in_the_url(offline_cli: Cli, url: str, login: str) -> None:
    """The script is for the user the application connects as, however the address says it."""
    assert offline_cli("migrate", "--print", "--postgres", url).stdout == script(login)


def test_printed_script_works(cli: Cli, empty_postgres_url: str) -> None:
    """A database that ran the script needs no migration."""
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        connection.execute(cli("migrate", "--print").stdout.encode())
    assert cli("migrate", "--postgres", empty_postgres_url).stdout == "up to date\n"


def test_doctor(cli: Cli, memory: ChatMemory) -> None:
    """On a sound database all is well, and nothing is left behind by looking."""
    report = cli.json("doctor")
    assert report["ok"]
    names = [check["name"] for check in report["checks"]]
    assert names == [
        "database",
        "settings",
        "schema",
        "roles",
        "row-level security",
        "grants",
        "functions",
        "tenant isolation",
    ]
    assert report["settings"]["max_sessions_per_user"] == 20
    page = cli("doctor").stdout
    assert "All is well." in page
    assert "answers offline" in page
    assert memory.tenant("default").sessions.list(with_total=True).total == 0


def test_doctor_tells_of_long_term_memory(cli: Cli, memory: ChatMemory, openai_server: OpenAIServer) -> None:
    """The doctor reports the models, the due sessions, and with --tenant today's spending and missing vectors."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    session.append_many([{"role": "user", "content": "Hello"}] * 4)
    session.end()
    report = cli.json("doctor")
    assert report["learning"] == {"model": None, "embedder": None, "sessions due": 1, "sessions parked": 0}
    assert report["server"]["pgvector"][0].isdigit()
    assert "recall is lexical" in " ".join(report["fallbacks"])
    memory.tenant("acme").memories.remember("Ann sails.", user_id="ann")
    cli.environment.update(
        CHATMEMORY_EMBEDDING_MODEL="e",
        CHATMEMORY_EMBEDDING_BASE_URL=openai_server.url,
        CHATMEMORY_LLM_API_KEY=KEY,
        CHATMEMORY_LLM_HARD_CAP_TOKENS="5000",
    )
    report = cli.json("doctor", "--tenant", "acme")
    assert report["checks"][-1]["name"] == "vectors"
    assert report["learning"]["spent today"] == "0 of 5,000 tokens by tenant 'acme'"
    assert report["learning"]["memories without vectors"].startswith("1 of tenant 'acme'; `chatmemory reembed")


def test_doctor_finds_a_missing_key(cli: Cli, memory: ChatMemory) -> None:
    """A model of OpenAI's without a key cannot learn; one on a server of one's own needs none."""
    report = cli.json("doctor", code=1, CHATMEMORY_LLM_MODEL="m", CHATMEMORY_EMBEDDING_MODEL="e")
    wrong = {check["name"]: check["detail"] for check in report["checks"] if not check["ok"]}
    assert set(wrong) == {"language model", "embedding model"}
    assert "set CHATMEMORY_LLM_API_KEY" in wrong["language model"]


def test_doctor_asks_the_models(cli: Cli, memory: ChatMemory, openai_server: OpenAIServer) -> None:
    """Each model is asked once; one that refuses, is away or answers nonsense is a finding."""
    cli.environment.update(
        CHATMEMORY_LLM_MODEL="teacher",
        CHATMEMORY_LLM_BASE_URL=openai_server.url,
        CHATMEMORY_LLM_API_KEY=KEY,
        CHATMEMORY_EMBEDDING_MODEL="compass",
    )
    openai_server.chat = lambda _: said('{"answer": "yes"}')
    told = {check["name"]: check["detail"] for check in cli.json("doctor")["checks"]}
    assert told["language model"] == "'teacher' answers in the requested form"
    assert told["embedding model"] == f"'compass' answers with vectors of {DIMENSIONS} dimensions"
    openai_server.chat = lambda _: FAULTS["401"]
    openai_server.embed = lambda _: FAULTS["a list"]
    wrong = {check["name"] for check in cli.json("doctor", code=1)["checks"] if not check["ok"]}
    assert wrong == {"language model", "embedding model"}
    away = cli("doctor", code=1, CHATMEMORY_LLM_BASE_URL="http://127.0.0.1:1/v1").stdout
    assert "The server of the model 'teacher' failed: APIConnectionError" in away


def test_doctor_finds_misspelt_variables(cli: Cli, memory: ChatMemory) -> None:
    """A variable that looks like a setting, in the environment or in .env, is named with what may be meant."""
    (cli.folder / ".env").write_text("CHATMEMORY_SESION_TIMEOUT_HOURS=3\nOTHER=1\n")
    done = cli.json("doctor", code=1, CHATMEMORY_REDIS_ULR="redis://x", CHATMEMORY_ZZ="1", CHATMEMORY_DATA_DIR="/tmp")
    [wrong] = [check for check in done["checks"] if not check["ok"]]
    assert (wrong["name"], wrong["detail"]) == ("environment", " ".join([
        "CHATMEMORY_REDIS_ULR is not a setting and has no effect; did you mean CHATMEMORY_REDIS_URL?",
        "CHATMEMORY_SESION_TIMEOUT_HOURS is not a setting and has no effect; "
        "did you mean CHATMEMORY_SESSION_TIMEOUT_HOURS?",
        "CHATMEMORY_ZZ is not a setting and has no effect.",
    ]))  # fmt: skip


def test_doctor_finds_a_redis_that_is_away(cli: Cli, memory: ChatMemory) -> None:
    """It says where it looked, without the password, and which setting leads there."""
    done = cli("doctor", code=1, CHATMEMORY_REDIS_URL="redis://:hunter2@127.0.0.1:1/0")
    assert "redis: 127.0.0.1:1 does not work: ConnectionError; check CHATMEMORY_REDIS_URL" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_doctor_shows_the_settings_that_were_set(cli: Cli, memory: ChatMemory) -> None:
    """Settings at their default are reported in JSON only, so that the findings stay visible."""
    page = cli("doctor", CHATMEMORY_MAX_CONTEXT_MESSAGES="7", COLUMNS="80").stdout
    assert "max_context_messages" in page
    assert "postgres_url" in page
    assert "recall_share" not in page
    assert len(page.splitlines()) < 40


def test_doctor_finds_vectors_that_cannot_be_kept(cli: Cli, postgres_url: str, openai_server: OpenAIServer) -> None:
    """An embedder without pgvector is wrong; without an embedder it is only told."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("drop table chatmemory.memory_vectors; drop extension vector cascade")
    assert "no pgvector" in cli("doctor").stdout
    cli.environment.update(CHATMEMORY_EMBEDDING_MODEL="e", CHATMEMORY_EMBEDDING_BASE_URL=openai_server.url)
    [wrong] = [check for check in cli.json("doctor", code=1)["checks"] if not check["ok"]]
    assert wrong["name"] == "vectors"


def test_doctor_finds_an_open_table(cli: Cli, postgres_url: str) -> None:
    """Row-level security that is off is found, by its setting and by what can be read."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("alter table chatmemory.sessions disable row level security")
    report = cli.json("doctor", code=1)
    wrong = {check["name"] for check in report["checks"] if not check["ok"]}
    assert wrong == {"row-level security", "tenant isolation"}
    assert "sessions" in next(c["detail"] for c in report["checks"] if c["name"] == "row-level security")
    assert "Something is wrong." in cli("doctor", code=1).stdout


def test_doctor_finds_an_open_policy(cli: Cli, postgres_url: str) -> None:
    """A policy that lets everybody read is found although row-level security is on."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("create policy open on chatmemory.sessions using (true)")
    wrong = [check["name"] for check in cli.json("doctor", code=1)["checks"] if not check["ok"]]
    assert wrong == ["tenant isolation"]


def test_doctor_on_an_empty_database(cli: Cli, empty_postgres_url: str) -> None:
    """Looking does not migrate: a database without the schema is reported, and stays without."""
    for _ in range(2):
        report = cli.json("doctor", "--postgres", empty_postgres_url, code=1)
        assert report["checks"][-1]["detail"].startswith("lacks 0001_sessions.sql")


def test_doctor_without_a_database(offline_cli: Cli) -> None:
    """An unreachable server is a finding, and no password is shown."""
    done = offline_cli("doctor", code=1)
    assert "cannot be reached" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    assert not offline_cli.json("doctor", code=1)["ok"]
