"""What is announced: a version and its files, signed by one of the keys of this build (agent-behaviour.md §11)."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from portway import launch
from portway.update import fetch
from portway.update.fetch import UpdateError

LARGEST_FILE = 512 << 20
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "i386": "386", "armv7l": "armv7"}


@dataclass(frozen=True)
class File:
    os: str
    arch: str
    libc: str
    url: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    version: str
    channel: str
    released: str
    expires: str
    min_from: str
    files: tuple[File, ...]


def read(address: str, channel: str, keys: Sequence[str], proxy: str = "") -> Manifest:
    """The manifest of a channel. Raises `UpdateError` for one that is not signed by us, broken, old or another's."""
    url = f"{address.rstrip('/')}/{channel}.json"
    content, signature = fetch.text(url, proxy=proxy), fetch.text(f"{url}.minisig", 1 << 14, proxy)
    verify(content, signature, keys)
    try:
        told: dict[str, Any] = json.loads(content)
        files = tuple(File(**{key: one[key] for key in File.__dataclass_fields__}) for one in told["files"])
        texts = ("version", "channel", "released", "expires", "min_from")
        found = Manifest(**{key: str(told[key]) for key in texts}, files=files)
        number(found.version)
        number(found.min_from)
        expires = datetime.fromisoformat(found.expires.replace("Z", "+00:00"))
        if expires.tzinfo is None:
            raise ValueError("expires has no zone")
    except (KeyError, TypeError, ValueError) as error:
        raise UpdateError(f"The manifest of the release cannot be read: {error}.") from None
    if found.channel != channel:
        raise UpdateError(f"The manifest is one of the channel {found.channel}, not of {channel}.")
    if expires < datetime.now(timezone.utc):
        raise UpdateError(
            f"The manifest has expired ({found.expires}): somebody may be holding back newer ones, or the clock of "
            "this machine is wrong."
        )
    return found


def verify(content: str, signature: str, keys: Sequence[str]) -> None:
    """Raises `UpdateError` unless one of the keys has signed the content."""
    plan = {"content": content, "signature": signature, "keys": list(keys)}
    with launch.child(plan, "verify", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        _, said = child.communicate()
    if child.returncode:
        raise UpdateError(said.decode(errors="replace").replace("ERROR:  ", "").strip() or "The signature is wrong.")


def number(version: str) -> tuple[int, int, int]:
    """A version, to be compared. Raises `ValueError`."""
    found = re.fullmatch(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", version)
    if not found:
        raise ValueError(f"{version!r} is no version")
    major, minor, patch = map(int, found.groups())
    return major, minor, patch


def here() -> tuple[str, str, str]:
    """Operating system, architecture and C library of this machine, as manifests name them."""
    system = platform.system().lower()
    machine = platform.machine()
    arch = ARCHITECTURES.get(machine, machine.lower())
    if arch == "amd64" and sys.maxsize < 1 << 32:
        arch = "386"
    libc = ("gnu" if platform.libc_ver()[0] == "glibc" else "musl") if system == "linux" else ""
    return system, arch, libc


def fitting(manifest: Manifest) -> File:
    """The file for this machine."""
    for file in manifest.files:
        if (file.os, file.arch, file.libc) == here():
            return file
    raise UpdateError(f"Version {manifest.version} has no file for this machine ({' '.join(here()).strip()}).")
