"""The pages of the documentation, and the examples on them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.need import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "bench" / "README.md"])

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def examples(language: str, beginning: str = "") -> list[Example]:
    """All code of one language, on whatever page; `beginning`: of its first line."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for block in BLOCK.finditer(text):
            line = text.count("\n", 0, block.start()) + 2
            found.append(Example(page, line, block[1], block[2]))
    return [one for one in found if one.language == language and one.text.startswith(beginning)]


def tables(page: str) -> dict[str, list[list[str]]]:
    """The rows of the tables on a page, without their heads, by the heading above."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in (ROOT / page).read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("| ") and not line.startswith("| key |") and not line.startswith("| name |"):
            found.setdefault(heading, []).append([cell.strip() for cell in line.strip()[1:-1].split("|")])
    return found


def code(cell: str) -> list[str]:
    """What a cell has in code type."""
    return re.findall(r"`([^`]+)`", cell)
