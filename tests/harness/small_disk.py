"""A disk of a few kilobytes, seen by nobody but who is let in: a file system in memory, in a mount namespace."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from harness import need


class SmallDisk:
    """`within` are the words that let a program see it at `path`."""

    def __init__(self, path: Path, size: int) -> None:
        if os.geteuid() or not (shutil.which("unshare") and shutil.which("nsenter")):
            need.lacking("the right to mount (root, and unshare and nsenter of util-linux)")
        self.path = path
        path.mkdir()
        # It holds the namespace; the line it writes says that the disk is there.
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
        mount = f'mount -t tmpfs -o size={size} small "{path}" && echo there && exec sleep infinity'
        self._holder = subprocess.Popen([*words, mount], stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout
        if self._holder.stdout.readline() != "there\n":
            need.lacking("a file system in memory (mount -t tmpfs)")

    @property
    def within(self) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"]

    @property
    def _seen(self) -> Path:
        """The same folder, as it is seen from here."""
        return Path(f"/proc/{self._holder.pid}/root{self.path}")

    def fill(self) -> None:
        with (self._seen / "ballast").open("wb", buffering=0) as file:
            for length in (4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(length))

    def empty(self) -> None:
        (self._seen / "ballast").unlink()

    def read(self, name: str) -> str:
        return (self._seen / name).read_text(errors="replace")

    def stop(self) -> None:
        self._holder.kill()
        self._holder.wait()
