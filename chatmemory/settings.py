"""Settings, given as arguments, as CHATMEMORY_ variables or in an .env file."""

import difflib
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from chatmemory._public import public

CENTURY_HOURS = 876_000
MAX_INT = 1_000_000_000


class _OwnVariables(DotEnvSettingsSource):
    """The variables of an .env file that are settings; `chatmemory doctor` finds misspelt ones."""

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        return {name: value for name, value in super().__call__().items() if name in fields}


@public
class Settings(BaseSettings):
    """The settings of one ChatMemory; each field names the module that honours it."""

    model_config = SettingsConfigDict(
        env_prefix="CHATMEMORY_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    # database.py
    postgres_url: SecretStr | None = Field(None, description="URL of Postgres; none: the embedded server")
    postgres_pool_min_size: int = Field(1, ge=0, le=1_000, description="minimum number of open connections")
    postgres_pool_max_size: int = Field(10, ge=1, le=10_000, description="maximum number of open connections")
    postgres_timeout_seconds: float = Field(
        10.0,
        gt=0,
        le=86_400,
        description="seconds after which a call fails if Postgres does not answer, retries included",
    )
    prepared_statements: bool = Field(
        default=True, description="turn off for a transaction pooler without support for them (PgBouncer before 1.21)"
    )
    auto_migrate: bool = Field(default=True, description="create or upgrade the schema at first use")
    # cache.py
    redis_url: SecretStr | None = Field(None, description="URL of Redis, which caches the window; none: Postgres only")
    redis_cluster: bool = Field(default=False, description="whether the Redis URL names a node of a cluster")
    redis_timeout_seconds: float = Field(
        0.2,
        gt=0,
        le=60,
        description="seconds after which a Redis call fails; after failures, Redis is skipped for a while",
    )
    # window.py
    session_cache_ttl_seconds: float = Field(
        1800.0,
        ge=1,
        le=86_400,
        description="seconds that Redis keeps a window after its last append, and a session after its last resume",
    )
    enable_session_caching: bool = Field(
        default=True, description="resume a recently resumed session from Redis, without a query to Postgres"
    )
    window_max_messages: int = Field(
        200, ge=1, le=1000, description="maximum messages of a session in Redis and in this process"
    )
    window_max_bytes: int = Field(
        262_144, ge=1, le=MAX_INT, description="approximate bytes of a session's messages in Redis and in this process"
    )
    window_message_bytes: int = Field(
        32_768,
        ge=1,
        le=MAX_INT,
        description="size in bytes above which a message is read from Postgres instead of Redis",
    )
    # recent_cache.py
    recent_messages_bytes: int = Field(
        64 * 2**20,
        ge=0,
        le=100 * MAX_INT,
        description="approximate bytes of recent messages of all sessions in this process; 0: none",
    )
    # tokens.py
    model: str | None = Field(None, description="model whose encoding counts tokens; unknown or none: o200k_base")
    # context.py
    context_trim_step: float = Field(
        0.5,
        ge=0,
        le=0.9,
        description="share of a full context that is trimmed at once; 0: only as much as needed",
    )
    # embedded.py
    data_dir: Path | None = Field(
        None, description="directory of the embedded Postgres; none: the user's data directory"
    )
    # sessions.py
    session_timeout_hours: float | None = Field(
        24.0, gt=0, le=CENTURY_HOURS, description="idle hours after which a session expires; none: never"
    )
    max_sessions_per_user: int = Field(20, ge=1, le=MAX_INT, description="maximum active sessions of one kind per user")
    session_limit_policy: Literal["end_oldest", "refuse"] = Field(
        "end_oldest", description="at the limit: end the session idle longest, or refuse a new one"
    )
    # session.py, chatmemory_langchain, cli/chat.py
    max_context_messages: int = Field(
        20, ge=0, le=MAX_INT, description="newest messages in a prompt if no number is given"
    )
    # session.py
    min_messages_for_summary: int = Field(
        4, ge=0, le=MAX_INT, description="minimum messages of an ended session for a summary memory"
    )
    max_message_bytes: int = Field(
        1_000_000, ge=1, le=500_000_000, description="maximum size of a message, in UTF-8 bytes of JSON"
    )
    # llm.py
    llm_model: str | None = Field(
        None, description="model that learns from conversations; none: learning without a language model"
    )
    llm_base_url: str | None = Field(None, description="URL of an OpenAI-compatible server; none: OpenAI")
    llm_api_key: SecretStr | None = Field(
        None, description="API key of the server; none: OPENAI_API_KEY, or no key if llm_base_url is set"
    )
    llm_timeout_seconds: float = Field(60.0, gt=0, le=3_600, description="maximum seconds for one answer")
    embedding_model: str | None = Field(None, description="model that embeds memories; none: recall by words only")
    embedding_dimensions: int | None = Field(
        None, ge=1, le=16_000, description="length of the vectors; none: the model's default"
    )
    embedding_base_url: str | None = Field(None, description="URL of the embedding server; none: llm_base_url")
    embedding_api_key: SecretStr | None = Field(None, description="API key of the embedding server; none: llm_api_key")
    # spending.py
    llm_soft_cap_tokens: int | None = Field(
        None, ge=0, description="tokens per tenant and day above which a warning is logged"
    )
    llm_hard_cap_tokens: int | None = Field(
        None, ge=0, description="tokens per tenant and day above which learning continues without the language model"
    )
    # worker.py
    consolidation_messages: int = Field(40, ge=1, le=MAX_INT, description="new messages after which a session is due")
    consolidation_tokens: int = Field(4_000, ge=1, le=MAX_INT, description="new tokens after which a session is due")
    consolidation_batch_tokens: int = Field(8_000, ge=100, le=MAX_INT, description="tokens per model call")
    worker_lease_seconds: float = Field(
        300.0, ge=1, le=86_400, description="maximum seconds a worker may take for one batch"
    )
    worker_poll_seconds: float = Field(
        30.0, gt=0, le=86_400, description="seconds between two checks of an idle worker whom Postgres notifies"
    )
    worker_max_attempts: int = Field(
        5, ge=1, le=1_000, description="consecutive failures after which a session is parked"
    )
    # memories.py
    language: str = Field(
        "english", pattern=r"^[a-z_]{1,40}$", description="Postgres text search configuration for memories"
    )
    recall_timeout_seconds: float = Field(
        2.0, gt=0, le=600, description="seconds a recall waits for the embedding server before it falls back to words"
    )
    recall_share: float = Field(
        0.25, ge=0, le=0.9, description="maximum share of a context's budget for recalled memories"
    )
    # cleanup.py
    cleanup_inactive_sessions: bool = Field(default=True, description="expire idle sessions in the background")
    cleanup_interval_hours: float = Field(
        6.0, gt=0, le=CENTURY_HOURS, description="hours between two clean-ups, in each process"
    )
    enable_session_archiving: bool = Field(
        default=True, description="clean-up marks ended sessions with nothing left to learn as archived"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, then the environment, then .env, which may have variables of other programs."""
        return init_settings, env_settings, _OwnVariables(settings_cls)

    @field_validator("*", mode="before")
    @classmethod
    def _read_none(cls, value: object, info: ValidationInfo) -> object:
        """Read the word "none", the only way to write None in a variable, of every setting that may be None."""
        is_word = isinstance(value, str) and value.strip().lower() == "none"
        return None if is_word and type(None) in get_args(cls.model_fields[str(info.field_name)].annotation) else value

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, values: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(values.keys() - cls.model_fields.keys())
        if unknown:
            near = difflib.get_close_matches(unknown[0], cls.model_fields, n=1)
            raise ValueError(f"there is no setting {unknown[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return values

    @property
    def session_timeout(self) -> timedelta:
        """The idle time after which a session expires; a century if none does."""
        return timedelta(hours=self.session_timeout_hours or CENTURY_HOURS)

    def session_limits(self, policy: str | None = None) -> tuple[int, bool]:
        """Return the limit of active sessions, as arguments of SQL functions: maximum, end the oldest.

        Args:
            policy: end_oldest, refuse, or exceed, which knows no limit; None: session_limit_policy.
        """
        most = MAX_INT if policy == "exceed" else self.max_sessions_per_user
        return (most, (policy or self.session_limit_policy) == "end_oldest")

    @property
    def due_after(self) -> tuple[int, int]:
        """New messages, and new tokens, after which a session is due to be learnt from."""
        return (self.consolidation_messages, self.consolidation_tokens)
