"""What becomes of the command once it has handed over: a bare interpreter with the core in it (design, decision 2)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.agents import Agents
from harness.edge import Edge
from harness.process import Process


def libraries(process: Process) -> set[str]:
    """Names of the compiled modules in its memory."""
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    return {Path(path).name.partition(".")[0] for path in re.findall(r"(/\S+\.so)$", maps, re.MULTILINE)}


def held(process: Process, *names: str) -> bytes:
    return b"\0".join(Path(f"/proc/{process.pid}/{name}").read_bytes() for name in names)


@pytest.fixture(params=["agent", "edge"])
def running(request: pytest.FixtureRequest, agents: Agents, edge: Edge) -> Process:
    if request.param == "edge":
        return edge.process
    process = agents.run("http", "9", "--authtoken", edge.token, env={"PORTWAY_AUTHTOKEN": ""})
    process.wait_for("started tunnel")
    return process


def test_nothing_of_pythons_is_loaded_but_the_core(running: Process) -> None:
    loaded = libraries(running)
    assert "_core" in loaded
    assert {name for name in loaded if name.startswith("_") and name != "_core"} == set()


def test_the_token_of_a_flag_shows_nowhere(running: Process, edge: Edge) -> None:
    assert b"run_" in held(running, "cmdline")
    assert edge.token.encode() not in held(running, "cmdline", "environ")


def test_the_plan_has_no_name_and_is_closed(running: Process) -> None:
    assert [link for link in running.files() if "memfd" in link or link.startswith("/tmp")] == []
