"""The steps to an edge, done by the core; and those that need nothing of it."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from portway import launch


@dataclass(frozen=True)
class Fact:
    """How one step ended, in the words of the report."""

    section: str
    name: str
    host: str = ""
    addr: str = ""
    resolver: str = ""
    ok: bool = False
    ms: float = 0.0
    err: str = ""
    code: int = 0
    addrs: tuple[str, ...] = ()
    cert: tuple[dict[str, str], ...] = ()
    region: str | None = None
    ahead_s: int | None = None

    def shown(self) -> dict[str, Any]:
        """For the report: what says nothing is left out."""
        optional = ("addrs", "cert", "region", "ahead_s")
        return {key: value for key, value in asdict(self).items() if key not in optional or value not in (None, ())}


@dataclass
class Facts:
    """All that was found out."""

    facts: list[Fact] = field(default_factory=list)
    said: str = ""
    """What the core complained about, where it could not go on."""

    def of(self, section: str, name: str = "") -> list[Fact]:
        return [one for one in self.facts if one.section == section and name in ("", one.name)]


def run(plan: Mapping[str, Any]) -> Facts:
    """Goes the ways of a plan to their ends."""
    found = Facts(list(localhost()))
    with launch.child(plan, "probe", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        out, said = child.communicate()
    for line in out.splitlines():
        with contextlib.suppress(ValueError):
            told = json.loads(line)
            found.facts.append(
                Fact(**{**told, "addrs": tuple(told.get("addrs", ())), "cert": tuple(told.get("cert", ()))})
            )
    if child.returncode:
        found.said = said.decode(errors="replace").strip()
    return found


def localhost() -> Iterator[Fact]:
    """Whether `localhost` is this machine, in each family that it has."""
    for family, resolver in ((socket.AF_INET, "IPv4"), (socket.AF_INET6, "IPv6")):
        try:
            answers = socket.getaddrinfo("localhost", None, family, socket.SOCK_STREAM)
        except OSError as error:
            # A machine without IPv6 has no such address, and needs none.
            if family == socket.AF_INET:
                why = error.strerror or str(error)
                yield Fact("localhost", "resolve", "localhost", resolver=resolver, err=why, code=8000)
            continue
        found = tuple(dict.fromkeys(str(answer[4][0]) for answer in answers))
        strange = [one for one in found if one != "::1" and not one.startswith("127.")]
        err = f"it is {', '.join(strange)}, which is not this machine" if strange else ""
        code = 8000 if strange else 0
        yield Fact("localhost", "resolve", "localhost", "", resolver, not strange, err=err, code=code, addrs=found)
