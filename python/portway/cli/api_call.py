"""One call of the API, made of flags, variables and files; its answer on stdout, all else on stderr (api-cli.md)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from portway.api import words
from portway.api.catalogue import Command, Flag
from portway.api.client import Answer, Client
from portway.api.errors import UnreachableError, UsageError, hidden
from portway.api.request import Request, build
from portway.api.shown import indented
from portway.cli import api_line, report
from portway.cli.commands import API
from portway.cli.records import Records
from portway.cli.report import CommandError, notice
from portway.cli.spelling import positionals, split
from portway.config import environment, files
from portway.config.load import load

LEVELS = ("debug", "info", "warn", "error", "crit")
FORMATS = ("term", "logfmt", "json")


def call(program: str, command: Command, typed: Sequence[str]) -> int:
    """Does what a command line says that is in one spelling. Raises what goes wrong, with a text for the user."""
    given = Given(command, typed)
    try:
        request = build(command, positionals(typed), given.own)
    except UsageError as error:
        raise CommandError(f"{error}\nSee `{program} {API} {command.name} --help`.") from None
    for flag, _ in given.own:
        if instead := words.INSTEAD.get(f"{command.resource} {flag.name}"):
            notice(f"Flag --{flag.name} has been deprecated, {instead}")
    access = Access.read(program, given)
    client = Client(access.url, access.key, access.proxy)
    return _outcome(_sent(client, request, _records(given)), (access.key, *request.secrets))


class Given:
    """The flags of a command line that is in one spelling, those of the command and those of all."""

    def __init__(self, command: Command, typed: Sequence[str]) -> None:
        self.own: list[tuple[Flag, str]] = []
        self._common: dict[str, list[str]] = {}
        flags = {f"--{flag.name}": flag for flag in command.flags}
        for word in typed[: typed.index("--")] if "--" in typed else typed:
            name, equals, value = word.partition("=")
            name = f"--{name.removeprefix(api_line.MODULE)}" if name.startswith(api_line.MODULE) else name
            if name in flags:
                self.own.append((flags[name], value if equals else "true"))
            elif (on := name.replace("--no-", "--", 1)) in flags and not equals:
                self.own.append((flags[on], "false"))
            elif equals and name.startswith("-"):
                self._common.setdefault(name, []).append(value)

    def many(self, name: str) -> list[str]:
        return split(self._common.get(name, []))

    def text(self, name: str) -> str:
        return self._common.get(name, [""])[-1]


class Access(NamedTuple):
    """Whom to ask, with which key, and by which way."""

    url: str
    key: str
    proxy: str

    @classmethod
    def read(cls, program: str, given: Given) -> Access:
        """From flags, variables and files, in this order. Raises `CommandError` for what is in none of them."""
        found = files.search(given.many("--config"), os.environ, program)
        config = load(found.read)
        flags = {"api_key": given.text("--api-key") or None, "api_url": given.text("--api-url") or None}
        for warning in environment.apply(config, os.environ, flags, fallback=found.fallback):
            if "api_key" in warning:
                notice(f"Warning: {warning}")
        agent = config.agent
        missing = []
        if not agent.get("api_key"):
            missing.append(
                f"There is no API key: save one with `{program} config add-api-key KEY`, "
                "or give it as --api-key or PORTWAY_API_KEY."
            )
        if not agent.get("api_url"):
            missing.append(
                f"It is not known where the API is: save its address with `{program} config add-api-url URL`, "
                "or give it as --api-url or PORTWAY_API_URL."
            )
        if missing:
            raise CommandError("\n".join(missing))
        return cls(str(agent["api_url"]), str(agent["api_key"]), str(agent.get("proxy_url") or ""))


def _records(given: Given) -> Records | None:
    """Where a record of the request goes, if anywhere."""
    level, form = given.text("--log-level") or "info", given.text("--log-format") or "term"
    for value, name, known in ((level, "log-level", LEVELS), (form, "log-format", FORMATS)):
        if value not in known:
            raise CommandError(f'invalid argument "{value}" for "--{name}" flag: expected {", ".join(known)}')
    wanted = given.text("--log") or "false"
    return Records(wanted, form) if wanted != "false" and level in ("debug", "info") else None


def _sent(client: Client, request: Request, records: Records | None) -> Answer:
    what = {"method": request.method, "url": client.base + request.target.partition("?")[0]}
    try:
        answer = client.send(request)
    except UnreachableError as error:
        if records:
            records.warn("api request failed", **what, err=str(error))
        raise
    if records:
        records.info("api request", **what, status=str(answer.status), operation=answer.operation or None)
    return answer


def _outcome(answer: Answer, secrets: Iterable[str]) -> int:
    status = f"{answer.status} {answer.reason}".rstrip()
    if not 200 <= answer.status < 300:
        return report.failed(hidden(_refusal(answer), secrets))
    text = ""
    if answer.status not in (204, 205):
        try:
            text = indented(answer.content.decode("utf-8-sig"))
        except ValueError:
            raise CommandError(
                f"The server says {status}, but what it sent is no JSON. Does --api-url lead to the API?"
            ) from None
    notice(status)
    sys.stderr.flush()
    if text:
        report.answered(text)
    return 0


def _refusal(answer: Answer) -> str:
    """The text of an error of the API; of a server that is not the API, what there is to say."""
    try:
        told = json.loads(answer.content)
        text = str(told["msg"]).strip()
    except (ValueError, KeyError, TypeError, RecursionError):
        text = answer.reason or "unknown status"
        if 300 <= answer.status < 400 and answer.location:
            text += f"; it leads to {answer.location}, where the key is not sent"
        told = {}
    code = told.get("error_code")
    head = f"HTTP {answer.status}: {text}" + (f" [{code}]" if code else "")
    details = told.get("details")
    operation = (details.get("operation_id") if isinstance(details, dict) else "") or answer.operation
    return f"{head}\n\nOperation ID: {operation}" if operation else head
