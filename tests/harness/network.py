"""A network of its own (a namespace of Linux): nothing but a loopback, which has whatever addresses a test gives it."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from harness import need

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
_numbers = itertools.count(1)


class Network:
    """`run` does something inside; `within` are the words that do so for a program."""

    def __init__(self, *addresses: str) -> None:
        if os.geteuid() or not shutil.which("ip"):
            need.lacking("the right to make networks (root, and ip of iproute2)")
        self.name = f"portway-{os.getpid()}-{next(_numbers)}"
        made = subprocess.run(["ip", "netns", "add", self.name], capture_output=True, text=True)
        if made.returncode:
            need.lacking(f"network namespaces: {made.stderr.strip()}")
        self.ip("link", "set", "lo", "up")
        for address in addresses:
            self.add(address)

    @property
    def path(self) -> Path:
        return Path("/run/netns") / self.name

    @property
    def within(self) -> list[str]:
        return ["nsenter", f"--net={self.path}", "--"]

    def ip(self, *words: str) -> None:
        subprocess.run(["ip", "-n", self.name, *words], check=True)

    def add(self, address: str, device: str = "lo") -> None:
        self.ip("address", "add", f"{address}/{128 if ':' in address else 32}", "dev", device, "nodad")

    def remove(self, address: str, device: str = "lo") -> None:
        self.ip("address", "del", f"{address}/{128 if ':' in address else 32}", "dev", device)

    def run(self, what: Callable[[], T]) -> T:
        """Sockets that are made by `what` are of this network for good, whoever uses them."""
        results: list[T] = []
        failures: list[BaseException] = []

        def inside() -> None:
            try:
                with self.path.open() as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                results.append(what())
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        return results[0]

    def stop(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.name], check=True)
