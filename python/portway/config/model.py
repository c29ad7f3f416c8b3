"""What configuration files say, once read: one model for versions 2 and 3."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Entry:
    """One endpoint or tunnel, in the words of a tunnel definition (config.md §5.2)."""

    name: str
    options: dict[str, Any]
    """`proto`, `url`, `addr`, …; values are checked in form, not in meaning."""
    file: Path | None = None
    line: int = 0
    column: int = 0
    version: int = 2

    @property
    def folder(self) -> Path:
        """Where relative paths of this entry are looked for after the working directory."""
        return self.file.parent if self.file else Path()


@dataclass
class Config:
    """All files together, later ones over earlier ones."""

    agent: dict[str, Any] = field(default_factory=dict)
    """Settings by their version 3 names; durations in nanoseconds."""
    endpoints: list[Entry] = field(default_factory=list)
    tunnels: dict[str, Entry] = field(default_factory=dict)
    read: list[Path] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    """Entries of earlier files that a later one took the place of."""

    @property
    def entries(self) -> list[Entry]:
        """Endpoints, then tunnels, in the order of the files."""
        return [*self.endpoints, *self.tunnels.values()]
