"""The process that the control manager of Windows starts: it answers the manager, and runs the agent as its child.

The agent is a console program and ends in order on Ctrl-Break; a service has no console, so one is made for the two
that nobody sees.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any

from portway import launch
from portway.__main__ import open_closed
from portway.service.kinds import NAME

# Of winsvc.h and winnt.h.
OWN_PROCESS = 0x10
STOPPED, START_PENDING, STOP_PENDING, RUNNING = 1, 2, 3, 4
ACCEPTS = 0x1 | 0x4  # to be stopped, and to hear of the end of the machine
STOP, INTERROGATE, SHUTDOWN = 1, 4, 5
SPECIFIC_ERROR = 1066
EVENT_ERROR = 1

# The manager is told that the service runs when its endpoints are up, or after this (agent-behaviour.md §10).
STARTED_SECONDS = 20
# For an end in order (agent-behaviour.md §1.6).
STOP_SECONDS = 10


class Status(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint32)
        for name in ("kind", "state", "accepted", "exit_code", "specific_code", "check_point", "wait_hint")
    ]


class Host:
    """`report` tells the manager a state; `plan` is that of the agent."""

    def __init__(self, plan: launch.Plan, report: Callable[[int, int], None]) -> None:
        # A line for each endpoint that is up, which is how we know of them.
        self._plan = {**plan, "announce": True}
        self._wanted = len(plan["endpoints"])
        self._report = report
        self._stopping = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._state = threading.Lock()
        self._running = False

    def run(self) -> int:
        """Until the agent ends; its exit code."""
        self._report(START_PENDING, 0)
        with launch.child(self._plan, "agent", stdout=subprocess.PIPE, group=True) as child:
            self._child = child
            timer = threading.Timer(STARTED_SECONDS, self._up)
            timer.start()
            try:
                self._follow(child)
                code = child.wait()
            finally:
                timer.cancel()
        self._report(STOPPED, code)
        return code

    def _follow(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout
        for number, _ in enumerate(child.stdout, 1):
            if number >= self._wanted:
                self._up()

    def _up(self) -> None:
        with self._state:
            if not self._running and not self._stopping.is_set():
                self._running = True
                self._report(RUNNING, 0)

    def stop(self) -> None:
        """Asks the agent to end, and makes sure."""
        with self._state:
            self._stopping.set()
            self._report(STOP_PENDING, 0)
        child = self._child
        if child is None:
            return
        with contextlib.suppress(OSError):
            child.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
        threading.Thread(target=self._make_sure, args=(child,), daemon=True).start()

    @staticmethod
    def _make_sure(child: subprocess.Popen[bytes]) -> None:
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()


def main(argv: Sequence[str]) -> None:
    """Serves the control manager until the service has ended."""
    open_closed()
    advapi: Any = ctypes.WinDLL("advapi32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    function: Any = ctypes.WINFUNCTYPE  # type: ignore[attr-defined,unused-ignore]
    main_type = function(None, ctypes.c_uint32, ctypes.c_void_p)
    handler_type = function(ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p)
    advapi.RegisterServiceCtrlHandlerExW.restype = ctypes.c_void_p
    advapi.SetServiceStatus.argtypes = [ctypes.c_void_p, ctypes.POINTER(Status)]

    class Entry(ctypes.Structure):
        _fields_ = [("name", ctypes.c_wchar_p), ("run", main_type)]

    kept: list[Any] = []  # what Windows calls back must not be collected

    def serve(_count: int, _words: Any) -> None:
        host: Host | None = None

        def control(asked: int, _kind: int, _data: Any, _context: Any) -> int:
            if asked in (STOP, SHUTDOWN) and host:
                host.stop()
            return 0 if asked in (STOP, SHUTDOWN, INTERROGATE) else 120  # ERROR_CALL_NOT_IMPLEMENTED

        handler = handler_type(control)
        kept.append(handler)
        handle = advapi.RegisterServiceCtrlHandlerExW(NAME, handler, None)

        def report(state: int, code: int) -> None:
            pending = state in (START_PENDING, STOP_PENDING)
            advapi.SetServiceStatus(
                handle,
                ctypes.byref(
                    Status(
                        kind=OWN_PROCESS,
                        state=state,
                        accepted=0 if pending else ACCEPTS,
                        exit_code=SPECIFIC_ERROR if code else 0,
                        specific_code=code,
                        check_point=1 if pending else 0,
                        wait_hint=(STARTED_SECONDS + STOP_SECONDS) * 1000 if pending else 0,
                    )
                ),
            )

        report(START_PENDING, 0)
        try:
            ctypes.windll.kernel32.AllocConsole()  # type: ignore[attr-defined,unused-ignore]
            host = Host(planned(argv), report)
            host.run()
        except Exception as error:
            told(advapi, str(error) or repr(error))
            report(STOPPED, 1)

    run = main_type(serve)
    kept.append(run)
    table = (Entry * 2)(Entry(NAME, run), Entry(None, main_type()))
    if not advapi.StartServiceCtrlDispatcherW(table):
        code = ctypes.get_last_error()  # type: ignore[attr-defined,unused-ignore]
        raise SystemExit(f"Only the service manager of Windows can start this ({code}): use `net start {NAME}`.")


def planned(argv: Sequence[str]) -> launch.Plan:
    """The plan of `service run`."""
    from portway.cli.app import evaluate  # noqa: PLC0415 - needs everything

    made = evaluate(NAME, list(argv))
    if not isinstance(made, launch.Launch):
        raise TypeError(f"{argv} is no command that runs an agent")
    return made.plan


def told(advapi: Any, text: str) -> None:
    """Writes an error into the event log."""
    advapi.RegisterEventSourceW.restype = ctypes.c_void_p
    source = ctypes.c_void_p(advapi.RegisterEventSourceW(None, NAME))
    texts = (ctypes.c_wchar_p * 1)(text.replace("\n", os.linesep))
    advapi.ReportEventW(source, EVENT_ERROR, 0, 1, None, 1, 0, texts, None)
    advapi.DeregisterEventSource(source)
