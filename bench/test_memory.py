"""What an agent holds, and an edge on the other side of the wire: idle, and while a gigabyte goes through each way."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.timing import rounds
from harness.agents import Agent, Agents
from harness.edge import Edge
from harness.process import Process
from harness.upstreams import BLOCK, HttpUpstream, Upstreams, pattern_digest
from harness.visitor import digest

# Changes that a short try is worth.
LENGTH = int(os.environ.get("BENCH_BODY_MIB", "1024")) << 20
# How long an agent may take to give back what its start needed.
SETTLING_SECONDS = 3


@dataclass
class Both:
    edge: Edge
    agent: Agent
    upstream: HttpUpstream


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    upstreams = Upstreams(tmp_path)
    edge = Edge(tmp_path / "edge", secrets.token_urlsafe(18))
    agents = Agents(tmp_path, edge)
    try:
        edge.start()
        upstream = upstreams.http()
        agent = agents.http(upstream.url, "--log-level", "info")
        agent.up()
        yield Both(edge, agent, upstream)
    finally:
        agents.stop()
        for process in edge.processes:
            process.stop()
        upstreams.stop()


def peak_mib(process: Process) -> float:
    """The most it ever had resident."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def note(benchmark: BenchmarkFixture, label: str, mib: float) -> None:
    benchmark.extra_info[label] = f"{mib:.1f} MiB"


@pytest.mark.benchmark(group="memory")
def test_idle_after_100_requests(benchmark: BenchmarkFixture, both: Both) -> None:
    def requests() -> None:
        for _ in range(100):
            assert both.agent.get("/bytes/1024").status == 200

    note(benchmark, "agent before", both.agent.process.rss_mib())
    rounds(benchmark, 1, requests)
    time.sleep(SETTLING_SECONDS)
    note(benchmark, "agent", both.agent.process.rss_mib())
    note(benchmark, "edge", both.edge.process.rss_mib())


def body(length: int) -> Iterator[bytes]:
    for _ in range(length // len(BLOCK)):
        yield BLOCK


@pytest.mark.benchmark(group="memory")
@pytest.mark.parametrize("way", ["down", "up"])
def test_a_body_of_1_gib(benchmark: BenchmarkFixture, both: Both, way: str) -> None:
    """Checksums are compared; the client and the upstream in Python are what limits its speed."""

    def carry(length: int) -> None:
        with both.agent.visitor() as visitor:
            if way == "down":
                assert digest(visitor.open("GET", f"/bytes/{length}")) == (length, pattern_digest(length))
            else:
                told = visitor.ask("PUT", "/up", body=body(length), headers={"Content-Length": str(length)}).json
                assert (told["length"], told["sha256"]) == (length, pattern_digest(length))

    carry(LENGTH // 16)
    first = peak_mib(both.agent.process), peak_mib(both.edge.process)
    rounds(benchmark, 1, carry, LENGTH)
    for name, process, before in zip(("agent", "edge"), (both.agent.process, both.edge.process), first, strict=True):
        benchmark.extra_info[f"{name} peak"] = f"{peak_mib(process):.1f} MiB (after a 16th: {before:.1f})"
