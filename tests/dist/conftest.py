"""What `make dist` makes of a wheel: made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from dist.made import Made, dist
from harness import need
from harness.need import ROOT


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel that `make build` has installed here."""
    found = sorted((ROOT / "target" / "wheels").glob("portway-*.whl"))
    return found[-1] if found else need.lacking("a wheel in target/wheels (make build)")


@pytest.fixture(scope="session")
def made(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    out = tmp_path_factory.mktemp("dist")
    done = dist(out, "--only", "system,sbom,image,manifests", "--wheel", str(wheel))
    assert done.returncode == 0, done.stdout + done.stderr
    return Made(out, done.stdout)
