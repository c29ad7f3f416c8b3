"""What can be measured, which figures come of it, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Better = Literal["lower", "higher"]


class Measure(NamedTuple):
    name: str
    kind: str
    """What the load generator calls it."""
    label: str


class Figure(NamedTuple):
    name: str
    measure: str
    label: str
    unit: str
    better: Better


MEASURES = {
    one.name: one
    for one in (
        Measure("latency", "steady", "one request at a time"),
        Measure("rps", "steady", "requests"),
        Measure("connections", "churn", "new connections"),
        Measure("down", "down", "download"),
        Measure("up", "up", "upload"),
        Measure("loaded", "loaded", "latency under bulk"),
    )
}

FIGURES = {
    one.name: one
    for one in (
        Figure("latency_p50", "latency", "latency p50", "ms", "lower"),
        Figure("latency_p90", "latency", "latency p90", "ms", "lower"),
        Figure("latency_p99", "latency", "latency p99", "ms", "lower"),
        Figure("rps", "rps", "requests/s", "/s", "higher"),
        Figure("rps_p50", "rps", "requests p50", "ms", "lower"),
        Figure("rps_p99", "rps", "requests p99", "ms", "lower"),
        Figure("rps_cpu", "rps", "CPU per request", "µs", "lower"),
        Figure("connections", "connections", "new connections/s", "/s", "higher"),
        Figure("connections_p99", "connections", "new connection p99", "ms", "lower"),
        Figure("down", "down", "download", "MB/s", "higher"),
        Figure("down_cpu", "down", "CPU of download", "s/GB", "lower"),
        Figure("up", "up", "upload", "MB/s", "higher"),
        Figure("up_cpu", "up", "CPU of upload", "s/GB", "lower"),
        Figure("loaded_p50", "loaded", "under bulk p50", "ms", "lower"),
        Figure("loaded_p99", "loaded", "under bulk p99", "ms", "lower"),
        Figure("memory", "memory", "memory of the local side", "MB", "lower"),
    )
}


def figures(measure: str, done: Mapping[str, Any], cpu_secs: float | None) -> dict[str, float]:
    """The figures of one measurement. `done` is what the load generator said at its end."""
    secs = float(done["secs"])
    found: dict[str, float] = {}
    latency = done.get("latency_us")
    if latency:
        for percentile in ("p50", "p90", "p99"):
            found[f"{measure}_{percentile}"] = latency[percentile] / 1000
    if secs > 0 and measure in ("rps", "connections") and done["requests"]:
        found[measure] = done["requests"] / secs
    if secs > 0 and measure in ("down", "up") and done["bytes"]:
        found[measure] = done["bytes"] / secs / 1e6
        if cpu_secs is not None:
            found[f"{measure}_cpu"] = cpu_secs / done["bytes"] * 1e9
    if measure == "rps" and cpu_secs is not None and done["requests"]:
        found["rps_cpu"] = cpu_secs / done["requests"] * 1e6
    return {name: value for name, value in found.items() if name in FIGURES}
