"""What became of each thing that was to be made: a file, or a reason why not here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Left(Exception):  # noqa: N818 - nothing went wrong
    """It cannot be made on this machine; why."""


class Failed(Exception):  # noqa: N818
    """It should have been made; what the tool said."""


def run(*argv: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
    """What a tool writes to stdout. Raises `Failed`, or `Left` where there is no such tool."""
    try:
        done = subprocess.run(
            argv, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise Left(f"there is no {argv[0]} here") from None
    if done.returncode:
        raise Failed(f"{' '.join(argv[:3])} …: exit code {done.returncode}\n{done.stderr.strip()[-4000:]}")
    return done.stdout
