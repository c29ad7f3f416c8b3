"""Commands that write (config.md §9): one value is put in its place, every other byte stays.

The change is made in the text, at the positions the YAML parser names. Then the result is read again and must say the
same but for that one value; else nothing is written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode

from portway.config import disk
from portway.config.document import is_null, parse, plain, position, read_text
from portway.config.errors import ConfigError, Problem
from portway.config.schema import RENAMED, V1_AGENT, V1_TUNNEL, V2_AGENT

INDENT = "    "
# Plain in every version of YAML, and the same text in all of them.
# What begins with a digit has a letter that is in no number and no date.
SAFE = re.compile(
    r"[A-Za-z_/][A-Za-z0-9_./@-]*(:[A-Za-z0-9_./@-]+)*|[0-9][A-Za-z0-9_.-]*[g-npqrsuvwyG-NPQRSUVWY][A-Za-z0-9_.-]*"
)
WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))


def set_value(path: Path, key: str, value: str) -> None:
    """Sets an agent's setting, by its version 3 name, in the file at `path`, which is made if it is not there.

    Raises `ConfigError` where the file cannot be changed without harm, or cannot be written.
    """
    set_values(path, {key: value})


def set_values(path: Path, settings: Mapping[str, str]) -> None:
    """Sets several of them at once: all or none."""
    target = Path(os.path.realpath(path))
    with disk.told(path), disk.locked(target):
        text = changed = read_text(path, keep_bom=True) if target.exists() else ""
        for key, value in settings.items():
            changed = changed_text(changed, path, key, value)
        if changed != text:
            disk.write(target, changed)


def changed_text(text: str, path: Path, key: str, value: str) -> str:
    """`text` with the setting in it. Raises `ConfigError`."""
    bom, body = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    root = parse(body, path)
    end = "\r\n" if "\r\n" in body else "\n"
    if root is not None and not isinstance(root, MappingNode) and not is_null(root):
        raise ConfigError([Problem("the file is no map of keys", path, 1, 1)])
    if not isinstance(root, MappingNode):
        gap = "" if not body or body.endswith("\n") else end
        return f'{bom}{body}{gap}version: "3"{end}agent:{end}{INDENT}{key}: {scalar(value)}{end}'
    version = _version(root)
    result = with_version(body, root, version, end)
    root = parse(result, path)
    assert isinstance(root, MappingNode)
    if version == 3:
        result = _set_v3(result, root, path, key, value, end)
    else:
        old = {new: name for name, new in RENAMED.items()}.get(key, key)
        result = _set(result, root, root, path, old, value, end, "")
    _verify(body, result, path, version, key, value)
    return bom + result


def _version(root: MappingNode) -> int:
    node = members(root).get("version")
    if isinstance(node, ScalarNode) and node.value in ("2", "3"):
        return int(node.value)
    if node is not None and not is_null(node):
        raise ConfigError(f"The file is of version {getattr(node, 'value', '?')}: run `portway config upgrade` first.")
    version = inferred(root)
    if version == 1:
        raise ConfigError("The file has names of version 1: run `portway config upgrade` first.")
    return version


def inferred(root: MappingNode) -> int:
    """Which version a file is of that does not say so (config.md §7)."""
    names = set(members(root))
    if names & {"agent", "endpoints"}:
        return 3
    tunnels = [members(tunnel) for tunnel in members(members(root).get("tunnels")).values()]
    if names & set(V1_AGENT) or any(V1_TUNNEL & set(tunnel) for tunnel in tunnels):
        return 1
    return 2 if names & {*V2_AGENT, "tunnels"} else 3


def with_version(text: str, root: MappingNode, version: int, end: str) -> str:
    """`text` with a version in it, if it says none."""
    if (node := members(root).get("version")) is not None:
        if not is_null(node):
            return text
        at = _key(root, "version").end_mark.index + 1
        return f'{text[:at]} "{version}"{text[max(at, node.end_mark.index) :]}'
    at = root.start_mark.index
    return f'{text[:at]}version: "{version}"{end}{text[at:]}'


def _set_v3(text: str, root: MappingNode, path: Path, key: str, value: str, end: str) -> str:
    agent = members(root).get("agent")
    indent = indent_of(root) or INDENT
    if agent is None and root.flow_style:
        at = members(root)["version"].end_mark.index
        name, member = _as_key("agent", root), _member(key, value, root)
        return f"{text[:at]}, {name}: {{{member}}}{text[at:]}"
    if agent is None:
        at = line_end(text, members(root)["version"].end_mark.index)
        gap = "" if text[:at].endswith("\n") else end
        return f"{text[:at]}{gap}agent:{end}{indent}{key}: {scalar(value)}{end}{text[at:]}"
    if is_null(agent):
        after = _key(root, "agent").end_mark.index + 1
        text = text[:after] + text[max(agent.end_mark.index, after) :]  # a null that is written out
        at = line_end(text, _key(root, "agent").end_mark.index)
        gap = "" if text[:at].endswith("\n") else end
        return f"{text[:at]}{gap}{indent}{key}: {scalar(value)}{end}{text[at:]}"
    if not isinstance(agent, MappingNode):
        raise ConfigError(
            [Problem("agent: expected a map", path, agent.start_mark.line + 1, agent.start_mark.column + 1)]
        )
    _refuse_shared(text, root, agent, path)
    column = " " * agent.value[0][0].start_mark.column if agent.value else indent
    return _set(text, agent, root, path, key, value, end, column)


def _set(
    text: str, node: MappingNode, root: MappingNode, path: Path, key: str, value: str, end: str, column: str
) -> str:
    present = members(node).get(key)
    if present is not None:
        if not isinstance(present, ScalarNode):
            raise ConfigError([Problem(f"{key}: expected a text", path, present.start_mark.line + 1)])
        if present.value == value and not is_null(present):
            return text
        start, stop = present.start_mark.index, present.end_mark.index
        if is_null(present):
            stop = start = _key(node, key).end_mark.index + 1
            return f"{text[:start]} {scalar(value)}{text[stop:]}"
        return f"{text[:start]}{scalar(value, present.style)}{text[stop:]}"
    if node.flow_style:
        at = node.start_mark.index + 1
        rest = ", " if node.value else ""
        like = node if node.value else root
        return f"{text[:at]}{_member(key, value, like)}{rest}{text[at:].lstrip(' ') if rest else text[at:]}"
    if column:
        # The first place of a block.
        first = text.rfind("\n", 0, node.value[0][0].start_mark.index) + 1
        comments = _comments_before(text, first)
        return f"{text[:comments]}{column}{key}: {scalar(value)}{end}{text[comments:]}"
    at = line_end(text, members(node)["version"].end_mark.index)
    gap = "" if text[:at].endswith("\n") else end
    return f"{text[:at]}{gap}{key}: {scalar(value)}{end}{text[at:]}"


def _as_key(key: str, like: MappingNode) -> str:
    """A key as those of another map are written: a file that is JSON stays that."""
    return f'"{key}"' if any(name.style == '"' for name, _ in like.value) else key


def _member(key: str, value: str, like: MappingNode) -> str:
    name = _as_key(key, like)
    return f"{name}: " + scalar(value, None if name == key else '"')


def _comments_before(text: str, at: int) -> int:
    """Where the comments and blank lines begin that stand before a line: a new first key goes above them."""
    while at > 0:
        start = text.rfind("\n", 0, at - 1) + 1
        line = text[start:at].strip()
        if line and not line.startswith("#"):
            break
        at = start
    return at


def _refuse_shared(text: str, root: MappingNode, agent: MappingNode, path: Path) -> None:
    key = _key(root, "agent")
    between = text[key.end_mark.index : agent.start_mark.index + 1]
    merged = any(isinstance(name, ScalarNode) and name.value == "<<" for name, _ in agent.value)
    if re.search(r"[&*]", between.split("#")[0]) or merged or agent.start_mark.index < key.start_mark.index:
        line = key.start_mark.line + 1
        raise ConfigError(
            [
                Problem(
                    "agent is shared with another part of the file (an anchor, alias or merge key): change it by hand",
                    path,
                    line,
                    1,
                )
            ]
        )


def _verify(before: str, after: str, path: Path, version: int, key: str, value: str) -> None:
    """Only the one value may have changed."""

    def model(text: str) -> Any:
        root = parse(text, path)
        return plain(root) if root is not None else {}

    harm = ConfigError(f"Cannot change {path} without harm to the rest of it: set {key} by hand.")
    try:
        old, new = model(before), model(after)
    except ConfigError:
        raise harm from None
    name = key if version == 3 else {new_name: old_name for old_name, new_name in RENAMED.items()}.get(key, key)
    for tree in (old, new):
        tree.pop("version", None)
        place = tree.get("agent") if version == 3 else tree
        if isinstance(place, dict):
            place.pop(name, None)
        if version == 3 and not tree.get("agent"):
            tree.pop("agent", None)
    root = parse(after, path)
    holder = members(root).get("agent") if version == 3 and isinstance(root, MappingNode) else root
    written = members(holder).get(name) if isinstance(holder, MappingNode) else None
    if old != new or not isinstance(written, ScalarNode) or written.value != value:
        raise harm


def members(node: Node | None) -> dict[str, Node]:
    if not isinstance(node, MappingNode):
        return {}
    return {key.value: value for key, value in node.value if isinstance(key, ScalarNode)}


def _key(node: MappingNode, name: str) -> Node:
    return next(key for key, _ in node.value if isinstance(key, ScalarNode) and key.value == name)


def indent_of(root: MappingNode) -> str:
    for _, value in root.value:
        if isinstance(value, MappingNode) and value.value and not value.flow_style:
            return " " * (position(value.value[0][0])[1] - 1)
    return ""


def line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def scalar(value: str, style: str | None = None) -> str:
    """`value` as YAML: plain where every reader takes it for that text, in the quotes of the old one if it had any."""
    if style == "'":
        return "'" + value.replace("'", "''") + "'"
    if not style and SAFE.fullmatch(value) and value.lower() not in WORDS:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
