"""`portway update`: a newer version in place of this one, or who brings it (cli.md §10)."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portway import __version__
from portway.cli.options import Flag, Given, command
from portway.cli.report import CommandError

if TYPE_CHECKING:
    from portway.update.manifest import Manifest

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
    from portway.update import build, install, manifest, replace

    agent = Settings.read(given).config.agent
    channel = given.text("channel") or agent.get("update_channel", "stable")
    if channel not in CHANNELS:
        raise CommandError(f'invalid argument "{channel}" for "--channel" flag: expected {", ".join(CHANNELS)}')
    proxy = str(agent.get("proxy_url") or "")
    address = os.environ.get("PORTWAY_UPDATE_URL") or build.ADDRESS
    found = manifest.read(address, channel, build.KEYS, proxy) if address else None
    here = install.find()
    if found and not _is_newer(found):
        print(f"portway {__version__} is the newest version (channel {channel}).")
        return
    newest = f"; {found.version} is the newest" if found else ""
    if here.by:
        print(f"This is portway {__version__}{newest}. It came with {here.by}, which also upgrades it:")
        print(f"  {here.command}")
        return
    if not found:
        raise CommandError("This build of portway knows no address to ask for updates: set PORTWAY_UPDATE_URL.")
    if manifest.number(found.version)[0] != manifest.number(__version__)[0] and not major:
        raise CommandError(
            f"Version {found.version} may behave differently from {__version__}: read its notes, then add --major."
        )
    if manifest.number(found.min_from) > manifest.number(__version__):
        raise CommandError(f"Version {found.version} cannot follow {__version__}: update to {found.min_from} first.")
    executable = Path(sys.argv[0]).resolve()
    replace.replace(executable, manifest.fitting(found), found.version, proxy)
    print(f"Updated {executable} from {__version__} to {found.version}. Start running agents anew.")
    print(f"The former version stays in {replace.old(executable)} until the new one has been online.")


def _is_newer(found: Manifest) -> bool:
    """Raises `UpdateError` for a manifest that is older than we are."""
    from portway.update import manifest
    from portway.update.fetch import UpdateError

    theirs, ours = manifest.number(found.version), manifest.number(__version__)
    if theirs < ours:
        raise UpdateError(
            f"The manifest announces {found.version}, which is older than {__version__}: it is not followed."
        )
    return theirs > ours


EXAMPLES = """\
  portway update                    to the newest release, or who updates this installation
  portway update --channel beta     releases that are not for everybody yet
"""

update_command = partial(command, update, FLAGS, EXAMPLES)
