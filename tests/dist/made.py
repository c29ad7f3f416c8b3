"""`packaging/dist.py`, and what it made."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.need import ROOT

DIST = ROOT / "packaging" / "dist.py"


@dataclass(frozen=True)
class Made:
    folder: Path
    told: str

    def one(self, pattern: str) -> Path:
        (path,) = self.folder.glob(pattern)
        return path


def dist(out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Runs it with the tools of the checkout."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    argv = [sys.executable, str(DIST), "--out", str(out), *flags]
    return subprocess.run(argv, env={**os.environ, "PATH": path}, cwd=ROOT, capture_output=True, text=True)
