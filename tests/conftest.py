"""Real servers for every test; their versions stand in the header."""

import importlib.metadata
import os
import signal

from hypothesis import settings

settings.register_profile("patient", deadline=None)  # a bound on time would be about the machine
settings.load_profile("patient")

# Under nohup and in some CI, SIGINT is ignored, and children inherit that; a handler of ours is reset in them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    f"tests.fixtures.{name}" for name in ("postgres", "redis", "tls", "liars", "cables", "tokens", "openai_server")
]


def pytest_report_header() -> str:
    """Say what the tests run on."""
    server = "CHATMEMORY_TEST_POSTGRES_URL" if "CHATMEMORY_TEST_POSTGRES_URL" in os.environ else "embedded"
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("psycopg", "langchain-core")]
    return f"Postgres: {server}; {', '.join(versions)}"
