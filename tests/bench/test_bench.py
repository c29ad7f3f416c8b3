"""`portway bench` on real tunnels. How fast they are decides nothing here."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.agents import Agents
from harness.edge import Edge, isolated
from harness.process import Process, portway, until
from harness.terminal import Terminal
from harness.tls import Authority
from harness.upstreams import Upstreams
from portway.bench.measures import FIGURES, MEASURES
from portway.bench.sample import cpu_secs

QUICK = ("--secs", "0.1", "--rounds", "1")
# Where every figure has to be there: on a busy machine nothing at all may be done in a tenth of a second.
SURE = ("--secs", "1", "--rounds", "1", "--connections", "4")
LOCAL_FIGURES = set(FIGURES)


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*portway(), "bench", *argv],
            env={**os.environ, **isolated(tmp_path / "home"), **env},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[str]:
    """The URL of `portway bench --serve`."""
    process = Process("upstream", [*portway(), "bench", "--serve", "0"], env=isolated(tmp_path / "upstream"))
    port = process.wait_line("its port", lambda line: found[1] if (found := re.search(r":(\d+) ", line)) else None)
    yield f"http://127.0.0.1:{port}"
    process.stop()


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def measuring(pid: int) -> set[int]:
    """Children that have worked for a while; the one that only probes is gone by then."""
    return {child for child in children(pid) if (used := cpu_secs([child])) is not None and used > 0.5}


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


# === a tunnel on this machine


def test_with_nothing_configured_everything_is_measured(bench: Bench, tmp_path: Path) -> None:
    kept, html = tmp_path / "kept.json", tmp_path / "page.html"
    done = bench("--local", *SURE, "--save", str(kept), "--html", str(html), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result == json.loads(kept.read_text())
    assert set(result["figures"]) == LOCAL_FIGURES
    assert all(figure["median"] > 0 for name, figure in result["figures"].items() if not name.endswith("_cpu"))
    assert set(result["memory_mb"]) == {"edge", "agent"}
    assert result["settings"]["measures"] == list(MEASURES)
    assert not result["failures"]
    assert html.read_text().count("<svg") == len(result["curves_ms"]) + len(LOCAL_FIGURES)


def test_a_table_goes_into_a_pipe_without_colours_or_bars(bench: Bench) -> None:
    done = bench("--local", *QUICK, "--only", "rps,latency", "--connections", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "requests/s" in done.stdout
    assert "coordinated omission" in done.stdout
    assert "\x1b" not in done.stdout
    assert "download" not in done.stdout


def test_two_results_are_compared(bench: Bench, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    few = ("--local", "--secs", "0.05", "--rounds", "5", "--only", "rps", "--connections", "2")
    assert bench(*few, "--save", str(kept)).returncode == 0
    old = json.loads(kept.read_text())
    for name, factor in (("rps", 1000), ("rps_p50", 1)):
        old["figures"][name]["rounds"] = [value * factor for value in old["figures"][name]["rounds"]]
    kept.write_text(json.dumps(old))
    done = bench(*few, "--compare", str(kept), "--json")
    assert done.returncode == 0, done.stderr
    changes = json.loads(done.stdout)["changes"]
    assert changes["rps"]["verdict"] == "worse"
    assert changes["rps"]["ratio"] < 0.1
    assert "worse" in bench(*few, "--compare", str(kept)).stdout


# === an endpoint


def test_an_endpoint_of_an_edge_is_measured_by_its_url(bench: Bench, agents: Agents, edge: Edge, upstream: str) -> None:
    agent = agents.http(upstream)
    done = bench(agent.url, "--ca", str(edge.ca), *SURE, "--json", "--pid", str(agent.process.pid), "--streams", "2")
    # The edge's own certificate for visitors is signed by its CA where nobody gave it another.
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["figures"]) == LOCAL_FIGURES
    assert set(result["memory_mb"]) == {f"process {agent.process.pid}"}
    assert result["target"] == {"url": f"{agent.url}/", "local": False}


def test_of_any_other_service_bulk_is_left_out_and_nothing_is_posted(bench: Bench, upstreams: Upstreams) -> None:
    other = upstreams.http()
    done = bench(f"{other.url}/", *QUICK, "--connections", "2")
    assert done.returncode == 0, done.stderr
    assert "not measured: down, up, loaded" in done.stdout
    assert {seen.method for seen in other.seen} == {"GET"}


def test_paths_for_bulk_can_be_named(bench: Bench, upstreams: Upstreams) -> None:
    other = upstreams.http()
    done = bench(f"{other.url}/", *QUICK, "--only", "down,loaded", "--download", "/bytes/1000000", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["figures"]["down"]["median"] > 0


def test_by_a_schedule_no_more_is_sent_than_was_asked(bench: Bench, upstream: str) -> None:
    done = bench(upstream, "--rate", "50", "--secs", "1", "--rounds", "1", "--only", "rps", "--json")
    result = json.loads(done.stdout)
    assert 0 < result["requests"]["rps"] <= 60
    assert result["settings"]["rate"] == 50


# === what goes wrong


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "name a URL to measure, or --local"),
        (["http://x.localhost", "--local"], "name a URL to measure, or --local"),
        (["tcp://x:1"], "tcp:// cannot be measured"),
        (["http://nothing.invalid"], "nothing.invalid cannot be found"),
        (["--local", "--only", "conections"], "unknown measurement conections (did you mean connections?)"),
        (["--local", "--rounds", "0"], "--rounds: 0 is not between"),
        (["--local", "--rounds", "1.5"], "--rounds: 1.5 is no whole number"),
        (["--local", "--secs", "soon"], "--secs: soon is no number"),
        (["--local", "--rate", "nan"], "--rate: nan is not between"),
        (["--local", "--ca", "x.pem"], "--ca is for a URL"),
        (["x.localhost", "--ca", "/nowhere.pem"], "/nowhere.pem: No such file"),
        (["x.localhost", "--pid", "0"], "there is no process 0"),
        (["x.localhost", "--download", "file"], "--download: file is no path"),
        (["--local", "--compare", "/nowhere.json"], "/nowhere.json: No such file"),
        (["--local", "--html", "/nowhere/page.html"], "/nowhere/page.html: No such file"),
        (["--serve", "http"], "--serve: http is no port"),
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_runs(argv: list[str], said: str, bench: Bench) -> None:
    done = bench(*argv)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert all(line.startswith("ERROR:  ") for line in done.stderr.splitlines())


def test_a_port_where_nobody_listens_is_named(bench: Bench, tmp_path: Path) -> None:
    port = closed_port()
    kept = tmp_path / "kept.json"
    done = bench(f"http://127.0.0.1:{port}", *QUICK, "--save", str(kept))
    assert done.returncode == 1
    assert not kept.exists()
    assert f"127.0.0.1:{port} refuses connections" in done.stderr


def test_a_port_that_is_taken_cannot_be_served(bench: Bench, upstream: str) -> None:
    port = upstream.rpartition(":")[2]
    done = bench("--serve", port)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_an_endpoint_that_is_not_there_is_told_by_its_status(bench: Bench, edge: Edge) -> None:
    done = bench(f"http://nobody.localhost:{edge.http[1]}", *QUICK)
    assert done.returncode == 1
    assert "answers with status 404" in done.stderr


def test_a_certificate_nobody_vouches_for_is_told_with_the_way_out(
    bench: Bench, upstreams: Upstreams, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    pair = authority.pair("localhost")
    other = upstreams.http(tls=pair.serving())
    url = f"https://localhost:{other.port}/"
    done = bench(url, *QUICK)
    assert done.returncode == 1
    assert "is not trusted" in done.stderr
    assert "--ca FILE" in done.stderr
    trusted = bench(url, *QUICK, "--only", "latency", "--ca", str(authority.pem))
    assert trusted.returncode == 0, trusted.stderr


def test_plain_http_is_no_tls(bench: Bench, upstream: str) -> None:
    done = bench(upstream.replace("http:", "https:"), *QUICK)
    assert done.returncode == 1
    assert "does not speak TLS" in done.stderr


def test_a_server_that_dies_midway_leaves_the_figures_until_then(
    terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    serving = Process("upstream", [*portway(), "bench", "--serve", "0"], env=isolated(tmp_path))
    port = serving.wait_line("its port", lambda line: found[1] if (found := re.search(r":(\d+) ", line)) else None)
    kept = tmp_path / "kept.json"
    argv = [*portway(), "bench", f"127.0.0.1:{port}", "--secs", "0.2", "--rounds", "1000", "--only", "latency"]
    shown = terminals(*argv, "--save", str(kept), env=isolated(tmp_path))
    shown.wait("the second round", lambda text: "round 2 of" in text)
    serving.kill()
    assert shown.end() == 1
    text = shown.text()
    assert "stopped answering" in text
    assert "latency p50" in text
    assert json.loads(kept.read_text())["broken"]


# === interrupted


def test_ctrl_c_shows_what_was_measured_and_leaves_nobody_behind(
    terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    argv = [*portway(), "bench", "--local", "--secs", "0.2", "--rounds", "1000", "--only", "rps", "--connections", "2"]
    shown = terminals(*argv, env=isolated(tmp_path), rows=40)
    shown.wait("the second round", lambda text: "round 2 of" in text)
    started = children(shown.popen.pid)
    assert len(started) >= 3
    shown.type(b"\x03")
    assert shown.end() == 130
    assert "requests/s" in shown.text()
    assert "Interrupted" in shown.text()
    until("all it started is gone", lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))


def test_a_service_manager_that_ends_it_gets_the_same(tmp_path: Path) -> None:
    argv = [*portway(), "bench", "--local", "--secs", "0.1", "--rounds", "1000", "--only", "rps", "--json"]
    process = Process("bench", argv, env=isolated(tmp_path))
    until("it measures", lambda: len(children(process.pid)) >= 4)
    process.signal(signal.SIGTERM)
    assert process.wait() == 130
    assert json.loads(process.text("out") or '{"cut": true}')["cut"]


@pytest.mark.parametrize("columns", [40, 100])
def test_the_bar_fits_the_terminal(columns: int, terminals: Callable[..., Terminal], tmp_path: Path) -> None:
    argv = [*portway(), "bench", "--local", *QUICK, "--only", "latency"]
    shown = terminals(*argv, env={**isolated(tmp_path), "NO_COLOR": "1"}, columns=columns)
    assert shown.end() == 0
    assert b"[" in shown.raw
    assert "latency p50" in shown.text()
    assert b"\x1b[1m" not in shown.raw
    assert not re.search(r"\[[#.]+\]", shown.text()), "the bar is gone once all is done"


def test_a_killed_command_leaves_no_load_behind(upstream: str, tmp_path: Path) -> None:
    argv = [*portway(), "bench", upstream, "--secs", "600", "--only", "latency"]
    process = Process("bench", argv, env=isolated(tmp_path))
    (load,) = until("it measures", lambda: measuring(process.pid))
    process.kill()
    until("the load is gone", lambda: not Path(f"/proc/{load}").exists())


def test_a_killed_command_leaves_no_tunnel_behind(tmp_path: Path) -> None:
    argv = [*portway(), "bench", "--local", "--secs", "600", "--rounds", "1", "--only", "latency"]
    process = Process("bench", argv, env=isolated(tmp_path))
    until("it measures", lambda: measuring(process.pid))
    started = children(process.pid)
    assert len(started) >= 4, "upstream, edge, agent and load"
    process.kill()
    until("all it started is gone", lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))


# === coordinated omission


def stalling() -> tuple[int, threading.Thread]:
    """A server that answers at once, but for one answer that takes a second."""
    listener = socket.create_server(("127.0.0.1", 0))
    pause = threading.Event()

    def serve() -> None:
        count = 0
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the test is over
            with connection, contextlib.suppress(OSError):
                while connection.recv(4096):
                    count += 1
                    if count == 300:
                        pause.wait(1.0)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener.getsockname()[1], thread


@pytest.mark.parametrize("schedule", [(), ("--rate", "500", "--connections", "1")], ids=["closed", "schedule"])
def test_a_stall_counts_for_all_it_kept_waiting(schedule: tuple[str, ...], bench: Bench) -> None:
    port, _ = stalling()
    only = "rps" if schedule else "latency"
    done = bench(f"127.0.0.1:{port}", "--secs", "2.5", "--rounds", "1", "--only", only, *schedule, "--json")
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)["figures"]
    # One request of thousands was slow; uncorrected it would not show at p99.
    assert figures[f"{only}_p99"]["median"] > 300
