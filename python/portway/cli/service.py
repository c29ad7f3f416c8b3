"""`portway service …`: portway as a service of the operating system (cli.md §8). `run` is what that starts."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portway.cli import itself
from portway.cli.options import Flag, Given, command
from portway.cli.records import Records
from portway.cli.report import CommandError
from portway.launch import Launch

if TYPE_CHECKING:
    from portway.config.model import Config
    from portway.service.kinds import Manager, Service

USER = Flag("user", "text", "Account the service runs as; the owner of the file, unless told", "NAME")


def install(given: Given) -> None:
    """Install portway as a service that starts everything in the configuration file when the machine boots.

    The service uses the executable and the configuration file where they are now: do not move them afterwards.
    """
    from portway.config.load import load

    paths = tuple(Path(path).expanduser().absolute() for path in given.many("config"))
    if not paths:
        raise CommandError("A service needs to know its configuration file: add --config FILE.")
    config = load(paths)
    records = Records.of(given)
    for path in paths:
        records.info("open config file", path=str(path), err=None)
    service = _described(given, config, paths)
    for text in (*_remarks(config), *_about_program(service)):
        records.warn(text)
    manager = _manager(records, service)
    _check_account(service)
    manager.install(service)
    records.info("install ok")


def start(given: Given) -> None:
    """Start the installed service."""
    _ask(given, "start")


def stop(given: Given) -> None:
    """Stop the service; it starts again when the machine boots."""
    _ask(given, "stop")


def restart(given: Given) -> None:
    """Stop the service and start it with the configuration file as it is now."""
    _ask(given, "restart")


def uninstall(given: Given) -> None:
    """Stop the service and remove it. The configuration file stays."""
    _ask(given, "uninstall")


def _ask(given: Given, verb: str) -> None:
    records = Records.of(given)
    getattr(_manager(records), verb)()
    records.info(f"{verb} ok")


def _manager(records: Records, service: Service | None = None) -> Manager:
    from portway.service.kinds import ServiceError, find, shown

    try:
        manager = find()
    except ServiceError as error:
        argv = service.argv if service else [*_program(), "service", "run", "--config", "FILE"]
        raise CommandError(f"{error}\nLet the one it has run this command: {shown(argv)}") from None
    records.info("detect init system", sys=manager.name)
    return manager


def run(given: Given) -> Launch:
    """Run as a service: what the operating system calls."""
    from portway.cli.agent import Settings
    from portway.service.systemd import credential

    settings = Settings.read(given)
    agent = settings.config.agent
    # Where a token is needed and none is given, the one that systemd hands over.
    if "connect_url" in agent and not agent.get("authtoken") and (token := credential()):
        agent["authtoken"] = token
    made: dict[str, Any] = dict(settings.plan_of_names([], everything=True, nothing=False))
    made["service"] = True
    made["console"] = {**made["console"], "show": False}
    made["announce"] = False
    if not agent.get("log"):
        # What went wrong goes to the log of the system. More only for who asks for more.
        made["log"] = {"target": "system", "level": agent.get("log_level") or "warn", "format": "term"}
    return Launch("agent", made)


# === what an installation looks at


def _described(given: Given, config: Config, paths: tuple[Path, ...]) -> Service:
    from portway.service import paths as needed
    from portway.service.kinds import Service

    log = needed.log_file(config)
    program = _program()
    named = [*paths, *needed.named(config), Path(program[0]), *([log] if log else [])]
    return Service(
        program=program,
        config=paths,
        user=given.text("user") or _owner(paths[0]),
        temporary=any(needed.below(path, needed.TEMPORARY) for path in named),
        writes=(log.parent,) if log and needed.below(log, needed.SYSTEM) else (),
    )


def _owner(path: Path) -> str:
    """Who the file belongs to; nobody for the account that runs services anyway."""
    if os.name == "nt" or not path.stat().st_uid:
        return ""
    try:
        return path.owner()
    except KeyError:
        return str(path.stat().st_uid)


def _program() -> tuple[str, ...]:
    if sys.platform == "win32":
        from portway.service.windows import program

        return program()
    return itself.words()


def _remarks(config: Config) -> list[str]:
    """What makes a service of little use, though the file is valid."""
    agent = config.agent
    found = []
    if not config.entries:
        found.append("the configuration file names no endpoint: the service has nothing to start")
    if "connect_url" not in agent:
        found.append("the configuration file names no edge (connect_url): URLs will work on this machine only")
    elif not agent.get("authtoken"):
        found.append("the configuration file has no authtoken: give it to the service in another way")
    return found


def _check_account(service: Service) -> None:
    """Raises `CommandError` where the account could not start the program or read the file."""
    import subprocess

    if os.name == "nt" or not service.user or os.geteuid():
        return
    for argv, what in (
        ([*service.program, "version"], f"run {service.program[0]} (or the Python it needs)"),
        *((["test", "-r", str(path)], f"read {path}") for path in service.config),
    ):
        try:
            # With the groups of the account, which setpriv finds.
            who = ["setpriv", f"--reuid={service.user}", f"--regid={_group(service.user)}", "--init-groups"]
            done = subprocess.run([*who, *argv], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        except FileNotFoundError:  # no setpriv
            return
        if done.returncode:
            raise CommandError(
                f"The account {service.user} cannot {what}.\n"
                "Give it access, or let the service run as another account: --user NAME."
            )


def _group(user: str) -> int:
    import pwd

    try:
        return (pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)).pw_gid
    except KeyError:
        raise CommandError(f"There is no account {user} on this machine.") from None


def _about_program(service: Service) -> list[str]:
    import tempfile

    program = Path(service.program[0])
    if program.is_relative_to(tempfile.gettempdir()):
        return [f"{program} is in a temporary folder: the service fails once it is cleaned up"]
    if sys.prefix != sys.base_prefix:
        return [f"{program} is in a virtual environment: the service fails once it is removed"]
    return []


INSTALL = """\
  portway service install --config /etc/portway/portway.yml
"""

install_command = partial(command, install, (USER,), INSTALL)
start_command = partial(command, start)
stop_command = partial(command, stop)
restart_command = partial(command, restart)
uninstall_command = partial(command, uninstall)
run_command = partial(command, run)
