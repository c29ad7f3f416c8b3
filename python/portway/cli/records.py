"""Records of commands that tell what they do as the agent does (cli.md §12), and end before Rust begins."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portway.cli.options import Given

BARE = re.compile(r"[!#-&(-<>-\[\]-~]+")


class Records:
    """Writes to stdout, or to stderr or a file where `--log` says so."""

    def __init__(self, target: str = "stdout", form: str = "term") -> None:
        self._target = target
        self._json = form == "json"

    @classmethod
    def of(cls, given: Given) -> Records:
        return cls(given.text("log") or "stdout", given.text("log_format") or "term")

    def info(self, message: str, **fields: str | None) -> None:
        self._write("info", message, fields)

    def warn(self, message: str, **fields: str | None) -> None:
        self._write("warn", message, fields)

    def _write(self, level: str, message: str, fields: dict[str, str | None]) -> None:
        if self._target == "false":
            return
        now = datetime.now().astimezone().strftime("%Y-%m-%dT%H:%M:%S%z")
        record = {"t": now, "lvl": level, "msg": message, **fields}
        line = as_json(record) if self._json else logfmt(record)
        if self._target in ("stdout", "stderr"):
            print(line, file=getattr(sys, self._target), flush=True)
        else:
            with open(self._target, "a", encoding="utf-8") as file:  # noqa: PTH123 - a name that may be `~`-less
                file.write(line + "\n")


def logfmt(record: dict[str, str | None]) -> str:
    """Bare values only where every reader takes them; an apostrophe is not among these."""
    return " ".join(f"{key}={quoted(value)}" for key, value in record.items())


def quoted(value: str | None) -> str:
    if value is None:
        return "nil"
    if BARE.fullmatch(value):
        return value
    escaped = "".join(
        {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}.get(letter)
        or (letter if letter.isprintable() else f"\\u{ord(letter):04x}")
        for letter in value
    )
    return f'"{escaped}"'


def as_json(record: dict[str, str | None]) -> str:
    values = {key: "<nil>" if value is None else value for key, value in record.items()}
    return json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
