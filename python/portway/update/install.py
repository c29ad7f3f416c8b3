"""How this program came to this machine, and the command that replaces it. Files of a package manager are its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from portway.update import build

NAME = "portway"


class Install(NamedTuple):
    by: str
    """As people call it; empty for a file that may replace itself."""
    command: str = ""


def find() -> Install:
    """Who has put this program here."""
    package = Path(__file__).resolve().parent.parent
    if build.STANDALONE:
        return Install("")
    if os.environ.get("PORTWAY_INSTALLED_BY") == "image":  # the image says so of itself
        return Install("a container image", "pull a newer image and start the container again")
    parts = set(package.parts)
    prefix = Path(sys.prefix)
    if "Cellar" in parts:
        return Install("Homebrew", f"brew upgrade {NAME}")
    if "pipx" in prefix.parts:
        return Install("pipx", f"pipx upgrade {NAME}")
    if {"uv", "tools"} <= set(prefix.parts):
        return Install("uv", f"uv tool upgrade {NAME}")
    for tool, flag, command in (
        ("dpkg-query", "--search", f"sudo apt-get install --only-upgrade {NAME}"),
        ("rpm", "-qf", f"sudo dnf upgrade {NAME}"),
        ("pacman", "-Qo", f"sudo pacman -Syu {NAME}"),
        ("apk", "info --who-owns", f"sudo apk upgrade {NAME}"),
    ):
        if package.is_relative_to("/usr") and _owns(tool, flag, package / "__init__.py"):
            return Install(tool.partition("-")[0], command)
    if _installer() == "uv":
        return Install("uv", f"uv pip install --upgrade {NAME}")
    return Install("pip", f"{sys.executable} -m pip install --upgrade {NAME}")


def _owns(tool: str, flag: str, file: Path) -> bool:
    if not shutil.which(tool):
        return False
    return subprocess.run([tool, *flag.split(), str(file)], capture_output=True, check=False).returncode == 0


def _installer() -> str:
    try:
        return (metadata.distribution(NAME).read_text("INSTALLER") or "").strip()
    except metadata.PackageNotFoundError:
        return ""
