"""Hands a plan over to Rust: this process becomes a bare interpreter that loads `portway._core` and nothing else.

What the command line needed (typer, YAML) stays in memory for as long as a process lives, so the process is replaced:
`exec`, and where there is none (Windows) a child. The plan travels through an inherited file descriptor. It holds
tokens and keys, which must show neither in the arguments nor in the environment (design, decision 2).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

if TYPE_CHECKING:
    from subprocess import Popen

Kind = Literal["agent", "edge", "load", "probe", "verify"]
Plan = Mapping[str, Any]


class Launch(NamedTuple):
    """What a command wants run in place of itself."""

    kind: Kind
    plan: Plan


# Arguments: the extension's file, where the plan is, `run_agent` or `run_edge`. Imported by path, because `-I -S`
# leaves no place to find packages in. Ctrl-C is Rust's to handle: Python would raise for it as soon as Rust is done.
# The end is `_exit`: there is nothing of Python's left to tidy up.
LOADER = """
import _signal, os, sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
path, plan, run = sys.argv[1:]
_signal.signal(_signal.SIGINT, _signal.SIG_DFL)
loader = ExtensionFileLoader("portway._core", path)
core = loader.create_module(ModuleSpec("portway._core", loader, origin=path))
loader.exec_module(core)
os._exit(getattr(core, run)(int(plan)))
""".strip()


class NotBuiltError(RuntimeError):
    """The package has no compiled part for this interpreter."""


def run(plan: Plan, kind: Kind) -> NoReturn:
    """Runs an agent or an edge until it ends; its exit code becomes that of this process.

    Raises `NotBuiltError`, or `OSError` when the plan cannot be handed over.
    """
    core = extension()
    content = json.dumps(plan, separators=(",", ":"), ensure_ascii=False).encode()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":
        sys.exit(_run_child(core, content, kind))
    argv = arguments(core, plan_file(content), kind)
    os.execv(argv[0], argv)  # noqa: S606 - no shell is what is wanted
    raise AssertionError("exec came back")


def extension() -> str:
    """The file of the compiled module."""
    spec = importlib.util.find_spec("portway._core")
    if spec is None or spec.origin is None:
        raise NotBuiltError("The compiled part of portway is missing: install a wheel, or run `make build`.")
    return spec.origin


def arguments(core: str, plan: int, kind: Kind) -> list[str]:
    """The bare interpreter and what it is told; `plan` is a descriptor, on Windows a handle."""
    return [sys.executable, "-I", "-S", "-c", LOADER, core, str(plan), f"run_{kind}"]


def plan_file(content: bytes) -> int:
    """An inheritable descriptor from which `content` can be read to its end; no name leads to it."""
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):  # some sandboxes forbid it
            return _filled(os.memfd_create("portway-plan"), content)
    import tempfile  # noqa: PLC0415 - seldom needed

    with tempfile.TemporaryFile() as file:  # deleted at once, mode 0600; a pipe would hold no large plan
        return _filled(os.dup(file.fileno()), content)


def _filled(descriptor: int, content: bytes) -> int:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(descriptor, True)
    return descriptor


def _run_child(core: str, content: bytes, kind: Kind) -> int:
    """Windows: there is no `exec`, so a child that has our standard streams, and we wait for its end."""
    import signal  # noqa: PLC0415

    with _child_with_handle(core, content, kind, stdout=1, group=False) as child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the child by itself
        return child.wait()


def child(plan: Plan, kind: Kind, *, stdout: int, stderr: int = 2, group: bool = False) -> Popen[bytes]:
    """A process that runs a plan beside this one. `group`: it gets signals of its own."""
    import subprocess  # noqa: PLC0415

    core = extension()
    content = json.dumps(plan, separators=(",", ":"), ensure_ascii=False).encode()
    if os.name == "nt":
        return _child_with_handle(core, content, kind, stdout=stdout, stderr=stderr, group=group)
    descriptor = plan_file(content)
    try:
        return subprocess.Popen(
            arguments(core, descriptor, kind),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(descriptor,),
            start_new_session=group,
        )
    finally:
        os.close(descriptor)


def _child_with_handle(
    core: str, content: bytes, kind: Kind, *, stdout: int, stderr: int = 2, group: bool
) -> Popen[bytes]:
    """Windows: the plan goes through a pipe whose reading handle only this child inherits."""
    import msvcrt  # noqa: PLC0415 - exists there alone
    import subprocess  # noqa: PLC0415

    from portway import windows_job  # noqa: PLC0415

    reading, writing = os.pipe()
    handle: int = msvcrt.get_osfhandle(reading)  # type: ignore[attr-defined,unused-ignore]
    os.set_handle_inheritable(handle, True)  # type: ignore[attr-defined,unused-ignore]
    startup = subprocess.STARTUPINFO(  # type: ignore[attr-defined,unused-ignore]
        lpAttributeList={"handle_list": [handle]}
    )
    flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) if group else 0
    # The standard handles are named, for a list of handles leaves out all that it does not name.
    argv = arguments(core, handle, kind)
    started = subprocess.Popen(argv, startupinfo=startup, stdin=0, stdout=stdout, stderr=stderr, creationflags=flags)
    os.close(reading)
    windows_job.tie(started.pid)  # before it has its plan, without which it ends
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(content)
    return started
