"""Settings from an .env file."""

from pathlib import Path

import pytest

from chatmemory import Settings


@pytest.mark.parametrize(
    "other", ["OPENAI_API_KEY=sk-1", "POSTGRES_URL=x", "FOO=", "CHATMEMORY_MAX=1", "max_sessions=1"]
)
def test_an_env_file_may_have_variables_of_other_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """They are neither settings nor errors."""
    (tmp_path / ".env").write_text(f"{other}\nCHATMEMORY_MAX_SESSIONS_PER_USER=7\n")
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    assert settings.max_sessions_per_user == 7
    assert settings.postgres_url is None
