"""The shape of the source: sizes, one-way imports, where SQL may stand, what is generated, what is silenced."""

import ast
import inspect
import re
import statistics
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator, Set
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

import chatmemory
from chatmemory.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
CORE = sorted((ROOT / "chatmemory").rglob("*.py"))
ADAPTERS = sorted((ROOT / "integrations").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TOOLS = sorted(path for folder in ("scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py"))

# Rooms that decide and never wait, and what nothing in them may import.
PURE_ROOMS = "messages context memories sessions runs items"
PURE_FILES = (
    "records paging errors kinds protocols validation "
    "storage.breaker storage.ownership storage.queries storage.redis_keys storage.redis_packing storage.redis_rights"
)
IMPURE = (
    "psycopg psycopg_pool redis openai asyncio threading socket subprocess "
    "chatmemory._async chatmemory._sync chatmemory._concurrency chatmemory.embedded"
)
# In a pure room, and why it is not pure all the same.
WAITS = {"chatmemory.messages.tokenizer": "loads a vocabulary, which may take a download"}
HEAVY = "openai langchain langchain_core tiktoken psycopg psycopg_pool redis pydantic typer rich"

# Who may catch a driver's errors, and why. Of the two halves, the one that is written counts.
CATCHERS = {
    "psycopg psycopg_pool": {
        "chatmemory/_async/storage/database.py": "hands them to the translation",
        "chatmemory/_async/storage/server.py": "says that the server cannot be reached",
        "chatmemory/_async/storage/connection.py": "gives a connection up, whatever comes of cancelling its statement",
        "chatmemory/storage/postgres_address.py": "says that an address cannot be read",
        "chatmemory/embedded/server.py": "says that the server it has just started does not answer",
        "chatmemory/_async/storage/migrations.py": "turns a missing right into what to ask an administrator for",
        "integrations/chatmemory_langchain/import_connection.py": "translates what another store's server says",
    },
    "redis": {
        "chatmemory/_async/storage/redis.py": "swallows them: a cache that fails is a cache that is empty",
        "integrations/chatmemory_langchain/import_redis.py": "translates what another store's server says",
    },
    "openai": {"chatmemory/_async/memories/openai_client.py": "translates them into ours"},
}

# What a statement begins with; create, alter and drop only with a noun of SQL's, as messages begin so too.
SQL = re.compile(
    r"\s*(?:(?:select|insert|update|delete)\s"
    r"|with\s.*\bas\s*\("
    r"|(?:create|alter|drop)\s+(?:or\s+replace\s+|unique\s+|temp(?:orary)?\s+|unlogged\s+)?"
    r"(?:table|index|schema|function|view|type|policy|role|user|database|extension|trigger|sequence)\b)",
    re.DOTALL | re.IGNORECASE,
)
HOMES_OF_SQL = (
    "chatmemory.storage.queries chatmemory.storage.schema "
    "chatmemory_langchain.import_queries chatmemory_openai_agents.import_queries"  # of other stores
)
CLAUSE = re.compile(r"(What|Who|Whose|Which|Whether|How|Why)\b")  # with which no docstring begins
NAMELESS = re.compile(r"#\s*(type:\s*ignore(?!\[)|(ruff:\s*)?noqa(?!:))")


def told(findings: list[str], advice: str) -> str:
    """A failure's message: one line for each finding, and what to do."""
    return "\n".join(["", *findings, f"→ {advice}"])


def name(path: Path) -> str:
    """A file as messages name it."""
    return path.relative_to(ROOT).as_posix()


def module(path: Path) -> str:
    """The dotted name a file is imported by."""
    base = ROOT / "integrations" if path in ADAPTERS else ROOT
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


def within(dotted: str, packages: str) -> bool:
    """Return whether a dotted name is one of these packages, or below one."""
    return any(dotted == package or dotted.startswith(package + ".") for package in packages.split())


@cache
def nodes(path: Path) -> list[ast.AST]:
    """Everything in a file's syntax tree."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions of a file."""
    return (node for node in nodes(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def imported(path: Path) -> set[str]:
    """The dotted names a file imports: modules, and what it takes from them."""
    package = module(path) if path.name == "__init__.py" else module(path).rpartition(".")[0]
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    return found


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the first line of each docstring in a file."""
    for node in nodes(path):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node.body[0].lineno, text.partition("\n")[0]


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a body without its docstring; 0 for stubs and overloads."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    empty = all(isinstance(node, ast.Pass) or ast.unparse(node) == "..." for node in body)
    overload = any(ast.unparse(decorator).endswith("overload") for decorator in function.decorator_list)
    return 0 if empty or overload else (body[-1].end_lineno or 0) - body[0].lineno + 1


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """The lines and texts of a file's string literals, f-strings with {} for what they insert; no docstrings."""
    prose = {id(node.value) for node in nodes(path) if isinstance(node, ast.Expr)}
    inner = {id(part) for node in nodes(path) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes(path):
        if isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose | inner:
            yield node.lineno, node.value


def catches(path: Path, driver: str) -> list[int]:
    """The lines of a file that catch a driver's errors, under whatever names it imported."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            aliases = [alias for alias in node.names if within(alias.name, driver)]
            names |= {alias.asname or alias.name.partition(".")[0] for alias in aliases}
        elif isinstance(node, ast.ImportFrom) and within(node.module or "", driver):
            names |= {alias.asname or alias.name for alias in node.names}
    caught = [node.type for node in nodes(path) if isinstance(node, ast.ExceptHandler) and node.type]
    calls = [node for node in nodes(path) if isinstance(node, ast.Call)]
    caught += [kind for call in calls if ast.unparse(call.func).endswith("suppress") for kind in call.args]
    return [
        kind.lineno
        for kind in caught
        if any(isinstance(node, ast.Name) and node.id in names for node in ast.walk(kind))
    ]


def attributes(tree: ast.AST, owner: str) -> set[str]:
    """Return the attributes that code reads from anything named `owner` or `_owner`."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return {node.attr for node in found if ast.unparse(node.value).split(".")[-1].lstrip("_") == owner}


def cases_in(folder: str) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The test functions below a folder, each with its file."""
    paths = [path for path in TESTS if path.is_relative_to(ROOT / folder)]
    return [(name(path), test) for path in paths for test in functions(path) if test.name.startswith("test")]


def test_functions_are_short() -> None:
    """Half of all bodies have at most 6 lines, 95 % at most 35, and none more than 60."""
    lengths = {
        f"{name(path)}:{function.lineno} {function.name}": body_length(function)
        for path in CORE + ADAPTERS
        for function in functions(path)
    }
    sizes = sorted(length for length in lengths.values() if length)
    measured = (statistics.median(sizes), sizes[len(sizes) * 95 // 100], sizes[-1])
    longest = sorted(lengths.items(), key=lambda item: -item[1])[:10]
    assert all(size <= limit for size, limit in zip(measured, (6, 35, 60), strict=True)), told(
        [f"median, p95, longest: {measured}"] + [f"{length:4} {where}" for where, length in longest],
        "cut the longest: move decisions into pure functions, and steps into helpers",
    )


def test_modules_are_short() -> None:
    """No module has more than 400 lines."""
    sizes = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in CORE + ADAPTERS}
    long = [f"{size} {where}" for where, size in sizes.items() if size > 400]
    assert not long, told(long, "split by noun; pure parts first")


def modules_used(path: Path, known: Set[str]) -> set[str]:
    """The modules of the library that a module imports, at its top, in functions or for types alone.

    A public name of `chatmemory` counts as the module that defines it.
    """
    found = set()
    for dotted in imported(path):
        package, _, last = dotted.rpartition(".")
        home = chatmemory._HOME.get(last, dotted) if package == "chatmemory" else dotted
        while home and home not in known:
            home = home.rpartition(".")[0]
        found.add(home)
    return found - {"", "chatmemory", module(path)}


def test_imports_make_no_circle() -> None:
    """No module imports itself through others, not even inside a function or for types alone."""
    known = {module(path): path for path in CORE}
    graph = {dotted: modules_used(path, known.keys()) for dotted, path in known.items() if dotted != "chatmemory"}
    try:
        assert list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(told([" → ".join(error.args[1])], "let the lower module declare, and the higher one use it"))


def test_pure_modules_stay_pure() -> None:
    """Modules that decide import no driver, no concurrency and neither half of what waits."""
    rooms = " ".join(f"chatmemory.{room}" for room in f"{PURE_ROOMS} {PURE_FILES}".split())
    pure = [path for path in CORE if within(module(path), rooms) and module(path) not in WAITS]
    found = [f"{name(path)}: {what}" for path in pure for what in imported(path) if within(what, IMPURE)]
    assert pure
    assert not found, told(found, "let the caller wait, and hand the pure module what came of it")


def test_library_knows_neither_its_commands_nor_its_adapters() -> None:
    """Below cli and integrations nothing imports them."""
    library = [path for path in CORE if not within(module(path), "chatmemory.cli")]
    found = [
        f"{name(path)}: {what}"
        for path in library
        for what in imported(path)
        if within(what, "chatmemory.cli") or what.startswith("chatmemory_")
    ]
    assert not found, told(found, "move what both need down into the library")


def test_library_names_no_adapter() -> None:
    """No text in the library, SQL included, holds the name of a host; an examination reports which are installed."""
    hosts = re.compile("langchain|openai_agents")
    python = [path for path in CORE if not within(module(path), "chatmemory.cli chatmemory.admin")]
    found = [f"{name(path)}:{line}" for path in python for line, text in strings(path) if hosts.search(text)]
    sql = (ROOT / "chatmemory/storage").rglob("*.sql")
    found += [name(path) for path in sql if hosts.search(path.read_text(encoding="utf-8"))]
    assert not found, told(found, "give what the adapter needs a name of the core's")


def test_adapters_use_the_public_face_only() -> None:
    """Integrations import public names of chatmemory, or its errors, so that each could move out."""
    allowed = {f"chatmemory.{public}" for public in chatmemory.__all__}
    found = [
        f"{name(path)}: {what}"
        for path in ADAPTERS
        for what in imported(path)
        if within(what, "chatmemory") and what not in allowed and not within(what, "chatmemory.errors")
    ]
    assert not found, told(found, "use `from chatmemory import …`, or make the name public")


@pytest.mark.parametrize("public", chatmemory.__all__)
def test_public_names_resolve(public: str) -> None:
    """Each public name exists, and a class says that it is chatmemory's."""
    value = getattr(chatmemory, public)
    if inspect.isclass(value):
        assert value.__module__ == "chatmemory", f"{public} says {value.__module__}: decorate it with @public"


def test_sql_stands_in_queries_and_schema() -> None:
    """No string outside storage/queries/ and storage/schema/ begins like a statement."""
    elsewhere = [path for path in CORE + ADAPTERS if not within(module(path), HOMES_OF_SQL)]
    found = [
        f"{name(path)}:{line}: {text[:60]!r}" for path in elsewhere for line, text in strings(path) if SQL.match(text)
    ]
    assert not found, told(found, "name the statement in chatmemory/storage/queries/, with a sentence above it")


def test_migrations_are_numbered_without_gaps() -> None:
    """The tables' files are 0001_….sql, 0002_….sql and so on; what has no number is known by name."""
    files = sorted(path.name for path in (ROOT / "chatmemory/storage/schema").glob("*.sql"))
    numbered = [file for file in files if file not in ("access.sql", "bootstrap.sql", "repair.sql")]
    found = [file for number, file in enumerate(numbered, start=1) if not re.fullmatch(rf"{number:04}_\w+\.sql", file)]
    assert numbered
    assert not found, told(found, "give each migration the next number, in four digits; a released one never changes")


@pytest.mark.parametrize("driver", CATCHERS)
def test_driver_errors_are_caught_in_one_place(driver: str) -> None:
    """A driver's errors are caught where they are translated, and nowhere else."""
    written = [path for path in CORE + ADAPTERS if "_sync" not in path.parts]
    found = [
        f"{name(path)}:{line}"
        for path in written
        if name(path) not in CATCHERS[driver]
        for line in catches(path, driver)
    ]
    assert not found, told(found, f"catch errors of ours; {driver}'s are translated in {', '.join(CATCHERS[driver])}")


def test_generated_code_is_current() -> None:
    """The sync half, tests included, is what the async half makes."""
    command = [sys.executable, str(ROOT / "scripts/unasync.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_import_is_light() -> None:
    """`import chatmemory` loads nothing heavy, and takes well under 0.3 s of a processor."""
    code = (
        "import time; start = time.process_time(); import chatmemory; took = time.process_time() - start; "
        f"import sys; print(took, *set({HEAVY!r}.split()) & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    took, *loaded = result.stdout.split()
    assert not loaded, told(loaded, "load it where it is first used")
    assert float(took) < 0.3


def test_lint_exceptions_have_reasons() -> None:
    """Each rule that ruff ignores, everywhere or in some files, has its reason as a comment on its line."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    exceptions = [*lint.get("ignore", []), *lint.get("per-file-ignores", {})]
    bare = [code for code in exceptions if not re.search(rf'^\s*"{re.escape(code)}".*#.*\w', text, re.MULTILINE)]
    assert not bare, told(bare, "say why, on its line in pyproject.toml")


def test_silenced_checks_are_named() -> None:
    """Each `type: ignore` names its code, and each `noqa` its rule."""
    found = []
    for path in CORE + ADAPTERS + TESTS + TOOLS:
        with path.open("rb") as file:
            comments = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
        found += [f"{name(path)}:{token.start[0]}" for token in comments if NAMELESS.search(token.string)]
    assert not found, told(found, "write `# type: ignore[code]` or `# noqa: CODE`")


def test_tests_say_what_they_show() -> None:
    """Each test's docstring states the behaviour."""
    silent = [f"{where}: {test.name}" for where, test in cases_in("tests") if not ast.get_docstring(test)]
    assert not silent, told(silent, "say in a sentence what holds")


def test_docstrings_begin_with_their_subject() -> None:
    """No docstring begins with "What", "Which", "How" and the like: a noun or a verb says it sooner."""
    found = [
        f"{name(path)}:{line}: {text}"
        for path in CORE + ADAPTERS + TESTS + TOOLS
        for line, text in docstrings(path)
        if CLAUSE.match(text)
    ]
    assert not found, told(found, "begin with a noun or a verb: `The …`, `Return …`, `Return whether …`, `True if …`")


def test_both_halves_are_tested_alike() -> None:
    """tests/_async and tests/_sync have the same number of tests, file by file."""
    waiting = Counter(where.replace("_async", "_sync") for where, _ in cases_in("tests/_async"))
    assert waiting == Counter(where for where, _ in cases_in("tests/_sync")), "run: make sync"


def test_settings_are_honoured() -> None:
    """Each setting is read somewhere outside settings.py, by itself or through a property that is."""
    paths = [path for path in CORE + ADAPTERS if name(path) != "chatmemory/settings.py"]
    read = {attribute for path in paths for attribute in attributes(nodes(path)[0], "settings")}
    for function in functions(ROOT / "chatmemory/settings.py"):
        if function.name in read:
            read |= attributes(function, "self")
    unread = sorted(Settings.model_fields.keys() - read)
    assert not unread, told(unread, "read it as settings.<name> where it matters, or remove it")
