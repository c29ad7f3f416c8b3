"""Tries packages for Debian of other architectures here: emulated, each in a small Debian and a network of its own.

usage: packaging/emulated.py [--mirror LINE] PACKAGE.deb …

For root; with Debian's mmdebstrap and qemu-user-static. It ends with 0 when each was installed and served a visitor.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from result import ROOT, Failed, Left, run

PACKAGING = ROOT / "packaging"
# The oldest Debian there is for the architecture, of those with a Python that is new enough.
SUITES = {"riscv64": "trixie"}
BINFMT = Path("/proc/sys/fs/binfmt_misc")
TRY = "ip link set lo up && chroot $1 sh -c 'portway version && python3 /tmp/try.py portway'"


def emulate() -> None:
    """Tells the kernel which emulator runs which programs, as systemd does where it runs."""
    if not (BINFMT / "register").exists():
        run("mount", "-t", "binfmt_misc", "none", str(BINFMT))
    for known in Path("/usr/lib/binfmt.d").glob("qemu-*.conf"):
        if not (BINFMT / known.stem).exists():
            (BINFMT / "register").write_bytes(known.read_bytes())


def tried(package: Path, mirrors: list[str]) -> str:
    """What the command and the visitor said. Raises `Failed` when it could not be installed or did not serve."""
    architecture = package.stem.rpartition("_")[2]
    with tempfile.NamedTemporaryFile("r") as said:
        hooks = (
            f"copy-in {package} {PACKAGING / 'try.py'} {PACKAGING / 'behind.py'} /tmp",
            f'chroot "$1" dpkg --install /tmp/{package.name}',
            f'unshare --net sh -c "{TRY}" >{said.name}',
        )
        run(
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--architectures={architecture}",
            "--include=python3",
            *(f"--customize-hook={hook}" for hook in hooks),
            SUITES.get(architecture, "bookworm"),
            "/dev/null",
            *mirrors,
        )
        return ", ".join(said.read().splitlines())


def served(package: Path, mirrors: list[str]) -> bool:
    try:
        print(f"{package.name}: {tried(package, mirrors)}", flush=True)
    except (Failed, Left) as reason:
        print(f"{package.name}: {reason}", file=sys.stderr)
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description="tries packages for Debian of other architectures, emulated")
    parser.add_argument("package", type=Path, nargs="+")
    parser.add_argument("--mirror", action="append", default=[], help="a line of sources.list; otherwise Debian's own")
    given = parser.parse_args()
    emulate()
    failed = sum(not served(package.resolve(), given.mirror) for package in given.package)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
