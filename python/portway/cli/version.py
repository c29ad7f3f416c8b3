"""`portway version`, where it comes with flags; alone it is answered before any import."""

from __future__ import annotations

from functools import partial

from portway.cli.options import Given, command


def version(given: Given) -> None:
    """Print the version."""
    from portway.__main__ import version_line

    del given
    print(version_line())


version_command = partial(command, version)
