"""One file takes the place of another, and gives it back where it does not work (agent-behaviour.md §11).

Nothing is touched before the new file is whole, has the announced size and hash, and has told its version. The old
one is kept beside it until the new one has been online; after three starts that did not get there, it comes back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
from pathlib import Path

from portway.update import fetch
from portway.update.fetch import UpdateError
from portway.update.manifest import LARGEST_FILE, File

STARTS = 3


def old(executable: Path) -> Path:
    return executable.with_name(executable.name + ".old")


def trial(executable: Path) -> Path:
    """Counts the starts of a new version that has not been online yet."""
    return executable.with_name(executable.name + ".trial")


def replace(executable: Path, file: File, version: str, proxy: str = "") -> None:
    """Puts a release in place of the executable. Raises `UpdateError`; then everything is as it was."""
    try:
        descriptor, name = tempfile.mkstemp(dir=executable.parent, prefix=f".{executable.name}-")
    except OSError as error:
        raise UpdateError(f"{executable.parent} is not writable: {error.strerror}.") from None
    new = Path(name)
    try:
        _download(descriptor, file, proxy)
        new.chmod(executable.stat().st_mode & 0o7777 | 0o100)
        _try(new, version)
        with contextlib.suppress(FileNotFoundError):
            old(executable).unlink()
        os.link(executable, old(executable))  # so that there is no moment without an executable
        trial(executable).write_text(json.dumps({"version": version, "starts": 0}))
        new.replace(executable)
        _sync(executable.parent)
    except OSError as error:
        raise UpdateError(f"{executable} cannot be replaced: {error.strerror or error}.") from None
    finally:
        new.unlink(missing_ok=True)


def _download(descriptor: int, file: File, proxy: str) -> None:
    digest = hashlib.sha256()
    with os.fdopen(descriptor, "wb") as out:

        def take(data: bytes) -> None:
            digest.update(data)
            out.write(data)

        count = fetch.stream(file.url, take, min(file.size, LARGEST_FILE), proxy)
        out.flush()
        os.fsync(out.fileno())
    if count != file.size:
        raise UpdateError(f"{file.url} ended after {count} of {file.size} bytes.")
    if digest.hexdigest() != file.sha256.lower():
        raise UpdateError(f"{file.url} is not the file that was announced: its hash differs.")


def _try(new: Path, version: str) -> None:
    """A file that does not run here, or is another version, does not take the place of one that does."""
    try:
        done = subprocess.run([str(new), "version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise UpdateError(f"Version {version} does not run on this machine: {error}.") from None
    if done.returncode or version not in done.stdout:
        raise UpdateError(f"Version {version} does not run on this machine: {(done.stderr or done.stdout).strip()}")


def _sync(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def starting(executable: Path) -> bool:
    """To be called before an agent starts: whether the old version is back, because the new one never got online."""
    try:
        told = json.loads(trial(executable).read_text())
        starts = int(told["starts"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if starts >= STARTS and old(executable).exists():
        old(executable).replace(executable)
        trial(executable).unlink(missing_ok=True)
        return True
    with contextlib.suppress(OSError):
        trial(executable).write_text(json.dumps({**told, "starts": starts + 1}))
    return False
