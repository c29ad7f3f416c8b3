"""Fixtures of the agent's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.agents import Agent, Agents
from harness.played import PlayedEdge
from harness.tls import Authority
from harness.upstreams import HttpUpstream, Upstreams


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


@pytest.fixture
def played(alone: Agents, authority: Authority) -> Iterator[PlayedEdge]:
    """An edge whose every frame is the test's. It goes before the agents do, which then wait for no visitor of it."""
    edge = PlayedEdge(authority)
    yield edge
    edge.stop()


@pytest.fixture
def connecting(played: PlayedEdge, alone: Agents) -> Callable[..., Agent]:
    """Runs an agent that connects to `played`; `settings`: lines of `agent:` in its file."""

    def run(*arguments: str, settings: str = "{}") -> Agent:
        path = alone.home / "agent.yml"
        path.write_text(f"version: 3\nagent: {settings}\n")
        return alone.agent(*arguments, "--config", str(path), env=played.env)

    return run
