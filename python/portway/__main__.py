"""The command `portway`. What needs neither flags nor files is answered here at once; the rest is `portway.cli`'s."""

from __future__ import annotations

import os
import sys

from portway import COMPATIBLE_VERSION, __version__
from portway.cli.report import flushed

ASKS_VERSION = (["version"], ["--version"], ["-v"])


def main() -> int:
    """Runs the command that `sys.argv` names, and returns the exit code."""
    open_closed()
    try:
        if answered_at_once():
            flushed()
            return 0
    except OSError as error:  # whoever reads our output has gone, or a disk is full
        from portway.cli.app import ended

        return ended(error)
    from portway.cli.app import main as run

    return run(program(), sys.argv[1:])


def answered_at_once() -> bool:
    """Whether it was a question that needs nothing but these lines."""
    if sys.argv[1:] in ASKS_VERSION:
        print(version_line())
    elif not sys.argv[1:]:
        if os.name == "nt":
            from portway.cli import window

            if window.is_ours():
                window.keep_with_help()
                return True
        from portway.cli.help import of_group

        print(of_group(program(), ""))
    elif sys.argv[1] == "__complete":
        from portway.cli.candidates import answer

        answer(sys.argv[3:])  # behind `--`
    else:
        return False
    return True


def open_closed() -> None:
    """Who starts us with a standard stream closed gets nothing there; no other file may take its place."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115


def program() -> str:
    """The name we go by: scripts made for `ngrok` may run us under that name."""
    name = sys.argv[0].replace("\\", "/").rpartition("/")[2].removesuffix(".exe")
    return "ngrok" if name == "ngrok" else "portway"


def version_line() -> str:
    """Wrappers split this at `version ` and expect a version 3 behind it (cli.md §15)."""
    return f"{program()} version {COMPATIBLE_VERSION} (portway {__version__})"


if __name__ == "__main__":
    sys.exit(main())
