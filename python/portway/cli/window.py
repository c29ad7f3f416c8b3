"""Windows: a window that a double click has opened goes when its program ends. Help nobody can read helps nobody."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable

NAMES = ("portway", "ngrok")
# The program of an installation by pip starts Python, so it is two of them; more are a shell's.
OURS = 2


def is_ours() -> bool:
    """Whether nobody but this program has the window."""
    name = sys.argv[0].replace("\\", "/").rpartition("/")[2].lower().removesuffix(".exe")
    if name not in NAMES:  # `python -m`, which nobody clicks
        return False
    room = (ctypes.c_uint32 * (OURS + 1))()
    count: Callable[..., int] = ctypes.WinDLL("kernel32").GetConsoleProcessList  # type: ignore[attr-defined,unused-ignore]
    return 0 < count(room, len(room)) <= OURS


def keep_with_help() -> None:
    """A shell in the window, which shows the help and waits for more."""
    program = sys.argv[0] if sys.argv[0].lower().endswith(".exe") else f"{sys.argv[0]}.exe"
    subprocess.run([os.environ.get("COMSPEC") or "cmd.exe", "/K", program, "--help"], check=False)
