"""`portway update`: a newer version in place of this one, or who brings it (cli.md §10)."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import typer

from portway import __version__
from portway.cli.options import Flag, Given, command
from portway.cli.report import CommandError

CHANNELS = ("stable", "beta", "unstable")
FLAGS = (Flag("channel", "text", "stable, beta or unstable; stable, unless the configuration says otherwise", "NAME"),)


def update(
    given: Given,
    major: Annotated[
        bool, typer.Option("--major", help="Also to a version with another first number", show_default=False)
    ] = False,
) -> None:
    """Update to the newest version of a channel.

    What a package manager has installed is its business: then its command is told, and nothing is changed.
    """
    from portway.cli.agent import Settings
    from portway.update import build, install, newest, replace

    agent = Settings.read(given).config.agent
    channel = given.text("channel") or agent.get("update_channel", "stable")
    if channel not in CHANNELS:
        raise CommandError(f'invalid argument "{channel}" for "--channel" flag: expected {", ".join(CHANNELS)}')
    address = os.environ.get("PORTWAY_UPDATE_URL") or build.ADDRESS
    source = newest.Source(address, channel, str(agent.get("proxy_url") or ""))
    found = newest.find(source) if address else None
    here = install.find()
    if address and not found:
        print(f"portway {__version__} is the newest version (channel {channel}).")
        return
    told = f"; {found.version} is the newest" if found else ""
    if here.by:
        print(f"This is portway {__version__}{told}. It came with {here.by}, which also upgrades it:")
        print(f"  {here.command}")
        return
    if not found:
        raise CommandError("This build of portway knows no address to ask for updates: set PORTWAY_UPDATE_URL.")
    newest.put(found, source, major=major)
    executable = newest.executable()
    print(f"Updated {executable} from {__version__} to {found.version}. Start running agents anew.")
    print(f"The former version stays in {replace.old(executable)} until the new one has been online.")


EXAMPLES = """\
  portway update                    to the newest release, or who updates this installation
  portway update --channel beta     releases that are not for everybody yet
"""

update_command = partial(command, update, FLAGS, EXAMPLES)
