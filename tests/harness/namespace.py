"""Programs that see another file system: other /etc/hosts or /etc/resolv.conf (real name resolution that a test can
change), or one that cannot be written."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness import need

INSIDE = 'while [ "$1" != -- ]; do mount --bind "$2" "$1" || exit 125; shift 2; done; shift; exec "$@"'
# What is no memory or disk of the machine stays as it is.
SEALED = """
while read -r _ _ _ _ at _; do
  case "$at" in /proc|/proc/*|/sys|/sys/*|/dev|/dev/*) ;; *) mount -o remount,bind,ro "$at" || exit 125 ;; esac
done </proc/self/mountinfo
exec "$@"
"""


def read_only() -> list[str]:
    """What to put before a command so that, for it, nothing can be written. Its pid stays its own."""
    words = _unshare("sh", "-c", SEALED, "sh")
    if not _works(*words):
        need.lacking("a read-only mount namespace (unshare, as root or with user namespaces)")
    return words


def seeing(files: Mapping[str, Path]) -> list[str]:
    """What to put before a command so that, for it, these files stand where the names say. Its pid stays its own."""
    if not _possible():
        need.lacking("a mount namespace (unshare, as root or with user namespaces)")
    return _words(files)


def _words(files: Mapping[str, Path]) -> list[str]:
    pairs = [word for name, path in files.items() for word in (name, str(path))]
    return _unshare("sh", "-c", INSIDE, "sh", *pairs, "--")


def _unshare(*argv: str) -> list[str]:
    root = () if os.geteuid() == 0 else ("--map-root-user",)
    return ["unshare", *root, "--mount", *argv]


@functools.cache
def _possible() -> bool:
    return _works(*_words({"/etc/hosts": Path("/etc/hostname")}))


@functools.cache
def _works(*words: str) -> bool:
    if not shutil.which("unshare"):
        return False
    return subprocess.run([*words, "true"], capture_output=True).returncode == 0
