"""`portway edge ca list` and `revoke`: certificates that the edge's own CA has signed.

The edge notes what it signs in `issued.txt` of its data directory, a line each: serial number, last day, names.
What is to be revoked is written into `revoked.txt`, which a running edge reads by itself.
"""

from __future__ import annotations

import re
import time
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from portway.cli.edge import TO_A_RUNNING_ONE, settings
from portway.cli.options import Given, command
from portway.cli.report import CommandError
from portway.config import disk

KEY = "ca-key.pem"
SERIAL = re.compile(r"[0-9a-f]{32}")
# So much of one is enough where it is of one certificate only.
BEGINNING = re.compile(r"[0-9a-f]{4,31}")


class Issued(NamedTuple):
    serial: str
    until: str
    names: list[str]


def list_(given: Given) -> None:
    """Show the certificates that the edge's CA has signed: serial number, last day, names."""
    folder = _folder(given)
    gone = revoked(folder)
    for one in issued(folder):
        print(f"{one.serial}  {one.until}  {'revoked  ' if one.serial in gone else ''}{','.join(one.names)}")


def revoke(
    given: Given,
    certificates: Annotated[
        list[str] | None,
        typer.Argument(metavar="SERIAL|NAME...", help="Serial numbers or how they begin, or names in certificates"),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that were signed so far")] = False,
) -> None:
    """Revoke certificates that the edge's CA has signed, such as those whose key somebody else may have.

    A running edge makes new ones at once; agents that check the list of revoked certificates (crl_url) do not believe
    the old ones from their next connection on.
    """
    if bool(certificates) == everything:
        raise CommandError("Name the certificates to revoke by serial number or name, or use --all.")
    folder = _folder(given)
    known = issued(folder)
    serials = [one.serial for one in known] if everything else []
    for asked in certificates or []:
        serials += _meant(asked.lower().replace(":", ""), asked.lower(), known)
    earlier = revoked(folder)
    fresh = [serial for serial in dict.fromkeys(serials) if serial not in earlier]
    if fresh:
        now = int(time.time())
        rows = earlier | dict.fromkeys(fresh, now)
        # Readable by the edge, whoever runs this.
        disk.put(folder / "revoked.txt", "".join(f"{serial} {when}\n" for serial, when in rows.items()), folder / KEY)
    print(f"{len(fresh)} certificate{'s' * (len(fresh) != 1)} revoked")


def _meant(serial: str, name: str, known: list[Issued]) -> list[str]:
    if found := [one.serial for one in known if one.serial == serial or name in one.names]:
        return found
    if SERIAL.fullmatch(serial):
        return [serial]  # of a certificate that is older than the notes
    if BEGINNING.fullmatch(serial) and (found := [one.serial for one in known if one.serial.startswith(serial)]):
        if len(found) > 1:
            raise CommandError(f"{len(found)} serial numbers begin with {serial!r}: see `portway edge ca list`.")
        return found
    raise CommandError(f"The edge's CA has signed no certificate for {name!r}: see `portway edge ca list`.")


def _folder(given: Given) -> Path:
    folder = Path(settings(given)[0]["data_dir"])
    if not (folder / "ca.pem").exists():
        raise CommandError(f"No edge has its CA in {folder}: name its data directory with --data-dir.")
    return folder


def issued(folder: Path) -> list[Issued]:
    """What the CA has signed, the oldest first."""
    rows = [line.split(" ", 2) for line in _lines(folder / "issued.txt")]
    return [Issued(row[0], row[1], row[2].split(",")) for row in rows if len(row) == 3]


def revoked(folder: Path) -> dict[str, int]:
    """When each revoked certificate was, by its serial number."""
    rows = [line.split() for line in _lines(folder / "revoked.txt") if not line.startswith("#")]
    return {row[0]: int(row[1]) if len(row) > 1 and row[1].isdecimal() else 0 for row in rows if row}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


LIST = """\
  portway edge ca list     certificates of this edge, and which are revoked
"""
REVOKE = """\
  portway edge ca revoke 4a1f0c7b     the certificate whose serial number begins so; `list` shows them
"""

list_command = partial(command, list_, TO_A_RUNNING_ONE, LIST)
revoke_command = partial(command, revoke, TO_A_RUNNING_ONE, REVOKE)
