"""System packages, as `make dist` makes them of the wheel of this machine."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dist.made import Made
from harness import need, ports
from harness.agents import Agents
from harness.edge import Edge, isolated
from harness.machine import Machine
from harness.need import ROOT
from harness.process import until
from harness.upstreams import Upstreams
from harness.visitor import Visitor
from portway import __version__

MANUALS = {path.name for path in (ROOT / "docs" / "man").rglob("*.1")}
FILES = (
    "usr/bin/portway",
    "usr/lib/portway/portway/__main__.py",
    "usr/lib/portway/typer/__init__.py",
    "usr/lib/portway/yaml/__init__.py",
    "usr/lib/systemd/system/portway-edge.service",
    "usr/lib/sysusers.d/portway.conf",
    "usr/share/bash-completion/completions/portway",
    "usr/share/doc/portway/copyright",
    "usr/share/doc/portway/examples/edge.yml",
    "usr/share/fish/vendor_completions.d/portway.fish",
    "usr/share/zsh/site-functions/_portway",
)


@pytest.fixture(scope="module")
def unpacked(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("deb")
    unpack = [need.program("dpkg-deb", "dpkg"), "--extract", str(made.one("*.deb")), str(root)]
    subprocess.run(unpack, check=True)
    return root


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.stop()


def configure(machine: Machine, agent: int, http: int, token: str) -> None:
    """The file that the unit waits for, of an edge with this token."""
    addresses = f"agent_addr: 127.0.0.1:{agent}\nhttp_addr: 127.0.0.1:{http}\nhttps_addr: off\napi_addr: off\n"
    machine.write("/etc/portway/edge.yml", f"domains: [localhost]\n{addresses}tokens: [{{token: {token}}}]\n", 0o640)
    assert machine.run("chgrp", "portway", "/etc/portway/edge.yml").returncode == 0


def test_a_deb_has_the_command_and_all_that_belongs_to_it(unpacked: Path) -> None:
    assert [name for name in FILES if not (unpacked / name).is_file()] == []
    pages = unpacked / "usr/share/man/man1"
    assert {path.name for path in pages.iterdir()} == {f"{name}.gz" for name in MANUALS}
    assert gzip.decompress((pages / "portway.1.gz").read_bytes()).count(b"\n.TH ") == 1
    assert "Apache License" in (unpacked / "usr/share/doc/portway/copyright").read_text()
    assert "__complete" in (unpacked / "usr/share/bash-completion/completions/portway").read_text()
    assert (unpacked / "usr/bin/portway").stat().st_mode & 0o777 == 0o755


def test_nothing_of_a_deb_depends_on_the_version_of_python(unpacked: Path) -> None:
    compiled = [path.name for path in unpacked.rglob("*.so")]
    assert compiled == ["_core.abi3.so"]
    assert list(unpacked.rglob("*.pyc")) == []


def test_a_deb_is_within_25_mb(unpacked: Path) -> None:
    assert sum(path.stat().st_size for path in unpacked.rglob("*") if path.is_file()) <= 25_000_000


def test_all_kinds_of_packages_name_the_python_they_need(made: Made) -> None:
    told = subprocess.run(["dpkg-deb", "--field", str(made.one("*.deb"))], capture_output=True, text=True).stdout
    assert "Package: portway" in told
    assert f"Version: {__version__}" in told
    assert "python3 (>= 3.10)" in told
    rpm = [need.program("rpm", "rpm"), "--query", "--package", str(made.one("*.rpm")), "--dbpath", str(made.folder)]
    asked = subprocess.run([*rpm, "--requires", "--list"], capture_output=True, text=True)
    assert "(python3 >= 3.10 or python3.11 or python3.12 or python3.13)" in asked.stdout, asked.stderr
    assert {f"/{name}" for name in FILES} <= set(asked.stdout.splitlines())
    assert made.one("*.pkg.tar.zst").stat().st_size > 1_000_000


def test_a_deb_installed_runs_an_edge_for_agents_and_goes_again(
    made: Made, machine: Machine, tmp_path: Path, upstreams: Upstreams
) -> None:
    machine.path("/srv/portway.deb").write_bytes(made.one("*.deb").read_bytes())
    installed = machine.run("dpkg", "--install", "/srv/portway.deb")
    assert installed.returncode == 0, installed.stderr
    assert __version__ in machine.run("portway", "version").stdout
    assert machine.run("portway", "update").stdout.count("apt-get install --only-upgrade portway") == 1
    assert list(machine.path("/usr/lib/portway/portway").rglob("*.pyc")), "its code was not compiled"

    agent, http, *_ = ports.block()
    configure(machine, agent, http, "first-token")
    started = machine.run("systemctl", "start", "portway-edge")
    assert started.returncode == 0, machine.journal("portway-edge")
    assert machine.show("portway-edge", "User") == "portway"
    ca = machine.path("/var/lib/portway/ca.pem").read_text()
    upstream = upstreams.http()
    for token in ("first-token", "second-token"):  # the second is in the file that a reload reads
        if token == "second-token":
            configure(machine, agent, http, token)
            assert machine.run("systemctl", "reload", "portway-edge").returncode == 0, machine.journal("portway-edge")
        edge = Edge(tmp_path / token, token)
        edge.agent, edge.http = ("127.0.0.1", agent), ("127.0.0.1", http)
        edge.data.mkdir(parents=True)
        edge.ca.write_text(ca)
        agents = Agents(tmp_path / f"agents of {token}", edge)
        try:
            assert agents.http(upstream.url, url=f"http://{token}.localhost").get("/").status == 200
        finally:
            agents.stop()

    removed = machine.run("dpkg", "--remove", "portway")
    assert removed.returncode == 0, removed.stderr
    assert "/usr/lib/portway" not in removed.stderr, removed.stderr  # what it made itself goes, too
    assert not machine.path("/usr/lib/portway").exists()
    until("the edge has ended", lambda: machine.show("portway-edge", "ActiveState") in ("inactive", "failed", ""))
