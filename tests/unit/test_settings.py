"""Settings from the environment and from an .env file."""

from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

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


OPTIONAL = [name for name, field in Settings.model_fields.items() if type(None) in get_args(field.annotation)]


@pytest.mark.parametrize("name", OPTIONAL)
@pytest.mark.parametrize("word", ["none", " None ", "NONE"])
def test_none_unsets_every_setting_that_may_be_none(monkeypatch: pytest.MonkeyPatch, name: str, word: str) -> None:
    """The word is the only way to write it in a variable."""
    monkeypatch.setenv(f"CHATMEMORY_{name.upper()}", word)
    assert getattr(Settings(), name) is None


def test_none_is_no_value_of_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that needs a value refuses it."""
    monkeypatch.setenv("CHATMEMORY_MAX_SESSIONS_PER_USER", "none")
    with pytest.raises(ValidationError):
        Settings()
