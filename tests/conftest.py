"""Real servers for every test; their versions stand in the header."""

import importlib.metadata
import os

from hypothesis import settings

settings.register_profile("patient", deadline=None)  # a bound on time would be about the machine
settings.load_profile("patient")

pytest_plugins = [
    f"tests.fixtures.{name}" for name in ("postgres", "redis", "tls", "liars", "cables", "tokens", "openai_server")
]


def pytest_report_header() -> str:
    """Say what the tests run on."""
    server = "CHATMEMORY_TEST_POSTGRES_URL" if "CHATMEMORY_TEST_POSTGRES_URL" in os.environ else "embedded"
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("psycopg", "langchain-core")]
    return f"Postgres: {server}; {', '.join(versions)}"
