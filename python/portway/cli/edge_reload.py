"""`portway edge reload`, and the command by which a running edge reads its configuration again."""

from __future__ import annotations

import json
import socket
import sys
from functools import partial
from pathlib import Path

from portway.cli.edge import FLAGS, settings
from portway.cli.options import Given, command
from portway.cli.report import CommandError
from portway.launch import Launch

# A reload starts an interpreter and reads certificates; far beyond that something is stuck.
PATIENCE_SECONDS = 60


def reload(given: Given) -> None:
    """Let a running edge take up changed tokens, rules and certificates. No connection is dropped.

    The edge is found by its data directory; it reads again the files it was started with.
    """
    config, _, _ = settings(given)
    answer = ask(Path(config["data_dir"]) / "control.sock", "reload")
    state, _, text = answer.partition(" ")
    if state != "ok":
        raise CommandError(f"The edge did not take up the new configuration: {text or answer or 'no answer'}")
    print(text or "reloaded")


def ask(path: Path, request: str, patience: int = PATIENCE_SECONDS) -> str:
    """One line to the edge behind this socket, and its answer, which may have several."""
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


def plan(given: Given) -> None:
    """Print the plan for the command line on stdin."""
    from portway.cli.app import evaluate

    del given
    told = json.load(sys.stdin)
    launch = evaluate("portway", ["edge", *told["argv"]])
    if isinstance(launch, Launch):
        print(json.dumps(launch.plan))


EXAMPLES = """\
  portway edge reload
  portway edge reload --config /etc/portway/edge.yml
"""

# All of the edge's, so that its own command line can be repeated; listed are those that matter.
reload_command = partial(
    command,
    reload,
    [flag if flag.name in ("config", "data-dir") else flag._replace(help="") for flag in FLAGS],
    EXAMPLES,
)
plan_command = partial(command, plan)
