"""How this program is started again: by a service, by an edge that reads its file anew."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def words() -> tuple[str, ...]:
    """The script that was run, whatever it does to find the package; else the interpreter, which finds it itself."""
    script = Path(sys.argv[0])
    if os.name != "nt" and script.name in ("portway", "ngrok") and script.is_file() and os.access(script, os.X_OK):
        return (str(script.absolute()),)
    return (sys.executable, "-m", "portway")
