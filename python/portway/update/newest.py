"""From what is announced to what is installed: who asks for it, a person or the edge, makes no difference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from portway import __version__
from portway.update import build, manifest, replace
from portway.update.fetch import UpdateError
from portway.update.manifest import Manifest, number


class Source(NamedTuple):
    """Where versions are announced."""

    url: str
    channel: str
    proxy: str = ""


def find(source: Source) -> Manifest | None:
    """The manifest of a newer version; nothing where this is the newest. Raises `UpdateError`."""
    found = manifest.read(source.url, source.channel, build.KEYS, source.proxy)
    theirs, ours = number(found.version), number(__version__)
    if theirs < ours:
        raise UpdateError(
            f"The manifest announces {found.version}, which is older than {__version__}: it is not followed."
        )
    return found if theirs > ours else None


def executable() -> Path:
    return Path(sys.argv[0]).resolve()


def install(source: Source, *, version: str = "", major: bool = False) -> Manifest | None:
    """Puts the newest version in the place of this one. `version`: only if it is that. Raises `UpdateError`."""
    found = find(source)
    newest = found.version if found else __version__
    if version not in ("", newest):
        raise UpdateError(f"Version {version} is not on offer: the channel {source.channel} has {newest}.")
    if found:
        put(found, source, major=major)
    return found


def put(found: Manifest, source: Source, *, major: bool) -> None:
    """Puts a version in the place of this one, where it may follow it. Raises `UpdateError`."""
    if number(found.version)[0] != number(__version__)[0] and not major:
        raise UpdateError(
            f"Version {found.version} may behave differently from {__version__}: read its notes, then add --major."
        )
    if number(found.min_from) > number(__version__):
        raise UpdateError(f"Version {found.version} cannot follow {__version__}: update to {found.min_from} first.")
    replace.replace(executable(), manifest.fitting(found), found.version, source.proxy)
