"""launchd: a property list among the daemons of the machine, or, without root, among the agents of the user."""

from __future__ import annotations

import os
import plistlib
from pathlib import Path
from typing import Any

from portway.service.kinds import NAME, OPEN_FILES, RESTART_SECONDS, Service, ServiceError, call

LABEL = "dev.portway.agent"
# What launchctl says where the configuration cannot be read.
UNREADABLE = (
    "Exit code 5 or `Input/output error` usually means that the service cannot read its configuration file: it was\n"
    "moved, or belongs to somebody else. Check the path in {path}, and that the account it runs as may read the file."
)


class Launchd:
    name = "darwin-launchd"

    def __init__(self, root: Path = Path("/"), home: Path | None = None, *, daemon: bool | None = None) -> None:
        self.daemon = os.geteuid() == 0 if daemon is None else daemon
        base = root / "Library/LaunchDaemons" if self.daemon else (home or Path.home()) / "Library/LaunchAgents"
        self.plist = base / f"{LABEL}.plist"
        self.domain = "system" if self.daemon else f"gui/{os.getuid()}"
        self.target = f"{self.domain}/{LABEL}"

    def install(self, service: Service) -> None:
        if self.plist.exists():
            raise ServiceError(
                f"The service exists already: {self.plist}.\nRemove it first: `{NAME} service uninstall`."
            )
        self.plist.parent.mkdir(parents=True, exist_ok=True)
        self.plist.write_bytes(plist(service, daemon=self.daemon))
        self.plist.chmod(0o644)

    def start(self) -> None:
        """`RunAtLoad`: to load it is to start it."""
        self._installed()
        if not self._loaded():
            self._call("bootstrap", self.domain, str(self.plist))
        else:
            self._call("kickstart", self.target)

    def stop(self) -> None:
        """Out of the manager: with `KeepAlive`, it would be started again otherwise."""
        self._installed()
        if self._loaded():
            self._call("bootout", self.target)

    def restart(self) -> None:
        self._installed()
        if self._loaded():
            self._call("kickstart", "-k", self.target)
        else:
            self.start()

    def uninstall(self) -> None:
        self.stop()
        self.plist.unlink()

    def _call(self, *words: str) -> str:
        return call(["launchctl", *words], UNREADABLE.format(path=self.plist))

    def _loaded(self) -> bool:
        try:
            call(["launchctl", "print", self.target])
        except ServiceError:
            return False
        return True

    def _installed(self) -> None:
        if not self.plist.exists():
            raise ServiceError(f"The service is not installed: `{NAME} service install --config FILE` does it.")


def plist(service: Service, *, daemon: bool) -> bytes:
    """The property list (launchd.plist(5))."""
    limits = {"NumberOfFiles": OPEN_FILES}
    content: dict[str, Any] = {
        "Label": LABEL,
        "ProgramArguments": service.argv,
        "RunAtLoad": True,
        # Again after a crash, and not after an end in order, such as a stop from afar.
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": RESTART_SECONDS,
        "ExitTimeOut": 15,
        "ProcessType": "Background",
        "Umask": 0o077,
        "SoftResourceLimits": limits,
        "HardResourceLimits": limits,
        "WorkingDirectory": "/",
    }
    if daemon and service.user:
        content["UserName"] = service.user
    return plistlib.dumps(content)
