"""What a configuration needs of the file system, which decides on what a service may be kept from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from portway.config.model import Config

TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - compared, not used
# Not writable for a service under `ProtectSystem=full`.
SYSTEM = (Path("/etc"), Path("/usr"), Path("/boot"), Path("/efi"))


def named(config: Config) -> Iterator[Path]:
    """Absolute paths that the configuration names: folders to serve, sockets, certificates, keys."""
    yield from config.read
    values: list[Any] = [config.agent, *(entry.options for entry in config.entries)]
    for text in _texts(values):
        path = text.removeprefix("file:").removeprefix("unix:").removeprefix("//")
        if path.startswith("/"):
            yield Path(path)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one)


def below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def log_file(config: Config) -> Path | None:
    """The file that records go to, where there is one."""
    target = str(config.agent.get("log") or "")
    return None if target in ("", "false", "stdout", "stderr") else Path(target).expanduser().absolute()
