"""Log records in logfmt (cli.md §12), read as programs around portway read them."""

from __future__ import annotations

import re

Record = dict[str, str]

PAIR = re.compile(r"""([A-Za-z_][A-Za-z0-9_.]*)=("(?:[^"\\]|\\.)*"|[^ "]*)(?: |$)""")
ESCAPE = re.compile(r"\\(.)")
NAMED = {"n": "\n", "r": "\r", "t": "\t"}


def parse(line: str) -> Record | None:
    """The record of one line; `None` for a line that is none."""
    record: Record = {}
    at = 0
    line = line.rstrip("\n")
    while at < len(line):
        pair = PAIR.match(line, at)
        if pair is None:
            return None
        key, value = pair.groups()
        if value.startswith('"'):
            value = ESCAPE.sub(lambda escape: NAMED.get(escape[1], escape[1]), value[1:-1])
        record.setdefault(key, value)
        at = pair.end()
    return record if {"t", "lvl", "msg"} <= record.keys() else None
