"""The archive for Windows, made of a wheel and of Python's embeddable package; here both are of another system."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from harness.need import ROOT
from portway import __version__


def test_an_archive_for_windows_starts_the_python_that_is_in_it(wheel: Path, tmp_path: Path) -> None:
    named = tmp_path / f"portway-{__version__}-cp310-abi3-win_amd64.whl"
    shutil.copyfile(wheel, named)
    embedded = tmp_path / "embedded.zip"
    with zipfile.ZipFile(embedded, "w") as archive:
        for name in ("python.exe", "python313.dll", "python313._pth"):
            archive.writestr(name, name)
    argv = [sys.executable, str(ROOT / "packaging" / "windows.py"), str(named), str(embedded), "--out", str(tmp_path)]
    made = subprocess.run(argv, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    archive = zipfile.ZipFile(tmp_path / f"portway-{__version__}-windows-amd64.zip")
    names = set(archive.namelist())
    assert {"portway.exe", "LICENSE", "python/python.exe", "lib/portway/__main__.py", "lib/yaml/__init__.py"} <= names
    # It would say where packages are looked for; portway.exe does.
    assert "python/python313._pth" not in names
    assert [name for name in names if name.endswith((".pyd", ".so"))] == ["lib/portway/_core.abi3.so"]
    launcher = archive.read("portway.exe")
    assert launcher.startswith(b"MZ")
    assert b"#!<launcher_dir>\\python\\python.exe -IS\n" in launcher
    main = zipfile.ZipFile(io.BytesIO(launcher)).read("__main__.py").decode()
    compile(main, "__main__.py", "exec")
