"""What is wrong with a configuration, where, and what to do about it. All problems of a run are told at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHOWN = 20


@dataclass(frozen=True)
class Problem:
    """One thing that cannot stand. `line` and `column` count from 1; 0 where there is none."""

    message: str
    file: Path | None = None
    line: int = 0
    column: int = 0
    key: str = ""
    hint: str = ""

    def text(self) -> str:
        where = f"line {self.line}, column {self.column}: " if self.line else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.message}{hint}"


class ConfigError(Exception):
    """A configuration that cannot be used."""

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        given = [Problem(problems)] if isinstance(problems, str) else list(problems)
        files = list(dict.fromkeys(problem.file for problem in given))
        self.problems = sorted(given, key=lambda one: (files.index(one.file), one.line, one.column))
        super().__init__(self.text())

    def text(self) -> str:
        """As it is shown: one block for each file, problems in the order they stand there."""
        files = dict.fromkeys(problem.file for problem in self.problems)
        return "\n".join(
            self._block(file, [problem for problem in self.problems if problem.file == file]) for file in files
        )

    def _block(self, file: Path | None, problems: list[Problem]) -> str:
        if file is None:
            return "\n".join(problem.text() for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [f"Error reading configuration file '{file}': {count}", ""]
        lines += [f"  {problem.text()}" for problem in problems[:SHOWN]]
        if len(problems) > SHOWN:
            lines.append(f"  … and {len(problems) - SHOWN} more")
        return "\n".join(lines)
