"""The multiplexer alone: its parts without I/O, and two sessions whose only transport is memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.parts import Parts
from bench.timing import per_second, rounds

ROUNDS = 200_000
MIB = 64


@pytest.fixture(scope="module")
def mux() -> Iterator[Parts]:
    mux = Parts("mux_parts")
    yield mux
    mux.stop()


@pytest.mark.benchmark(group="parts")
@pytest.mark.parametrize("part", ["frame", "sched", "window"])
def test_200_000_rounds_of(benchmark: BenchmarkFixture, mux: Parts, part: str) -> None:
    benchmark(mux.ask, part, ROUNDS)


@pytest.mark.benchmark(group="bulk")
@pytest.mark.parametrize("way", ["plain", "bulk"])
def test_64_mib(benchmark: BenchmarkFixture, mux: Parts, way: str) -> None:
    """`plain`: the same bytes through the same buffer without a session; what `bulk` is to be compared with."""
    assert benchmark(mux.ask, way, MIB) == MIB << 20
    benchmark.extra_info["GB/s"] = round(per_second(benchmark, MIB << 20) / 1e9, 2)


@pytest.mark.benchmark(group="small")
@pytest.mark.parametrize("parallel", [1, 64])
def test_10_000_requests(benchmark: BenchmarkFixture, mux: Parts, parallel: int) -> None:
    """A stream each; so many at a time."""
    assert benchmark(mux.ask, "small", 10_000, parallel) == 10_000 * 1024
    benchmark.extra_info["requests/s"] = round(per_second(benchmark, 10_000))


@pytest.mark.benchmark(group="idle")
def test_10_000_idle_streams(benchmark: BenchmarkFixture, mux: Parts) -> None:
    held = rounds(benchmark, 3, mux.ask, "idle", 10_000)
    benchmark.extra_info["heap bytes a stream, both sides"] = held
