"""What a start tells in which order, many times over (agent-behaviour.md §1.1, §16 case 2)."""

from __future__ import annotations

import http.client
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.edge import address, isolated
from harness.process import Process, portway

AT_ONCE = 4


def start_and_dial(home: Path, where: str, number: int) -> str:
    """Starts an agent and connects as soon as it says where its interface is; what was wrong with that."""
    env = {**isolated(home / str(number % AT_ONCE)), "PORTWAY_CONNECT_URL": where, "PORTWAY_AUTHTOKEN": "t"}
    process = Process(f"agent {number}", [*portway(), "start", "--none", "--log", "stdout"], env=env)
    try:
        found = process.wait_for("starting web service")["addr"]
        connection = http.client.HTTPConnection(*address(found), timeout=30)
        connection.request("GET", "/api/tunnels")
        status = connection.getresponse().status
        connection.close()
        return "" if status == 200 else f"start {number}: {status}"
    except OSError as error:
        return f"start {number}: {error}"
    finally:
        process.kill()


def starts(count: int, home: Path) -> None:
    # Nobody connects here: what is told then has nothing to wait for.
    with socket.create_server(("127.0.0.1", 0)) as edge, ThreadPoolExecutor(AT_ONCE) as pool:
        where = f"127.0.0.1:{edge.getsockname()[1]}"
        wrong = [told for told in pool.map(lambda number: start_and_dial(home, where, number), range(count)) if told]
    assert wrong == []


def test_b2_40_starts_tell_of_an_interface_only_once_it_answers(tmp_path: Path) -> None:
    starts(40, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_b2_1000_starts_tell_of_an_interface_only_once_it_answers(tmp_path: Path) -> None:
    starts(1000, tmp_path)
