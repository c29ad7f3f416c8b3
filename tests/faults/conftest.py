"""Fixtures of the fault tests: roads that can be made bad, and a town of endpoints of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.edge import Address
from harness.relay import Relay
from harness.tls import Authority
from harness.town import Town
from harness.upstreams import Upstreams


@pytest.fixture
def relay(upstreams: Upstreams) -> Iterator[Callable[[Address], Relay]]:
    """Makes relays to an address."""
    made: list[Relay] = []

    def make(to: Address) -> Relay:
        made.append(Relay(upstreams.loop, to))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def town(upstreams: Upstreams, authority: Authority) -> Town:
    return Town(upstreams, authority)
