"""Programs that see another /etc/hosts or /etc/resolv.conf: real name resolution that a test can change."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness import need

INSIDE = 'while [ "$1" != -- ]; do mount --bind "$2" "$1" || exit 125; shift 2; done; shift; exec "$@"'


def seeing(files: Mapping[str, Path]) -> list[str]:
    """What to put before a command so that, for it, these files stand where the names say. Its pid stays its own."""
    if not _possible():
        need.lacking("a mount namespace (unshare, as root or with user namespaces)")
    return _words(files)


def _words(files: Mapping[str, Path]) -> list[str]:
    root = () if os.geteuid() == 0 else ("--map-root-user",)
    pairs = [word for name, path in files.items() for word in (name, str(path))]
    return ["unshare", *root, "--mount", "sh", "-c", INSIDE, "sh", *pairs, "--"]


@functools.cache
def _possible() -> bool:
    if not shutil.which("unshare"):
        return False
    trial = [*_words({"/etc/hosts": Path("/etc/hostname")}), "true"]
    return subprocess.run(trial, capture_output=True).returncode == 0
