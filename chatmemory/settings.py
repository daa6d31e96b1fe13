"""What can be set, by argument, by CHATMEMORY_ variables or by an .env file."""

import difflib
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from chatmemory._public import public

CENTURY_HOURS = 876_000
MOST = 1_000_000_000


@public
class Settings(BaseSettings):
    """The settings of one ChatMemory; each field names the module that honours it."""

    model_config = SettingsConfigDict(
        env_prefix="CHATMEMORY_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",  # .env holds other programs' variables too
        frozen=True,
        hide_input_in_errors=True,
    )

    # database.py
    postgres_url: SecretStr | None = Field(None, description="Postgres; none: the embedded server")
    postgres_pool_min_size: int = Field(1, ge=0, le=1_000, description="connections kept open")
    postgres_pool_max_size: int = Field(10, ge=1, le=10_000, description="connections at most")
    postgres_timeout_seconds: float = Field(
        10.0, gt=0, le=86_400, description="how long a call waits for Postgres, over retries, before it fails"
    )
    prepared_statements: bool = Field(
        default=True, description="off: for a transaction pooler that cannot hold them (PgBouncer before 1.21)"
    )
    auto_migrate: bool = Field(default=True, description="create or upgrade the schema at first use")
    # cache.py
    redis_url: SecretStr | None = Field(None, description="Redis for the context window; none: Postgres alone")
    redis_cluster: bool = Field(default=False, description="the Redis URL names a node of a cluster")
    redis_timeout_seconds: float = Field(
        0.2, gt=0, le=60, description="how long the first call to a dead Redis waits; the next ones do not try"
    )
    # window.py
    session_cache_ttl_seconds: float = Field(
        1800.0,
        ge=1,
        le=86_400,
        description="how long Redis keeps a window after its last append, or a session to resume after its last use",
    )
    enable_session_caching: bool = Field(
        default=True, description="resume a session that was resumed a short while ago without asking Postgres"
    )
    window_max_messages: int = Field(200, ge=1, le=1000, description="how many messages of a session Redis holds")
    window_max_bytes: int = Field(262_144, ge=1, le=MOST, description="how many bytes of them Redis holds, about")
    window_message_bytes: int = Field(
        32_768, ge=1, le=MOST, description="a larger message is fetched from Postgres when it is needed"
    )
    # tokens.py
    model: str | None = Field(None, description="the model whose encoding counts tokens; unknown or none: o200k_base")
    # context.py
    context_trim_step: float = Field(
        0.5,
        ge=0,
        le=0.9,
        description="the share of a full context that is trimmed at once; 0: no more than needed",
    )
    # embedded.py
    data_dir: Path | None = Field(None, description="where the embedded Postgres lives; none: the user's data")
    # sessions.py
    session_timeout_hours: float = Field(24.0, gt=0, le=CENTURY_HOURS, description="idle for longer, a session expires")
    max_sessions_per_user: int = Field(20, ge=1, le=MOST, description="active sessions of one kind a user may have")
    session_limit_policy: Literal["end_oldest", "refuse"] = Field(
        "end_oldest", description="what a new session does to a user who has them all"
    )
    # session.py, chatmemory_langchain, cli/chat.py
    max_context_messages: int = Field(
        20, ge=0, le=MOST, description="how many of the newest messages a prompt gets where no number is given"
    )
    # session.py
    min_messages_for_summary: int = Field(
        4, ge=0, le=MOST, description="a session that ends shorter leaves no summary memory"
    )
    max_message_bytes: int = Field(
        1_000_000, ge=1, le=500_000_000, description="the largest message, in UTF-8 bytes of JSON"
    )
    # llm.py
    llm_model: str | None = Field(None, description="the model that learns from conversations; none: without one")
    llm_base_url: str | None = Field(None, description="an OpenAI-compatible server; none: OpenAI's")
    llm_api_key: SecretStr | None = Field(
        None, description="its key; none: OPENAI_API_KEY, or no key where the server is named"
    )
    llm_timeout_seconds: float = Field(60.0, gt=0, le=3_600, description="how long one answer may take")
    embedding_model: str | None = Field(None, description="the model that embeds memories; none: recall is by words")
    embedding_dimensions: int | None = Field(
        None, ge=1, le=16_000, description="the length of its vectors; none: its own"
    )
    embedding_base_url: str | None = Field(None, description="its server; none: llm_base_url")
    embedding_api_key: SecretStr | None = Field(None, description="its key; none: llm_api_key")
    # spending.py
    llm_soft_cap_tokens: int | None = Field(None, ge=0, description="tokens per tenant and day from which a log warns")
    llm_hard_cap_tokens: int | None = Field(
        None, ge=0, description="tokens per tenant and day from which learning goes on without the language model"
    )
    # worker.py
    consolidation_messages: int = Field(40, ge=1, le=MOST, description="new messages after which a session is due")
    consolidation_tokens: int = Field(4_000, ge=1, le=MOST, description="new tokens after which a session is due")
    consolidation_batch_tokens: int = Field(8_000, ge=100, le=MOST, description="how many a model is shown at once")
    worker_lease_seconds: float = Field(300.0, ge=1, le=86_400, description="how long a worker may take for one batch")
    worker_poll_seconds: float = Field(
        30.0, gt=0, le=86_400, description="how often an idle worker looks for work of which Postgres did not notify it"
    )
    worker_max_attempts: int = Field(5, ge=1, le=1_000, description="failures in a row after which a session is parked")
    # memories.py
    language: str = Field(
        "english", pattern=r"^[a-z_]{1,40}$", description="Postgres' text search configuration for memories"
    )
    recall_timeout_seconds: float = Field(
        2.0, gt=0, le=600, description="how long a recall waits for the embedding server; then it goes by words"
    )
    recall_share: float = Field(
        0.25, ge=0, le=0.9, description="the share of a context's budget that recalled memories may take"
    )
    # cleanup.py
    cleanup_inactive_sessions: bool = Field(default=True, description="expire idle sessions in the background")
    cleanup_interval_hours: float = Field(6.0, gt=0, le=CENTURY_HOURS, description="how often, in each process")
    enable_session_archiving: bool = Field(
        default=True, description="cleanup marks ended sessions that have nothing left to learn as archived"
    )

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(values.keys() - cls.model_fields.keys())
        if unknown:
            near = difflib.get_close_matches(unknown[0], cls.model_fields, n=1)
            raise ValueError(f"there is no setting {unknown[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return values

    @property
    def session_timeout(self) -> timedelta:
        """How long a session may be idle."""
        return timedelta(hours=self.session_timeout_hours)

    @property
    def session_limits(self) -> tuple[int, bool]:
        """What the schema's functions must know to keep a user within the limit of active sessions."""
        return (self.max_sessions_per_user, self.session_limit_policy == "end_oldest")

    @property
    def due_after(self) -> tuple[int, int]:
        """New messages, and new tokens, after which a session is due to be learnt from."""
        return (self.consolidation_messages, self.consolidation_tokens)
