"""`portway start`: endpoints and tunnels of the configuration file (cli.md §6)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from portway.cli.options import Flag, Given, command
from portway.launch import Launch

FLAGS = (Flag("region", "text", instead="the region is chosen automatically"),)


def start(
    given: Given,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Endpoints or tunnels to start")
    ] = None,
    start_all: Annotated[bool, typer.Option("--all/--no-all", help="All of the file", show_default=False)] = False,
    start_none: Annotated[
        bool, typer.Option("--none/--no-none", help="None yet: just the session", show_default=False)
    ] = False,
) -> Launch:
    """Start endpoints of the configuration file."""
    from portway.cli.agent import Settings

    settings = Settings.read(given)
    return Launch("agent", settings.plan_of_names(names or [], everything=start_all, nothing=start_none))


EXAMPLES = """\
  portway start shop blog    two endpoints of the file
  portway start --all        all of them
  portway start --none       a session; programs add endpoints later
"""

start_command = partial(command, start, FLAGS, EXAMPLES)
