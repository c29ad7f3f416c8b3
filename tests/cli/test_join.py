"""`portway config join`: the string an edge prints is all an agent needs."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.command import run
from harness.agents import Agents
from harness.edge import Edge, isolated
from harness.process import portway
from harness.terminal import Terminal
from harness.upstreams import Upstreams
from portway.config.join import PREFIX
from portway.config.load import load


def portway_yml(home: dict[str, str]) -> Path:
    return Path(home["XDG_CONFIG_HOME"]) / "portway" / "portway.yml"


def test_after_a_join_http_needs_nothing_else(
    new_edge: Callable[..., Edge], alone: Agents, upstreams: Upstreams, tmp_path: Path
) -> None:
    edge, upstream = new_edge(), upstreams.http()
    home = isolated(tmp_path / "joined")

    joined = alone.run("config", "join", edge.join, env=home, log=False)
    assert joined.wait() == 0
    assert joined.text() == f"Edge saved to configuration file: {portway_yml(home)}"
    assert stat.S_IMODE(portway_yml(home).stat().st_mode) == 0o600

    agent = alone.http(upstream.url, url="http://", env=home)
    agent.edge = edge
    assert agent.get("/").json["method"] == "GET"
    edge.process.wait_for("agent connected")
    for secret in (edge.join, load([portway_yml(home)]).agent["authtoken"]):
        assert secret not in joined.text() + agent.process.text()


def test_another_edge_with_the_same_address_is_not_trusted(
    new_edge: Callable[..., Edge], alone: Agents, tmp_path: Path
) -> None:
    edge, impostor = new_edge(), new_edge()
    home = isolated(tmp_path / "joined")
    assert alone.run("config", "join", edge.join, env=home, log=False).wait() == 0
    agent = alone.http("8080", env={**home, "PORTWAY_CONNECT_URL": "{}:{}".format(*impostor.agent)})
    failed = agent.process.wait_for("failed to reconnect session")
    told = failed["err"].partition(" failed: ")[2]
    assert told.startswith("the edge's CA is not the one that was joined: its fingerprint differs.")
    assert "join it again" in told


def test_a_join_changes_a_file_and_keeps_what_is_in_it(
    edge: Edge, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "c.yml"
    file.write_text("# mine\nversion: 2\nauthtoken: old  # lab\ntunnels:\n  w: {proto: http, addr: 80}\n")
    file.chmod(0o600)
    assert run(capsys, "config", "join", edge.join, "--config", str(file))[0] == 0
    config = load([file])
    assert config.agent["connect_url"] == ["{}:{}".format(*edge.agent)]
    assert config.agent["connect_cas"].startswith("pin:sha256:")
    text = file.read_text()
    assert text.startswith("# mine\nversion: 2\n")
    assert f"authtoken: {config.agent['authtoken']}  # lab\n" in text
    assert text.endswith("tunnels:\n  w: {proto: http, addr: 80}\n")


def encoded(**content: object) -> str:
    return PREFIX + base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "string",
    [
        "",
        "s3cr3t",
        PREFIX,
        PREFIX + "!!!",
        PREFIX + "s3cr3t",
        encoded(a="e.test:443", f="12", t="s3cr3t"),
        encoded(a="e.test:443", f="a" * 64, t=""),
        encoded(a=5, f="a" * 64, t="s3cr3t"),
        encoded(a="e.test:443", f="a" * 64),
        PREFIX + base64.urlsafe_b64encode(b'["s3cr3t"]').decode(),
        PREFIX + base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
)
def test_what_is_no_join_string_is_told_and_not_repeated(
    string: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "config", "join", string)
    assert (code, out) == (1, "")
    assert "This is no join string" in err
    assert "s3cr3t" not in err
    assert not list(home.iterdir())


def test_a_terminal_shows_the_join_string_on_a_line_of_its_own(
    terminals: Callable[..., Terminal], tmp_path: Path
) -> None:
    free = [part for what in ("agent", "http", "https", "api") for part in (f"--{what}-addr", "127.0.0.1:0")]
    argv = [*portway(), "edge", *free, "--data-dir", str(tmp_path / "data"), "--log", str(tmp_path / "log")]
    terminal = terminals(*argv, env=isolated(tmp_path), columns=500)
    line = "On the machine of an agent: portway config join "
    screen = terminal.wait("the join string", lambda screen: line in screen)
    assert PREFIX in screen.split(line)[1]
