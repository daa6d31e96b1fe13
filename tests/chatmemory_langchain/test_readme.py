import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "integrations" / "README.md"


def test_the_example_runs(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What integrations/README.md shows works as it stands there."""
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.setenv("CHATMEMORY_POSTGRES_URL", postgres_url)
    exec(compile(code, README, "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "Hello Ann.",
        "Your name is Ann.",
        "<Message 1 user: 'I am Ann.'>",
        "<Message 2 assistant: 'Hello Ann.'>",
        "<Message 3 user: 'Who am I?'>",
        "<Message 4 assistant: 'Your name is Ann.'>",
    ]
