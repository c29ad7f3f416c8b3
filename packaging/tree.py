"""The files of a system package, made from a wheel: everything portway needs but Python itself.

Nothing of it depends on the version of Python: the module uses the stable interface, and PyYAML goes without its
compiled part.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from result import ROOT, run

PACKAGING = ROOT / "packaging"
LIBRARY = Path("usr/lib/portway")
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/portway",
    "zsh": "usr/share/zsh/site-functions/_portway",
    "fish": "usr/share/fish/vendor_completions.d/portway.fish",
}


def dependencies(folder: Path) -> None:
    """The packages of requirements.txt, of Python alone."""
    flags = ("--quiet", "--no-deps", "--no-compile", "--disable-pip-version-check", "--target", str(folder))
    # Of the oldest Python there may be. Compiled parts of any machine will do, as they are taken out.
    only = ("--only-binary=:all:", "--python-version", "3.10", "--implementation", "cp")
    wanted = str(PACKAGING / "requirements.txt")
    run(sys.executable, "-m", "pip", "install", *flags, *only, "--requirement", wanted)
    for compiled in (*folder.rglob("*.so"), *folder.rglob("*.pyd")):
        compiled.unlink()
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for info in folder.glob("*.dist-info"):  # licences stay
        for file in info.iterdir():
            if file.is_file() and not file.name.upper().startswith(("LICEN", "COPYING", "NOTICE", "METADATA")):
                file.unlink()


def build(wheel: Path, dependencies: Path, root: Path) -> None:
    """Fills `root` with what belongs below `/`."""
    library = root / LIBRARY
    shutil.copytree(dependencies, library)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            place, _, rest = name.partition("/")
            if place == "portway":
                _write(library / name, archive.read(name))
            elif place.endswith(".data") and rest.startswith("data/share/man/"):
                page = root / "usr" / rest.removeprefix("data/")
                _write(page.with_name(page.name + ".gz"), gzip.compress(archive.read(name), mtime=0))
    for module in library.rglob("*.so"):
        module.chmod(0o755)
    _copy("launcher", root / "usr/bin/portway", 0o755)
    _copy("edge/portway-edge.service", root / "usr/lib/systemd/system/portway-edge.service")
    _copy("edge/sysusers.conf", root / "usr/lib/sysusers.d/portway.conf")
    _copy("edge/edge.yml", root / "usr/share/doc/portway/examples/edge.yml")
    shutil.copyfile(ROOT / "LICENSE", root / "usr/share/doc/portway/copyright")
    for shell, place in COMPLETIONS.items():
        _write(root / place, _completion(library, shell))


def _completion(library: Path, shell: str) -> bytes:
    code = f"import sys; sys.path.insert(0, {str(library)!r}); sys.argv = ['portway', 'completion', {shell!r}]; "
    code += "from portway.__main__ import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-ISB", "-c", code], capture_output=True, check=True).stdout


def _copy(name: str, to: Path, mode: int = 0o644) -> None:
    _write(to, (PACKAGING / name).read_bytes())
    to.chmod(mode)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
