"""Configuration files on disk: one writer at a time, written whole or not at all (config.md §9)."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from portway.config.errors import ConfigError

LOCK_WAIT = 5.0


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One writer at a time, by a lock file beside the file."""
    lock = path.with_name(path.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    deadline = time.monotonic() + LOCK_WAIT
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                raise ConfigError(f"{path} is being changed by another command; if not, remove {lock}.") from None
            time.sleep(0.05)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """What the system refuses becomes an error that names `path` and the reason."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"Cannot write the configuration file {path}: {error.strerror or error}") from None


def write(path: Path, text: str, like: Path | None = None) -> None:
    """Whole or not at all; mode and owner are those of the file that was there, or of `like`."""
    put(path, text, path if path.exists() else like)


def put(path: Path, text: str, model: Path | None) -> None:
    """Whole or not at all; with mode and owner of `model`, or ours and for no one else."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if model:
            status = model.stat()
            temporary.chmod(status.st_mode & 0o7777)
            with contextlib.suppress(OSError, AttributeError):
                os.chown(temporary, status.st_uid, status.st_gid)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def back_up(path: Path) -> Path:
    """Copies a file beside itself under a name that is free, for its owner's eyes only."""
    content = path.read_bytes()
    number = 0
    while True:
        copy = path.with_name(f"{path.name}.bak" + (f".{number}" if number else ""))
        try:
            descriptor = os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            number += 1
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        return copy
