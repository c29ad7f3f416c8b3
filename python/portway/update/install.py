"""How this program came to this machine, and the command that replaces it. Files of a package manager are its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from portway.update import build

NAME = "portway"


class Install(NamedTuple):
    by: str
    """As people call it; empty for a file that may replace itself."""
    command: str = ""


SYSTEM = (
    # Package manager, how it is asked for the owner of a file, the command that upgrades, and where it keeps its own.
    ("dpkg-query", "--search", f"sudo apt-get install --only-upgrade {NAME}", "var/lib/dpkg"),
    ("rpm", "-qf", f"sudo dnf upgrade {NAME}", "var/lib/rpm"),
    ("pacman", "-Qo", f"sudo pacman -Syu {NAME}", "var/lib/pacman"),
    ("apk", "info --who-owns", f"sudo apk upgrade {NAME}", "lib/apk"),
)


def find() -> Install:
    """Who has put this program here."""
    package = _package()
    if place := _by_place(package):
        return place
    for tool, flag, command, _ in SYSTEM:
        if package.is_relative_to("/usr") and _owns(tool, flag, package / "__init__.py"):
            return Install(tool.partition("-")[0], command)
    return _of_python(package)


def here() -> Install:
    """The same at a glance, for who cannot wait until a package manager has been asked."""
    package = _package()
    if place := _by_place(package):
        return place
    # What is below /usr/local came by other means.
    if package.is_relative_to("/usr") and not package.is_relative_to("/usr/local"):
        for tool, _, command, kept in SYSTEM:
            if Path("/", kept).is_dir():
                return Install(tool.partition("-")[0], command)
    return _of_python(package)


def unsupported(install: Install, url: str) -> str:
    """Why this program does not replace itself when it is told to; empty: it does."""
    if install.by:
        return (
            f"this agent was installed by a package manager ({install.by}) and does not replace itself; "
            "upgrade it there"
        )
    if not os.access(Path(sys.argv[0]).resolve().parent, os.W_OK):
        return "the executable is not writable by the agent"
    return "" if url else "this build of the agent knows no address to ask for updates"


def _package() -> Path:
    return Path(__file__).resolve().parent.parent


def _by_place(package: Path) -> Install | None:
    """What can be told by where it lies."""
    if build.STANDALONE:
        return Install("")
    if os.environ.get("PORTWAY_INSTALLED_BY") == "image":  # the image says so of itself
        return Install("a container image", "pull a newer image and start the container again")
    prefix = Path(sys.prefix)
    if "Cellar" in package.parts:
        return Install("Homebrew", f"brew upgrade {NAME}")
    if "pipx" in prefix.parts:
        return Install("pipx", f"pipx upgrade {NAME}")
    if {"uv", "tools"} <= set(prefix.parts):
        return Install("uv", f"uv tool upgrade {NAME}")
    return None


def _of_python(package: Path) -> Install:
    # importlib.metadata would find it too, but takes as long as all else at the start of an agent.
    installers = (path.read_text().strip() for path in package.parent.glob(f"{NAME}-*.dist-info/INSTALLER"))
    if "uv" in installers:
        return Install("uv", f"uv pip install --upgrade {NAME}")
    return Install("pip", f"{sys.executable} -m pip install --upgrade {NAME}")


def _owns(tool: str, flag: str, file: Path) -> bool:
    if not shutil.which(tool):
        return False
    return subprocess.run([tool, *flag.split(), str(file)], capture_output=True, check=False).returncode == 0
