"""Writes docs/settings.md and docs/errors.md from the code; with --check, says whether they are current."""

import sys
from pathlib import Path

from chatmemory import errors
from chatmemory.settings import Settings

DOCS = Path(__file__).parent.parent / "docs"
MADE = "<!-- made by `make docs`; do not edit -->\n\n"


def settings_page() -> str:
    """A table of every setting."""
    lines = [
        "# Settings\n",
        MADE.strip() + "\n",
        "As `Settings(name=…)`, as a variable, or in an `.env` file.\n",
        "| variable | default | what it sets |",
        "| --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        default = "none" if field.default is None else f"`{field.default}`"
        lines.append(f"| `CHATMEMORY_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """The error tree."""
    intro, _, tree = (errors.__doc__ or "").partition("\n\n")
    tree, _, rest = tree.partition("\n\n")
    return f"# Errors\n\n{MADE}{intro}\n\n```\n{tree}\n```\n\n{rest.strip()}\n"


def main() -> int:
    """Write the pages, or compare them."""
    pages = {DOCS / "settings.md": settings_page(), DOCS / "errors.md": errors_page()}
    if "--check" not in sys.argv:
        for path, text in pages.items():
            path.write_text(text)
        return 0
    stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text() != text]
    if stale:
        print(f"not current: {', '.join(stale)}; run: make docs")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
