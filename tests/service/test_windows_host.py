"""What Windows starts, with a real agent as its child: which states it tells the manager, and when."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import pytest

from cli.command import plan
from harness.edge import Edge
from harness.process import PATIENCE
from harness.upstreams import Upstreams
from portway.service import windows_host
from portway.service.windows_host import RUNNING, START_PENDING, STOP_PENDING, STOPPED, Host

States = queue.Queue[tuple[int, int]]


def hosted(edge: Edge, tmp_path: Path, upstream: str, token: str) -> tuple[Host, States]:
    file = tmp_path / "portway.yml"
    file.write_text(
        f"version: 3\nagent: {{connect_url: '{edge.agent[0]}:{edge.agent[1]}', connect_cas: {edge.ca},"
        f" authtoken: {token}, log: 'false'}}\n"
        f"endpoints: [{{name: a, url: 'http://a.localhost', upstream: {{url: {upstream}}}}}]\n"
    )
    states: States = queue.Queue()
    made = plan("service", "run", "--config", str(file))
    assert made["service"] is True
    return Host(made, lambda state, code: states.put((state, code))), states


def test_b21_the_manager_hears_when_it_starts_runs_and_stops(edge: Edge, tmp_path: Path, upstreams: Upstreams) -> None:
    host, states = hosted(edge, tmp_path, upstreams.http().url, edge.token)
    thread = threading.Thread(target=host.run)
    thread.start()
    assert states.get(timeout=PATIENCE) == (START_PENDING, 0)
    assert states.get(timeout=PATIENCE) == (RUNNING, 0)
    host.stop()
    assert states.get(timeout=PATIENCE) == (STOP_PENDING, 0)
    assert states.get(timeout=PATIENCE) == (STOPPED, 0)
    thread.join()
    assert states.empty()


def test_b21_an_end_in_error_is_told_with_its_code(edge: Edge, tmp_path: Path) -> None:
    host, states = hosted(edge, tmp_path, "http://127.0.0.1:9", "wrong-token")
    assert host.run() == 1
    assert [states.get_nowait() for _ in range(states.qsize())] == [(START_PENDING, 0), (STOPPED, 1)]


def test_it_runs_after_a_while_though_the_edge_is_away(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows_host, "STARTED_SECONDS", 0.1)
    edge.kill()
    host, states = hosted(edge, tmp_path, "http://127.0.0.1:9", edge.token)
    thread = threading.Thread(target=host.run)
    thread.start()
    assert states.get(timeout=PATIENCE) == (START_PENDING, 0)
    assert states.get(timeout=PATIENCE) == (RUNNING, 0)
    host.stop()
    thread.join()
