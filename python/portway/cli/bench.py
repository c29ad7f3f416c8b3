"""`portway bench`: what is measured and how it is shown; the measuring itself is `portway.bench`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from portway.bench import compare, local, page, rounds, table, target
from portway.bench.measures import MEASURES
from portway.bench.progress import Progress, columns
from portway.bench.result import load
from portway.cli.options import Flag, Given, command
from portway.cli.report import CommandError, failed, nearest, notice

FLAGS = (
    Flag("local", "flag", "Measure an edge and an agent started for it on this machine"),
    Flag("serve", "text", "Only be the upstream of a tunnel that is to be measured from elsewhere", "PORT"),
    Flag("only", "list", f"Some of: {', '.join(MEASURES)}", "NAMES"),
    Flag("rounds", "text", "How often all is measured; 5 are needed to compare (default 5)", "COUNT"),
    Flag("secs", "text", "Length of one measurement (default: all together take 20 s)", "SECONDS"),
    Flag("connections", "text", "Kept-alive connections of rps (default 64)", "COUNT"),
    Flag("streams", "text", "Bulk transfers at once (default 1)", "COUNT"),
    Flag("rate", "text", "Send rps by a schedule, so many a second, instead of as fast as it goes", "PER-SECOND"),
    Flag("download", "text", "Large file to fetch for down and loaded", "PATH"),
    Flag("upload", "text", "What takes a POST of any size for up", "PATH"),
    Flag("ca", "text", "Trust this CA only", "FILE"),
    Flag("pid", "list", "Processes here whose CPU and memory are told: those of the tunnel", "PID"),
    Flag("json", "flag", "Print the result as JSON"),
    Flag("save", "text", "Keep the result, to compare with later", "FILE"),
    Flag("html", "text", "Write a page with plots", "FILE"),
    Flag("compare", "text", "Tell what changed since a result that was kept, and what is noise", "FILE"),
    # An agent's and an edge's; every command takes them.
    *(Flag(name, "text") for name in ("log", "log-format", "log-level", "authtoken", "connect-url", "connect-cas")),
    *(Flag(name, "text") for name in ("metadata", "session-metadata")),
    Flag("config", "list"),
)

EXAMPLES = """  portway bench --local                         how fast is portway on this machine
  portway bench https://shop.example.com        how fast is my tunnel
  portway bench --local --save before.json
  portway bench --local --compare before.json   did my change help"""

LIMIT = {"rounds": 1000, "connections": 10_000, "streams": 1000, "rate": 1_000_000, "secs": 3600}


def bench(given: Given, url: Annotated[str | None, typer.Argument(metavar="[URL]", show_default=False)] = None) -> int:
    """Measure how fast a tunnel is: requests/s, latency, new connections/s, bulk, CPU and memory.

    Bulk needs an upstream that gives and takes it: `portway bench --serve 8080` is one.
    """
    if os.name == "nt":
        raise CommandError("portway bench does not run on Windows yet")
    with _stopped_by_signals():
        if serve := given.text("serve"):
            return _serve(given, serve, url)
        settings = _settings(given)
        if bool(given.flag("local")) == (url is not None):
            raise CommandError("name a URL to measure, or --local\nSee `portway bench --help`.")
        if given.flag("local") and (
            odd := [name for name in ("ca", "download", "upload", "pid") if _is_given(given, name)]
        ):
            raise CommandError(f"--{odd[0]} is for a URL; --local brings what it needs")
        old = load(Path(compared)) if (compared := given.text("compare")) else None
        for flag in ("save", "html"):
            _check_writable(given.text(flag))
        ca = given.text("ca")
        progress = Progress()
        with contextlib.ExitStack() as stack:
            if url is None:
                made = stack.enter_context(local.tunnel())
                run = rounds.Run(made.target, settings, made.pids, True, progress)
            else:
                pids = {f"process {pid}": _pid(pid) for pid in given.many("pid")}
                run = rounds.Run(target.parse(url, Path(ca) if ca else None), settings, pids, False, progress)
            result = run.run()
    return _show(given, result.json(), old)


bench_command = partial(command, bench, FLAGS, EXAMPLES)


def _is_given(given: Given, name: str) -> bool:
    return bool(given.repeated(name)) if name == "pid" else given.text(name) is not None


def _show(given: Given, result: dict[str, Any], old: Mapping[str, Any] | None) -> int:
    changes = compare.changes(old, result) if old else None
    if old and changes is not None:
        result["changes"] = {name: change.json() for name, change in changes.items()}
        for text in compare.differences(old, result):
            result["notes"].append(f"compared with another setting: {text}")
    if result["figures"]:
        if path := given.text("save"):
            Path(path).write_text(json.dumps(result, indent=1) + "\n")
        if path := given.text("html"):
            Path(path).write_text(page.page(result, old, changes))
        if given.flag("json"):
            print(json.dumps(result, indent=1))
        else:
            colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
            print("\n".join(table.lines(result, changes, columns(sys.stdout, 100), colour)))
    sys.stdout.flush()
    if result["broken"]:
        rest = "\nThe figures are of what came before." if result["figures"] else ""
        return failed(result["broken"] + rest)
    if result["cut"]:
        if not result["figures"]:
            notice("Interrupted before anything was measured.")
        return 130
    return 0


def _serve(given: Given, port: str, url: str | None) -> int:
    if url is not None or given.flag("local"):
        raise CommandError("--serve measures nothing; leave the URL and --local out")
    if not port.isascii() or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise CommandError(f"--serve: {port} is no port")
    with local.serving(int(port)) as bound:
        print(f"Serving on 127.0.0.1:{bound}    (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                signal.pause()
    return 0


def _settings(given: Given) -> rounds.Settings:
    only = tuple(given.many("only"))
    for name in only:
        if name not in MEASURES:
            hint = nearest(name, list(MEASURES)) or f": use {', '.join(MEASURES)}"
            raise CommandError(f"--only: unknown measurement {name}{hint}")
    paths = {name: given.text(name) for name in ("download", "upload")}
    for name, path in paths.items():
        if path is not None and (not path.startswith("/") or not path.isascii() or any(map(str.isspace, path))):
            raise CommandError(f"--{name}: {path} is no path of a URL, which begins with /")
    return rounds.Settings(
        rounds=_count(given, "rounds") or 5,
        secs=_number(given, "secs"),
        connections=_count(given, "connections") or 64,
        streams=_count(given, "streams") or 1,
        rate=_number(given, "rate"),
        only=only,
        **paths,
    )


def _number(given: Given, name: str) -> float | None:
    text = given.text(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise CommandError(f"--{name}: {text} is no number") from None
    if not 0 < value <= LIMIT[name]:
        raise CommandError(f"--{name}: {text} is not between 0 and {LIMIT[name]:,}")
    return value


def _count(given: Given, name: str) -> int | None:
    value = _number(given, name)
    if value is not None and value != int(value):
        raise CommandError(f"--{name}: {given.text(name)} is no whole number")
    return None if value is None else int(value)


def _pid(text: str) -> int:
    if not text.isdecimal() or not Path("/proc", text).is_dir():
        raise CommandError(f"--pid: there is no process {text}")
    return int(text)


def _check_writable(path: str | None) -> None:
    """Before a run that takes half a minute, not behind it."""
    if path is not None:
        new = not Path(path).exists()
        with Path(path).open("a"):
            pass
        if new:  # a run that fails leaves nothing
            Path(path).unlink()


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """What asks us to end is treated as Ctrl-C is: what was measured is shown, and nothing stays behind."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
