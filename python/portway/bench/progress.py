"""A bar on a terminal, on stderr; elsewhere nothing."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, TextIO

from portway.bench.measures import MEASURES


def columns(stream: TextIO, otherwise: int = 80) -> int:
    """The width of the terminal that a stream is."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or otherwise
    except (OSError, ValueError):
        return otherwise


class Progress:
    def __init__(self, shown: bool | None = None) -> None:
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._from = self._share = 0.0
        self._secs = 1.0
        self._text = ""
        self._began = 0.0

    def step(self, at: float, share: float, number: int, rounds: int, measure: str, secs: float) -> None:
        self._from, self._share, self._secs, self._began = at, share, secs, 0.0
        self._text = f"round {number} of {rounds}, {MEASURES[measure].label}"
        self._draw(at, "")

    def see(self, event: dict[str, Any]) -> None:
        if event["event"] == "began":
            self._began = time.monotonic()
        elif event["event"] == "progress" and self._began:
            passed = time.monotonic() - self._began
            within = min(1.0, passed / self._secs)
            if event["bytes"] and not event["requests"]:
                told = f"{event['bytes'] / passed / 1e6:,.0f} MB/s"
            else:
                told = f"{event['requests'] / passed:,.0f}/s"
            self._draw(self._from + self._share * within, told)

    def clear(self) -> None:
        if self._shown:
            self._write("\r\x1b[K")

    def _draw(self, at: float, told: str) -> None:
        if not self._shown:
            return
        room = columns(sys.stderr)
        width = max(4, min(30, room // 4))
        full = round(at * width)
        line = f"[{'#' * full}{'.' * (width - full)}] {at:4.0%}  {self._text}  {told}"
        self._write(f"\r\x1b[K{line[: room - 1]}")

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
