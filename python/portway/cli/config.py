"""`portway config …`: reads and changes the configuration file. What a file may say is `portway.config`'s business."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from portway.cli.options import Given, command
from portway.cli.report import Failure, failed, notice

Value = Annotated[str, typer.Argument(metavar="VALUE", show_default=False)]


def add_authtoken(given: Given, token: Annotated[str, typer.Argument(metavar="TOKEN")]) -> None:
    """Save the authtoken of this agent."""
    _save(given, "authtoken", token, "Authtoken")


def add_api_key(given: Given, key: Annotated[str, typer.Argument(metavar="KEY")]) -> None:
    """Save the key of `portway api`."""
    _save(given, "api_key", key, "API key")


def add_connect_url(given: Given, address: Annotated[str, typer.Argument(metavar="HOST:PORT")]) -> None:
    """Save the address of the edge."""
    _save(given, "connect_url", address, "Connect URL")


def _save(given: Given, key: str, value: str, what: str) -> None:
    from portway.config import edit

    if not value or not value.isprintable() or any(letter.isspace() for letter in value):
        raise Failure(f"The {what} must not be empty, nor hold blanks or control characters.")
    path = _one_path(given)
    edit.set_value(path, key, value)
    print(f"{what} saved to configuration file: {path}")


def join(given: Given, string: Annotated[str, typer.Argument(metavar="STRING", help="As printed by `portway edge`")]) -> None:
    """Point this agent at an edge with the string the edge printed: its address, whom to trust, and a token."""
    from portway.config import join as joining

    path = _one_path(given)
    joining.write(path, joining.decode(string))
    print(f"Edge saved to configuration file: {path}")


def check(given: Given) -> None:
    """Check configuration files. Nothing is contacted."""
    raise NotImplementedError


def edit(given: Given) -> int:
    """Open the configuration file in an editor, and check it afterwards."""
    path = _one_path(given)
    subprocess.run([*editor(), str(path)], check=True)
    return 0


def editor() -> list[str]:
    """$EDITOR, which may have arguments, or what the system has."""
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if named:
        return shlex.split(named, posix=os.name != "nt")
    return ["notepad"] if os.name == "nt" else ["nano"]
