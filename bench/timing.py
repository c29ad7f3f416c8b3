"""The two things of pytest-benchmark that its types do not tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pytest_benchmark.fixture import BenchmarkFixture

T = TypeVar("T")


def rounds(benchmark: BenchmarkFixture, count: int, call: Callable[..., T], *arguments: object, warmup: int = 0) -> T:
    """Times exactly so many calls; the result of the last."""
    result: T = benchmark.pedantic(call, arguments, rounds=count, warmup_rounds=warmup)  # type: ignore[no-untyped-call]
    return result


def per_second(benchmark: BenchmarkFixture, amount: float) -> float:
    """The rate at which `amount` was done, by the median."""
    assert benchmark.stats
    return amount / float(benchmark.stats.stats.median)
