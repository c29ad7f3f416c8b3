"""From the command line of an edge to its plan. No edge is started."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.command import plan, run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    return tmp_path


def test_without_flags_an_edge_serves_this_machine_only(home: Path) -> None:
    edge = plan("edge")["edge"]
    assert edge == {
        "domains": ["localhost"],
        "agent_addr": "127.0.0.1:4443",
        "http_addr": "127.0.0.1:8080",
        "https_addr": "127.0.0.1:8443",
        "api_addr": "127.0.0.1:4041",
        "tcp_ports": "20000-20999",
        "data_dir": str(home / "data" / "portway"),
        "tokens": [],
    }


def test_every_flag_has_its_place_in_the_plan(home: Path) -> None:
    edge = plan(
        *("edge", "--domain", "Edge.Example.,two.example", "--domain", "three.example"),
        *("--agent-addr", ":443", "--http-addr", "[::1]:80", "--https-addr", "off", "--api-addr", "localhost:0"),
        *("--tcp-ports", "7000-7001", "--data-dir", "state", "--certs-dir", "/etc/certs"),
        *("--public-http-port", "80", "--public-https-port=443", "--public-agent-addr", "edge.example:443"),
        *("--authtoken", "one", "--authtoken", "two,three", "--proxy-protocol", "http,agent", "--threads", "2"),
    )["edge"]
    assert edge == {
        "domains": ["edge.example", "two.example", "three.example"],
        "agent_addr": "0.0.0.0:443",
        "http_addr": "[::1]:80",
        "https_addr": None,
        "api_addr": "127.0.0.1:0",
        "tcp_ports": "7000-7001",
        "data_dir": str(Path("state").absolute()),
        "certs_dir": "/etc/certs",
        "public_http_port": 80,
        "public_https_port": 443,
        "public_agent_addr": "edge.example:443",
        "tokens": [{"token": "one"}, {"token": "two,three"}],
        "proxy_protocol": {"agent": True, "http": True, "https": False, "tcp": False},
        "threads": 2,
    }


def test_tokens_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWAY_EDGE_AUTHTOKEN", "a, b")
    assert [token["token"] for token in plan("edge", "--authtoken", "c")["edge"]["tokens"]] == ["c", "a", "b"]


def test_the_reload_command_makes_the_same_plan_and_shows_no_token() -> None:
    argv = ["--domain", "edge.example", "--authtoken", "s3cret", "--log", "stdout", "--log-format=json"]
    first = plan("edge", *argv)
    assert first["log"] == {"target": "stdout", "level": "info", "format": "json"}

    reload = first["reload"]
    assert "s3cret" not in " ".join(reload["argv"])
    again = subprocess.run(reload["argv"], input=reload["stdin"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout) == {**first, "reload": {**reload, "argv": [sys.executable, *reload["argv"][1:]]}}


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--agent-addr", "example.com:443"], "an IP address and port"),
        (["--http-addr", "127.0.0.1:65536"], "a number from 0 to 65535"),
        (["--http-addr", "::1:80"], "an IP address and port"),
        (["--tcp-ports", "9-1"], "a range such as"),
        (["--tcp-ports", "0-1"], "a range such as"),
        (["--threads", "0"], "a number from 1"),
        (["--public-http-port", "x"], "--public-http-port"),
        (["--proxy-protocol", "udp"], "agent, http, https, tcp"),
        (["--log-level", "loud"], "debug, info, warn, error, crit"),
        (["--log-format", "xml"], "term, logfmt, json"),
        (["--authtoken", ""], "cannot be empty"),
        (["--config", "a.yml", "--config", "b.yml"], "more than once"),
    ],
)
def test_a_value_that_cannot_stand_is_refused_by_name(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "edge", *argv)
    assert (code, out) == (1, "")
    assert err.startswith("ERROR:  ")
    assert told in err
