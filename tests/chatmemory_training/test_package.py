import subprocess
import sys

import pytest

import chatmemory_training


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


@pytest.mark.parametrize("name", chatmemory_training.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """Every name in __all__ can be imported."""
    assert getattr(chatmemory_training, name).__name__ == name


def test_a_missing_extra_says_how_to_install_it() -> None:
    """Without fasteners the error is ours, and holds the command."""
    code = (
        "import sys; sys.modules['fasteners'] = None\nimport chatmemory, chatmemory_training\n"
        "try:\n    chatmemory_training.SessionManager\nexcept chatmemory.MissingExtraError as error:\n    print(error)"
    )
    assert 'pip install "chatmemory-postgres[training]"' in _run(code)


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Each part is loaded when it is first used."""
    heavy = "{'numpy', 'torch', 'wandb', 'sklearn', 'sqlalchemy', 'psycopg', 'fasteners'}"
    assert _run(f"import sys, chatmemory_training; print({heavy} & set(sys.modules))") == "set()"


def test_an_unknown_name_is_an_attribute_error() -> None:
    """An unknown name raises AttributeError, as in every module."""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = chatmemory_training.nothing
