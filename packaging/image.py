"""The container image, for this machine's architecture: docker, podman or buildah, whichever can build here."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

from result import ROOT, Left, run

DOCKERFILE = ROOT / "packaging" / "image" / "Dockerfile"


def build(out: Path, version: str) -> Path:
    """An OCI archive. Raises `Left` where there is no builder, no wheel for musl, or no base image to be had."""
    machine = platform.machine()
    if not list(out.glob(f"portway-{version}-*musllinux_*_{machine}.whl")):
        raise Left(f"{out.name}/ has no wheel for musl of {machine}, of which the image is made")
    if out != ROOT / "dist":
        raise Left("the image is made of dist/")
    made = out / f"portway-{version}-image-{machine}.tar"
    tag = f"portway:{version}"
    for tool in ("docker", "podman", "buildah"):
        if shutil.which(tool) and subprocess.run([tool, "info"], capture_output=True, check=False).returncode == 0:
            run(tool, "build", "--file", str(DOCKERFILE), "--tag", tag, str(ROOT))
            if tool == "buildah":
                run(tool, "push", tag, f"oci-archive:{made}")
            else:
                run(tool, "save", "--output", str(made), tag)
            return made
    raise Left("no container builder runs here (docker, podman or buildah)")
