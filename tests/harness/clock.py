"""Another time of day than the machine's, for one program and what it starts."""

from __future__ import annotations

from pathlib import Path

from harness import need


def clock(since: str) -> dict[str, str]:
    """Variables for a program whose clock begins at `since`, as `2001-01-01 00:00:00`.

    The library by itself: the command of that name stays between, and leaves its child behind when it is killed.
    """
    return {"LD_PRELOAD": _library(), "FAKETIME": f"@{since}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def moved_by(file: Path) -> dict[str, str]:
    """Variables for a program whose time, all of it, is as much ahead as this file says (`+2h`) at any time."""
    return {"LD_PRELOAD": _library(), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1"}


def _library() -> str:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if not library:
        need.lacking("libfaketime (apt-get install faketime)")
    return str(library)
