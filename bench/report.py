"""Figures of bench/results as tables in bench/README.md and README.md, between their markers, and as a picture.

Nothing is written by hand there: without a result, what stands between the markers stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench import picture

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
PEERS = RESULTS / "peers.json"
ALONE = RESULTS / "alone.json"
SCENARIOS = RESULTS / "scenarios.json"

Result = Mapping[str, Any]


class Row(NamedTuple):
    key: str
    title: str
    form: str = "{:,.0f}"
    short: bool = False
    """It stands in README.md too."""


ROWS = (
    Row("http_rps", "requests/s, 64 connections", short=True),
    Row("http_p50_ms", "latency, median, ms", "{:.2f}"),
    Row("http_p99_ms", "latency, 99th percentile, ms", "{:.2f}"),
    Row("cpu_us_per_req", "CPU for a request, µs", "{:.0f}", short=True),
    Row("c1_rps", "requests/s, 1 connection"),
    Row("c1_p50_ms", "latency of one request at a time, median, ms", "{:.2f}"),
    Row("newconn_rps", "new connections/s", short=True),
    Row("up1_gbps", "bulk up, Gbit/s", "{:.2f}", short=True),
    Row("down1_gbps", "bulk down, Gbit/s", "{:.2f}", short=True),
    Row("down8_gbps", "bulk down, 8 connections, Gbit/s", "{:.2f}"),
    Row("down1_cpu_s_per_gb", "CPU for a GB down, s", "{:.2f}"),
    Row("rps_under_bulk", "requests/s beside a bulk transfer"),
    Row("p99_under_bulk_ms", "latency beside a bulk transfer, 99th percentile, ms", "{:.1f}", short=True),
    Row("rss_agent_idle_mb", "agent idle, MB resident", "{:.1f}", short=True),
    Row("rss_edge_idle_mb", "edge idle, MB resident", "{:.1f}"),
    Row("agent_kb_per_conn", "agent, KB for a held connection", "{:.1f}"),
    Row("edge_kb_per_conn", "edge, KB for a held connection", "{:.1f}"),
)

TITLES = {"nginx_pair": "nginx pair", "portway_tcp": "portway, tcp", "frp_tcp": "frp, tcp"}


class Goal(NamedTuple):
    key: str
    title: str
    least_ratio: float = 0.0
    """At least so much of the reference."""
    most_ratio: float = 0.0
    """Or at most so much of it."""
    most: float = 0.0
    """Or no more than this, by itself."""


GOALS = (
    Goal("http_rps", "requests/s", least_ratio=1.2),
    Goal("cpu_us_per_req", "CPU for a request", most_ratio=0.8),
    Goal("c1_p50_ms", "latency of one request at a time", most_ratio=1.3),
    Goal("newconn_rps", "new connections/s", least_ratio=4.0),
    Goal("down1_gbps", "bulk down", least_ratio=1.2),
    Goal("up1_gbps", "bulk up", least_ratio=1.2),
    Goal("down8_gbps", "bulk down, 8 connections", least_ratio=1.2),
    Goal("down1_cpu_s_per_gb", "CPU for a GB down", most_ratio=0.85),
    Goal("p99_under_bulk_ms", "latency beside a bulk transfer, 99th percentile", most_ratio=0.3),
    Goal("edge_kb_per_conn", "edge, KB for a held connection", most=8.0),
    Goal("agent_kb_per_conn", "agent, KB for a held connection", most=6.0),
    Goal("rss_agent_idle_mb", "agent idle, MB", most=14.0),
)


def main() -> None:
    peers = json.loads(PEERS.read_text()) if PEERS.exists() else None
    alone = json.loads(ALONE.read_text()) if ALONE.exists() else None
    inside, front = ROOT / "bench" / "README.md", ROOT / "README.md"
    if peers:
        fill(inside, "peers", f"{conditions(peers)}\n\n{peers_table(peers)}\n\n{goals_table(peers)}")
        fill(front, "peers", f"{peers_table(peers, short=True)}\n\n{conditions(peers)}")
        (ROOT / "docs" / "pictures" / "bench.svg").write_text(picture.svg(peers))
    if SCENARIOS.exists():
        table = scenarios_table(json.loads(SCENARIOS.read_text()))
        fill(inside, "scenarios", table)
        fill(front, "scenarios", table)
    if alone:
        fill(inside, "alone", alone_table(alone))


def fill(path: Path, marker: str, text: str) -> None:
    """Replaces what stands between `<!-- MARKER -->` and `<!-- /MARKER -->`."""
    pattern = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    before = path.read_text()
    after, count = pattern.subn(lambda found: f"{found[1]}{text}\n{found[2]}", before)
    if count != 1:
        raise SystemExit(f"{path.relative_to(ROOT)} has {count} places named {marker}, not one")
    if after != before:
        path.write_text(after)


# === beside other tools


def conditions(result: Result) -> str:
    text = f"Medians of {result['rounds']} rounds of {result['secs']} s on {result['machine']}, all on loopback"
    text += "." if result["build"] == "release" else f", {result['build']} build."
    for tool, count in result["missed"].items():
        text += f" {TITLES.get(tool, tool)} failed in {count} of them."
    if result["left_out"]:
        text += f" Not installed: {', '.join(result['left_out'])}."
    return text


def peers_table(result: Result, *, short: bool = False) -> str:
    tools = result["tools"]
    lines = [_cells(["", *(TITLES.get(tool, tool) for tool in tools)]), _cells(["---", *("---:" for _ in tools)])]
    for row in ROWS:
        if short and not row.short:
            continue
        measured = [tools[tool].get(row.key) for tool in tools]
        if any(measured):
            lines.append(_cells([row.title, *(_shown(one, row.form, full=not short) for one in measured)]))
    return "\n".join(lines)


def _shown(one: Mapping[str, float] | None, form: str, *, full: bool) -> str:
    if one is None:
        return "–"
    median = form.format(one["median"])
    half = (one["high"] - one["low"]) / 2
    return f"{median} ±{half / abs(one['median']):.0%}" if full and half and one["median"] else median


def goals(result: Result) -> Iterator[str]:
    """A line for each goal of `portway`."""
    for title, wanted, reached, met in _goals(result):
        yield f"{'met   ' if met else 'MISSED'} {title}: {reached}, wanted {wanted}"


def goals_table(result: Result) -> str:
    lines = [_cells(["portway", "wanted", "reached", ""]), _cells(["---", "---:", "---:", "---"])]
    lines += [
        _cells([title, wanted, reached, "" if met else "missed"]) for title, wanted, reached, met in _goals(result)
    ]
    return "\n".join(lines)


def _goals(result: Result) -> Iterator[tuple[str, str, str, bool]]:
    ours = result["tools"].get("portway", {})
    for goal in GOALS:
        measured = ours.get(goal.key)
        if measured is None:
            continue
        if goal.most:
            value = measured["median"]
            yield goal.title, f"≤ {goal.most:g}", f"{value:.1f}", value <= goal.most
        elif ratio := measured.get("ratio"):
            spread = f"{ratio['median']:.2f} × ({ratio['low']:.2f} to {ratio['high']:.2f})"
            if goal.least_ratio:
                yield goal.title, f"≥ {goal.least_ratio:g} ×", spread, ratio["median"] >= goal.least_ratio
            else:
                yield goal.title, f"≤ {goal.most_ratio:g} ×", spread, ratio["median"] <= goal.most_ratio


# === scenarios: what bench/scenarios.py wrote


def scenarios_table(result: Result) -> str:
    lines = [_cells(["", "wanted", "reached"]), _cells(["---", "---:", "---:"])]
    lines += [_cells([row["title"], row["goal"], row["value"]]) for rows in result.values() for row in rows]
    return "\n".join(lines)


# === portway alone: what pytest-benchmark wrote

# What the others of a group are compared with.
BESIDE = {
    "start": "test_start_of[python]",
    "bulk": "test_64_mib[plain]",
    "route": "test_100_000_hosts_looked_up_among[100]",
}


def alone_table(result: Result) -> str:
    medians = {one["name"]: one["stats"]["median"] for one in result["benchmarks"]}
    lines = [_cells(["", "median", "spread", ""]), _cells(["---", "---:", "---:", "---"])]
    for one in result["benchmarks"]:
        stats, name = one["stats"], one["name"]
        told = [f"{key} {value}" for key, value in one["extra_info"].items()]
        beside = BESIDE.get(one["group"], "")
        if beside in medians and beside != name:
            told.insert(0, f"{stats['median'] / medians[beside]:.2f} × {beside.partition('[')[2].removesuffix(']')}")
        spread = f"{_time(stats['min'])} to {_time(stats['max'])}"
        title = name.removeprefix("test_").replace("_", " ").replace("[", ", ").removesuffix("]")
        title = title.replace(" mib", " MiB").replace(" gib", " GiB")
        lines.append(_cells([title, _time(stats["median"]), spread, ", ".join(told)]))
    machine = result["machine_info"]
    return "\n".join([f"On {machine['machine']}, Python {machine['python']}.", "", *lines])


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _cells(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
