"""Writes what is made from the commands of portway: the tree that help and completion read, the references, man pages.

usage: python tools/commands.py

A test compares the files with what this would write.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tools")]

import api_pages  # noqa: E402
import manual  # noqa: E402
import reference  # noqa: E402

from portway.cli import describe  # noqa: E402
from portway.cli.commands import COMMANDS, is_group  # noqa: E402

MANUALS = ROOT / "docs" / "man" / "data" / "share" / "man" / "man1"
REFERENCE = ROOT / "docs" / "reference" / "cli.md"
API_REFERENCE = ROOT / "docs" / "reference" / "api.md"
TREE = ROOT / "python" / "portway" / "cli" / "tree.py"

TREE_HEAD = '''"""The commands as data. Made by tools/commands.py, from the commands themselves."""

from __future__ import annotations

from portway.cli.describe import Flag, Spec

'''


def tree() -> str:
    common = describe.common()
    text = TREE_HEAD + f"COMMON: tuple[Flag, ...] = {rows(common, 4)}\n\nCOMMANDS: dict[str, Spec] = {{\n"
    for command in COMMANDS:
        if is_group(command):
            continue
        summary, about, examples, words, flags = describe.shortened(describe.described(command), common)
        text += f"    {command!r}: (\n        {summary!r},\n        {about!r},\n        {examples!r},\n"
        text += f"        {rows(words, 12)},\n        {rows(flags, 12)},\n    ),\n"
    return text + "}\n"


def rows(items: tuple[object, ...], indent: int) -> str:
    """A tuple with a line for each of its items."""
    pad = " " * indent
    return "(" + "".join(f"\n{pad}{item!r}," for item in items) + f"\n{pad[4:]})" if items else "()"


def files() -> dict[Path, str]:
    """Everything that is made, by path."""
    pages = {MANUALS / name: text for name, text in manual.pages().items()}
    pages[MANUALS / "portway-api.1"] = api_pages.manual()
    return {TREE: tree(), REFERENCE: reference.page(), API_REFERENCE: api_pages.reference(), **pages}


if __name__ == "__main__":
    made = files()
    for path in {*MANUALS.glob("*.1")} - set(made):
        path.unlink()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
