"""What a test needs on this machine. Missing here, it is named and the test is skipped; in CI it fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"


def lacking(what: str) -> NoReturn:
    """Ends the test: a skip that names what is missing, a failure in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have {what}")
    pytest.skip(f"not here: {what}")


def program(name: str, package: str) -> str:
    """The path of a program of a Debian package."""
    path = os.pathsep.join(
        [os.environ.get("PATH", ""), "/usr/sbin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))]
    )
    found = shutil.which(name, path=path)
    return found or lacking(f"{name} (apt-get install {package})")


def tool(*parts: str) -> Path:
    """A file that `tools/peers` brought into the checkout."""
    path = TOOLS.joinpath(*parts)
    return path if path.exists() else lacking(f".tools/{'/'.join(parts)} (run tools/peers)")
