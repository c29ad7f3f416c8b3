"""systemd: a unit that says what runs, and a drop-in beside it that says what this may do.

Whoever needs more than the drop-in allows changes or removes that file alone. Root's own service keeps none of root's
privileges: it reads what belongs to root, and that is all. A token can come from three places besides the
configuration: an environment file, the credential store of systemd, or a credential of a drop-in of one's own.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from portway.service.kinds import DESCRIPTION, NAME, OPEN_FILES, RESTART_SECONDS, Service, ServiceError, call

UNIT = f"{NAME}.service"
# The credential that holds an authtoken (systemd.exec(5), `LoadCredential=`), looked for in /etc/credstore.
CREDENTIAL = f"{NAME}.authtoken"
ENVIRONMENT_FILES = (f"/etc/default/{NAME}", f"/etc/sysconfig/{NAME}")


class Systemd:
    name = "linux-systemd"

    def __init__(self, root: Path = Path("/")) -> None:
        self.folder = root / "etc/systemd/system"

    @property
    def unit(self) -> Path:
        return self.folder / UNIT

    @property
    def drop_in(self) -> Path:
        return self.folder / f"{UNIT}.d" / "hardening.conf"

    def install(self, service: Service) -> None:
        self._as_root("install")
        if self.unit.exists():
            raise ServiceError(
                f"The service exists already: {self.unit}.\nRemove it first: `{NAME} service uninstall`."
            )
        self.drop_in.parent.mkdir(parents=True, exist_ok=True)
        write(self.drop_in, hardening(service))
        write(self.unit, unit(service))
        call(["systemctl", "daemon-reload"])
        call(["systemctl", "enable", "--quiet", UNIT])

    def start(self) -> None:
        self._ask("start")

    def stop(self) -> None:
        self._ask("stop")

    def restart(self) -> None:
        self._ask("restart")

    def uninstall(self) -> None:
        self._installed("uninstall")
        call(["systemctl", "disable", "--now", "--quiet", UNIT])
        self.unit.unlink()
        self.drop_in.unlink(missing_ok=True)
        if not any(self.drop_in.parent.glob("*")):  # drop-ins of the user's stay
            self.drop_in.parent.rmdir()
        call(["systemctl", "daemon-reload"])

    def _ask(self, verb: str) -> None:
        self._installed(verb)
        if verb != "stop":
            # Failed starts before are forgiven, so that a start by hand is always tried.
            with contextlib.suppress(ServiceError):  # there were none
                call(["systemctl", "reset-failed", UNIT])
        try:
            call(["systemctl", verb, UNIT])
        except ServiceError as error:
            raise ServiceError(f"{error}\n{last_words()}") from None

    def _installed(self, verb: str) -> None:
        self._as_root(verb)
        if not self.unit.exists():
            raise ServiceError(f"The service is not installed: `{NAME} service install --config FILE` does it.")

    def _as_root(self, verb: str) -> None:
        if os.geteuid():
            raise ServiceError(
                f"Only root may do this: `sudo {NAME} service {verb}"
                + (" --config FILE`." if verb == "install" else "`.")
            )


def unit(service: Service) -> str:
    """The unit file."""
    program, *words = service.argv
    # Variables are looked for in all words but the first.
    command = " ".join([quoted(program).replace("$$", "$"), *map(quoted, words)])
    user = f"User={service.user}\n" if service.user else ""
    files = "\n".join(f"EnvironmentFile=-{path}" for path in ENVIRONMENT_FILES)
    return f"""\
# Written by `{NAME} service install`; `{NAME} service uninstall` removes it.
[Unit]
Description={DESCRIPTION}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=5
StartLimitBurst=10

[Service]
# It says so when its endpoints are up, and after 20 s in any case.
Type=notify
ExecStart={command}
{user}{files}
# A file of this name in /etc/credstore holds the authtoken; it may be missing.
LoadCredential={CREDENTIAL}
Restart=on-failure
RestartSec={RESTART_SECONDS}
WatchdogSec=60
TimeoutStartSec=60
TimeoutStopSec=15
LimitNOFILE={OPEN_FILES}
# Not that of an edge on the same machine: systemd gives all of it to the account of whoever starts last.
StateDirectory={NAME}-agent
StateDirectoryMode=0700

[Install]
WantedBy=multi-user.target
"""


def hardening(service: Service) -> str:
    """The drop-in. `ProtectSystem=full` leaves folders readable, which `file://` upstreams need."""
    writes = "".join(f"ReadWritePaths={quoted(str(path))}\n" for path in service.writes)
    private_tmp = (
        "# The configuration names something in /tmp or /var/tmp, which a private one would hide.\nPrivateTmp=no\n"
        if service.temporary
        else "PrivateTmp=yes\n"
    )
    return f"""\
# What the service may do. Change or remove this file for more, then `systemctl daemon-reload`.
[Service]
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=full
{writes}{private_tmp}\
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
"""


def quoted(word: str) -> str:
    """One word of `ExecStart=` (systemd.service(5), command lines): no specifier, no variable, no escape in it."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$").replace("\n", "\\n")
    return text if text and not any(letter in text for letter in " \t'\";#\\") else f'"{text}"'


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)


def last_words() -> str:
    """What the service said last, for somebody who sees only that it failed."""
    try:
        # Its own lines, without those of systemd about it.
        own = f"_SYSTEMD_UNIT={UNIT}"
        said = call(["journalctl", own, "--lines", "5", "--output", "cat", "--no-pager", "--quiet"])
    except ServiceError:
        said = ""
    lines = said.strip() or "It has written nothing."
    return f"Its last lines (`journalctl -u {UNIT}`):\n{lines}"


def credential() -> str:
    """The authtoken that systemd hands over; empty without."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / CREDENTIAL if folder else None
    return path.read_text().strip() if path and path.is_file() else ""
