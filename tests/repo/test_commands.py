"""What is made from the commands is as they are now."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from harness.need import ROOT
from portway.cli.describe import described, spec
from portway.cli.tree import COMMANDS

MADE: dict[Path, str] = runpy.run_path(str(ROOT / "tools" / "commands.py"))["files"]()


@pytest.mark.parametrize("path", MADE, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_made_from_the_commands_is_fresh(path: Path) -> None:
    assert path.exists(), f"{path.name} is missing: run `python tools/commands.py`"
    assert path.read_text() == MADE[path], f"{path.name} is stale: run `python tools/commands.py`"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_tree_tells_all_that_a_command_has(command: str) -> None:
    ready, found = spec(command), described(command)
    assert ready[:4] == found[:4]
    assert sorted(ready[4]) == sorted(found[4])


def test_a_command_that_is_not_in_the_tree_yet_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = spec("http")
    monkeypatch.delitem(COMMANDS, "http")
    assert sorted(spec("http")[4]) == sorted(ready[4])
