"""An answer as it is shown: the JSON that the server sent, on lines of its own, nothing in it changed or moved."""

from __future__ import annotations

import json
import re
from typing import NoReturn

INDENT = "  "
PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s\[\]{},:"]+|[\[\]{},:]')

# Signs that terminals obey, or that turn lines around, written as JSON has another way to write them.
UNSEEN = {
    code: f"\\u{code:04x}"
    for code in (*range(0x7F, 0xA0), *range(0x200E, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}


def indented(text: str) -> str:
    """Raises `ValueError` for what is no JSON."""
    try:
        json.loads(text, parse_constant=_no_json)
    except RecursionError:
        raise ValueError("too deep") from None
    lines = [""]
    depth = 0
    before = ""
    for piece in PIECE.findall(text):
        if piece in ("}", "]"):
            depth -= 1
            if before not in ("{", "["):
                lines.append(INDENT * depth)
        elif before in ("{", "[", ","):
            lines.append(INDENT * depth)
        if piece in ("{", "["):
            depth += 1
        lines[-1] += piece + (" " if piece == ":" else "")
        before = piece
    return "\n".join(lines).translate(UNSEEN)


def _no_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
