"""What most tests of HTTP need, for all tests of a module that leave no trace in it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from harness.agents import Agent, Agents
from harness.edge import Edge
from harness.raw import RawVisitor
from harness.upstreams import HttpUpstream, Upstreams
from harness.visitor import Visitor

# An edge passes on at once what nothing has to be decided about. A rule that lets everybody in sends the same requests
# the long way, where both are to come out the same.
WAYS: dict[str, tuple[str, ...]] = {"short": (), "long": ("--cidr-allow", "0.0.0.0/0", "--cidr-allow", "::/0")}
BOTH_WAYS = pytest.mark.parametrize("site", WAYS.values(), ids=WAYS, indirect=True)


@dataclass(frozen=True)
class Site:
    """An edge with one agent for each scheme, both in front of the same upstream."""

    edge: Edge
    agents: Agents
    upstreams: Upstreams
    upstream: HttpUpstream
    plain: Agent
    secure: Agent

    def agent(self, scheme: str) -> Agent:
        return self.secure if scheme == "https" else self.plain

    def host(self, scheme: str) -> str:
        """The name in its URL, with the port."""
        return self.agent(scheme).url.split("://")[1]

    def visitor(self, scheme: str) -> Visitor:
        return Visitor(self.edge, self.agent(scheme).url)

    def raw(self, scheme: str = "http") -> RawVisitor:
        return RawVisitor.to(self.edge, self.agent(scheme).url)
