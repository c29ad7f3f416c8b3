"""What is made from the commands is as they are now."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path

import pytest

from harness.need import ROOT
from portway.cli.describe import described, spec
from portway.cli.tree import COMMANDS

TOOL = runpy.run_path(str(ROOT / "tools" / "commands.py"))
MADE: dict[Path, str] = TOOL["files"]()


@pytest.mark.parametrize("path", MADE, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_made_from_the_commands_is_fresh(path: Path) -> None:
    assert path.exists(), f"{path.name} is missing: run `python tools/commands.py`"
    assert path.read_text() == MADE[path], f"{path.name} is stale: run `python tools/commands.py`"


def test_there_is_no_manual_of_a_command_that_is_gone() -> None:
    folders = {path.parent for path in MADE if path.suffix == ".1"}
    assert {path for folder in folders for path in folder.iterdir()} == {path for path in MADE if path.suffix == ".1"}


@pytest.mark.parametrize("path", [path for path in MADE if path.suffix == ".1"], ids=lambda path: path.name)
def test_manuals_are_set_without_a_warning(path: Path) -> None:
    argv = ["groff", "-man", "-Tutf8", "-ww", "-rLL=78n", str(path)]
    told = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert told.stderr == ""
    text = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", told.stdout)
    assert text.lstrip().startswith(f"{path.stem.upper()}(1)")
    for heading in ("NAME", "SYNOPSIS", "SEE ALSO"):
        assert f"\n{heading}\n" in text
    for other in re.findall(r"(portway[a-z-]*)\(1\)", text.split("SEE ALSO")[1]):
        assert (path.parent / f"{other}.1").exists(), other


def test_every_variable_that_is_read_is_told() -> None:
    """In the manual; and nothing else is."""
    sources = [*(ROOT / "python").rglob("*.py"), *(ROOT / "rust").glob("*/src/**/*.rs")]
    read = {name for path in sources for name in re.findall(r'"((?:PORTWAY|NGROK)_[A-Z_]+)"', path.read_text())}
    told = set(re.findall(r"\b(?:PORTWAY|NGROK)_[A-Z_]+\b", " ".join(TOOL["manual"].ENVIRONMENT)))
    assert told == read


@pytest.mark.parametrize("command", COMMANDS)
def test_the_tree_tells_all_that_a_command_has(command: str) -> None:
    ready, found = spec(command), described(command)
    assert ready[:4] == found[:4]
    assert sorted(ready[4]) == sorted(found[4])


def test_a_command_that_is_not_in_the_tree_yet_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = spec("http")
    monkeypatch.delitem(COMMANDS, "http")
    assert sorted(spec("http")[4]) == sorted(ready[4])
