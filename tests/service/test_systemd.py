"""portway as a service of a real systemd (agent-behaviour.md §10): from the installation to a crash and the end."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import NewEdge
from harness.edge import Edge, isolated
from harness.machine import Machine
from harness.need import ROOT
from harness.process import Process, portway, until
from harness.upstreams import HttpUpstream, Upstreams
from harness.visitor import Visitor

UNIT = "portway.service"
CONFIG = "/srv/portway/portway.yml"
URL = "http://shop.localhost"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.stop()


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


def configured(machine: Machine, edge: Edge, upstream: str, *lines: str, token: bool = True, owner: int = 0) -> str:
    """A configuration file in the machine, for the edge of the test."""
    machine.write("/srv/portway/ca.pem", edge.ca.read_text(), 0o644)
    agent = ["connect_url: {}:{}".format(*edge.agent), "connect_cas: /srv/portway/ca.pem", *lines]
    agent += [f"authtoken: {edge.token}"] if token else []
    text = "version: 3\nagent:\n" + "".join(f"  {line}\n" for line in agent)
    text += f"endpoints:\n  - name: shop\n    url: {URL}\n    upstream: {{url: {upstream}}}\n"
    return machine.write(CONFIG, text, owner=owner)


def visited(edge: Edge) -> int:
    with Visitor(edge, f"{URL}:{edge.http[1]}") as visitor:
        return visitor.get("/").status


def serves(edge: Edge) -> bool:
    return visited(edge) == 200


def pid(machine: Machine) -> int:
    return int(machine.show(UNIT, "MainPID"))


def test_b21_install_boot_crash_stop_and_uninstall(machine: Machine, edge: Edge, upstream: HttpUpstream) -> None:
    config = configured(machine, edge, upstream.url)
    installed = machine.portway("service", "install", "--config", config)
    assert installed.returncode == 0, installed.stderr
    lines = [re.sub(r"^t=\S+ ", "", line) for line in installed.stdout.splitlines()]
    assert lines[0] == f'lvl=info msg="open config file" path={config} err=nil'
    assert 'lvl=info msg="detect init system" sys=linux-systemd' in lines
    assert lines[-1] == 'lvl=info msg="install ok"'
    verified = machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}")
    assert (verified.returncode, verified.stderr) == (0, "")
    assert machine.show(UNIT, "UnitFileState") == "enabled"
    assert machine.show(UNIT, "ActiveState") == "inactive"

    # Boot: what the target of a running machine pulls in. Other services of this machine are not to run twice.
    wanted = machine.path("/etc/systemd/system/multi-user.target.wants")
    for link in wanted.iterdir():
        if link.name != UNIT:
            link.unlink()
    assert machine.run("systemctl", "start", "--no-block", "multi-user.target").returncode == 0
    until("it is started", lambda: machine.show(UNIT, "ActiveState") == "active")
    assert serves(edge), "systemd counts it as started once its endpoints are up"
    first = pid(machine)

    # A crash: it comes back by itself.
    machine.write("/etc/systemd/system/portway.service.d/soon.conf", "[Service]\nRestartSec=100ms\n")
    assert machine.run("systemctl", "daemon-reload").returncode == 0
    machine.run("kill", "-SEGV", str(first))
    until("another process", lambda: pid(machine) not in (0, first))
    until("it serves again", lambda: serves(edge))

    stopped = machine.portway("service", "stop")
    assert stopped.returncode == 0
    assert 'msg="stop ok"' in stopped.stdout
    assert machine.show(UNIT, "Result") == "success"
    assert visited(edge) == 404

    assert 'msg="start ok"' in machine.portway("service", "start").stdout
    second = pid(machine)
    assert serves(edge)
    assert 'msg="restart ok"' in machine.portway("service", "restart").stdout
    assert pid(machine) not in (0, second)
    assert serves(edge)

    removed = machine.portway("service", "uninstall")
    assert removed.returncode == 0, removed.stderr
    assert visited(edge) == 404
    assert machine.show(UNIT, "LoadState") == "not-found"
    assert machine.path(f"/etc/systemd/system/{UNIT}.d/soon.conf").exists(), "what the user wrote stays"
    assert not machine.path(f"/etc/systemd/system/{UNIT}").exists()
    assert machine.path(config).exists()


def test_b21_a_stop_from_afar_is_no_crash(machine: Machine, edge: Edge, upstream: HttpUpstream) -> None:
    """The edge asks the agent to stop; nothing brings it back."""
    installed(machine, configured(machine, edge, upstream.url))
    session = edge.process.wait_for("agent connected")["id"]
    ask = [*portway(), "edge", "agents", "stop", session, "--data-dir", str(edge.data)]
    assert subprocess.run(ask, env=isolated(edge.home)).returncode == 0
    until("it is over", lambda: machine.show(UNIT, "ActiveState") == "inactive")
    assert machine.show(UNIT, "Result") == "success"


def installed(machine: Machine, config: str, *flags: str) -> None:
    """Installed and started."""
    for words in (("install", "--config", config, *flags), ("start",)):
        done = machine.portway("service", *words)
        assert done.returncode == 0, done.stderr + machine.journal(UNIT)


def test_a_second_installation_and_a_missing_one_are_told(machine: Machine, edge: Edge, upstream: HttpUpstream) -> None:
    for verb in ("start", "stop", "restart", "uninstall"):
        done = machine.portway("service", verb)
        assert done.returncode == 1
        assert "not installed" in done.stderr
        assert "service install --config FILE" in done.stderr
    config = configured(machine, edge, upstream.url)
    assert machine.portway("service", "install", "--config", config).returncode == 0
    again = machine.portway("service", "install", "--config", config)
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert "service uninstall" in again.stderr


def test_b21_warnings_go_to_the_journal_with_their_priority(machine: Machine, edge: Edge) -> None:
    """And nothing else: neither what is usual nor a second clock."""
    installed(machine, configured(machine, edge, "http://127.0.0.1:9"))
    assert visited(edge) == 502
    logged = until("the record", lambda: machine.journal(UNIT, "--output=cat", "--priority=4..4"))
    assert logged.startswith('lvl=warn msg="failed to open private leg"')
    assert "t=" not in logged.split()
    edge.kill()
    logged = until("the record", lambda: machine.journal(UNIT, "--output=cat", "--priority=3..3"))
    assert logged.startswith('lvl=eror msg="session closed, starting reconnect loop"')
    ours = machine.journal(UNIT, "--output=cat", f"_PID={pid(machine)}")
    assert "lvl=info" not in ours
    assert edge.token not in machine.journal(UNIT)


def test_b21_without_a_journal_it_speaks_to_syslog(machine: Machine, edge: Edge) -> None:
    config = configured(machine, edge, "http://127.0.0.1:9")
    service = Process("service", machine.inside(*portway(), "service", "run", "--config", config))
    try:
        until("its endpoint is up", lambda: visited(edge) == 502)
        logged = until(
            "the record", lambda: machine.run("journalctl", "--quiet", "--identifier=portway", "--output=cat").stdout
        )
        assert logged.startswith('lvl=warn msg="failed to open private leg"')
        assert service.lines == []
    finally:
        service.stop()


def test_b21_with_a_log_of_its_own_nothing_goes_to_the_journal(machine: Machine, edge: Edge) -> None:
    log = "/var/log/portway.log"
    installed(machine, configured(machine, edge, "http://127.0.0.1:9", f"log: {log}"))
    assert visited(edge) == 502
    until("the record", lambda: "failed to open private leg" in machine.path(log).read_text())
    assert 'msg="started tunnel"' in machine.path(log).read_text()
    assert "private leg" not in machine.journal(UNIT)
    assert machine.path(log).stat().st_mode & 0o777 == 0o600


def test_b21_a_configuration_it_cannot_read_is_said_where_one_looks(
    machine: Machine, edge: Edge, upstream: HttpUpstream
) -> None:
    config = configured(machine, edge, upstream.url)
    assert machine.portway("service", "install", "--config", config).returncode == 0
    machine.path(config).unlink()
    failed = machine.portway("service", "start")
    assert failed.returncode == 1
    assert config in failed.stderr
    assert "no such file" in failed.stderr.lower()
    assert config in machine.journal(UNIT)


def test_it_runs_as_whom_the_file_belongs_to(machine: Machine, edge: Edge, upstream: HttpUpstream) -> None:
    assert machine.run("useradd", "--system", "--uid", "4242", "tunnels").returncode == 0
    config = configured(machine, edge, upstream.url, owner=4242)
    # What an edge keeps, on the same machine.
    key = machine.write("/var/lib/portway/ca-key.pem", "of the edge", owner=4343)
    machine.run("chown", "4343", "/var/lib/portway")
    program = Path(sys.executable).resolve().parents[1]
    for folder in (program, *program.parents):  # the Python of the tests may be in somebody's home
        machine.run("chmod", "a+x", str(folder))
    installed(machine, config)
    assert serves(edge)
    assert machine.path(CONFIG).stat().st_mode & 0o777 == 0o600
    status = machine.run("cat", f"/proc/{pid(machine)}/status").stdout
    assert re.search(r"^Uid:\t4242\t4242", status, re.MULTILINE)
    assert machine.path(key).stat().st_uid == 4343, "it takes away what belongs to the edge"


def test_an_account_that_cannot_read_the_file_is_refused(machine: Machine, edge: Edge, upstream: HttpUpstream) -> None:
    config = configured(machine, edge, upstream.url)
    done = machine.portway("service", "install", "--config", config, "--user", "nobody")
    assert done.returncode == 1
    assert "The account nobody cannot" in done.stderr
    done = machine.portway("service", "install", "--config", config, "--user", "mrx")
    assert "no account mrx" in done.stderr
    assert not machine.path(f"/etc/systemd/system/{UNIT}").exists()


def test_root_s_service_has_none_of_root_s_privileges(machine: Machine, edge: Edge, upstream: HttpUpstream) -> None:
    installed(machine, configured(machine, edge, upstream.url))
    status = machine.run("cat", f"/proc/{pid(machine)}/status").stdout
    for line in ("NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "Seccomp:\t2"):
        assert line in status.splitlines()
    assert machine.show(UNIT, "LimitNOFILE") == "65536"


@pytest.mark.parametrize("source", ["credential", "environment"])
def test_the_token_may_come_from_outside_the_file(
    source: str, machine: Machine, edge: Edge, upstream: HttpUpstream
) -> None:
    config = configured(machine, edge, upstream.url, token=False)
    if source == "credential":
        machine.write("/etc/credstore/portway.authtoken", edge.token + "\n")
    else:
        machine.write("/etc/default/portway", f"PORTWAY_AUTHTOKEN={edge.token}\n")
    done = machine.portway("service", "install", "--config", config)
    assert "no authtoken" in done.stdout
    started = machine.portway("service", "start")
    assert started.returncode == 0, started.stderr
    assert serves(edge)
    if source == "credential":
        environment = machine.path(f"/proc/{pid(machine)}/environ").read_bytes()
        assert edge.token.encode() not in environment


def test_a_folder_in_tmp_can_be_served(machine: Machine, edge: Edge) -> None:
    """A private /tmp would hide it."""
    machine.write("/tmp/site/hello.txt", "hello", 0o644)
    machine.path("/tmp/site").chmod(0o755)
    installed(machine, configured(machine, edge, "file:///tmp/site"))
    with Visitor(edge, f"{URL}:{edge.http[1]}") as visitor:
        assert visitor.get("/hello.txt").body == b"hello"


def test_an_edge_that_is_away_holds_up_nobody(machine: Machine, new_edge: NewEdge, upstream: HttpUpstream) -> None:
    """The start of a machine waits for its services; this one counts as started after 20 s."""
    edge = new_edge()
    config = configured(machine, edge, upstream.url)
    edge.kill()
    installed(machine, config)
    assert machine.show(UNIT, "ActiveState") == "active"
    edge.restart()
    until("it serves once the edge is back", lambda: serves(edge))


def test_what_the_workflow_tries_on_other_systems_works_on_this_one(machine: Machine) -> None:
    script = ROOT / "packaging" / "try_service.py"
    tried = machine.run(sys.executable, str(script), *portway())
    assert tried.returncode == 0, tried.stdout + tried.stderr + machine.journal(UNIT)
    assert tried.stdout.endswith("installed, served, restarted, stopped and removed\n")
    assert machine.show(UNIT, "LoadState") == "not-found"
