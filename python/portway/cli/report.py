"""How a command fails: text on stderr and exit code 1. Nothing else turns errors into text."""

from __future__ import annotations

import os
import sys

PREFIX = "ERROR:  "


class CommandError(Exception):
    """A command cannot do what it was asked; the text may have several lines."""


def failed(text: str) -> int:
    """Tells `text` on stderr, every line marked as an error (wrappers look for that), and gives the exit code."""
    lines = (PREFIX + printable(line) for line in called(text).split("\n"))
    print("\n".join(lines), file=sys.stderr)
    return 1


def notice(text: str) -> None:
    """Tells something that is no error and no result."""
    print(printable(called(text)), file=sys.stderr)


def called(text: str, name: str = "") -> str:
    """`text` with commands that it names under `name`, or the one we go by, for there may be no other."""
    from portway.__main__ import program

    return text.replace("`portway ", f"`{name or program()} ")


def answered(text: str) -> None:
    """Tells a result that is for programs: in UTF-8, whatever the language of the system."""
    try:
        sys.stdout.flush()
        rest = memoryview(f"{text}\n".encode())
        while rest:  # without a buffer it may be written in parts
            rest = rest[sys.stdout.buffer.write(rest) :]
    except OSError:
        dropped(1)
        raise
    flushed()


def flushed() -> None:
    """Everything printed so far is out. Raises `OSError` where it cannot be."""
    try:
        sys.stdout.flush()
    except OSError:
        dropped(1)
        raise


def dropped(*streams: int) -> None:
    """What streams hold that nobody takes goes nowhere, so that the end of the program does not stumble over it."""
    for stream in streams:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def printable(line: str) -> str:
    """Terminals obey control characters, and errors quote what others wrote."""
    return "".join(letter if letter.isprintable() or letter == "\t" else repr(letter)[1:-1] for letter in line)


def nearest(word: str, known: list[str]) -> str:
    """` (did you mean X?)`, or nothing."""
    from difflib import get_close_matches

    found = get_close_matches(word, known, n=1, cutoff=0.7)
    return f" (did you mean {found[0]}?)" if found else ""
