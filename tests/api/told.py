"""What a command said, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Told:
    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines of an error, without what marks them as one."""
        lines = self.err.splitlines()
        assert lines
        assert all(line.startswith("ERROR:  ") for line in lines), self.err
        return [line.removeprefix("ERROR:  ") for line in lines]


Run = Callable[..., Told]
