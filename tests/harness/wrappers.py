"""How programs around an agent read its records: their patterns, as they are known (agent-behaviour.md §8.6, §8.7)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Library:
    """A library that starts an agent reads it like this: words of a shell, `key=value` each, and waits for three
    messages."""

    has_client: bool = False
    has_session: bool = False
    startup_error: str = ""
    records: list[dict[str, str]] = field(default_factory=list)

    def feed(self, line: str) -> None:
        try:
            words = shlex.split(line)
        except ValueError:
            raise AssertionError(f"a reader drops this line: {line}") from None
        record = dict(word.split("=", 1) for word in words if "=" in word)
        assert {"t", "lvl", "msg"} <= record.keys(), line
        assert "line" not in record, line
        level = record["lvl"].upper().replace("EROR", "ERROR").replace("CRIT", "CRITICAL")
        if level in ("ERROR", "CRITICAL"):
            self.startup_error = record["err"]
        self.has_client |= "client session established" in record["msg"]
        self.has_session |= "tunnel session started" in record["msg"]
        self.records.append(record)

    def feed_all(self, lines: Iterable[str]) -> Library:
        for line in lines:
            self.feed(line)
        return self


# Of extensions of an editor, of PHP, of shell scripts.
ENDPOINT = re.compile(r"obj=tunnels name=(\S+) addr=(\S+) url=(https?://\S+)$")
URL = re.compile(r'msg="started tunnel".*? url=(\S+)')
CODE = re.compile(r"ERR_NGROK_\d+")
NODE_ERROR = re.compile(r"ERROR.*")


def eighth_field(line: str) -> str:
    """`awk -F= '{print $8}'`: what scripts take the URL with."""
    return line.split("=")[7]
