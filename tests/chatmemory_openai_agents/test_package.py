import subprocess
import sys

import pytest

import chatmemory_openai_agents

WITHOUT_SDK = """
import sys
sys.modules["agents"] = None
import chatmemory, chatmemory_openai_agents
try:
    from chatmemory_openai_agents import ChatMemorySession
except chatmemory.MissingExtraError as error:
    print(error)
"""
IMPORTED = "import sys, chatmemory_openai_agents; print([m for m in sys.modules if m.startswith('agents')])"


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_a_missing_extra_says_how_to_install_it() -> None:
    """Without openai-agents the error is ours, and holds the command."""
    assert _run(WITHOUT_SDK).endswith(
        'pip install "chatmemory-postgres[openai-agents]" (".[openai-agents]" in a clone).'
    )


def test_importing_the_package_imports_no_sdk() -> None:
    """The SDK takes a second to load; only those who use it pay."""
    assert _run(IMPORTED) == "[]"


@pytest.mark.parametrize("name", chatmemory_openai_agents.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """Every name in __all__ can be imported."""
    assert getattr(chatmemory_openai_agents, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    """An unknown name raises AttributeError, as in every module."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = chatmemory_openai_agents.nothing
