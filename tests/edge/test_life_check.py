"""`portway edge check`: every class of mistake that a first-time operator makes, made on purpose."""

from __future__ import annotations

import datetime
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from conftest import NewEdge
from harness import ports
from harness.agents import Agents
from harness.dns import Clock, Names
from harness.edge import Edge
from harness.namespace import seeing
from harness.tls import Authority

DOMAIN = "edge.example"
# One for each worker of a test run, for its port is fixed.
SERVER = f"127.0.1.{53 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))}"
HERE = {DOMAIN: ["127.0.0.1"], f"*.{DOMAIN}": ["127.0.0.1"]}


@pytest.fixture
def names() -> Iterator[Names]:
    """The only name server that a checked edge's machine asks."""
    server = Names(SERVER)
    server.records = HERE
    yield server
    server.stop()


@pytest.fixture
def clock() -> Iterator[Callable[..., Clock]]:
    made: list[Clock] = []

    def make(ahead: float, *, silent: bool = False) -> Clock:
        made.append(Clock(ahead, silent=silent))
        return made[-1]

    yield make
    for one in made:
        one.stop()


class Report:
    """What a check said: grade by name, and all of it."""

    def __init__(self, code: int, text: str) -> None:
        self.code, self.text = code, text

    def grade(self, name: str) -> str:
        found = [line for line in self.text.splitlines() if line.startswith(f"  {name}") and line.endswith(" ]")]
        assert found, f"nothing about {name!r} in\n{self.text}"
        return found[0].rpartition("[")[2].strip(" ]")

    def under(self, name: str) -> str:
        """The words below a finding."""
        lines = self.text.splitlines()
        at = next(n for n, line in enumerate(lines) if line.startswith(f"  {name}"))
        rest = lines[at + 1 :]
        end = next((n for n, line in enumerate(rest) if not line.startswith("      ")), len(rest))
        return "\n".join(line.strip() for line in rest[:end])


Check = Callable[..., Report]


@pytest.fixture
def check(names: Names, alone: Agents, tmp_path: Path) -> Check:
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {SERVER}\noptions timeout:2 attempts:1\n")

    def run(*flags: str, env: dict[str, str] | None = None, time_server: str = "") -> Report:
        within = seeing({"/etc/resolv.conf": resolver})
        process = alone.run(*("edge", "check", "--time-server", time_server, *flags), log=False, within=within, env=env)
        return Report(process.wait(60), process.text())

    return run


@pytest.fixture
def edge(new_edge: NewEdge, tmp_path: Path) -> Edge:
    certs = tmp_path / "certs"
    certs.mkdir()
    return new_edge("--domain", DOMAIN, "--certs-dir", str(certs))


def flags(edge: Edge, **changed: str) -> list[str]:
    given = {"domain": DOMAIN, "data_dir": str(edge.data)}
    given |= {f"{name}_addr": "{}:{}".format(*getattr(edge, name)) for name in ("agent", "http", "https", "api")}
    return [part for key, value in (given | changed).items() for part in (f"--{key.replace('_', '-')}", value)]


def test_an_edge_that_is_set_up_well_passes(check: Check, edge: Edge, clock: Callable[..., Clock]) -> None:
    report = check(*flags(edge), time_server=f"127.0.0.1:{clock(0).port}")
    assert report.code == 0, report.text
    for name in (
        DOMAIN,
        f"*.{DOMAIN}",
        "http on",
        "https on",
        "agent on",
        f"http at {DOMAIN}",
        "agent leg",
        "compared",
    ):
        assert report.grade(name) == "OK"
    # No public certificate: it works, with a warning that says what to do.
    assert report.grade(f"visitors, {DOMAIN}") == "WARN"
    assert "--certs-dir" in report.under(f"visitors, {DOMAIN}")


# === DNS


def test_a_domain_without_a_record_is_an_error(check: Check, edge: Edge, names: Names) -> None:
    names.records = {}
    report = check(*flags(edge))
    assert report.code == 1
    assert report.grade(DOMAIN) == "ERROR"
    assert "A or AAAA record" in report.under(DOMAIN)


def test_a_missing_wildcard_is_an_error_of_its_own(check: Check, edge: Edge, names: Names) -> None:
    names.records = {DOMAIN: ["127.0.0.1"]}
    report = check(*flags(edge))
    assert (report.code, report.grade(DOMAIN), report.grade(f"*.{DOMAIN}")) == (1, "OK", "ERROR")
    assert f"wildcard record *.{DOMAIN}" in report.under(f"*.{DOMAIN}")
    assert any(name.endswith(f".{DOMAIN}") for name in names.asked), "a random name was asked for"


def test_a_wildcard_that_leads_elsewhere_is_a_warning(check: Check, edge: Edge, names: Names) -> None:
    names.records = {**HERE, f"*.{DOMAIN}": ["192.0.2.9"]}
    report = check(*flags(edge))
    assert (report.code, report.grade("same machine")) == (0, "WARN")
    assert "192.0.2.9" in report.under("same machine")


def test_each_of_several_domains_is_checked(check: Check, edge: Edge, names: Names) -> None:
    report = check(*flags(edge), "--domain", "second.example")
    assert (report.code, report.grade("second.example")) == (1, "ERROR")
    assert report.grade(DOMAIN) == "OK"


# === ports


def test_where_no_edge_runs_that_is_what_is_said(check: Check, edge: Edge) -> None:
    edge.process.stop()
    report = check(*flags(edge))
    assert (report.code, report.grade("http on")) == (1, "ERROR")
    assert "No edge runs here now" in report.under("http on")


def test_an_address_that_is_not_of_this_machine_is_an_error(check: Check, edge: Edge) -> None:
    report = check(*flags(edge, http_addr="192.0.2.1:8080"))
    assert (report.code, report.grade("http on")) == (1, "ERROR")
    assert "could not listen there" in report.under("http on")


def test_a_port_that_is_closed_from_outside_is_an_error(check: Check, edge: Edge, names: Names) -> None:
    # The public address is another machine's, as behind a router that forwards nothing.
    names.records = {DOMAIN: ["127.0.0.99"], f"*.{DOMAIN}": ["127.0.0.99"]}
    report = check(*flags(edge))
    assert (report.code, report.grade("http on"), report.grade(f"http at {DOMAIN}")) == (1, "OK", "ERROR")
    assert "firewall" in report.under(f"http at {DOMAIN}")


def test_public_ports_and_the_agents_address_are_the_ones_tried(check: Check, edge: Edge) -> None:
    public = ports.unused()
    report = check(*flags(edge), "--public-http-port", str(public), "--public-agent-addr", f"agents.{DOMAIN}:{public}")
    assert report.grade(f"http at {DOMAIN}:{public}") == "ERROR"
    assert report.grade(f"agent at agents.{DOMAIN}:{public}") == "ERROR"
    assert report.grade(f"https at {DOMAIN}:{edge.https[1]}") == "OK"


# === certificates


def install(edge: Edge, ca: trustme.CA, *names: str, expired: bool = False) -> None:
    """A public certificate, as far as anybody who trusts `ca` can tell."""
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    leaf = ca.issue_cert(*names, not_after=yesterday if expired else None)
    certs = Path(edge.flags[edge.flags.index("--certs-dir") + 1])
    (certs / f"{DOMAIN}.crt").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(str(certs / f"{DOMAIN}.key"))
    edge.restart()


def test_a_public_certificate_is_fine(check: Check, edge: Edge, authority: Authority) -> None:
    install(edge, authority._ca, DOMAIN, f"*.{DOMAIN}")
    report = check(*flags(edge), env={"SSL_CERT_FILE": str(authority.pem)})
    assert (report.code, report.grade(f"visitors, {DOMAIN}")) == (0, "OK")
    assert report.grade(f"visitors, check.{DOMAIN}") == "OK"


def test_an_expired_certificate_is_an_error(check: Check, edge: Edge, authority: Authority) -> None:
    install(edge, authority._ca, DOMAIN, f"*.{DOMAIN}", expired=True)
    report = check(*flags(edge), env={"SSL_CERT_FILE": str(authority.pem)})
    assert (report.code, report.grade(f"visitors, {DOMAIN}")) == (1, "ERROR")
    assert "expired" in report.under(f"visitors, {DOMAIN}")


def test_a_certificate_that_nobody_trusts_is_an_error(check: Check, edge: Edge, authority: Authority) -> None:
    install(edge, authority._ca, DOMAIN, f"*.{DOMAIN}")
    report = check(*flags(edge))
    assert (report.code, report.grade(f"visitors, {DOMAIN}")) == (1, "ERROR")


def test_an_agents_address_that_the_certificate_lacks_is_an_error(check: Check, edge: Edge, names: Names) -> None:
    """The edge was started without it."""
    names.records = {**HERE, "unheard-of.example": ["127.0.0.1"]}
    port = edge.agent[1]
    report = check(*flags(edge), "--public-agent-addr", f"unheard-of.example:{port}")
    assert report.grade(f"agent at unheard-of.example:{port}") == "OK"
    assert report.grade("agent leg") == "ERROR"
    assert report.code == 1


# === the clock


@pytest.mark.parametrize(("ahead", "grade"), [(2, "OK"), (-3600, "ERROR"), (86400, "ERROR")])
def test_a_wrong_clock_is_an_error(
    ahead: float, grade: str, check: Check, edge: Edge, clock: Callable[..., Clock]
) -> None:
    report = check(*flags(edge), time_server=f"127.0.0.1:{clock(ahead).port}")
    assert report.grade("compared") == grade
    assert report.code == (grade == "ERROR")
    if grade == "ERROR":
        assert ("ahead" if ahead < 0 else "behind") in report.under("compared")


def test_a_time_server_that_does_not_answer_is_a_warning(check: Check, edge: Edge, clock: Callable[..., Clock]) -> None:
    report = check(*flags(edge), time_server=f"127.0.0.1:{clock(0, silent=True).port}")
    assert (report.code, report.grade("compared")) == (0, "WARN")


def test_a_flag_that_is_wrong_is_named(check: Check, edge: Edge) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        report = check(*flags(edge), "--http-addr", "nonsense")
    assert (report.code, "nonsense" in report.text) == (1, True)
