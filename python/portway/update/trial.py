"""The first starts of a version that has taken the place of another: it has to get online, or the other comes back."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from portway.launch import Launch, Plan
from portway.update import build


def begun(launch: Launch) -> Plan:
    """The plan to run. Comes not back where the former version has to run instead."""
    if not build.STANDALONE or launch.kind != "agent":
        return launch.plan
    from portway.update import replace  # noqa: PLC0415 - seldom needed

    executable = Path(sys.argv[0]).resolve()
    if replace.starting(executable):
        os.execv(executable, [str(executable), *sys.argv[1:]])  # noqa: S606 - no shell is what is wanted
    if not replace.trial(executable).exists():
        return launch.plan
    return {**launch.plan, "proven": [str(replace.trial(executable)), str(replace.old(executable))]}
