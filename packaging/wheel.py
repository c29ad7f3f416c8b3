"""Wheels: of this machine as it is, of the others by cross-compiling with zig, which brings every C library along."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from result import Left, run
from targets import Target

ROOT = Path(__file__).resolve().parents[1]
# Any Python does: the module uses the stable interface from 3.10 on.
PYTHON = "python3.10"


def native(out: Path, profile: str) -> Path:
    """For this machine, linked by its own linker and for its own C library."""
    return _maturin(out, "--profile", profile, "--interpreter", sys.executable)


def cross(target: Target, out: Path, profile: str) -> Path:
    """Raises `Left` for what Rust cannot be had for here."""
    if target.without:
        raise Left(target.without)
    if target.rust not in run("rustup", "target", "list", "--installed").split():
        done = subprocess.run(["rustup", "target", "add", target.rust], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Left("Rust's standard library for it could not be fetched")
    flags = os.environ.get("RUSTFLAGS", "")
    if target.libc == "musl":  # a module for Python is a shared library, which these targets make only when told
        flags += " -C target-feature=-crt-static"
    argv = ("--profile", profile, "--target", target.rust, "--zig", "--compatibility", target.compatibility)
    return _maturin(out, *argv, "--interpreter", PYTHON, env={"RUSTFLAGS": flags.strip()})


def source(out: Path) -> Path:
    before = set(out.glob("*.tar.gz"))
    run("maturin", "sdist", "--quiet", "--out", str(out))
    return _newest(out, "*.tar.gz", before)


def _maturin(out: Path, *flags: str, env: dict[str, str] | None = None) -> Path:
    before = set(out.glob("*.whl"))
    run("maturin", "build", "--quiet", "--locked", "--out", str(out), *flags, env=env)
    return _newest(out, "*.whl", before)


def _newest(out: Path, pattern: str, before: set[Path]) -> Path:
    found = sorted(out.glob(pattern), key=lambda path: (path not in before, path.stat().st_mtime_ns))
    return found[-1]
