"""`portway credits`: who wrote what portway is built from. The file is made by tools/credits.py from the lock files."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from portway.cli.options import Given, command
from portway.cli.report import CommandError, nearest

EXAMPLES = """\
  portway credits          every package, with its licence
  portway credits rustls   one of them: authors, and the licence in full
"""


def credits(  # noqa: A001 - the command's name
    given: Given,
    package: Annotated[str | None, typer.Argument(metavar="[PACKAGE]", help="One package, with its licence")] = None,
) -> None:
    """Print the authors and licences of the software that portway is built from."""
    del given
    told = read()
    if package is None:
        print(overview(told))
        return
    everything = [*told["crates"], *told["scripts"], *told["python"]]
    found = [one for one in everything if one["name"].lower() == package.lower()]
    if not found:
        hint = nearest(package, [one["name"] for one in everything])
        raise CommandError(f"portway is not built from {package}{hint}\nSee `portway credits`.")
    print("\n\n".join(detail(one, told["texts"]) for one in found))


def read() -> dict[str, Any]:
    import gzip
    import json
    from importlib.resources import files

    told: dict[str, Any] = json.loads(gzip.decompress((files("portway") / "credits.json.gz").read_bytes()))
    return told


def overview(told: dict[str, Any]) -> str:
    rows = [(f"{one['name']} {one.get('version', '')}".rstrip(), one["license"]) for one in told["crates"]]
    python = [(one["name"], one["license"]) for one in told["python"]]
    column = max(len(name) for name, _ in rows) + 2
    lines = ["portway is licensed under Apache-2.0. It is built from:", ""]
    lines += [f"  {name:<{column}}{licence}" for name, licence in rows]
    scripts = [(f"{one['name']} {one['version']}", one["license"]) for one in told["scripts"]]
    lines += ["", "Its inspection page is built from:", ""]
    lines += [f"  {name:<{column}}{licence}" for name, licence in scripts]
    lines += ["", "With it are installed, for Python:", ""]
    lines += [f"  {name:<{column}}{licence}" for name, licence in python]
    return "\n".join([*lines, "", "`portway credits PACKAGE` tells the authors of one and its licence in full."])


def detail(one: dict[str, Any], texts: list[str]) -> str:
    lines = [f"{one['name']} {one.get('version', '')}".rstrip(), f"  licence: {one['license']}"]
    lines += [f"  authors: {', '.join(one['authors'])}"] if any(one["authors"]) else []
    lines += [f"  {one['home']}"] if one["home"] else []
    for number in one.get("texts", []):
        lines += ["", texts[number]]
    return "\n".join(lines)


credits_command = partial(command, credits, (), EXAMPLES)
