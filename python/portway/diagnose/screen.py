"""The result for people (cli.md §9)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from portway.diagnose.judge import Issue, Section, Verdict

COLUMN = 50
WIDTH = 100


def lines(verdict: Verdict, program: str) -> Iterator[str]:
    for section in verdict.sections:
        yield section.heading
        for line in section.lines:
            status = f"[ {line.grade} ]"
            yield f"  {line.title:<{COLUMN - 2 - len(status)}}{status}"
        yield ""
    if any(line.issues for section in verdict.sections for line in section.lines):
        yield "Errors and warnings encountered during diagnostics:"
        yield ""
        for section in verdict.sections:
            yield from _issues(section)
        yield ""
    if verdict.fine:
        region = verdict.region or "auto"
        yield f"Successfully established {program} connection! (region: '{region}', latency: {verdict.latency_ms:g}ms)"
    else:
        yield f"Error establishing {program} connection:"
        yield from _wrapped(verdict.cause, "  ")
        if verdict.advice:
            yield from _wrapped(verdict.advice, "  ")


def _issues(section: Section) -> Iterator[str]:
    """A list in a list: test, resolver or address, host, error."""
    troubled = [line for line in section.lines if line.issues]
    if troubled:
        yield f"  * {section.heading}"
    for line in troubled:
        yield f"    * {line.title}"
        groups: dict[str, list[Issue]] = {}
        for issue in line.issues:
            groups.setdefault(issue.where, []).append(issue)
        for where, issues in groups.items():
            indent = "      "
            if where:
                yield f"{indent}* {where}"
                indent += "  "
            for issue in issues:
                yield f"{indent}* {issue.host}"
                code = f" (ERR_NGROK_{issue.code})" if issue.code else ""
                yield from _wrapped(f"Err: {issue.text}{code}", indent + "  ")


def _wrapped(text: str, indent: str) -> list[str]:
    rows = []
    for part in text.splitlines() or [""]:
        # Addresses and paths stay whole, to be copied.
        rows += textwrap.wrap(
            part, WIDTH, initial_indent=indent, subsequent_indent=indent,
            break_long_words=False, break_on_hyphens=False,
        ) or [indent]  # fmt: skip
    return rows
