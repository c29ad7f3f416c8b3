"""What is kept about the machine with the figures: what matters for reading them, not its name."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from bench.peers import machine


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    return {"machine": machine(), "python": platform.python_version()}


def pytest_benchmark_update_commit_info(config: pytest.Config, commit_info: dict[str, Any]) -> None:
    kept = {"id": commit_info.get("id"), "dirty": commit_info.get("dirty")}
    commit_info.clear()
    commit_info |= kept
