"""`portway config …`: reads and changes the configuration file. What a file may say is `portway.config`'s business."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portway.cli.options import Given, command
from portway.cli.report import CommandError, notice

if TYPE_CHECKING:
    from portway.config.files import Found

Value = Annotated[str, typer.Argument(metavar="VALUE", show_default=False)]


def add_authtoken(given: Given, token: Annotated[str, typer.Argument(metavar="TOKEN")]) -> None:
    """Save the authtoken of this agent."""
    _save(given, "authtoken", token, "Authtoken")


def add_api_key(given: Given, key: Annotated[str, typer.Argument(metavar="KEY")]) -> None:
    """Save the key of `portway api`."""
    _save(given, "api_key", key, "API key")


def add_api_url(given: Given, address: Annotated[str, typer.Argument(metavar="URL")]) -> None:
    """Save the address of the API, for `portway api`."""
    from portway.api.client import checked_url

    _save(given, "api_url", checked_url(address), "API URL")


def add_connect_url(given: Given, address: Annotated[str, typer.Argument(metavar="HOST:PORT")]) -> None:
    """Save the address of the edge."""
    from portway.config import values

    try:
        values.connect_url(address)
    except ValueError as error:
        raise CommandError(str(error)) from None
    _save(given, "connect_url", address, "Connect URL")


def _save(given: Given, key: str, value: str, what: str) -> None:
    from portway.config import edit

    if not value or not value.isprintable() or any(letter.isspace() for letter in value):
        raise CommandError(f"The {what} must not be empty, nor hold blanks or control characters.")
    path, replaced = _one_path(given), _replaced(given)
    edit.set_value(path, key, value)
    print(f"{what} saved to configuration file: {path}")
    _remark(path, replaced)


def _replaced(given: Given) -> Path | None:
    """Another program's file that is read now, and is not once there is one of ours."""
    found = _found(given)
    return found.read[0] if found.fallback else None


def _remark(path: Path, replaced: Path | None) -> None:
    """What else is to be known about a file that has just got a secret."""
    if replaced:
        notice(f"{replaced} is no longer read: {path} takes its place.")
    if problems := _problems(path):
        rest = f"{problems} that it had before: `portway config check` tells more"
        notice(f"Warning: {path} cannot be used yet, for {rest}.")
    if os.name == "posix" and (mode := path.stat().st_mode & 0o777) & 0o077:
        command_line = f"chmod 600 {shlex.quote(str(path))}"
        notice(f"Warning: others can read {path} (mode {mode:o}), which holds a secret: run `{command_line}`.")


def _problems(path: Path) -> str:
    """How many there are in a file, if any."""
    from portway.config.errors import ConfigError
    from portway.config.load import load

    try:
        load([path])
    except ConfigError as error:
        return _count(len(error.problems), "problem")
    return ""


def join(
    given: Given, string: Annotated[str, typer.Argument(metavar="STRING", help="As printed by `portway edge`")]
) -> None:
    """Point this agent at an edge with the string the edge printed: its address, whom to trust, and a token."""
    from portway.config import join as joining

    joined = joining.decode(string)
    path, replaced = _one_path(given), _replaced(given)
    joining.write(path, joined)
    print(f"Edge saved to configuration file: {path}")
    _remark(path, replaced)


def check(given: Given) -> int:
    """Check configuration files. Nothing is contacted."""
    from portway.config.load import load

    found = _found(given)
    paths = found.read or [found.write]  # that there is none is told of the file that would be
    if given.text("log_format") == "json":
        return _check_as_records(paths)
    load(paths)  # together they must fit too
    for path in paths:
        config = load([path])
        print(f"Valid configuration file at {path}")
        summary = f"version {config.versions[0]}, {_count(len(config.endpoints), 'endpoint')}"
        print(f"  {summary}, {_count(len(config.tunnels), 'tunnel')}")
        for text in config.notices:
            notice(f"  {text}")
    return 0


def _check_as_records(paths: Sequence[Path]) -> int:
    """For programs: one record on stdout for each problem."""
    import json

    from portway.config.errors import ConfigError
    from portway.config.load import load

    try:
        load(paths)
    except ConfigError as error:
        for one in error.problems:
            file = str(one.file) if one.file else ""
            place = {"column": one.column, "file": file, "line": one.line, "lvl": "eror"}
            text = f"{one.message} ({one.hint})" if one.hint else one.message
            print(json.dumps({**place, "msg": text, "path": one.key}, ensure_ascii=False))
        return 1
    return 0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


SKELETON = """version: "3"
agent:
    # authtoken: TOKEN
    # connect_url: edge.example.com:443
    # connect_cas: trusted
endpoints:
    # - name: web
    #   url: https://web.example.com
    #   upstream:
    #       url: 8080
"""


def edit(given: Given) -> int:
    """Open the configuration file in an editor, and check it afterwards."""
    path = _one_path(given)
    if not path.exists():
        if theirs := _replaced(given):
            notice(f"{theirs} is another program's, and is no longer read once {path} is there.")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(SKELETON)
    command_line = editor()
    try:
        subprocess.run([*command_line, str(path)], check=False)
    except OSError as error:
        reason = f"Cannot start the editor {command_line[0]}: {error.strerror}."
        raise CommandError(f"{reason} Set EDITOR to another.") from None
    from portway.config.errors import ConfigError
    from portway.config.load import load

    try:
        load([path])
    except ConfigError as error:
        notice(str(error))
    else:
        print(f"Valid configuration file at {path}")
    return 0


def editor() -> list[str]:
    """$EDITOR, which may have arguments, or what the system has."""
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if named:
        return shlex.split(named, posix=os.name != "nt")
    return ["notepad"] if os.name == "nt" else ["nano"]


def _found(given: Given) -> Found:
    from portway.__main__ import program
    from portway.config import files

    return files.search(given.many("config"), os.environ, program())


def _one_path(given: Given) -> Path:
    if len(given.many("config")) > 1:
        raise CommandError("This command works on one file: --config was given more than once.")
    return _found(given).write


CHECK = """\
  portway config check                        the file that is used
  portway config check --config a.yml,b.yml   several, which must fit together
  portway config check --log-format json      for programs: a record for each problem
"""
EDIT = """\
  portway config edit
  EDITOR="code --wait" portway config edit    in another editor
"""
JOIN = """\
  portway config join pw1_eyJhIjoi...         as the edge printed it
"""
AUTHTOKEN = """\
  portway config add-authtoken TOKEN
"""
API_KEY = """\
  portway config add-api-key KEY
"""
API_URL = """\
  portway config add-api-url https://api.example.com
"""
CONNECT_URL = """\
  portway config add-connect-url connect.example.com:4443
"""

check_command = partial(command, check, (), CHECK)
edit_command = partial(command, edit, (), EDIT)
join_command = partial(command, join, (), JOIN)
add_authtoken_command = partial(command, add_authtoken, (), AUTHTOKEN)
authtoken_command = add_authtoken_command
add_api_key_command = partial(command, add_api_key, (), API_KEY)
add_api_url_command = partial(command, add_api_url, (), API_URL)
add_connect_url_command = partial(command, add_connect_url, (), CONNECT_URL)
add_server_addr_command = add_connect_url_command
