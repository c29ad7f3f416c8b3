"""edge.yml: every key has its effect, and what cannot stand is named with its place and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.command import plan, run
from cli.config_files import write
from harness.edge import Edge
from portway.config import edge_file
from portway.config.errors import ConfigError
from portway.config.schema import Key

EVERY_KEY = """
    domains: [Edge.Test, two.test]
    agent_addr: :{agent}
    http_addr: "[::1]:{http}"
    https_addr: off
    api_addr: localhost:{api}
    tcp_ports: {first}-{last}
    data_dir: state
    certs_dir: /etc/certs
    public_http_port: 80
    public_https_port: 443
    public_agent_addr: edge.test:4443
    connect_addresses: [self, two.test]
    crl_url: https://edge.test/ca.crl
    threads: 2
    tokens:
      - token: first-token
        name: ann
        acl: ["bind:*.ann.test", "bind:app=web"]
        metadata: the first
      - token_file: second.token
    reserved:
      - {{name: "*.ann.test", token: ann}}
    reserved_only: true
    labels:
      - match: {{app: web, version: "2"}}
        url: https://labelled.edge.test
    proxy_protocol: {{agent: true, http: false, https: yes, tcp: off}}
    limits:
      connections: 1000
      connections_per_address: 100
      header_bytes: 64KiB
      header_count: 50
      head_timeout: 5s
      handshake_timeout: 6s
      idle_timeout: 1m30s
      tcp_idle_timeout: 1h
      streams_per_session: 500
      endpoints_per_session: 20
      failed_logins: 7
      login_timeout: 8s
      heartbeat_interval: 9s
      heartbeat_tolerance: 1500ms
      drain: 2s
      webhook_bytes: 1MB
    log: stdout
    log_level: debug
    log_format: json
"""


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    (tmp_path / "second.token").write_text("second-token\n")
    return lambda text: write(tmp_path / "edge.yml", text)


def every_key(**addresses: int) -> str:
    return EVERY_KEY.format(**{"agent": 1, "http": 2, "api": 4, "first": 7000, "last": 7009, **addresses})


def names(keys: dict[str, Key]) -> set[str]:
    """With those of the maps below them."""
    return set(keys).union(*(names(key.keys) for key in keys.values() if key.keys))


def test_the_file_below_has_every_key() -> None:
    lists = set(edge_file.LISTS).union(*map(set, edge_file.LISTS.values()))
    there = set(re.findall(r"(\w+):(?: |$)", EVERY_KEY, re.MULTILINE)) - {"version", "app"}
    assert there == names(edge_file.TOP) | lists


def test_every_key_reaches_the_plan(file: Callable[[str], Path], tmp_path: Path) -> None:
    made = plan("edge", "--config", str(file(every_key())))
    assert made["log"] == {"target": "stdout", "level": "debug", "format": "json"}
    assert made["edge"] == {
        "domains": ["edge.test", "two.test"],
        "agent_addr": "0.0.0.0:1",
        "http_addr": "[::1]:2",
        "https_addr": None,
        "api_addr": "127.0.0.1:4",
        "tcp_ports": "7000-7009",
        "data_dir": str(tmp_path / "state"),
        "certs_dir": "/etc/certs",
        "public_http_port": 80,
        "public_https_port": 443,
        "public_agent_addr": "edge.test:4443",
        "connect_addresses": ["self", "two.test:443"],
        "crl_url": "https://edge.test/ca.crl",
        "threads": 2,
        "tokens": [
            {
                "token": "first-token",
                "name": "ann",
                "acl": ["bind:*.ann.test", "bind:app=web"],
                "metadata": "the first",
            },
            {"token": "second-token"},
        ],
        "reserved": [{"name": "*.ann.test", "token": "ann"}],
        "reserved_only": True,
        "labels": [{"match": {"app": "web", "version": "2"}, "url": "https://labelled.edge.test"}],
        "proxy_protocol": {"agent": True, "http": False, "https": True, "tcp": False},
        "limits": {
            "connections": 1000,
            "connections_per_address": 100,
            "header_bytes": 65536,
            "header_count": 50,
            "head_timeout": 5000,
            "handshake_timeout": 6000,
            "idle_timeout": 90_000,
            "tcp_idle_timeout": 3_600_000,
            "streams_per_session": 500,
            "endpoints_per_session": 20,
            "failed_logins": 7,
            "login_timeout": 8000,
            "heartbeat_interval": 9000,
            "heartbeat_tolerance": 1500,
            "drain": 2000,
            "webhook_bytes": 1_000_000,
        },
    }


def test_an_edge_starts_with_every_key(file: Callable[[str], Path], new_edge: Callable[..., Edge]) -> None:
    """It refuses a plan with a key it does not know. The addresses are those of the flags, which win."""
    file(every_key()).parent.joinpath("certs").mkdir()
    path = file(every_key().replace("/etc/certs", "certs"))
    edge = new_edge("--config", str(path))
    assert edge.join
    assert edge.ask("/healthz")[0] == 200


@pytest.mark.parametrize("example", ["9-1", "0-1", "70000", "1-65536", "a-b", "1-", "-1", "1-2-3", "[1, 2]"])
def test_ports_that_are_none_are_named_with_what_to_write(
    example: str, file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = file(f"domains: [edge.test]\ntcp_ports: {example}\n")
    code, out, err = run(capsys, "edge", "--config", str(path))
    assert (code, out) == (1, "")
    assert str(path) in err
    assert "line 2, column 12: tcp_ports: " in err
    assert "such as 20000-20999" in err or "expected a text, found a list" in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- 1\n", "1:1 expected keys and values, found a list"),
        ("tcp_port: 1\n", "1:1 unknown key tcp_port (did you mean tcp_ports?)"),
        ("public_http_port: 0\n", "1:19 public_http_port: expected a number from 1 to 65535, found '0'"),
        ("public_https_port: 65536\n", "1:20 public_https_port: expected a number from 1 to 65535, found '65536'"),
        ("public_agent_addr: edge.test\n",
         "1:20 public_agent_addr: 'edge.test' is no address such as example.com:443"),
        ("crl_url: edge.test\n", "1:10 crl_url: 'edge.test' is no URL with http:// or https:// in front"),
        ("threads: 0\n", "1:10 threads: expected a number from 1 to 1024, found '0'"),
        ("http_addr: example.com:80\n",
         "1:12 http_addr: expected an IP address and port such as 0.0.0.0:443, found 'example.com:80'"),
        ("reserved_only: maybe\n", "1:16 reserved_only: expected true or false, found 'maybe'"),
        ("log_level: loud\n", "1:12 log_level: 'loud' is not one of debug, info, warn, error, eror, crit"),
        ("limits: {connections: -1}\n",
         "1:23 limits.connections: expected a number from 0 to 4294967295, found '-1'"),
        ("limits: {idle_timeout: 5}\n",
         "1:24 limits.idle_timeout: '5' needs a unit, as in 5s (units: ns us ms s m h)"),
        ("limits: {idle_timeout: 10us}\n",
         "1:24 limits.idle_timeout: expected a duration from 1ms to 8760h, found '10us'"),
        ("limits: {idle_timout: 5s}\n", "1:10 unknown key limits.idle_timout (did you mean idle_timeout?)"),
        ("tokens: [t]\n", "1:10 tokens[0]: expected a map, found 't'"),
        ("tokens: [{token: }]\n", "1:10 missing tokens[0].token"),
        ("tokens: [{token: ''}]\n", "1:10 missing tokens[0].token"),
        ("tokens: [{name: ann}]\n", "1:10 missing tokens[0].token"),
        ("tokens: [{token: t, acl: '*.x.test'}]\n",
         "1:26 tokens[0].acl: '*.x.test' is no rule; write bind: and what may be bound, such as bind:*.example.com"),
        ("tokens: [{token_file: none}]\n", "1:10 tokens[0].token_file: No such file or directory: {folder}/none"),
        ("tokens: t\n", "1:9 tokens: expected a list, found 't'"),
        ("reserved: [{name: x}]\n", "1:12 missing reserved[0].token"),
        ("labels: [{match: {a: b}}]\n", "1:10 missing labels[0].url"),
        ("labels: [{match: {a: 2}, url: 'https://x'}]\n",
         "1:10 labels[0].match.a: expected a text; put the value in quotes"),
        ("labels: [{match: {a: b}, url: 'ftp://x'}]\n",
         "1:31 labels[0].url: 'ftp://x': the scheme must be http, https, tcp or tls"),
    ],
)  # fmt: skip
def test_what_cannot_stand_is_named_with_its_place(text: str, told: str, file: Callable[[str], Path]) -> None:
    path = file(text)
    with pytest.raises(ConfigError) as caught:
        edge_file.load(path)
    (one,) = caught.value.problems
    assert one.file == path
    found = f"{one.line}:{one.column} {one.message}" + (f" ({one.hint})" if one.hint else "")
    assert found == told.replace("{folder}", str(path.parent))


def test_all_problems_are_told_at_once(file: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError) as caught:
        edge_file.load(file("tcp_ports: 9-1\nthreads: none\nlimits: {drain: x}\nunknown: 1\n"))
    assert [one.line for one in caught.value.problems] == [1, 2, 3, 4]
