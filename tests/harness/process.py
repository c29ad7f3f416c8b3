"""One real process: its lines as they come, and its end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shlex
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

from harness import logs

# Generous: reached only when something is broken, so it never decides about speed.
PATIENCE = 30.0

T = TypeVar("T")


def portway() -> list[str]:
    """The command under test: `$PORTWAY`, else the one installed beside this interpreter."""
    named = os.environ.get("PORTWAY")
    return shlex.split(named) if named else [str(Path(sys.executable).with_name("portway"))]


def until(what: str, ask: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """Asks again and again, for states that announce themselves nowhere, until the answer is truthy."""
    pause = threading.Event()
    end = time.monotonic() + patience
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience:.0f} s: {what}")
        pause.wait(0.01)


def _unread(pipe: IO[bytes]) -> int:
    """Bytes that wait in a pipe."""
    count = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return int.from_bytes(count, sys.byteorder)


class Process:
    """A started program. Both its outputs are read at once by threads, so it never blocks on them."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int | None = subprocess.DEVNULL,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.lines: list[tuple[str, str]] = []  # ("out" | "err", text)
        self._came = threading.Condition()
        self._open = 2
        self.popen = subprocess.Popen(
            self.argv,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            user=user,
        )
        assert self.popen.stdout
        assert self.popen.stderr
        self._pipes = {"out": self.popen.stdout, "err": self.popen.stderr}
        self._bytes = 0
        for tag, pipe in self._pipes.items():
            threading.Thread(target=self._read, args=(tag, pipe), daemon=True).start()

    def _read(self, tag: str, pipe: IO[bytes]) -> None:
        ready = select.poll()
        ready.register(pipe, select.POLLIN)
        rest = b""
        data = b"more"
        while data:
            ready.poll()
            # Under the lock, so that who holds it sees in the pipe what is not in `lines` yet.
            with self._came:
                data = os.read(pipe.fileno(), 1 << 16)
                self._bytes += len(data)
                *lines, rest = (rest + data).split(b"\n")
                if not data and rest:
                    lines.append(rest)
                self.lines += [(tag, line.decode(errors="replace")) for line in lines]
                self._open -= not data
                self._came.notify_all()

    def _catch_up(self) -> None:
        """Waits until all is read that it has written by now. The lock is held."""
        unread = sum(_unread(pipe) for pipe in self._pipes.values())
        end = self._bytes + unread
        self._came.wait_for(lambda: self._bytes >= end, PATIENCE)

    # === what it said

    @property
    def position(self) -> int:
        """How many lines have come; given as `since`, older ones are not looked at."""
        with self._came:
            self._catch_up()
            return len(self.lines)

    def text(self, tag: str | None = None) -> str:
        with self._came:
            self._catch_up()
            return "\n".join(text for one, text in self.lines if tag in (None, one))

    def wait_line(self, what: str, pick: Callable[[str], T | None], since: int = 0, patience: float = PATIENCE) -> T:
        """The first answer of `pick` that is not `None`, over all lines from `since` on."""
        end = time.monotonic() + patience
        at = since
        with self._came:
            while True:
                while at < len(self.lines):
                    found = pick(self.lines[at][1])
                    at += 1
                    if found is not None:
                        return found
                left = end - time.monotonic()
                if self._open == 0 or left <= 0:
                    why = "it ended" if self._open == 0 else f"not within {patience:.0f} s"
                    raise AssertionError(f"{self.name} did not say {what}: {why}\n{self.shown()}")
                self._came.wait(left)

    def wait_for(self, msg: str, since: int = 0, patience: float = PATIENCE, **fields: str) -> logs.Record:
        """The record with this message and these fields."""

        def pick(line: str) -> logs.Record | None:
            record = logs.parse(line)
            if record and record["msg"] == msg and fields.items() <= record.items():
                return record
            return None

        return self.wait_line(f"{msg!r} {fields or ''}", pick, since, patience)

    def records(self, since: int = 0) -> list[logs.Record]:
        with self._came:
            self._catch_up()
            return [record for _, text in self.lines[since:] if (record := logs.parse(text))]

    def shown(self) -> str:
        """What a failed test shows of it."""
        with self._came:
            tail = self.lines[-200:]
        head = f"$ {shlex.join(self.argv)}  (pid {self.popen.pid}, exit {self.popen.poll()})"
        return "\n".join([head, *(f"{tag}| {text}" for tag, text in tail)])

    # === its state

    @property
    def pid(self) -> int:
        return self.popen.pid

    def running(self) -> bool:
        return self.popen.poll() is None

    def rss_mib(self) -> float:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def open_files(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    def files(self) -> set[str]:
        """What its descriptors lead to, as `/proc` tells it, without those that are closed meanwhile."""
        found = set()
        for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.add(str(descriptor.readlink()))
        return found

    def listening(self) -> set[str]:
        """Where it listens, as `/proc/net` has addresses: `0100007F:0FC8`."""
        ours = self.files()
        return {
            fields[1]
            for family in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]
            if (fields := line.split())[3] == "0A" and f"socket:[{fields[9]}]" in ours
        }

    # === its end

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """`kill -9`, and gone."""
        self.popen.kill()
        self.popen.wait()

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit code, once it ended by itself and everything it wrote was read."""
        try:
            code = self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {patience:.0f} s\n{self.shown()}") from None
        with self._came:
            self._came.wait_for(lambda: self._open == 0, timeout=5)
        return code

    def stop(self, patience: float = 15) -> int:
        """Asks it to end, as a service does, and kills what does not listen."""
        if self.running():
            self.popen.terminate()
        return self._gone(patience)

    def _gone(self, patience: float = 15) -> int:
        try:
            self.popen.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.popen.returncode


def stop_all(processes: Sequence[Process]) -> None:
    """Asks all of them to end, and then waits."""
    for process in processes:
        if process.running():
            process.popen.terminate()
    for process in processes:
        process._gone()
