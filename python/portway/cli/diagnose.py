"""`portway diagnose`: why is there no connection? (cli.md §9)"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from portway.cli.options import Flag, Given, command
from portway.cli.report import CommandError, notice

# A name that is there for this, with both families, and that nobody blocks.
INTERNET = "example.com:443"
REGIONS = ("auto", "us", "eu", "au", "ap", "sa", "jp", "in", "us-cal-1", "eu-lon-1", "all")
FLAGS = (
    Flag("internet", "text", "Host that tells whether the internet can be reached; `off` asks nobody but the edge",
         "HOST:PORT"),
)  # fmt: skip
EXAMPLES = """  portway diagnose
  portway diagnose --ipv6 --write-report report.json
  portway diagnose --internet off        where there is no internet, and need not be"""


def diagnose(
    given: Given,
    switch: Annotated[list[str] | None, typer.Argument(hidden=True, metavar="")] = None,
    ipv6: Annotated[bool, typer.Option("--ipv6/--no-ipv6", "-6", help="Test IPv6 by itself too")] = False,
    region: Annotated[
        str, typer.Option("--region", "-r", help="For scripts; all: write a report", hidden=True)
    ] = "auto",
    write_report: Annotated[
        str, typer.Option("--write-report", "-w", help="Write what was found out as JSON", metavar="FILE")
    ] = "",
) -> int:
    """Test every step of the way to the edge: names, proxies, TCP, TLS, the protocol and the login.

    What is wrong is told with what to do about it; the report has all details and no secrets.
    """
    from portway.__main__ import program
    from portway.cli.agent import Settings
    from portway.config import values
    from portway.diagnose import judge, probe, report, screen

    if switch and switch[0].lower() not in ("true", "false"):  # `--ipv6 true` is how some write it
        raise CommandError(f"unexpected argument: {switch[0]}\nSee `{program()} diagnose --help`.")
    if region not in REGIONS:
        raise CommandError(f'invalid argument "{region}" for "--region" flag: expected {", ".join(REGIONS)}')
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    settings = Settings.read(given)
    edge = settings.edge()
    if edge is None:
        raise CommandError(
            "No edge is configured, so there is none to test: URLs work on this machine only.\n"
            "Give the join string of your edge to `portway config join`, or set agent.connect_url."
        )
    internet = given.text("internet") or INTERNET
    if internet != "off":
        try:
            internet = values.connect_url(internet)
        except ValueError as error:
            raise CommandError(f'invalid argument "{internet}" for "--internet" flag: {error}') from None
    print(f"Testing {program()} connectivity...\n", flush=True)
    plan: dict[str, Any] = {
        "version": 1,
        "edge": edge,
        "internet": None if internet == "off" else internet,
        "alone": internet == "off",
        "ipv6": ipv6 and not (switch and switch[0].lower() == "false"),
        "authtoken": settings.config.agent.get("authtoken", ""),
    }
    facts = probe.run(plan)
    verdict = judge.verdict(facts, edge["addrs"], expected(edge["cas"]), program())
    for line in screen.lines(verdict, program()):
        print(line)
    path = write_report or (f"portway-diagnose-{started[:10]}.json" if region == "all" else "")
    if path:
        report.write(Path(path), report.report(started, settings.config, facts, verdict, os.environ))
        notice(f"Report written to {path}")
    return 0 if verdict.fine else 1


def expected(cas: dict[str, str]) -> str:
    """Whose certificates an edge is to show, in words."""
    value = cas.get("value", "")
    return {
        "trusted": "one of a public CA (connect_cas: trusted)",
        "host": "one of a CA that this machine trusts (connect_cas: host)",
        "pin": f"one of the CA with the fingerprint {value[:16]}… (connect_cas: pin)",
        "file": f"one of the CA in {value} (connect_cas)",
    }.get(cas["kind"], "another one")


diagnose_command = partial(command, diagnose, FLAGS, EXAMPLES)
