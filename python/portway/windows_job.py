"""Windows: processes that end when this one does, whatever ends it. Nothing else there follows its parent."""

from __future__ import annotations

import contextlib
import ctypes
from functools import cache
from typing import Any

SET_QUOTA_AND_TERMINATE = 0x0101
EXTENDED_LIMITS = 9
KILL_ON_CLOSE = 0x2000


class Limits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("times", ctypes.c_int64 * 2),
        ("flags", ctypes.c_uint32),
        ("working_set", ctypes.c_size_t * 2),
        ("processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority", ctypes.c_uint32 * 2),
        ("transfers", ctypes.c_uint64 * 6),
        ("memory", ctypes.c_size_t * 4),
    )


def tie(process: int) -> None:
    """`process` (an identifier) ends with this one. Where the system forbids it, it does not: all else works."""
    with contextlib.suppress(OSError):
        system, job = _system(), _job()
        handle = system.OpenProcess(SET_QUOTA_AND_TERMINATE, False, process)
        if handle:
            system.AssignProcessToJobObject(job, handle)
            system.CloseHandle(handle)


@cache
def _job() -> int:
    """Its handle is never closed, so the system does that when this process is no more, and ends who is in it."""
    system = _system()
    job: int | None = system.CreateJobObjectW(None, None)
    limits = Limits(flags=KILL_ON_CLOSE)
    if not job or not system.SetInformationJobObject(job, EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)):
        raise OSError("no job")
    return job


@cache
def _system() -> Any:
    system = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    handle = ctypes.c_void_p
    system.OpenProcess.restype = system.CreateJobObjectW.restype = handle
    system.AssignProcessToJobObject.argtypes = (handle, handle)
    system.SetInformationJobObject.argtypes = (handle, ctypes.c_int, handle, ctypes.c_uint32)
    system.CloseHandle.argtypes = (handle,)
    return system
