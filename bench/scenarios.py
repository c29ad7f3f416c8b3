#!/usr/bin/env python3
"""What bench/peers.py does not measure: long links, slow readers, storms, an agent that does nothing.

usage: bench/scenarios.py [--only size,link,loss,slow,fleet,idle,storm] [--secs 5]

Each scenario starts an edge and an agent of its own, where there is a ratio also the pair of nginx, one after the
other on an otherwise idle machine. Writes bench/results/scenarios.json and the table made of it (bench/report.py).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench import report  # noqa: E402 - found where this checkout is, wherever it is started from
from bench.link import Link  # noqa: E402
from bench.town import Town, iperf, wrk  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "scenarios.json"
ROUND_TRIP, GBIT = 0.1, 125e6
# Played by this program, with a thread each.
SESSIONS, ENDPOINTS = 200, 100

Rows = list[dict[str, Any]]


def row(title: str, value: str, goal: str = "") -> dict[str, Any]:
    return {"title": title, "value": value, "goal": goal}


# === a link with a length


def link(secs: int) -> Rows:
    """One stream over 100 ms and 1 Gbit/s, beside TLS alone over the same relay."""
    rates = {}
    for kind in ("nginx pair", "portway"):
        with Town() as town:
            pair = town.nginx() if kind == "nginx pair" else town.portway()
            with Link(pair.between, round_trip=ROUND_TRIP, rate=GBIT) as way:
                pair.connect(way.port)
                rates[kind] = iperf(pair.tcp, secs, omit=6)
    plain, ours = rates["nginx pair"], rates["portway"]
    text = f"{ours / plain:.2f} × ({ours:.0f} of {plain:.0f} Mbit/s)"
    return [row("one stream down, 100 ms, 1 Gbit/s, beside TLS alone", text, "≥ 0.9 ×")]


def loss(secs: int) -> Rows:
    """Small requests over 20 ms, while one piece in a hundred comes 200 ms late, and connections break."""
    rows = []
    with Town() as town:
        pair = town.portway()
        with Link(pair.between, round_trip=0.02, rate=GBIT, stalled=0.01) as way:
            pair.connect(way.port)
            told = wrk(pair.http, secs, connections=16, host=pair.host)
            rows.append(
                row(
                    "requests over 20 ms, 1 % of pieces 200 ms late: p50, p99, ms",
                    f"{told['p50']:.0f}, {told['p99']:.0f}",
                )
            )
            before = time.monotonic()
            way.cut()
            pair.back()
            rows.append(row("link cut: until requests are answered again, s", f"{time.monotonic() - before:.1f}"))
    return rows


# === beside others


def slow(secs: int) -> Rows:
    """Small requests while eight streams carry bulk to readers that take a megabyte a second each."""
    with Town() as town:
        pair = town.portway()
        pair.connect()
        alone = wrk(pair.http, secs, connections=4, host=pair.host)
        with town.slow_readers(pair.bulk, count=8, rate=1e6):
            beside = wrk(pair.http, secs, connections=4, host=pair.host)
    ratio = beside["p99"] / alone["p99"]
    text = f"{ratio:.2f} × ({beside['p99']:.2f} of {alone['p99']:.2f} ms)"
    return [row("p99 of small requests, 8 bulk streams to slow readers, beside without them", text, "≤ 2 ×")]


# === memory


def storm(secs: int) -> Rows:
    """What is left a minute after a thousand connections, ten thousand cancelled downloads and 1,500 agents."""
    del secs
    with Town() as town:
        pair = town.portway()
        pair.connect()
        pair.back()
        time.sleep(10)
        before = pair.resident()
        held = asyncio.run(town.hold(pair, 1000))
        asyncio.run(town.cancel_downloads(pair, 10_000))
        town.storm(pair, 1_500)
        peak = pair.resident()
        time.sleep(60)
        after = pair.resident()
        rows = []
        for index, side in enumerate(("edge", "agent")):
            text = (
                f"{after[index] / before[index]:.2f} × ({before[index]:.1f}, held {held[index]:.1f}, "
                f"behind it {peak[index]:.1f}, a minute later {after[index]:.1f} MB)"
            )
            rows.append(row(f"{side} a minute after the storms, beside idle", text, "≤ 1.3 ×"))
    return rows


def fleet(secs: int) -> Rows:
    """An edge with many endpoints: what each costs, and what a request costs among them."""
    with Town() as town:
        pair = town.portway()
        pair.connect()
        pair.back()

        def per_request() -> float:
            before = pair.edge_cpu()
            count = wrk(pair.http, secs, connections=16, host=pair.host)["count"]
            return (pair.edge_cpu() - before) / count * 1e6

        alone = per_request()
        agents = town.agents(pair, SESSIONS)
        (memory, _), work = pair.resident(), pair.edge_cpu()
        for agent in agents:
            for _ in range(ENDPOINTS):
                agent.bind("http")
        count = SESSIONS * ENDPOINTS
        work = pair.edge_cpu() - work
        memory = pair.resident()[0] - memory
        among = per_request()
        for agent in agents:
            agent.close()
    of = f"{SESSIONS} sessions with {ENDPOINTS} endpoints"
    return [
        row(f"{of}: KB for an endpoint", f"{memory * 1000 / count:.2f}", "≤ 1"),
        row(f"{of}: binds/s that a core of the edge has time for", f"{count / work:,.0f}", "≥ 5,000"),
        row(
            f"{of}: CPU of the edge for a request, among them and without them, µs", f"{among:.1f}, {alone:.1f}", "flat"
        ),
    ]


def idle(secs: int) -> Rows:
    """Bytes on the wire of an agent that nobody visits."""
    del secs
    with Town() as town:
        pair = town.portway()
        pair.connect()
        pair.back()
        first, begin = pair.session_bytes(), time.monotonic()
        time.sleep(60)
        taken = time.monotonic() - begin
        sent = pair.session_bytes() - first
    return [row("traffic of an idle agent, both ways, KB an hour", f"{sent / taken * 3600 / 1000:.0f}")]


def size(secs: int) -> Rows:
    """What is installed: the package and all it needs."""
    del secs
    seen: dict[str, int] = {}

    def add(name: str) -> None:
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            return  # for another system
        if name in seen:
            return
        paths = (Path(str(file.locate())) for file in package.files or ())
        seen[name] = sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")
        for needed in package.requires or ():
            if "extra ==" not in needed:
                add(re.split(r"[ ;<>=!\[~(]", needed)[0])

    add("portway")
    text = f"{sum(seen.values()) / 1e6:.1f} (portway itself {seen['portway'] / 1e6:.1f})"
    return [row("installed, with all it needs, MB", text, "≤ 25")]


SCENARIOS: dict[str, Callable[[int], Rows]] = {
    "size": size,
    "link": link,
    "loss": loss,
    "slow": slow,
    "fleet": fleet,
    "idle": idle,
    "storm": storm,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--secs", type=int, default=5)
    wanted = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    kept: dict[str, Rows] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in wanted.only.split(","):
        try:
            kept[name] = SCENARIOS[name](wanted.secs)
        except (AssertionError, OSError, EOFError, subprocess.SubprocessError, KeyError) as error:
            print(f"bench/scenarios.py: {name}: {error}", file=sys.stderr)
            return 1
        for one in kept[name]:
            print(f"{name}: {one['title']}: {one['value']}" + (f", wanted {one['goal']}" if one["goal"] else ""))
        RESULTS.write_text(json.dumps({name: kept[name] for name in SCENARIOS if name in kept}, indent=1) + "\n")
    report.main()
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
