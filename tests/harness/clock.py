"""Another time of day than the machine's, for one program and what it starts."""

from __future__ import annotations

from pathlib import Path

from harness import need


def clock(since: str) -> dict[str, str]:
    """Variables for a program whose clock begins at `since`, as `2001-01-01 00:00:00`.

    The library by itself: the command of that name stays between, and leaves its child behind when it is killed.
    """
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if not library:
        need.lacking("libfaketime (apt-get install faketime)")
    return {"LD_PRELOAD": str(library), "FAKETIME": f"@{since}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
