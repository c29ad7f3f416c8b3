"""The archive for Windows: portway.exe, and beside it a Python of its own. Nothing has to be installed.

usage: packaging/windows.py WHEEL EMBEDDED [--out dist]

EMBEDDED is Python's "embeddable package" for the same architecture, from python.org. The launcher is the one that pip
gives every program; it finds Python beside itself.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import manifests
import tree
from result import ROOT, Left

ARCHITECTURES = {"win_amd64": ("amd64", "t64.exe"), "win_arm64": ("arm64", "t64-arm.exe"), "win32": ("386", "t32.exe")}
MAIN = """\
import sys
from pathlib import Path

sys.path.insert(0, str(Path(sys.executable).parent.parent / "lib"))
from portway.__main__ import main

sys.exit(main())
"""


def launcher(kind: str) -> bytes:
    """An executable that runs what is appended to it. Raises `Left` where pip came without."""
    from pip._vendor import distlib

    path = Path(distlib.__path__[0]) / kind
    if not path.exists():
        raise Left(f"pip has no launcher {kind} here")
    appended = io.BytesIO()
    with zipfile.ZipFile(appended, "w") as archive:
        archive.writestr("__main__.py", MAIN)
    return path.read_bytes() + b"#!<launcher_dir>\\python\\python.exe -IS\n" + appended.getvalue()


def build(wheel: Path, embedded: Path, version: str, out: Path) -> Path:
    arch, kind = ARCHITECTURES[wheel.stem.rpartition("-")[2]]
    made = out / f"portway-{version}-windows-{arch}.zip"
    with tempfile.TemporaryDirectory(prefix="portway-dist-") as name:
        library = Path(name) / "lib"
        tree.dependencies(library)
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr("portway.exe", launcher(kind))
            archive.write(ROOT / "LICENSE", "LICENSE")
            for path in sorted(library.rglob("*")):
                if path.is_file():
                    archive.write(path, f"lib/{path.relative_to(library)}")
            _copy(wheel, archive, "lib/", lambda name: name.startswith("portway/"))
            _copy(embedded, archive, "python/", lambda name: not name.endswith("._pth"))
    return made


def _copy(source: Path, archive: zipfile.ZipFile, below: str, wanted: Callable[[str], bool]) -> None:
    with zipfile.ZipFile(source) as given:
        for name in given.namelist():
            if wanted(name) and not name.endswith("/"):
                archive.writestr(below + name, given.read(name))


def main() -> int:
    parser = argparse.ArgumentParser(description="the archive for Windows")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("embedded", type=Path)
    parser.add_argument("--out", type=Path, default=Path("dist"))
    given = parser.parse_args()
    try:
        print(build(given.wheel, given.embedded, manifests.version(), given.out))
    except Left as left:
        print(f"packaging/windows.py: {left}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
