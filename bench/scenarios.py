#!/usr/bin/env python3
"""What bench/peers.py does not measure: long links, slow readers, storms, fleets, an agent that does nothing.

usage: bench/scenarios.py [--only size,start,link,sdk,loss,slow,inspect,held,fleet,idle,storm] [--rounds 5] [--secs 5]

Each round of a scenario starts an edge and an agent of its own, for a ratio also the pair of nginx, in turns;
figures are medians over the rounds, with their spread. What does not depend on how busy the machine is, and takes
minutes, is done once. Small requests are those of `portway bench`: latencies count from when a request was due. Writes
bench/results/scenarios.json and the table made of it (bench/report.py).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench import report  # noqa: E402 - found where this checkout is, wherever it is started from
from bench.link import Link  # noqa: E402
from bench.town import Town, iperf, requests  # noqa: E402
from harness.edge import isolated  # noqa: E402
from harness.process import Process, portway  # noqa: E402
from portway.bench import BenchError  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "scenarios.json"
ROUND_TRIP, GBIT = 0.1, 125e6
SDK_WINDOW = 262_144
"""Bytes that an SDK takes before it gives credit (wire-protocol §2.5)."""
RATE = 2_000.0
"""Small requests a second: what a busy site has, and no machine is at its limit with."""
# Played by this program, with a thread each.
SESSIONS, ENDPOINTS = 1000, 100


class Figure(NamedTuple):
    """What one round found: a value, and the parts that it was made of."""

    title: str
    value: float
    form: str
    goal: str = ""
    parts: tuple[float, ...] = ()
    told: str = ""
    """How the parts are told."""


Figures = Iterable[Figure]


# === a link with a length


def link(secs: int) -> Figures:
    """One stream over 100 ms and 1 Gbit/s, beside TLS alone over the same relay."""
    rates = {}
    for kind in ("nginx pair", "portway"):
        with Town() as town:
            pair = town.nginx() if kind == "nginx pair" else town.portway()
            with Link(pair.between, round_trip=ROUND_TRIP, rate=GBIT) as way:
                pair.connect(way.port)
                rates[kind] = iperf(pair.tcp, secs, omit=6)
    plain, ours = rates["nginx pair"], rates["portway"]
    title = "one stream down, 100 ms, 1 Gbit/s, beside TLS alone"
    yield Figure(title, ours / plain, "{:.2f} ×", "≥ 0.9 ×", (ours, plain), "{:.0f} of {:.0f} Mbit/s")


def sdk(secs: int) -> Figures:
    """One stream up to an agent made with an SDK, whose window does not grow: the most is a window each round trip."""
    with Town() as town:
        pair = town.portway()
        with Link(pair.between, round_trip=ROUND_TRIP, rate=GBIT) as way:
            town.sdk(pair, way.port)
            rate = iperf(pair.tcp, secs, omit=2, up=True)
    most = SDK_WINDOW * 8 / ROUND_TRIP / 1e6
    title = "one stream up to an agent of the Python SDK, 100 ms, beside its window ÷ round trip"
    yield Figure(title, rate / most, "{:.2f} ×", "1 ×", (rate, most), "{:.1f} of {:.1f} Mbit/s")


def loss(secs: int) -> Figures:
    """Small requests over 20 ms, while one piece in a hundred comes 200 ms late, over one leg and over four; and how
    long the one takes to be there again when it breaks."""
    title = "requests over 20 ms, 1 % of pieces 200 ms late{}: {}, ms"
    for legs, how in ((4, ", four legs"), (1, "")):
        with ExitStack() as stack:
            town = stack.enter_context(Town())
            bad = partial(Link, town.agent_door, round_trip=0.02, rate=GBIT, stalled=0.01)
            ways = [stack.enter_context(bad()) for _ in range(legs)]
            offered = [word for way in ways for word in ("--connect-address", f"127.0.0.1:{way.port}")]
            pair = town.portway(*(offered if legs > 1 else ()))
            pair.config.write_text(
                pair.config.read_text().replace("web_addr: false", "web_addr: false\n  multi_leg: true")
            )
            pair.connect(ways[0].port)
            requests(pair, 1, connections=16, rate=RATE / 5)  # meanwhile all legs are there
            told = requests(pair, secs, connections=16, rate=RATE / 5)
            for share in ("p50", "p99"):
                yield Figure(title.format(how, share), told[share], "{:.0f}")
            if legs == 1:
                before = time.monotonic()
                ways[0].cut()
                pair.back()
                taken = time.monotonic() - before
                yield Figure("link cut: until requests are answered again, s", taken, "{:.1f}")


# === beside others


def slow(secs: int) -> Figures:
    """Small requests while eight streams carry bulk to readers that take a megabyte a second each."""
    for kind, goal in (("portway", "≤ 2 ×"), ("nginx pair", "")):
        with Town() as town:
            pair = town.nginx() if kind == "nginx pair" else town.portway()
            pair.connect()
            alone = requests(pair, secs, connections=4, rate=RATE)["p99"]
            with town.slow_readers(pair.bulk, count=8, rate=1e6):
                beside = requests(pair, secs, connections=4, rate=RATE)["p99"]
        title = f"{kind}: p99 of small requests, 8 bulk streams to slow readers, beside without them"
        yield Figure(title, beside / alone, "{:.2f} ×", goal, (beside, alone), "{:.2f} of {:.2f} ms")


# === inspection

FILL = 30_000
"""Requests that fill the store, so that records go while others come."""
INSPECTED = {
    "no local interface": ("web_addr: false", ""),
    "inspect_db_size: -1": ("web_addr: '127.0.0.1:0'\n  inspect_db_size: -1", ""),
    "inspect: false": ("web_addr: '127.0.0.1:0'", "inspect: false, "),
    "inspection on": ("web_addr: '127.0.0.1:0'", ""),
}


def inspect(secs: int) -> Figures:
    """CPU of the agent for a small request, with its inspection off and on."""
    used = {}
    with Town() as town:
        pair = town.portway()
        plain = pair.config.read_text()
        for kind, (settings, option) in INSPECTED.items():
            text = plain.replace("web_addr: false", settings)
            pair.config.write_text(text.replace("upstream: {url: 'http:", f"{option}upstream: {{url: 'http:"))
            pair.connect()
            pair.back()
            warm = 0.0
            while warm < FILL:
                warm += requests(pair, secs, connections=16)["count"]
            before = pair.agent_cpu()
            count = requests(pair, secs, connections=16)["count"]
            used[kind] = (pair.agent_cpu() - before) / count * 1e6
            town.end(pair.agent)
    off = used["no local interface"]
    for kind, goal in (("inspect_db_size: -1", "1 ×"), ("inspect: false", "1 ×"), ("inspection on", "≤ 1.1 ×")):
        title = f"CPU of the agent for a request, {kind}, beside no local interface"
        yield Figure(title, used[kind] / off, "{:.2f} ×", goal, (used[kind], off), "{:.1f} of {:.1f} µs")


# === start


def start(secs: int) -> Figures:
    """From the command to the URL on the screen, with the edge inside."""
    del secs
    with tempfile.TemporaryDirectory() as home:
        begin = time.monotonic()
        process = Process("agent", [*portway(), "http", "9"], env=isolated(Path(home)))
        process.wait_line("a URL", lambda line: True if line.startswith("Forwarding") else None)
        taken = time.monotonic() - begin
        process.kill()
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    python = time.monotonic() - begin
    title = "`portway http` to the URL, edge inside, ms"
    yield Figure(title, taken * 1e3, "{:.0f}", "≤ 250", (taken / python,), "{:.1f} × `python -c pass`")


# === memory


def held(secs: int) -> Figures:
    """An agent with a hundred connections that have said and heard a byte; inspection is off."""
    del secs
    with Town() as town:
        pair = town.portway()
        pair.connect()
        pair.back()
        edge, agent = asyncio.run(town.hold(pair, 100))
    yield Figure("agent with 100 held connections, MB", agent, "{:.1f}", "≤ 16", (edge,), "edge {:.1f}")


def storm(secs: int) -> Figures:
    """What is left a minute after a thousand connections, ten thousand cancelled downloads and 1,500 agents."""
    del secs
    with Town() as town:
        pair = town.portway()
        pair.connect()
        pair.back()
        time.sleep(10)
        before = pair.resident()
        many = asyncio.run(town.hold(pair, 1000))
        asyncio.run(town.cancel_downloads(pair, 10_000))
        town.storm(pair, 1_500)
        peak = pair.resident()
        time.sleep(60)
        after = pair.resident()
    for index, side in enumerate(("edge", "agent")):
        parts = tuple(moment[index] for moment in (before, many, peak, after))
        told = "{:.1f}, held {:.1f}, behind it {:.1f}, a minute later {:.1f} MB"
        title = f"{side} a minute after the storms, beside idle"
        yield Figure(title, after[index] / before[index], "{:.2f} ×", "≤ 1.3 ×", parts, told)


def fleet(secs: int) -> Figures:
    """An edge with many endpoints: what each costs, and what a request costs among them."""
    with Town() as town:
        pair = town.portway()
        pair.connect()
        pair.back()

        def per_request() -> float:
            before = pair.edge_cpu()
            count = requests(pair, secs, connections=16)["count"]
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
    of = f"{SESSIONS:,} sessions with {ENDPOINTS} endpoints"
    yield Figure(f"{of}: KB for an endpoint", memory * 1000 / count, "{:.2f}", "≤ 1")
    yield Figure(f"{of}: binds/s that a core of the edge has time for", count / work, "{:,.0f}", "≥ 5,000")
    title = f"{of}: CPU of the edge for a request, among them beside without them"
    yield Figure(title, among / alone, "{:.2f} ×", "flat", (among, alone), "{:.1f} of {:.1f} µs")


def idle(secs: int) -> Figures:
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
    yield Figure("traffic of an idle agent, both ways, KB an hour", sent / taken * 3600 / 1000, "{:.0f}")


def size(secs: int) -> Figures:
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
    title, ours = "installed, with all it needs, MB", seen["portway"] / 1e6
    yield Figure(title, sum(seen.values()) / 1e6, "{:.1f}", "≤ 25", (ours,), "portway itself {:.1f}")


class Scenario(NamedTuple):
    run: Callable[[int], Figures]
    once: bool = False


SCENARIOS = {
    "size": Scenario(size, once=True),
    "start": Scenario(start),
    "link": Scenario(link),
    "sdk": Scenario(sdk),
    "loss": Scenario(loss),
    "slow": Scenario(slow),
    "inspect": Scenario(inspect),
    "held": Scenario(held),
    "fleet": Scenario(fleet, once=True),
    "idle": Scenario(idle, once=True),
    "storm": Scenario(storm, once=True),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--secs", type=int, default=5)
    wanted = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    kept: dict[str, list[dict[str, Any]]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in wanted.only.split(","):
        scenario = SCENARIOS[name]
        try:
            rounds = [list(scenario.run(wanted.secs)) for _ in range(1 if scenario.once else wanted.rounds)]
        except (AssertionError, OSError, EOFError, subprocess.SubprocessError, KeyError, BenchError) as error:
            print(f"bench/scenarios.py: {name}: {error}", file=sys.stderr)
            return 1
        kept[name] = [row(figures) for figures in zip(*rounds, strict=True)]
        for one in kept[name]:
            print(f"{name}: {one['title']}: {one['value']}" + (f", wanted {one['goal']}" if one["goal"] else ""))
        RESULTS.write_text(json.dumps({name: kept[name] for name in SCENARIOS if name in kept}, indent=1) + "\n")
    report.main()
    return 0


def row(rounds: tuple[Figure, ...]) -> dict[str, Any]:
    """One figure over all rounds, as the table shows it."""
    first = rounds[0]
    values = [figure.value for figure in rounds]
    text = first.form.format(statistics.median(values))
    told = []
    if len(values) > 1:
        told.append(f"{first.form.format(min(values))} to {first.form.format(max(values))}")
    if first.told:
        told.append(first.told.format(*map(statistics.median, zip(*(figure.parts for figure in rounds), strict=True))))
    if told:
        text += f" ({'; '.join(told)})"
    return {"title": first.title, "goal": first.goal, "value": text, "rounds": [round(value, 4) for value in values]}


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
