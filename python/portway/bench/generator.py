"""The load generator, a process for each measurement (`portway._core.run_load`), and what it tells."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from portway import launch
from portway.bench import BenchError

Event = dict[str, Any]


class Generator:
    """A running one. It ends when its stdin is closed, so it never outlives us."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        descriptor = launch.plan_file(json.dumps(plan).encode())
        try:
            self._popen = subprocess.Popen(
                launch.arguments(launch.extension(), descriptor, "load"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(descriptor,),
                start_new_session=True,  # Ctrl-C is ours to handle
                text=True,
            )
        finally:
            os.close(descriptor)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def events(self) -> Iterator[Event]:
        assert self._popen.stdout
        for line in self._popen.stdout:
            with contextlib.suppress(ValueError):
                yield json.loads(line)

    def cut(self) -> None:
        """Ends it before its time; it tells what it has."""
        assert self._popen.stdin
        with contextlib.suppress(OSError):
            self._popen.stdin.close()

    def end(self) -> str:
        """Makes sure that it is gone; what it complained about."""
        self.cut()
        try:
            _, said = self._popen.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            _, said = self._popen.communicate()
        except ValueError:  # its stdin is closed
            self._popen.wait()
            said = self._popen.stderr.read() if self._popen.stderr else ""
        return "\n".join(line.removeprefix("ERROR:  ") for line in said.strip().splitlines())


def probe(target: Mapping[str, Any]) -> Event:
    """What one request to the endpoint met."""
    generator = Generator({"do": "measure", "target": target, "kind": "probe", "secs": 0})
    said = ""
    try:
        for event in generator.events():
            if event["event"] == "probed":
                return event
    finally:
        said = generator.end()
    raise BenchError(said or "the load generator ended without an answer")


class Interrupted(Exception):  # noqa: N818 - no error: somebody pressed Ctrl-C
    """A measurement was cut; `done` is what it had by then."""

    def __init__(self, done: Event | None) -> None:
        super().__init__("interrupted")
        self.done = done


def measure(plan: Mapping[str, Any], see: Callable[[Event], None]) -> Event:
    """Runs one measurement to its end. `see` gets every event before the last."""
    generator = Generator({"do": "measure", **plan})
    events = generator.events()
    try:
        for event in events:
            if event["event"] == "done":
                return event
            see(event)
    except KeyboardInterrupt:
        generator.cut()
        raise Interrupted(next((event for event in events if event["event"] == "done"), None)) from None
    finally:
        said = generator.end()
    raise BenchError(said or "the load generator ended in the middle of a measurement")
