"""Windows: a service under the control manager, told about with the tools every Windows has."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from portway.service.kinds import DESCRIPTION, NAME, RESTART_SECONDS, Service, ServiceError, call

# The account: made by Windows for this service alone, without a password, and with no more rights than it needs.
ACCOUNT = rf"NT SERVICE\{NAME}"
EVENT_SOURCE = rf"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\{NAME}"
# A file of Windows itself whose messages are just the text that comes with an event.
MESSAGES = r"%SystemRoot%\System32\EventCreate.exe"
ACCESS_DENIED = "Exit code 5 means `access denied`: open the prompt with `Run as administrator` and try again."
FORGET_SECONDS = 86_400

# What the control manager starts: it speaks to the process itself, so no launcher may stand in between, and the
# launcher of a virtual environment is one. The place of the package is told, as this interpreter may not know it.
HOST = "import sys; sys.path.insert(0, {place!r}); from portway.service.windows_host import main; main(sys.argv[1:])"


class Windows:
    name = "windows-service"

    def install(self, service: Service) -> None:
        for words in installing(service):
            call(words, ACCESS_DENIED)

    def start(self) -> None:
        call(["net", "start", NAME], ACCESS_DENIED)

    def stop(self) -> None:
        call(["net", "stop", NAME], ACCESS_DENIED)

    def restart(self) -> None:
        with contextlib.suppress(ServiceError):  # it did not run
            self.stop()
        self.start()

    def uninstall(self) -> None:
        with contextlib.suppress(ServiceError):
            self.stop()
        call(["sc.exe", "delete", NAME], ACCESS_DENIED)
        call(["reg.exe", "delete", EVENT_SOURCE, "/f"], ACCESS_DENIED)


def installing(service: Service) -> list[Sequence[str]]:
    """The commands that make the service. `sc.exe` wants its values as words of their own."""
    line = subprocess.list2cmdline(service.argv)
    again = "/".join(["restart", str(RESTART_SECONDS * 1000)] * 3)
    source = ["reg.exe", "add", EVENT_SOURCE, "/f"]
    account = service.user or ACCOUNT
    return [
        ["sc.exe", "create", NAME, "binPath=", line, "start=", "delayed-auto", "obj=", account, "DisplayName=", NAME],
        ["sc.exe", "description", NAME, DESCRIPTION],
        # After a crash. An end in order, such as a stop from afar, is none: whoever wants the service back
        # after it sets `sc.exe failureflag portway 1`.
        ["sc.exe", "failure", NAME, "reset=", str(FORGET_SECONDS), "actions=", again],
        [*source, "/v", "EventMessageFile", "/t", "REG_EXPAND_SZ", "/d", MESSAGES],
        [*source, "/v", "TypesSupported", "/t", "REG_DWORD", "/d", "7"],
        # The files hold a token: the machine, its administrators and the service, and nobody else.
        *(
            ["icacls.exe", str(path), "/inheritance:r", "/grant:r", "*S-1-5-18:F", "*S-1-5-32-544:F", f"{account}:R"]
            for path in service.config
        ),
    ]


def program() -> tuple[str, ...]:
    """What starts portway as a service."""
    import portway  # noqa: PLC0415 - only to find it

    place = str(Path(portway.__file__).resolve().parent.parent)
    python = getattr(sys, "_base_executable", None) or sys.executable
    return (str(python), "-I", "-c", HOST.format(place=place))
