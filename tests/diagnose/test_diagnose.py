"""`portway diagnose` with every class of failure provoked (agent-behaviour.md §12, cli.md §9)."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.clock import clock
from harness.edge import Edge, isolated
from harness.namespace import seeing
from harness.ports import block
from harness.process import portway
from harness.tls import Authority
from harness.upstreams import Upstreams


class Result:
    def __init__(self, done: subprocess.CompletedProcess[str], report: Path) -> None:
        self.code = done.returncode
        self.text = done.stdout
        self.err = done.stderr
        self.report: dict[str, Any] = json.loads(report.read_text()) if report.exists() else {}

    def grade(self, section: str, title: str) -> str:
        """What stands behind a line of a section."""
        assert section in self.text, self.text + self.err
        body = self.text.split(section, 1)[1].split("\n\n", 1)[0]
        found = re.search(rf"^  {title} +\[ (\w+) \]$", body, re.MULTILINE)
        assert found, f"no {title} in {body}"
        return found[1]

    @property
    def codes(self) -> set[str]:
        return set(re.findall(r"ERR_NGROK_(\d+)", self.text))

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def diagnose(
    home: Path, env: Mapping[str, str], *flags: str, within: Sequence[str] = (), internet: str = "off"
) -> Result:
    report = home / "report.json"
    argv = [*within, *portway(), "diagnose", "--internet", internet, "--write-report", str(report), *flags]
    own = {**isolated(home), "PATH": "/usr/sbin:/usr/bin:/bin", **env}
    return Result(subprocess.run(argv, env=own, capture_output=True, text=True), report)


def heading(env: Mapping[str, str]) -> str:
    return f"portway Connectivity - {env['PORTWAY_CONNECT_URL']}"


def at(edge: Edge, address: str) -> dict[str, str]:
    return {**edge.agent_env(), "PORTWAY_CONNECT_URL": address}


def test_all_is_well(edge: Edge, tmp_path: Path) -> None:
    env = edge.agent_env()
    result = diagnose(tmp_path, env)
    assert (result.code, result.err) == (0, f"Report written to {tmp_path / 'report.json'}\n"), result.text
    lines = result.text.splitlines()
    assert lines[:2] == ["Testing portway connectivity...", ""]
    for title in ("TCP", "TLS", "Tunnel Protocol", "Authentication"):
        assert result.grade(heading(env), title) == "OK"
    assert {len(line) for line in lines if line.endswith("[ OK ]")} == {50}
    assert re.fullmatch(r"Successfully established portway connection! \(region: '\w+', latency: [\d.]+ms\)", lines[-1])
    assert "Errors and warnings" not in result.text


def test_the_report_has_all_steps_and_no_secret(edge: Edge, tmp_path: Path) -> None:
    config = tmp_path / "portway.yml"
    config.write_text(
        f"version: 3\nagent:\n  authtoken: {edge.token}\n  api_key: key-of-the-user\n  connect_url: "
        f"{edge.agent[0]}:{edge.agent[1]}\n  connect_cas: {edge.ca}\n  metadata: secret-of-the-session\n"
        "tunnels:\n  web:\n    proto: http\n    addr: 8080\n    basic_auth: ['user:word-of-the-user']\n"
        "    request_header: {add: ['x-key: value-of-a-header']}\n"
    )
    result = diagnose(tmp_path, {}, "--config", str(config))
    assert result.code == 0, result.text + result.err
    report = result.report
    keys = "started version os arch config proxy tests result region latency_ms"
    assert set(report) == set(keys.split())
    names = [one["name"] for one in report["tests"] if one["section"].startswith("edge")]
    assert names == ["resolve", "tcp", "tls", "protocol", "auth"]
    for one in report["tests"]:
        assert {"section", "name", "host", "addr", "resolver", "ok", "ms", "err", "code"} <= one.keys()
    (tls,) = [one for one in report["tests"] if one["name"] == "tls"]
    assert re.fullmatch("[0-9a-f]{64}", tls["cert"][0]["fingerprint"])
    assert tls["cert"][0]["issuer"]
    assert report["config"]["agent"]["authtoken"] == "***"
    assert report["result"] == "ok"
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o600
    proxied = {"https_proxy": "http://someone:word-of-the-proxy@proxy.example:3128"}
    other = diagnose(tmp_path, proxied, "--config", str(config))
    assert other.report["proxy"]["https_proxy"] == "http://***@proxy.example:3128"
    for text in (json.dumps(report), json.dumps(other.report), result.text, other.text):
        for secret in (edge.token, "key-of-", "secret-of-", "word-of-", "value-of-"):
            assert secret not in text


@pytest.mark.parametrize("words", ["-w mine.json", "-w=mine.json", "--write-report mine.json"])
def test_the_report_is_in_the_file_that_was_named(words: str, edge: Edge, tmp_path: Path) -> None:
    argv = [*portway(), "diagnose", "--internet", "off", *words.split()]
    env = {**isolated(tmp_path / "home"), **edge.agent_env()}
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "Report written to mine.json\n"), done.stdout
    assert json.loads((tmp_path / "mine.json").read_text())["result"] == "ok"


def test_without_an_edge_there_is_nothing_to_test(tmp_path: Path) -> None:
    result = diagnose(tmp_path, {})
    assert result.code == 1
    assert "config join" in result.err


def test_a_token_the_edge_does_not_know(edge: Edge, tmp_path: Path) -> None:
    env = {**edge.agent_env(), "PORTWAY_AUTHTOKEN": "token-of-somebody"}
    result = diagnose(tmp_path, env)
    assert result.code == 1
    assert result.grade(heading(env), "Tunnel Protocol") == "OK"
    assert result.grade(heading(env), "Authentication") == "ERROR"
    cause = result.text.partition("Error establishing portway connection:\n")[2]
    assert "ERR_NGROK_107" in cause
    assert cause.count("ERR_NGROK_") == 1
    assert all(line.strip() for line in cause.splitlines()), cause
    assert "token-of-somebody" not in result.text + json.dumps(result.report)


def test_dead_dns(edge: Edge, tmp_path: Path) -> None:
    """The system's resolver answers nothing, and the name is private, so nobody else is asked."""
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.53\noptions timeout:1 attempts:1\n")
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    env = at(edge, f"edge.internal:{edge.agent[1]}")
    result = diagnose(tmp_path, env, within=seeing({"/etc/resolv.conf": resolv, "/etc/hosts": hosts}))
    assert result.code == 1
    assert result.grade(heading(env), "Name Resolution") == "ERROR"
    assert "8000" in result.codes
    assert {one["resolver"] for one in result.report["tests"] if one["host"] == "edge.internal"} == {"system"}
    assert "Is the name spelt right" in result.words


def test_localhost_that_is_another_machine(edge: Edge, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.1 localhost\n")
    result = diagnose(tmp_path, edge.agent_env(), within=seeing({"/etc/hosts": hosts}))
    assert result.code == 0
    assert result.grade("Localhost Connectivity", "Name Resolution") == "WARN"
    assert "192.0.2.1, which is not this machine" in result.words


def test_nobody_listens(edge: Edge, tmp_path: Path) -> None:
    env = at(edge, f"127.0.0.1:{block()[0]}")
    result = diagnose(tmp_path, env)
    assert result.code == 1
    assert result.grade(heading(env), "TCP") == "ERROR"
    assert {"8002", "8007"} <= result.codes
    assert "refused" in result.text
    assert result.words.endswith("does the edge run, and is this its port for agents?")


def test_a_black_hole(edge: Edge, tmp_path: Path) -> None:
    """Nothing answers, not even with a refusal."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # the queue of those that wait is full: Linux then answers nothing
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        env = at(edge, f"127.0.0.1:{full.getsockname()[1]}")
        result = diagnose(tmp_path, env)
        for one in waiting:
            one.close()
    assert result.code == 1
    assert result.grade(heading(env), "TCP") == "ERROR"
    assert "no answer within 5s" in result.words
    assert result.words.endswith("does a firewall on the way let connections through to this port?")


def test_one_address_of_two_works(edge: Edge, tmp_path: Path) -> None:
    """The agent goes on to the next, so it is a warning."""
    dead = f"127.0.0.1:{block()[0]}"
    working = edge.agent_env()["PORTWAY_CONNECT_URL"]
    result = diagnose(tmp_path, at(edge, f"{dead},{working}"))
    assert result.code == 0
    assert result.grade(f"portway Connectivity - {dead}", "TCP") == "WARN"
    assert result.grade(f"portway Connectivity - {working}", "Tunnel Protocol") == "OK"


def test_the_wrong_ca(edge: Edge, authority: Authority, tmp_path: Path) -> None:
    env = {**edge.agent_env(), "PORTWAY_CONNECT_CAS": str(authority.pem)}
    result = diagnose(tmp_path, env)
    assert result.code == 1
    assert result.grade(heading(env), "TLS") == "ERROR"
    assert {"8003", "8008"} <= result.codes
    assert f"expected is one of the CA in {authority.pem}" in result.words
    (tls,) = [one for one in result.report["tests"] if one["name"] == "tls"]
    assert tls["cert"], "what was shown is in the report"


def test_the_list_of_revoked_certificates_is_had_as_an_agent_has_it(edge: Edge, tmp_path: Path) -> None:
    config = tmp_path / "portway.yml"
    api = "{}:{}".format(*edge.api)

    def found(path: str) -> Result:
        config.write_text(f"version: 3\nagent: {{crl_url: 'http://{api}/{path}'}}\n")
        return diagnose(tmp_path, edge.agent_env(), "--config", str(config))

    good, none = found("ca.crl"), found("nothing")
    for result, grade, code in ((good, "OK", 0), (none, "ERROR", 1)):
        assert result.grade(heading(edge.agent_env()), "Revoked Certificates") == grade
        assert result.code == code
    assert "8003" in none.codes
    assert "failed to fetch CRL" in none.words


def test_an_intercepting_proxy_with_its_own_ca(
    edge: Edge, authority: Authority, upstreams: Upstreams, tmp_path: Path
) -> None:
    """It ends TLS itself, with certificates of its own for every name."""
    between = upstreams.http(tls=authority.pair("localhost", "127.0.0.1").serving())
    address = "127.0.0.1:{}".format(between.url.rpartition(":")[2].strip("/"))
    env = at(edge, address)
    result = diagnose(tmp_path, env, internet=address)
    assert result.code == 1
    assert "If a proxy of your network inspects TLS" in result.words
    assert "O=authority" in result.words, "who has issued what was shown"
    assert result.grade("Internet Connectivity", "TLS") == "ERROR"
    assert result.grade(heading(env), "TLS") == "ERROR"


def test_something_else_answers(edge: Edge, tmp_path: Path) -> None:
    """The edge's port for visitors speaks TLS, and not the protocol of agents."""
    env = at(edge, f"localhost:{edge.https[1]}")
    result = diagnose(tmp_path, env)
    assert result.code == 1
    assert result.grade(heading(env), "Tunnel Protocol") == "ERROR"
    assert {"8004", "8009"} <= result.codes
    (protocol,) = [one for one in result.report["tests"] if one["name"] == "protocol"]
    assert "(is it the address for agents?)" in protocol["err"]


def test_no_internet_is_a_warning_where_the_edge_is_fine(edge: Edge, tmp_path: Path) -> None:
    result = diagnose(tmp_path, edge.agent_env(), internet=f"127.0.0.1:{block()[0]}")
    assert result.code == 0
    assert result.grade("Internet Connectivity", "TCP") == "WARN"
    assert "8001" in result.codes


def test_no_ipv6(edge: Edge, tmp_path: Path) -> None:
    """The edge has an IPv4 address alone: a warning for who asks about IPv6, and nothing for others."""
    result = diagnose(tmp_path, edge.agent_env(), "--ipv6", "true")
    assert result.code == 0
    assert result.grade("IPv6 - ", "Name Resolution") == "WARN"
    assert "8011" in result.codes
    assert "IPv6 - " not in diagnose(tmp_path, edge.agent_env()).text
    assert "IPv6 - " not in diagnose(tmp_path, edge.agent_env(), "--ipv6", "False").text


def test_a_proxy_that_is_not_there(edge: Edge, tmp_path: Path) -> None:
    config = tmp_path / "portway.yml"
    for place, title, code in ((f"127.0.0.1:{block()[0]}", "TCP", "8006"), ("p.invalid:1", "Name Resolution", "8005")):
        config.write_text(f"version: 3\nagent: {{proxy_url: 'http://{place}'}}\n")
        result = diagnose(tmp_path, edge.agent_env(), "--config", str(config))
        assert result.code == 1
        assert result.grade("Proxy", title) == "ERROR"
        assert code in result.codes
        assert "It is named by proxy_url" in result.words


def test_a_wrong_clock(edge: Edge, tmp_path: Path) -> None:
    """Long before the certificate was made."""
    result = diagnose(tmp_path, {**edge.agent_env(), **clock("2001-01-01 00:00:00")})
    assert result.code == 1
    assert "the clock of this machine says 2001-01-01" in result.words
    assert "8003" in result.codes


@pytest.mark.parametrize("argv", [("--region", "mars"), ("nonsense",), ("--internet", "a b")], ids=" ".join)
def test_what_makes_no_sense_is_refused(argv: tuple[str, ...], edge: Edge, tmp_path: Path) -> None:
    result = diagnose(tmp_path, edge.agent_env(), *argv)
    assert result.code == 1
    assert argv[-1] in result.err
