"""Packages for deb, rpm, apk and pacman, of one tree of files (nfpm writes them)."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import tree
from result import ROOT, run
from targets import Target

FORMATS = ("deb", "rpm", "apk", "archlinux")
CONFIG = """\
name: portway
arch: {arch}
version: {version}
section: net
priority: optional
maintainer: portway
description: |
  Self-hosted tunnels: an agent, an edge and a control plane that speak the public ngrok agent protocol.
  The agent gives a service behind NAT a public URL; the edge owns the URLs.
license: Apache-2.0
mtime: {time}
contents:
  - {{src: {root}/, dst: /, type: tree}}
  - {{dst: /etc/portway, type: dir, file_info: {{mode: 0755}}}}
scripts:
  postinstall: {scripts}/installed.sh
  preremove: {scripts}/removing.sh
overrides:
  deb:
    depends: [{glibc_deb}"python3 (>= 3.10)"]
    recommends: [ca-certificates]
  rpm:
    depends: ["(python3 >= 3.10 or python3.11 or python3.12 or python3.13)"]
    recommends: [ca-certificates]
  apk:
    depends: ["python3>=3.10"]
  archlinux:
    depends: ["python>=3.10"]
rpm: {{compression: "xz:6"}}
deb: {{compression: xz}}
"""


def build(wheel: Path, target: Target, version: str, dependencies: Path, out: Path) -> list[Path]:
    """For systems with this C library: deb, rpm and pacman, or apk."""
    made = []
    with tempfile.TemporaryDirectory(prefix="portway-dist-") as name:
        home = Path(name)
        root = home / "root"
        tree.build(wheel, dependencies, root)
        config = home / "nfpm.yaml"
        config.write_text(
            CONFIG.format(
                arch=target.go,
                version=version,
                time=time(),
                root=root,
                scripts=ROOT / "packaging" / "scripts",
                glibc_deb=_glibc(wheel),
            )
        )
        for kind in FORMATS:
            if (kind == "apk") == (target.libc == "musl"):
                said = run("nfpm", "package", "--config", str(config), "--packager", kind, "--target", str(out))
                made.append(Path(said.split("created package:")[1].strip()))
    return made


def _glibc(wheel: Path) -> str:
    """The oldest that a wheel was linked for, as deb asks for it."""
    found = re.search(r"manylinux_(\d+)_(\d+)_", wheel.name)
    return f'"libc6 (>= {found[1]}.{found[2]})", ' if found else ""


def time() -> str:
    """Of the last commit, so that the same sources make the same package."""
    return run("git", "log", "-1", "--format=%cI").strip()
