"""`config upgrade`: a file in the words of a later version (config.md §8). What it means stays, and so do comments,
order and line ends; where that cannot be had, nothing is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, ScalarNode

from portway.config import disk
from portway.config.document import LOADER, is_null, parse, read_text
from portway.config.edit import indent_of, inferred, members, with_version
from portway.config.errors import ConfigError, Problem
from portway.config.load import load_texts
from portway.config.model import Config, Entry
from portway.config.outline import Piece, ShapeError, flow_pieces, is_block, pieces, shifted, shifted_whole
from portway.config.plan import meaning
from portway.config.schema import RENAMED, V2_AGENT
from portway.config.upgrade_names import renamed
from portway.config.upgrade_tunnels import Tunnels, convert

LATEST = 3
INDENT = "  "
# Settings that may name a file.
FILES = (
    *("traffic_policy_file", "policy_file", "upstream_tls_verify_cas", "crt", "key", "mutual_tls_cas"),
    *("server_certificate", "server_private_key", "mutual_tls_certificate_authorities"),
)


@dataclass
class Upgraded:
    text: str
    report: list[str] = field(default_factory=list)


def upgraded(text: str, path: Path, target: int = LATEST) -> Upgraded:
    """`text` in the words of version `target`. Raises `ConfigError`."""
    bom, body = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    end = "\r\n" if "\r\n" in body else "\n"
    root = parse(body, path)
    if root is None or is_null(root):
        made = f'version: "{target}"{end}'
        gap = "" if not body or body.endswith("\n") else end
        return Upgraded(f"{bom}{body}{gap}{made}", [f"version {target} was added"])
    if not isinstance(root, MappingNode):
        raise ConfigError([Problem("the file is no map of keys", path, 1, 1)])
    version = _version(root, path)
    if version > target:
        raise ConfigError(f"{path} is of version {version}: it cannot be taken back to version {target}.")
    closed = body.endswith("\n")
    body = body if closed else body + end
    done = Upgraded(body)
    try:
        _upgrade(done, path, version, target, end)
    except ShapeError as error:
        raise ConfigError(f"Cannot upgrade {path} without harm to what is in it: {error}. Do it by hand.") from None
    # As it was; but not so that a file ends without the line that was added to it.
    if not closed and done.text.endswith(end):
        done.text = done.text.removesuffix(end)
    done.text = bom + done.text
    return done


def _version(root: MappingNode, path: Path) -> int:
    node = members(root).get("version")
    if node is None or is_null(node):
        return inferred(root)
    text = node.value if isinstance(node, ScalarNode) else ""
    if text in ("1", "2", "3"):
        return int(text)
    line, column = node.start_mark.line + 1, node.start_mark.column + 1
    raise ConfigError([Problem(f"unknown version {text!r}. valid versions are: [1 2 3]", path, line, column)])


def _upgrade(done: Upgraded, path: Path, version: int, target: int, end: str) -> None:
    original, given = done.text, _root(done.text, path)
    if given.flow_style and version < target:
        done.text = _as_block(done.text, given, end)
    had_version = "version" in members(given)
    done.text = with_version(done.text, _root(done.text, path), max(version, 2), end)
    if not had_version:
        done.report.append(f"version {target} was added")
    elif version < target:
        done.report.append(f"version {version} is version {target} now")
    if version < 3:
        with _told_of(original, done.text):
            done.text, report = renamed(done.text, _root(done.text, path), path, version)
        done.report += report
    if version == 1:
        done.text = _with_number(done.text, path, 2)
        if target == 2 and "region" not in members(_root(done.text, path)):
            done.text = _with_region(done.text, path, end)
            done.report.append("region: us was added, the default of version 1")
    with _told_of(original, done.text):
        before = load_texts([(path, done.text)])
    if target == 3 and version < 3:
        done.text, report = _to_v3(done.text, path, before, end)
        done.report += report
        after = load_texts([(path, done.text)])
        if _meaning(after) != _meaning(before):
            raise ShapeError("it would not mean the same")


@contextlib.contextmanager
def _told_of(original: str, text: str) -> Iterator[None]:
    """Problems of `text` are told with their places in the original, which has most of the same lines."""
    try:
        yield
    except ConfigError as error:
        ours, theirs = text.split("\n"), original.split("\n")
        problems = []
        for one in error.problems:
            same = [number for number, line in enumerate(theirs, 1) if one.line and line == ours[one.line - 1]]
            nearest = min(same, key=lambda number: abs(number - one.line), default=one.line)
            problems.append(replace(one, line=nearest))
        raise ConfigError(problems) from None


def _root(text: str, path: Path) -> MappingNode:
    root = parse(text, path)
    assert isinstance(root, MappingNode)
    return root


def _as_block(text: str, root: MappingNode, end: str) -> str:
    """A file that is one `{…}` with its keys on lines of their own."""
    before, after = text[: root.start_mark.index], text[root.end_mark.index :]
    lines = "".join(piece.name + piece.rest for piece in flow_pieces(text, root, end))
    return before + lines + after.removeprefix(end)


def _with_number(text: str, path: Path, version: int) -> str:
    node = members(_root(text, path))["version"]
    style = node.style or "" if isinstance(node, ScalarNode) else ""
    return f"{text[: node.start_mark.index]}{style}{version}{style}{text[node.end_mark.index :]}"


def _with_region(text: str, path: Path, end: str) -> str:
    at = text.find("\n", members(_root(text, path))["version"].end_mark.index) + 1
    return f"{text[:at]}region: us{end}{text[at:]}"


def _meaning(config: Config) -> dict[str, Any]:
    """What a configuration says, whichever version says it."""
    return {"agent": config.agent} | {entry.name: _meaning_of(entry) for entry in config.entries}


def _meaning_of(entry: Entry) -> Any:
    if "labels" in entry.options:
        return entry.options  # they stay, but version 3 cannot start them
    try:
        return meaning(entry)
    except ValueError:
        return entry.options


# === from version 2 to version 3


def _to_v3(text: str, path: Path, config: Config, end: str) -> tuple[str, list[str]]:
    root = _root(text, path)
    found, foot = pieces(text, root, 0, len(text))
    indent = indent_of(root) or INDENT
    report: list[str] = []
    parts: list[str] = []
    agent: list[str] = []
    place = 0
    pending = ""
    for number, piece in enumerate(found):
        name, lead, pending = str(piece.key.value), pending + piece.lead, ""
        if name == "version":
            parts.append(lead + piece.name + _number(piece))
        elif name == "region":
            pending = lead
            report.append("region was removed: version 3 has none")
        elif name == "tunnels":
            made = _tunnels(text, piece, config, indent, end, _shared(text))
            report += made.report
            parts.append(lead + _blocks(piece, made, end))
        elif name in V2_AGENT:
            if not agent:
                head, lead = _header(lead) if number == 0 else ("", lead)
                parts.append(head)
                place = len(parts)
            new = str(RENAMED.get(name, name))
            if new != name:
                report.append(f"{name} is agent.{new} now")
            agent.append(
                shifted_whole(lead, len(indent)) + indent + _key(piece, new) + shifted(piece.rest, len(indent))
            )
        else:
            parts.append(lead + piece.name + piece.rest)
    if agent:
        report.append("the settings of the agent are below agent: now")
        parts.insert(place, f"agent:{end}" + "".join(agent))
    return "".join(parts) + pending + foot, report


def _number(piece: Piece) -> str:
    """The rest of the line `version: 2`, with the other number."""
    style = piece.value.style or "" if isinstance(piece.value, ScalarNode) else ""
    start = piece.value.start_mark.index - piece.key.end_mark.index
    stop = piece.value.end_mark.index - piece.key.end_mark.index
    return f"{piece.rest[:start]}{style}3{style}{piece.rest[stop:]}"


def _key(piece: Piece, name: str) -> str:
    return piece.name if piece.key.value == name else name


def _header(lead: str) -> tuple[str, str]:
    """Comments that are about the whole file, and those about its first key."""
    lines = lead.splitlines(keepends=True)
    blank = max((number for number, line in enumerate(lines) if not line.strip()), default=-1)
    return "".join(lines[: blank + 1]), "".join(lines[blank + 1 :])


def _shared(text: str) -> list[int]:
    """Where anchors and aliases are."""
    kinds = (yaml.AnchorToken, yaml.AliasToken)
    return [token.start_mark.index for token in yaml.scan(text, Loader=LOADER) if isinstance(token, kinds)]


def _tunnels(text: str, piece: Piece, config: Config, indent: str, end: str, shared: list[int]) -> Tunnels:
    value = piece.value
    if not isinstance(value, MappingNode) or not value.value:
        return Tunnels(kept=piece.rest)
    if is_block(value):
        start = piece.key.end_mark.index + len(piece.rest.partition("\n")[0]) + 1
        found, foot = pieces(text, value, start, piece.key.end_mark.index + len(piece.rest))
    else:
        found, foot = flow_pieces(text, value, end), ""

    def is_shared(one: Piece) -> bool:
        start, stop = one.key.start_mark.index, max(one.value.end_mark.index, one.key.end_mark.index + len(one.rest))
        alias = one.value.start_mark.index < start
        return alias or any(start <= at < stop for at in shared)

    made = convert(text, found, config.tunnels, indent, end, is_shared)
    if made.kept:
        made.kept += foot
    else:
        made.endpoints += foot
    return made


def _blocks(piece: Piece, made: Tunnels, end: str) -> str:
    """`endpoints:`, `tunnels:`, or both."""
    first = piece.rest.partition("\n")[0] + "\n" if is_block(piece.value) else f":{end}"
    if made.kept == piece.rest:  # there were none
        return piece.name + piece.rest
    endpoints = f"endpoints{first if not made.kept else ':' + end}{made.endpoints}" if made.endpoints else ""
    return endpoints + (f"{piece.name}{first}{made.kept}" if made.kept else "")


# === files


@dataclass
class Written:
    text: str
    report: list[str]
    path: Path
    """Where the result is, or would be."""
    backup: Path | None = None


def upgrade(
    path: Path, target: int, *, dry_run: bool = False, relocate: Path | None = None, theirs: bool = False
) -> Written:
    """Upgrades a file in its place, or into `relocate`. `theirs`: it is another program's, which keeps it as it is.

    Raises `ConfigError`.
    """
    real = Path(os.path.realpath(path))
    text = read_text(path, keep_bom=True)
    if relocate and Path(os.path.realpath(relocate)) == real:
        relocate = None
    if relocate and relocate.exists():
        raise ConfigError(f"Cannot move {path}: there is a file {relocate} already.")
    made = upgraded(text, path, target)
    result = Written(made.text, made.report, relocate or path)
    if relocate:
        _refuse_left_behind(load_texts([(path, made.text)]), path)
        verb = "copied" if theirs else "moved"
        result.report.append(f"{path} is {verb} to {relocate}")
    if dry_run or (made.text == text and not relocate):
        return result
    with disk.told(relocate or path), disk.locked(relocate or real):
        if made.text != text and not theirs:
            backup = disk.back_up(real)
            result.backup = backup if path.is_symlink() else path.with_name(backup.name)
        disk.write(relocate or real, made.text, like=None if theirs else real)
        if relocate and not theirs:
            path.unlink()
    return result


def _refuse_left_behind(config: Config, path: Path) -> None:
    """Files that are named as beside this one would not be found from elsewhere."""
    folder = path.absolute().parent
    cas = config.agent.get("connect_cas", "")
    beside = [cas] if cas.startswith(str(folder)) and cas not in path.read_text() else []
    beside += [name for name in _files(config.entries) if not Path(name).exists() and (folder / name).is_file()]
    if beside:
        names = ", ".join(str(name) for name in dict.fromkeys(beside))
        raise ConfigError(f"Cannot move {path}: {names} would not be found from there. Write whole paths first.")


def _files(entries: Iterable[Entry]) -> Iterable[str]:
    for entry in entries:
        for options in (entry.options, entry.options.get("agent_tls", {})):
            for key in FILES:
                value = options.get(key, [])
                named = value if isinstance(value, list) else [value]
                yield from (
                    one for one in named if "-----BEGIN" not in one and not Path(one).expanduser().is_absolute()
                )
