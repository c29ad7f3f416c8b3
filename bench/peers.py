#!/usr/bin/env python3
"""portway beside a pair of nginx, and beside other tunnels, in one run and in turns.

usage: bench/peers.py [--peerbench PATH] [--rounds 5] [--secs 4] [--tools nginx_pair,portway,…] [--hold 1000]

What is measured, and how, is peerbench.py's: a tool of ours that stands beside this checkout in shared/tools. Each
round measures every tool once, every other round in the opposite order; figures are medians over the rounds, a ratio
is the median of the ratios within each round. Writes bench/results/peers.json, and the tables made of it
(bench/report.py), after every round. A round without the pair or portway does not count; exit code 1: none did. A goal
that is missed is told, no more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import report  # noqa: E402 - found where this checkout is, wherever it is started from

REFERENCE = "nginx_pair"
# Without these there is nothing to tell.
NEEDED = (REFERENCE, "portway", "portway_tcp")
RESULTS = ROOT / "bench" / "results" / "peers.json"
DEFAULT = "nginx_pair,portway,portway_tcp,frp,chisel,bore,rathole"
# Programs that a tool of peerbench.py consists of.
PROGRAMS = {
    "direct": (),
    "nginx_pair": ("nginx",),
    "portway": (),
    "portway_tcp": (),
    "frp": ("frps", "frpc"),
    "frp_tcp": ("frps", "frpc"),
    "rathole": ("rathole",),
    "bore": ("bore",),
    "chisel": ("chisel",),
    "piko": ("piko",),
}
MEASURING = ("nginx", "wrk", "iperf3", "openssl")

Figures = dict[str, dict[str, list[float]]]
"""Of each tool, of each figure: a value for each round."""


def main() -> int:
    asked = arguments()
    peerbench = asked.peerbench or ROOT.parent / "shared" / "tools" / "peerbench.py"
    path = os.pathsep.join([str(ROOT / ".tools" / "bench" / "bin"), os.environ.get("PATH", ""), "/usr/sbin"])
    portway = os.environ.get("PORTWAY") or str(ROOT / ".venv" / "bin" / "portway")
    if not peerbench.is_file():
        return failed(f"there is no {peerbench}: name it with --peerbench")
    if lacking := [name for name in MEASURING if not shutil.which(name, path=path)]:
        return failed(f"this machine lacks {', '.join(lacking)}: tools/need --install bench test")
    wanted = asked.tools.split(",")
    if unknown := [tool for tool in wanted if tool not in PROGRAMS]:
        return failed(f"unknown tools: {', '.join(unknown)}")
    skipped = {tool for tool in wanted if not all(shutil.which(name, path=path) for name in PROGRAMS[tool])}
    tools = [tool for tool in wanted if tool not in skipped]
    if skipped:
        print(f"left out, not installed: {', '.join(sorted(skipped))} (bench/peers-install builds them)", flush=True)

    env = {**os.environ, "PATH": path, "PEER_BIN": str(ROOT / ".tools" / "bench" / "bin"), "PORTWAY": portway}
    figures: Figures = {tool: {} for tool in tools}
    missed: dict[str, int] = {}
    whole = 0
    result: dict[str, Any] = {}
    for number in range(asked.rounds):
        order = tools if number % 2 == 0 else tools[::-1]
        print(f"round {number + 1} of {asked.rounds}: {', '.join(order)}", flush=True)
        measured = one_round(peerbench, order, asked, env)
        failures = {tool: why for tool in tools if (why := measured[tool].get("failed"))}
        for tool, why in failures.items():
            print(f"{tool} could not be measured: {why}", flush=True)
        if needed := [tool for tool in NEEDED if tool in failures]:
            # A ratio needs both sides: such a round counts for nobody.
            print(f"the round does not count, for want of {', '.join(needed)}", flush=True)
            continue
        whole += 1
        for tool in tools:
            if tool in failures:
                missed[tool] = missed.get(tool, 0) + 1
                continue
            for name, value in measured[tool].items():
                if isinstance(value, (int, float)):
                    figures[tool].setdefault(name, []).append(float(value))
        result = summary({tool: named for tool, named in figures.items() if named}, whole, asked.secs)
        result |= {"left_out": sorted(skipped), "missed": missed, "build": build(portway)}
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    if not result:
        return failed("no round could be measured")

    print("\n" + report.peers_table(result))
    print("\n".join(report.goals(result)))
    if result["build"] != "release":
        print(f"These are figures of a {result['build']} build: `make build` makes the one that ships.")
    report.main()
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="portway beside other tools, in turns.")
    parser.add_argument("--peerbench", type=Path, help="peerbench.py; by default the one in ../shared/tools")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--secs", type=int, default=4, help="length of one measurement")
    parser.add_argument("--hold", type=int, default=1000, help="connections to hold when measuring memory")
    parser.add_argument("--tools", default=DEFAULT, help=f"default {DEFAULT}")
    return parser.parse_args()


def failed(text: str) -> int:
    print(f"bench/peers.py: {text}", file=sys.stderr)
    return 1


def one_round(
    peerbench: Path, tools: Sequence[str], asked: argparse.Namespace, env: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """What each tool did; who failed is measured once more, alone."""
    measured = ask(peerbench, tools, asked, env)
    failed = [tool for tool in tools if "failed" in measured[tool]]
    return measured | (ask(peerbench, failed, asked, env) if failed else {})


def ask(
    peerbench: Path, tools: Sequence[str], asked: argparse.Namespace, env: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "round.json")
        argv = [sys.executable, str(peerbench), "--tools", ",".join(tools), "--json", str(out)]
        argv += ["--secs", str(asked.secs), "--hold", str(asked.hold)]
        done = subprocess.run(argv, env=env, check=False, capture_output=True, text=True)
        read: dict[str, dict[str, Any]] = json.loads(out.read_text()) if out.exists() else {}
    why = ((done.stderr or done.stdout).strip() or "it said nothing").splitlines()[-1]
    return {tool: read.get(tool, {"failed": why}) for tool in tools}


def summary(figures: Figures, rounds: int, secs: int) -> dict[str, Any]:
    """Medians, spreads, and ratios to the reference."""
    tools: dict[str, Any] = {}
    for tool, named in figures.items():
        tools[tool] = {name: spread(values) for name, values in named.items()}
        for name, row in tools[tool].items():
            beside = figures.get(REFERENCE, {}).get(name, [])
            if tool != REFERENCE and len(beside) == len(named[name]) and all(beside):
                row["ratio"] = spread([ours / theirs for ours, theirs in zip(named[name], beside, strict=True)])
    return {"machine": machine(), "rounds": rounds, "secs": secs, "reference": REFERENCE, "tools": tools}


def spread(values: Sequence[float]) -> dict[str, Any]:
    return {
        "median": round(statistics.median(values), 4),
        "low": round(min(values), 4),
        "high": round(max(values), 4),
    }


def machine() -> str:
    """What it was measured on, without its name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} × {model}, {platform.system()} {platform.release().split('-')[0]}"


def build(portway: str) -> str:
    """`release` or `dev`: the wheel that ships is stripped of symbols."""
    python = Path(portway).with_name("python")
    if not python.exists():
        return "unknown"
    find = "import portway.launch; print(portway.launch.extension())"
    core = subprocess.run([str(python), "-c", find], check=True, capture_output=True, text=True).stdout.strip()
    sections = subprocess.run(["readelf", "-SW", core], check=True, capture_output=True, text=True).stdout
    return "dev" if " .symtab " in sections else "release"


if __name__ == "__main__":
    sys.exit(main())
