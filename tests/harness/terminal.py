"""A terminal with a program in it, as a person sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import threading
from collections.abc import Callable, Mapping, Sequence

import pyte

from harness.process import PATIENCE

# A title nobody sees.
LAST = b"\x1b]2;the end\x07"


class Terminal:
    """A program on a pseudo-terminal. What it draws is kept as a screen of `rows` × `columns`."""

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, columns: int = 100, rows: int = 30
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._came = threading.Condition()
        self._over = False
        self.raw = bytearray()
        self._fd, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(inner)
        self._inner = inner
        self._leave = os.pipe()
        self._open = [self._fd, inner, *self._leave]
        self.popen = subprocess.Popen(
            ["setsid", "--ctty", *argv],  # it replaces itself by the program
            env={**os.environ, "TERM": "xterm-256color", **(env or {})},
            stdin=inner,
            stdout=inner,
            stderr=inner,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        asked = select.poll()
        for fd in (self._fd, self._leave[0]):
            asked.register(fd, select.POLLIN)
        while True:
            try:
                # A terminal that is being read cannot be closed.
                left = self._leave[0] in [fd for fd, _ in asked.poll()]
                data = b"" if left else os.read(self._fd, 1 << 16)
            except OSError:
                data = b""
            with self._came:
                if data:
                    self.raw += data
                    self._stream.feed(data)
                else:
                    self._over = True
                self._came.notify_all()
            if not data:
                return

    def text(self) -> str:
        with self._came:
            return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, what: str, seen: Callable[[str], bool], patience: float = PATIENCE) -> str:
        """The screen, once it shows what is waited for."""
        with self._came:

            def shows() -> bool:
                return seen("\n".join(line.rstrip() for line in self.screen.display))

            self._came.wait_for(lambda: shows() or self._over, patience)
            assert shows(), f"the terminal never showed {what}:\n" + "\n".join(self.screen.display)
        return self.text()

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def resize(self, columns: int, rows: int) -> None:
        with self._came:
            self.screen.resize(rows, columns)
        fcntl.ioctl(self._inner, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def modes(self) -> list[object]:
        """What `tcgetattr` says now: a program must leave it as it was."""
        return list(termios.tcgetattr(self._inner))

    def hang_up(self) -> None:
        """The window is closed, or the line is cut."""
        os.write(self._leave[1], b"x")
        self._reader.join()
        self._close()

    def _close(self) -> None:
        for fd in self._open:
            os.close(fd)
        self._open = []

    def end(self) -> int:
        """Its exit code, once all that it wrote was read."""
        code = self.popen.wait(PATIENCE)
        if self._open:
            # It left nobody who would close the terminal: a word of ours comes behind its last.
            os.write(self._inner, LAST)
            with self._came:
                self._came.wait_for(lambda: LAST in self.raw or self._over, PATIENCE)
        return code

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        self._close()
