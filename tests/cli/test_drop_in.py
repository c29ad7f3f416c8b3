"""Run under the name `ngrok`: its files, its name, its version (cli.md §15, config.md §1)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.edge import isolated
from harness.process import Process
from harness.site import Site

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(ngrok: Path, tmp_path: Path) -> Run:
    def start(*argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        known = {**os.environ, **isolated(tmp_path / "home"), **env}
        return subprocess.run([str(ngrok), *argv], capture_output=True, text=True, env=known)

    return start


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Where that program has its configuration."""
    env = isolated(tmp_path / "home")
    return Path(env.get("XDG_CONFIG_HOME") or str(Path(env["HOME"]) / ".config")) / "ngrok" / "ngrok.yml"


@pytest.mark.parametrize("argv", [("version",), ("--version",), ("-v",), ("version", "--log", "stdout")])
def test_its_version_is_one_that_wrappers_accept(argv: tuple[str, ...], run: Run) -> None:
    told = run(*argv)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("ngrok version 3.")
    assert len(told.stdout.splitlines()) == 1


def test_it_goes_by_that_name_in_all_it_says(run: Run) -> None:
    assert "Usage:\n  ngrok http UPSTREAM" in run("http", "--help").stdout
    assert "  ngrok http 8080 " in run().stdout
    assert 'unknown command "htpp" for "ngrok"' in run("htpp").stderr
    assert "See `ngrok http --help`." in run("http", "--bogus").stderr
    assert "-F _ngrok ngrok" in run("completion", "bash").stdout
    assert "to `ngrok config join`, or set" in run("http", "80", "--authtoken", "t").stderr


def test_writing_commands_make_its_file(run: Run, theirs: Path) -> None:
    told = run("config", "add-authtoken", "tok", "--log", "stdout")
    assert (told.returncode, told.stdout) == (0, f"Authtoken saved to configuration file: {theirs}\n")
    assert theirs.read_text() == 'version: "3"\nagent:\n    authtoken: tok\n'
    assert run("authtoken", "other").returncode == 0
    assert run("config", "add-api-key", "key").returncode == 0
    assert "authtoken: other" in theirs.read_text()
    assert "api_key: key" in theirs.read_text()
    assert run("config", "check").stdout.startswith(f"Valid configuration file at {theirs}\n")


def test_its_file_is_upgraded_in_its_place(run: Run, theirs: Path) -> None:
    theirs.parent.mkdir(parents=True)
    theirs.write_text("authtoken: t\n")
    assert "add `version: 3`, or run `ngrok config upgrade`" in run("config", "check").stderr
    theirs.write_text("version: 2\nauthtoken: t\n")
    told = run("config", "upgrade")
    assert (told.returncode, theirs.read_text()) == (0, "version: 3\nagent:\n  authtoken: t\n")


def test_ours_is_read_where_it_has_none(run: Run, theirs: Path) -> None:
    ours = theirs.parents[1] / "portway" / "portway.yml"
    ours.parent.mkdir(parents=True)
    ours.write_text("version: 3\nendpoints: [{name: from-ours, upstream: {url: 80}}]\n")
    assert run("__complete", "--", "start", "").stdout == "from-ours\tendpoint\n"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("version: 3\nendpoints: [{name: from-theirs, upstream: {url: 80}}]\n")
    assert run("__complete", "--", "start", "").stdout == "from-theirs\tendpoint\n"


@pytest.fixture
def started(ngrok: Path, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def start(*argv: str) -> Process:
        process = Process("ngrok", [str(ngrok), *argv], env=isolated(tmp_path / "home"))
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()


def test_its_file_and_its_token_are_used(site: Site, theirs: Path, started: Callable[..., Process]) -> None:
    theirs.parent.mkdir(parents=True)
    address = "{}:{}".format(*site.edge.agent)
    text = f"version: 2\nregion: us\nserver_addr: '{address}'\nroot_cas: {site.edge.ca}\nauthtoken: {site.edge.token}\n"
    theirs.write_text(text)
    agent = started("http", site.upstream.url, "--url", "http://", "--log", "stdout")
    agent.wait_for("started tunnel")
    assert agent.text("err") == ""
    assert agent.stop() == 0


def test_it_is_started_as_libraries_start_it(site: Site, tmp_path: Path, started: Callable[..., Process]) -> None:
    file = tmp_path / "lib.yml"
    address = "{}:{}".format(*site.edge.agent)
    file.write_text(f"version: 2\nregion: us\nserver_addr: '{address}'\nroot_cas: {site.edge.ca}\n")
    for argv in (
        ("start", "--none", "--log", "stdout", "--config", str(file), "--authtoken", site.edge.token, "--region", "us"),
        ("start", "--none", "--log=stdout", "--region=us", f"--config={file}", f"--authtoken={site.edge.token}"),
    ):
        agent = started(*argv)
        agent.wait_for("tunnel session started")
        assert all(line.startswith("t=") for line in agent.text("out").splitlines()), "nothing bare on stdout"
        assert agent.stop() == 0
