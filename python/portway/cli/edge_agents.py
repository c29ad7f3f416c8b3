"""`portway edge agents`: who is connected to a running edge, and what it is told to do (agent-behaviour.md §6)."""

from __future__ import annotations

import json
import re
import time
from functools import partial
from typing import Annotated

import typer

from portway.cli.edge import TO_A_RUNNING_ONE
from portway.cli.edge_control import ask
from portway.cli.options import Given, command
from portway.cli.report import CommandError, printable

# An agent that updates itself has a minute for that.
PATIENCE_SECONDS = 90

Session = Annotated[str, typer.Argument(metavar="SESSION", help="Its session, as `list` shows it")]


def list_(
    given: Given,
    as_json: Annotated[bool, typer.Option("--json", help="All that is known, as JSON", show_default=False)] = False,
) -> None:
    """Show the agents that are connected: session, account, address, version, since when, URLs."""
    told = _ask(given, "agents")
    if as_json:
        print(told)
        return
    for agent in json.loads(told):
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(agent["since"]))
        urls = " ".join(agent["urls"]) or "no endpoint"
        parts = (agent["id"], agent["account"], agent["ip"], agent["version"], since, urls)
        print(printable("  ".join(parts)))


def stop(given: Given, session: Session) -> None:
    """Stop an agent. What starts it again, if anything does, is its own affair."""
    _order(given, f"stop {_checked(session)}", f"{session} stops")


def restart(given: Given, session: Session) -> None:
    """Let an agent start again with its configuration as it is now. One that is broken is refused, with the reason."""
    _order(given, f"restart {_checked(session)}", f"{session} starts again")


def update(
    given: Given,
    session: Session,
    to: Annotated[str, typer.Option("--to", metavar="VERSION", help="This version; the newest, unless given")] = "",
    major: Annotated[
        bool, typer.Option("--major", help="Also to a version with another first number", show_default=False)
    ] = False,
) -> None:
    """Let an agent replace itself by another version and start again."""
    if not re.fullmatch(r"[\w.+-]*", to):
        raise CommandError(f"{to!r} is no version.")
    step = "major" if major else "minor"
    _order(given, f"update {_checked(session)} {to or '-'} {step}", f"{session} is up to date, or starts again as such")


def _checked(session: str) -> str:
    if not re.fullmatch(r"\w+", session):
        raise CommandError(f"{session!r} is no session: see `portway edge agents list`.")
    return session


def _order(given: Given, request: str, done: str) -> None:
    _ask(given, request)
    print(done)


def _ask(given: Given, request: str) -> str:
    answer = ask(given, request, PATIENCE_SECONDS)
    if not answer.ok:
        raise CommandError(answer.text or "The edge gave no answer.")
    return answer.text


LIST = """\
  portway edge agents list
"""
STOP = """\
  portway edge agents stop ts_0123456789abcdef
"""
RESTART = """\
  portway edge agents restart ts_0123456789abcdef
"""
UPDATE = """\
  portway edge agents update ts_0123456789abcdef
"""

list_command = partial(command, list_, TO_A_RUNNING_ONE, LIST)
stop_command = partial(command, stop, TO_A_RUNNING_ONE, STOP)
restart_command = partial(command, restart, TO_A_RUNNING_ONE, RESTART)
update_command = partial(command, update, TO_A_RUNNING_ONE, UPDATE)
