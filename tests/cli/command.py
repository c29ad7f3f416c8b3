"""Runs commands in this process, up to the point where Rust would take over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from portway.cli.app import evaluate, main
from portway.launch import Launch

Plan = Mapping[str, Any]


def plan(*argv: str) -> Plan:
    """The plan a command line makes."""
    launch = evaluate("portway", list(argv))
    assert isinstance(launch, Launch), f"{argv} ended with {launch}"
    return launch.plan


def endpoint(*argv: str) -> dict[str, Any]:
    """The only endpoint of the plan."""
    (only,) = plan(*argv)["endpoints"]
    assert isinstance(only, dict)
    return only


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that ends by itself."""
    capsys.readouterr()
    code = main("portway", list(argv))
    out, err = capsys.readouterr()
    return code, out, err
