"""The control socket of a running edge, which is in its data directory, for its owner alone."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import NamedTuple

from portway.cli.edge import settings
from portway.cli.options import Given
from portway.cli.report import CommandError


class Answer(NamedTuple):
    ok: bool
    text: str
    """What the edge had to say; may have several lines, or none."""


def ask(given: Given, request: str, patience: int) -> Answer:
    """One line to the edge of a command line, and what it answers within so many seconds. Raises `CommandError`."""
    config, _, _ = settings(given)
    answer = _exchange(Path(config["data_dir"]) / "control.sock", request, patience)
    state, _, text = answer.partition(" ")
    return Answer(True, text) if state == "ok" else Answer(False, text or answer)


def _exchange(path: Path, request: str, patience: int) -> str:
    if not hasattr(socket, "AF_UNIX"):
        raise CommandError("A running edge cannot be reached on this system: restart it instead.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        try:
            connection.connect(str(path))
            connection.sendall(f"{request}\n".encode())
            with connection.makefile(encoding="utf-8", errors="replace") as lines:
                return lines.read().rstrip("\n")
        except TimeoutError:
            raise CommandError(f"The edge behind {path} did not answer within {patience} s.") from None
        except OSError as error:
            raise CommandError(
                f"No edge runs with the data directory {path.parent}: {error.strerror or error}"
            ) from None
