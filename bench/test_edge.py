"""An edge's parts without I/O: which endpoint serves a host, and the heads of an exchange."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.parts import Parts

ROUNDS = 100_000


@pytest.fixture(scope="module")
def edge() -> Iterator[Parts]:
    edge = Parts("edge_parts")
    yield edge
    edge.stop()


@pytest.mark.benchmark(group="route")
@pytest.mark.parametrize("endpoints", [100, 100_000])
def test_100_000_hosts_looked_up_among(benchmark: BenchmarkFixture, edge: Parts, endpoints: int) -> None:
    """Every host is served: one in a hundred by a wildcard."""
    edge.ask("route", endpoints, 1)  # makes the table
    assert benchmark(edge.ask, "route", endpoints, ROUNDS) == ROUNDS


@pytest.mark.benchmark(group="head")
def test_100_000_heads_of_requests_and_responses(benchmark: BenchmarkFixture, edge: Parts) -> None:
    assert benchmark(edge.ask, "head", ROUNDS) > ROUNDS * 600
