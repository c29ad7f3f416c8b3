"""A tunnel to measure: an edge, an agent and an upstream, each a process of its own, on loopback.

They get a home of their own, so nothing that is configured on this machine has a say.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from portway.bench import BenchError
from portway.bench.generator import Generator
from portway.bench.target import Target

HOST = "bench.localhost"
# The start of an edge and of an agent, on a slow machine.
PATIENCE = 30.0
LOG = ("--log", "stdout", "--log-format", "json")
# Told before anything else: this process is sent SIGTERM when the one that started it ends, in whatever way (prctl(2),
# PR_SET_PDEATHSIG). Elsewhere than on Linux a killed command leaves its tunnel behind.
BOUND = "import ctypes; ctypes.CDLL(None).prctl(1, 15); from portway.__main__ import main; main()"
START = ("-c", BOUND) if sys.platform == "linux" else ("-m", "portway")


class Local(NamedTuple):
    target: Target
    pids: dict[str, int]


@contextlib.contextmanager
def tunnel() -> Iterator[Local]:
    """The tunnel, for as long as it is needed."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portway-bench-")))
        upstream = stack.enter_context(serving(0))
        token = f"t{secrets.token_hex(12)}"
        edge, ready = stack.enter_context(
            _running(
                "edge",
                home,
                ["edge", "--domain", "localhost", "--data-dir", str(home / "edge"), "--api-addr", "off"]
                + [word for name in ("agent", "http", "https") for word in (f"--{name}-addr", "127.0.0.1:0")],
                {"PORTWAY_EDGE_AUTHTOKEN": token},
                "edge ready",
            )
        )
        agent, _ = stack.enter_context(
            _running(
                "agent",
                home,
                ["http", str(upstream), "--url", f"http://{HOST}"],
                {
                    "PORTWAY_CONNECT_URL": ready["agent_addr"],
                    "PORTWAY_CONNECT_CAS": str(home / "edge" / "ca.pem"),
                    "PORTWAY_AUTHTOKEN": token,
                },
                "started tunnel",
            )
        )
        address = ready["http_addr"]
        port = int(address.rpartition(":")[2])
        target = Target(f"http://{HOST}:{port}/", False, HOST, port, f"{HOST}:{port}", "/", address)
        yield Local(target, {"edge": edge.pid, "agent": agent.pid})


@contextlib.contextmanager
def serving(port: int) -> Iterator[int]:
    """The upstream; its port."""
    generator = Generator({"do": "serve", "port": port})
    try:
        event = next(generator.events(), None)
        if event is None:
            raise BenchError(generator.end() or "the upstream ended at once")
        yield event["port"]
    finally:
        generator.end()


@contextlib.contextmanager
def _running(
    role: str, home: Path, words: list[str], settings: Mapping[str, str], message: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A process of ours, once it has logged `message`; and that record."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NGROK_", "PORTWAY_"))}
    of_home = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_DATA_HOME": str(home), "XDG_STATE_HOME": str(home)}
    process = subprocess.Popen(
        [sys.executable, *START, *words, *LOG],
        env={**inherited, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **of_home, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is ours to handle
        text=True,
    )
    try:
        yield process, _wait(role, process, message)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(role: str, process: subprocess.Popen[str], message: str) -> dict[str, Any]:
    assert process.stdout
    late = threading.Timer(PATIENCE, process.kill)
    late.start()
    said = ""
    try:
        for line in process.stdout:
            try:
                record = json.loads(line)
            except ValueError:
                said = line.removeprefix("ERROR:  ").strip()
                continue
            if record.get("msg") == message:
                threading.Thread(target=process.stdout.read, daemon=True).start()  # or it would block one day
                return dict(record)
            said = str(record.get("err") or said)
    finally:
        late.cancel()
    raise BenchError(f"the {role} to be measured did not start: {said or 'it ended without a word'}")
