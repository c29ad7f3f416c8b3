"""Configuration files of tests, and what is read from them."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from portway.config.errors import ConfigError
from portway.config.load import load
from portway.config.model import Config


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(textwrap.dedent(text).lstrip("\n").encode())
    return path


def read(path: Path, text: str) -> Config:
    """What a file of this text says."""
    return load([write(path / "portway.yml", text)])


def problems(path: Path, text: str) -> list[str]:
    """What is told about a file that cannot stand, as `LINE:COLUMN MESSAGE (HINT)`."""
    with pytest.raises(ConfigError) as caught:
        read(path, text)
    return [
        f"{one.line}:{one.column} {one.message}" + (f" ({one.hint})" if one.hint else "")
        for one in caught.value.problems
    ]


def shape(endpoints: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Name, URL and upstream of every endpoint of a plan."""
    return [(one["name"], one["url"], one["addr"]) for one in endpoints]
