"""Real servers for every test; their versions stand in the header."""

import importlib.metadata
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
    from tests.fixtures.postgres import postgres_version
    from tests.fixtures.redis import redis_version

    libraries = [f"{name} {importlib.metadata.version(name)}" for name in ("psycopg", "redis", "langchain-core")]
    return f"servers: {postgres_version()}, {redis_version()}; libraries: {', '.join(libraries)}"
