"""Fixtures: a server of the API, and `portway api` as its users run it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from api.told import Run, Told
from harness.api import KEY, Api
from harness.edge import isolated
from harness.process import portway
from harness.tls import Authority
from portway.cli.app import main


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    yield api
    api.stop()


@pytest.fixture
def secure(authority: Authority) -> Iterator[Api]:
    """The same behind TLS."""
    api = Api(authority.pair("localhost", "127.0.0.1").serving())
    yield api
    api.stop()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, which is the working directory too."""
    for name, value in isolated(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def call(api: Api, home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command of the API within this process, against `api`; whoever wants another says so."""

    def run(*argv: str, key: str = KEY, url: str = "") -> Told:
        access = ["--api-key", key] if key else []
        capsys.readouterr()
        code = main("portway", ["api", *access, "--api-url", url or api.url, *argv])
        return Told(code, *capsys.readouterr())

    return run


@pytest.fixture
def program(home: Path) -> Run:
    """Runs a command line as a process, with what variables are given and no others."""

    def run(*argv: str, program: str = "", env: Mapping[str, str] | None = None) -> Told:
        command = [program] if program else portway()
        known = {"PATH": os.environ["PATH"], **isolated(home), **(env or {})}
        known |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        done = subprocess.run([*command, *argv], capture_output=True, text=True, env=known)
        return Told(done.returncode, done.stdout, done.stderr)

    return run
