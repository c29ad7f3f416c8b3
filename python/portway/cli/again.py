"""How a running agent is made anew: the command line that made it, and the hidden commands that it runs meanwhile."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from portway.cli.options import Given, command
from portway.launch import Launch
from portway.update import build


def program() -> list[str]:
    """This program without what it was told."""
    script = Path(sys.argv[0])
    if build.STANDALONE and os.access(script, os.X_OK):
        return [str(script.resolve())]  # what it is made of may be another thing by then
    count = len(sys.argv) - 1
    words = sys.orig_argv[: len(sys.orig_argv) - count] if count else sys.orig_argv
    return [sys.executable, *words[1:]]


def plan() -> dict[str, Any]:
    """`again` of a plan. The command line may hold a token, so the check is told it on its standard input."""
    here = program()
    return {
        "argv": [*here, *sys.argv[1:]],
        "check": [*here, "__plan"],
        "stdin": json.dumps({"argv": sys.argv[1:]}),
    }


def update_plan(agent: dict[str, Any]) -> dict[str, Any]:
    """`update` of a plan, by the `agent` part of the configuration."""
    from portway.update import install

    url = os.environ.get("PORTWAY_UPDATE_URL") or build.ADDRESS
    found = install.here()
    return {
        "url": url,
        "channel": agent.get("update_channel", "stable"),
        "keys": list(build.KEYS),
        "check": bool(url) and agent.get("update_check", bool(build.ADDRESS)),
        "argv": [*program(), "__update"],
        "proxy": agent.get("proxy_url") or "",
        "unsupported": install.unsupported(found, url),
        "instead": found.command,
    }


def __plan(given: Given) -> None:
    """Print the plan of the command line on stdin."""
    from portway.__main__ import program as name

    del given
    print_plan(name(), json.load(sys.stdin)["argv"])


def print_plan(name: str, argv: list[str]) -> None:
    """What a command line means right now, for the running program that was made of it. Raises `CommandError`."""
    from portway.cli.app import evaluate

    launch = evaluate(name, argv)
    if isinstance(launch, Launch):
        print(json.dumps(launch.plan))


def __update(given: Given) -> None:
    """Install the version that is named on stdin, or the newest; print which one it was."""
    from portway.update import newest

    del given
    told = json.load(sys.stdin)
    source = newest.Source(told["url"], told["channel"], told["proxy"])
    done = newest.install(source, version=told["version"], major=told["major"])
    print(json.dumps({"version": done.version if done else None}))


__plan_command = partial(command, __plan)
__update_command = partial(command, __update)
