"""`portway config upgrade` (config.md §8): the new file on stdout, what was changed on stderr."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import typer

from portway.cli.options import Given, command
from portway.cli.report import CommandError, notice

EXAMPLES = """\
  portway config upgrade --dry-run     shows what would become of the file
  portway config upgrade               changes it; the old one stays beside it as .bak
  portway config upgrade --relocate    moves it to the usual place too
"""


def upgrade(
    given: Given,
    version: Annotated[str, typer.Argument(metavar="[VERSION]", help="2 or 3", show_default=False)] = "3",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing", show_default=False)] = False,
    relocate: Annotated[
        bool, typer.Option("--relocate", help="Move the file to where it is usually looked for", show_default=False)
    ] = False,
) -> None:
    """Bring the configuration file to a later version. What it means stays, and so do comments and order."""
    from portway.__main__ import program
    from portway.config import files
    from portway.config import upgrade as upgrading

    if version not in ("2", "3"):
        raise CommandError(f"There is no version {version!r} to upgrade to: 2 and 3 are known.")
    if len(given.many("config")) > 1:
        raise CommandError("This command works on one file: --config was given more than once.")
    found = files.search(given.many("config"), os.environ, program())
    if len(found.read) > 1:
        raise CommandError("This command works on one file: name it with --config.")
    path = found.read[0] if found.read else found.write
    if found.fallback and not relocate and not dry_run:
        raise CommandError(
            f"{path} is another program's file, which stays as it is.\n"
            f"Use --relocate to have an upgraded copy at {found.write}, or name the file with --config."
        )
    done = upgrading.upgrade(
        path,
        int(version),
        dry_run=dry_run,
        relocate=files.default(program(), os.environ) if relocate else None,
        theirs=found.fallback,
    )
    print(done.text, end="" if done.text.endswith("\n") else "\n")
    for line in done.report or [f"{path} is of version {version} already"]:
        notice(line)
    if done.backup:
        notice(f"the file as it was is {done.backup}")
    if dry_run:
        notice("nothing was written (--dry-run)")
    elif done.report:
        notice(f"Configuration file upgraded: {done.path}")


upgrade_command = partial(command, upgrade, (), EXAMPLES)
