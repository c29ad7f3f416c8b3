"""Where configuration files are (config.md §1)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple


class Found(NamedTuple):
    """Which files are read and which is written."""

    read: tuple[Path, ...]
    write: Path
    """The one that `config add-…` changes or creates."""
    fallback: bool = False
    """What is read is another program's: its secrets are used with care."""


def search(explicit: Sequence[Path | str], env: Mapping[str, str], program: str = "portway") -> Found:
    """The files of this run. `explicit`: from `--config`; then nothing else is looked at.

    `program` is the name this program was started by: under the name `ngrok` that program's places come first.
    """
    if explicit:
        paths = tuple(Path(path).expanduser() for path in explicit)
        return Found(paths, paths[-1])
    for variable in ("PORTWAY_CONFIG", "NGROK_CONFIG"):
        if env.get(variable, "").strip(","):
            paths = tuple(Path(part).expanduser() for part in env[variable].split(",") if part)
            return Found(paths, paths[-1])
    ours, theirs = default("portway", env), default("ngrok", env)
    drop_in = program == "ngrok"
    first, second = (theirs, ours) if drop_in else (ours, theirs)
    if first.is_file():
        return Found((first,), first)
    for other in (second, _home(env) / ".ngrok2" / "ngrok.yml"):
        if other.is_file():
            return Found((other,), first, fallback=not drop_in)
    return Found((), first)


def default(name: str, env: Mapping[str, str]) -> Path:
    """The usual place of `NAME.yml` on this system."""
    home = _home(env)
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / name / f"{name}.yml"
    if sys.platform == "win32":
        return Path(env.get("LOCALAPPDATA") or home / "AppData" / "Local") / name / f"{name}.yml"
    return Path(env.get("XDG_CONFIG_HOME") or home / ".config") / name / f"{name}.yml"


def state_dir(env: Mapping[str, str]) -> Path:
    """Where an agent keeps what it would rather not find out again."""
    if state := env.get("STATE_DIRECTORY"):  # systemd's StateDirectory=
        return Path(state.split(":")[0])
    if sys.platform in ("darwin", "win32"):
        return default("portway", env).parent
    return Path(env.get("XDG_STATE_HOME") or _home(env) / ".local" / "state") / "portway"


def _home(env: Mapping[str, str]) -> Path:
    return Path(env["HOME"]) if env.get("HOME") else Path.home()
