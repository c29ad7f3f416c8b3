"""`portway edge reload`, and the command by which a running edge reads its configuration again."""

from __future__ import annotations

import json
import sys
from functools import partial

from portway.cli.again import print_plan
from portway.cli.edge import TO_A_RUNNING_ONE
from portway.cli.edge_control import ask
from portway.cli.options import Given, command
from portway.cli.report import CommandError

# A reload starts an interpreter and reads certificates; far beyond that something is stuck.
PATIENCE_SECONDS = 60


def reload(given: Given) -> None:
    """Let a running edge take up changed tokens, rules and certificates. No connection is dropped.

    The edge is found by its data directory; it reads again the files it was started with.
    """
    answer = ask(given, "reload", PATIENCE_SECONDS)
    if not answer.ok:
        raise CommandError(f"The edge did not take up the new configuration: {answer.text or 'no answer'}")
    print(answer.text or "reloaded")


def plan(given: Given) -> None:
    """Print the plan for the command line on stdin."""
    del given
    print_plan("portway", ["edge", *json.load(sys.stdin)["argv"]])


EXAMPLES = """\
  portway edge reload
  portway edge reload --config /etc/portway/edge.yml
"""

reload_command = partial(command, reload, TO_A_RUNNING_ONE, EXAMPLES)
plan_command = partial(command, plan)
