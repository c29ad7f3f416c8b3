"""Everything that a release is made of, as far as this machine can make it (`make dist`).

usage: packaging/dist.py [--targets native|all|NAME,…] [--only KIND,…] [--wheel FILE] [--out dist] [--url URL]

Wheels for the targets of targets.py, the source package, packages for deb, rpm, apk and pacman made of the wheels, the
container image, the manifests of Homebrew, Scoop and winget, and the list of what is in it. It ends with what could not
be made here and why: .github/workflows/wheels.yml makes that.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import image
import manifests
import sbom
import system
import tree
import wheel
from result import Failed, Left
from targets import TARGETS, Target

KINDS = ("wheel", "sdist", "system", "image", "sbom", "manifests")
ELSEWHERE = (
    ("wheel for macOS, universal", "Apple's linker and libraries are on macOS only"),
    ("wheels for Windows and the archives made of them", "they are built, and tried, where they run"),
)


class Dist:
    """What was made, what was left and what went wrong."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.made: list[Path] = []
        self.left: list[tuple[str, str]] = []
        self.failed: list[tuple[str, str]] = []

    def make(self, what: str, build: Callable[[], Path | Iterable[Path]]) -> list[Path]:
        print(f"{what} …", file=sys.stderr, flush=True)
        try:
            built = build()
        except Left as reason:
            self.left.append((what, str(reason)))
            return []
        except Failed as reason:
            self.failed.append((what, str(reason)))
            return []
        paths = [built] if isinstance(built, Path) else list(built)
        self.made += paths
        return paths

    def tell(self) -> int:
        for path in self.made:
            size = path.stat().st_size / 1e6
            print(
                f"{size:8.2f} MB  {path.relative_to(self.out.parent) if path.is_relative_to(self.out.parent) else path}"
            )
        if self.left:
            print("\nleft to the public workflow (.github/workflows/wheels.yml):")
            print("\n".join(f"  {what}: {why}" for what, why in self.left))
        for what, why in self.failed:
            print(f"\nfailed: {what}\n{why}")
        return 1 if self.failed else 0


def main() -> int:
    given = arguments()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    version, dist = manifests.version(), Dist(out)
    only = given.only.split(",")
    unknown = set(only) - set(KINDS)
    if unknown:
        print(f"packaging/dist.py: there is no {', '.join(unknown)}; there are {', '.join(KINDS)}", file=sys.stderr)
        return 2
    wheels = dict(wheels_of(given, dist)) if "wheel" in only else {}
    wheels |= {path: of(path) for path in given.wheel}
    if "sdist" in only:
        dist.make("source package", partial(wheel.source, out))
    if "system" in only and wheels:
        packages(wheels, version, dist)
    if "image" in only:
        dist.make("container image", partial(image.build, out, version))
    if "sbom" in only:
        dist.make("list of what is in it", partial(sbom.build, version, system.time(), out))
    if "manifests" in only:
        for name, build in manifests.KINDS.items():
            dist.make(f"manifest of {name}", partial(build, out, version, given.url.rstrip("/")))
    if "wheel" in only and given.targets == "all":
        dist.left += ELSEWHERE
    return dist.tell()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="everything that a release is made of")
    parser.add_argument("--out", type=Path, default=Path("dist"))
    parser.add_argument("--targets", default="all", help="native, all, or names such as aarch64-gnu,x86_64-musl")
    parser.add_argument("--only", default=",".join(KINDS), help=", ".join(KINDS))
    parser.add_argument("--wheel", type=Path, action="append", default=[], help="one that is there already")
    parser.add_argument("--url", default="https://releases.example.com", help="where the files will be")
    parser.add_argument("--profile", default="release")
    return parser.parse_args()


def wheels_of(given: argparse.Namespace, dist: Dist) -> Iterable[tuple[Path, Target]]:
    """Builds them one after the other; each takes all cores."""
    out = given.out.resolve()
    if given.targets == "native":
        for path in dist.make("wheel for this machine", partial(wheel.native, out, given.profile)):
            yield path, of(path)
        return
    wanted = set(given.targets.split(","))
    for target in TARGETS:
        if given.targets == "all" or target.name in wanted:
            build = dist.make(f"wheel {target.name}", partial(wheel.cross, target, out, given.profile))
            for path in build:
                yield path, target


def of(path: Path) -> Target:
    """The target that a wheel was built for, by its name."""
    found = re.search(r"-(many|musl)?linux\w*?_(x86_64|aarch64|armv7l|i686|ppc64le|s390x|riscv64)$", path.stem)
    if not found:
        raise SystemExit(f"packaging/dist.py: {path.name} is no wheel of a system with packages")
    start = {"armv7l": "armv7-", "ppc64le": "powerpc64le-", "riscv64": "riscv64gc-"}.get(found[2], f"{found[2]}-")
    libc = "musl" if found[1] == "musl" else "gnu"
    return next(one for one in TARGETS if one.rust.startswith(start) and one.libc == libc)


def packages(wheels: dict[Path, Target], version: str, dist: Dist) -> None:
    with tempfile.TemporaryDirectory(prefix="portway-dist-") as name:
        folder = Path(name) / "needed"
        try:
            tree.dependencies(folder)
        except Failed as reason:
            dist.failed.append(("what packages need", str(reason)))
            return
        for path, target in wheels.items():
            dist.make(
                f"packages {target.name}",
                partial(system.build, path, target, version, folder, dist.out),
            )


if __name__ == "__main__":
    if not shutil.which("maturin"):
        print("packaging/dist.py: `make dist` runs it with what it needs", file=sys.stderr)
        sys.exit(2)
    sys.exit(main())
