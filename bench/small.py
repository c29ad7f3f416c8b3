#!/usr/bin/env python3
"""What each setting of an agent costs on a small device: memory, wake-ups, bytes on the wire, bytes of log.

usage: bench/small.py [--only settings,heartbeats,logs] [--minutes 2]

Each row has an edge and an agent of its own. Writes bench/results/small.json and the tables of docs/small-devices.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from bench import report  # noqa: E402 - found where this checkout is, wherever it is started from
from harness.agents import Agent  # noqa: E402
from harness.edge import Edge, isolated  # noqa: E402
from harness.process import Process, portway  # noqa: E402
from harness.terminal import Terminal  # noqa: E402
from harness.upstreams import HttpUpstream, Upstreams  # noqa: E402
from harness.visitor import Visitor  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "small.json"
PAGE = ROOT / "docs" / "small-devices.md"
REQUESTS, BODY = 1000, 16 << 10
VISITORS, LARGE = 100, 256 << 10
SETTLING = 12.0
"""Seconds until an agent that has nothing to do has given its memory back."""
HEADERS = 52
"""Bytes of IPv4 and TCP with time stamps, before each segment."""
OFF = ("web_addr: false", "inspect_db_size: -1")

Row = dict[str, Any]


class Setting(NamedTuple):
    title: str
    lines: tuple[str, ...]
    terminal: bool = False


SETTINGS = (
    Setting("as it comes", ()),
    Setting("on a terminal, with the screen", ("console_ui: true",), terminal=True),
    Setting("`inspect_db_size: 4MB`", ("inspect_db_size: 4MB",)),
    Setting("`inspect_db_size: -1`", ("inspect_db_size: -1",)),
    Setting("`web_addr: false`", ("web_addr: false",)),
    Setting("both off", OFF),
)


class Home:
    """An edge, an upstream and a folder for one row."""

    def __init__(self, folder: Path, limits: str) -> None:
        self.folder = folder
        self.upstreams = Upstreams(folder)
        self.upstream: HttpUpstream = self.upstreams.http()
        settings = folder / "edge.yml"
        settings.write_text(f"limits: {{{limits}}}\n")
        self.edge = Edge(folder / "edge", f"t{secrets.token_hex(12)}", ("--config", str(settings))).start()
        self.agents: list[Process] = []

    def config(self, name: str, lines: Sequence[str]) -> Path:
        path = self.folder / f"{name}.yml"
        settings = "".join(f"  {line}\n" for line in lines)
        path.write_text(
            f"version: 3\nagent:\n{settings}  metadata: x\nendpoints:\n"
            f"  - {{name: small, url: 'http://{name}.localhost', upstream: {{url: '{self.upstream.url}'}}}}\n"
        )
        return path

    def agent(self, name: str, lines: Sequence[str], log: Sequence[str] = ("stdout", "info")) -> Agent:
        target, level = log
        argv = [*portway(), "start", "--all", "--config", str(self.config(name, lines))]
        argv += ["--log", target, "--log-format", "logfmt", "--log-level", level]
        process = Process(name, argv, env={**isolated(self.folder / name), **self.edge.agent_env()})
        self.agents.append(process)
        return Agent(process, self.edge)

    def up(self, name: str) -> None:
        """Until visitors are served."""
        self.edge.process.wait_for("endpoint bound", url=f"http://{name}.localhost:{self.edge.http[1]}")

    def url(self, name: str) -> str:
        return f"http://{name}.localhost:{self.edge.http[1]}"


@contextmanager
def home(limits: str = "") -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="portway-small-") as name:
        made = Home(Path(name), limits)
        try:
            yield made
        finally:
            for process in (*made.agents, made.edge.process):
                process.stop()
            made.upstreams.stop()


def status(pid: int, key: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split(f"{key}:")[1].split()[0])


def rss_mb(pid: int) -> float:
    return status(pid, "VmRSS") * 1024 / 1e6


def switches(pid: int) -> int:
    """How often its threads have gone to sleep."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return total


# === memory and wake-ups, by setting


def setting(one: Setting, minutes: float) -> Row:
    with home() as here:
        terminal = None
        if one.terminal:
            argv = [*portway(), "start", "--all", "--config", str(here.config("small", one.lines)), "--log", "false"]
            terminal = Terminal(argv, env={**isolated(here.folder / "small"), **here.edge.agent_env()})
            pid = terminal.popen.pid
        else:
            pid = here.agent("small", ("console_ui: false", *one.lines)).process.pid
        try:
            here.up("small")
            return _measured(here, one, pid, minutes)
        finally:
            if terminal:
                terminal.stop()


def _measured(here: Home, one: Setting, pid: int, minutes: float) -> Row:
    time.sleep(SETTLING)
    first, idle, begin = switches(pid), rss_mb(pid), time.monotonic()
    time.sleep(15 * minutes)
    wakes = (switches(pid) - first) / (time.monotonic() - begin) * 60
    with Visitor(here.edge, here.url("small")) as visitor:
        for _ in range(REQUESTS):
            assert visitor.get(f"/bytes/{BODY}").status == 200
    time.sleep(SETTLING)
    after = rss_mb(pid)
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the most it had begins anew

    def visit(_: int) -> int:
        with Visitor(here.edge, here.url("small")) as visitor:
            assert visitor.get(f"/bytes/{LARGE}").status == 200
            return visitor.ask("POST", "/slow", body=b"x" * LARGE).status

    with ThreadPoolExecutor(VISITORS) as pool:
        visits = [pool.submit(visit, number) for number in range(VISITORS)]
        here.upstream.wait_waiting(VISITORS)
        here.upstream.release()
        assert {visit.result() for visit in visits} == {200}
    most = status(pid, "VmHWM") * 1024 / 1e6
    return {"title": one.title, "idle": idle, "after": after, "most": most, "wakes": wakes}


def settings_table(rows: Sequence[Row]) -> str:
    head = (
        f"| setting | idle, MB | after {REQUESTS:,} requests of {BODY >> 10} KiB, MB "
        f"| most with {VISITORS} visitors at once, MB | wake-ups a minute |"
    )
    lines = [head, "| --- | ---: | ---: | ---: | ---: |"]
    lines += [
        f"| {row['title']} | {row['idle']:.1f} | {row['after']:.1f} | {row['most']:.1f} | {row['wakes']:.0f} |"
        for row in rows
    ]
    return "\n".join([*lines, "", f"{machine()}; each visitor sends and takes {LARGE >> 10} KiB."])


# === the wire


PACES = ((10, 10), (30, 10), (60, 10), (60, 60), (240, 240))
"""Seconds between the agent's beats, and between the edge's."""


def heartbeats(minutes: float) -> list[Row]:
    with ThreadPoolExecutor(len(PACES)) as pool:
        return list(pool.map(lambda pace: _heartbeats(pace[0], pace[1], minutes), PACES))


def _heartbeats(agent: int, edge: int, minutes: float) -> Row:
    """Counted over whole rounds of beats, at least two of the slower one."""
    with home(f"heartbeat_interval: {edge}s") as here:
        pace = (f"heartbeat_interval: {agent}s", "heartbeat_tolerance: 30s")
        process = here.agent("paced", (*OFF, "console_ui: false", *pace)).process
        here.up("paced")
        time.sleep(2)
        slow = max(agent, edge)
        rounds = max(2, round(60 * minutes / slow))
        before = wire(process.pid)
        time.sleep(rounds * slow)
        hour = (wire(process.pid) - before) / (rounds * slow) * 3600
        return {"agent": agent, "edge": edge, "hour": hour}


def wire(pid: int) -> int:
    """Bytes on the wire, both ways, of all connections of a process."""
    told = subprocess.run(["ss", "-tinpHO", "state", "established"], check=True, capture_output=True, text=True).stdout
    total = 0
    for line in told.splitlines():
        if f"pid={pid}," in line:
            total += sum(int(number) for number in re.findall(r"bytes_(?:sent|received):(\d+)", line))
            total += HEADERS * sum(int(number) for number in re.findall(r"segs_(?:out|in):(\d+)", line))
    assert total, f"no connection of process {pid} in\n{told}"
    return total


def heartbeats_table(rows: Sequence[Row]) -> str:
    lines = ["| `heartbeat_interval` | of the edge | KB an hour | MB a month |", "| --- | --- | ---: | ---: |"]
    for row in rows:
        default = " (default)" if row["agent"] == 10 else ""
        hour, month = row["hour"] / 1e3, row["hour"] * 730 / 1e6
        lines.append(f"| `{row['agent']}s`{default} | `{row['edge']}s` | {hour:.0f} | {month:.0f} |")
    return "\n".join(lines)


# === the log


def logs(minutes: float) -> list[Row]:
    rows = []
    with home() as here:
        for level in ("warn", "info", "debug"):
            path = here.folder / f"{level}.log"
            here.agent(level, (*OFF, "console_ui: false"), (str(path), level))
            here.up(level)
            size = path.stat().st_size if path.exists() else 0
            for _ in range(REQUESTS):
                with Visitor(here.edge, here.url(level)) as visitor:
                    assert visitor.get("/bytes/10").status == 200
            after = path.stat().st_size if path.exists() else 0
            rows.append({"level": level, "start": size, "visit": (after - size) / REQUESTS})
    return rows


def logs_table(rows: Sequence[Row]) -> str:
    lines = ["| `log_level` | for a start, bytes | for a visitor's connection, bytes |", "| --- | ---: | ---: |"]
    for row in rows:
        default = " (default)" if row["level"] == "info" else ""
        lines.append(f"| `{row['level']}`{default} | {row['start']:,} | {row['visit']:.0f} |")
    return "\n".join([*lines, "", "`log: false` writes nothing."])


def machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{model[1] if model else platform.machine()}, Linux {platform.release().split('-')[0]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="settings,heartbeats,logs")
    parser.add_argument("--minutes", type=float, default=2, help="how long what is rare is counted")
    wanted = parser.parse_args()
    kept: dict[str, list[Row]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in wanted.only.split(","):
        if name == "settings":
            kept[name] = [setting(one, wanted.minutes) for one in SETTINGS]
        else:
            kept[name] = {"heartbeats": heartbeats, "logs": logs}[name](wanted.minutes)
        print(f"{name}: {kept[name]}")
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    tables = {"settings": settings_table, "heartbeats": heartbeats_table, "logs": logs_table}
    for name, rows in kept.items():
        report.fill(PAGE, name, tables[name](rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
