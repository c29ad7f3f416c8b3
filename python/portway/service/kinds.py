"""What a service is, and which manager of services this machine has."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

NAME = "portway"
DESCRIPTION = "portway: public URLs for services behind NAT"
# Between a crash and the next start (agent-behaviour.md §10).
RESTART_SECONDS = 15
OPEN_FILES = 65_536


class ServiceError(Exception):
    """The manager of services did not do what it was asked, or there is none; a text for the user."""


@dataclass(frozen=True)
class Service:
    """What is to run, for as long as the machine does."""

    program: tuple[str, ...]
    """The words that start portway, the first one an absolute path."""
    config: tuple[Path, ...]
    """Absolute."""
    user: str = ""
    """The account it runs as; empty: the one that services have."""
    temporary: bool = False
    """Whether it needs what others keep in /tmp."""
    writes: tuple[Path, ...] = field(default=())
    """Folders it writes to in places where programs usually have nothing to write."""

    @property
    def argv(self) -> list[str]:
        return [*self.program, "service", "run", *(word for path in self.config for word in ("--config", str(path)))]


class Manager(Protocol):
    """One system of services."""

    name: str
    """As the records tell it."""

    def install(self, service: Service) -> None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def restart(self) -> None: ...
    def uninstall(self) -> None: ...


def find(root: Path = Path("/")) -> Manager:
    """The manager of this machine. Raises `ServiceError` where there is none that we know."""
    from portway.service import launchd, systemd, windows  # noqa: PLC0415 - one of them is needed

    if sys.platform == "win32":
        return windows.Windows()
    if sys.platform == "darwin":
        return launchd.Launchd()
    if (root / "run/systemd/system").is_dir():  # sd_booted(3)
        return systemd.Systemd(root)
    raise ServiceError(f"This machine has no service manager that portway can use ({other(root)}).")


def other(root: Path) -> str:
    """What manages services here instead."""
    for where, what in (
        ("run/openrc", "it runs OpenRC"),
        ("run/runit", "it runs runit"),
        ("etc/runit", "it runs runit"),
        ("run/s6", "it runs s6"),
        (".dockerenv", "this is a container"),
        ("run/.containerenv", "this is a container"),
        ("etc/init.d", "there is no systemd; /etc/init.d is not enough"),
    ):
        if (root / where).exists():
            return what
    return "there is no systemd"


def shown(argv: Sequence[str]) -> str:
    """A command line as one types it."""
    return subprocess.list2cmdline(argv) if sys.platform == "win32" else shlex.join(argv)


def call(argv: Sequence[str], hint: str = "") -> str:
    """Runs a tool of the manager; its output. Raises `ServiceError` with what it said."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise ServiceError(f"Cannot run {argv[0]}: {error.strerror}.") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").rstrip(".")
        advice = f"\n{hint}" if hint else ""
        raise ServiceError(f"`{shown(argv)}` failed (exit code {done.returncode}): {said}.{advice}")
    return done.stdout
