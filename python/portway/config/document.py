"""A YAML file as a tree with positions. Scalars keep the text they have in the file: `10:30`, `1.10` and `no` are
what was written, not what some version of YAML makes of them (config.md §3)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from portway.config.errors import ConfigError, Problem

LARGEST = 1 << 20
MOST_NODES = 10_000
WIDEST = 100  # columns of a line that is shown
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.2, core schema (§10.3.2).
NULL = re.compile(r"~|null|Null|NULL|")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def read_text(path: Path, *, keep_bom: bool = False) -> str:
    """The text of a file. Raises `ConfigError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ConfigError([Problem("the file is larger than 1 MiB", path)])
        return content.decode("utf-8" if keep_bom else "utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"Error reading configuration file '{path}': open {path}: {reason}") from None
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(f"the file is not UTF-8 text (byte {error.start})", path)]) from None


def parse(text: str, path: Path) -> Node | None:
    """The root of the only document; nothing for an empty file. Raises `ConfigError` for what is no YAML."""
    in_braces = text.lstrip().startswith("{")  # as JSON is, whose indentation means nothing
    for number, content in enumerate(text.splitlines(), 1):
        if content.startswith("\t") and not in_braces:
            raise ConfigError([Problem(f"line {number} starts with a tab; YAML needs blanks", path, number, 1)])
    try:
        root: Node | None = yaml.compose(text, Loader=LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        rows = text.splitlines()
        shown = _with_caret(rows[line - 1], column) if 0 < line <= len(rows) else ""
        what = str(error.problem)
        if what.startswith("but "):  # the other half of a sentence
            what = f"{error.context}, {what}"
        raise ConfigError([Problem(f"YAML parsing error: {what}{shown}", path, line, column)]) from None
    except yaml.reader.ReaderError as error:
        raise ConfigError([Problem(f"YAML parsing error: {error.reason}", path)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([Problem(f"YAML parsing error: {error}", path)]) from None
    except RecursionError:
        raise ConfigError([Problem("the file is nested too deeply", path)]) from None
    if root is not None:
        _check_size(root, path)
    return root


# Of these keys, and of what may be part of such a list, nothing behind the colon is repeated.
SECRET = re.compile(r"(.*?(?:token|key|secret|auth|passw)[\w-]*[\"']?\s*:).*|(\s*-\s*\S*?:)\S.*", re.IGNORECASE)


def _with_caret(row: str, column: int) -> str:
    """A line that is no YAML, with a mark below the place."""
    if secret := SECRET.fullmatch(row):
        row = f"{secret[1] or secret[2]} ***"
        column = min(column, len(row))
    if len(row) > WIDEST:
        begin = max(column - WIDEST // 2, 0)
        row, column = row[begin : begin + WIDEST], column - begin
    return f"\n    {row}\n    {' ' * (column - 1)}^"


def _check_size(root: Node, path: Path) -> None:
    """Aliases may make a small file a huge tree."""
    left = MOST_NODES
    waiting = [root]
    while waiting:
        node = waiting.pop()
        left -= 1
        if left < 0:
            raise ConfigError([Problem(f"the file has more than {MOST_NODES} values", path)])
        if isinstance(node, SequenceNode):
            waiting += node.value
        elif isinstance(node, MappingNode):
            waiting += [part for pair in node.value for part in pair]


def position(node: Node) -> tuple[int, int]:
    """Line and column, from 1."""
    return node.start_mark.line + 1, node.start_mark.column + 1


def is_null(node: Node) -> bool:
    return is_plain(node) and NULL.fullmatch(node.value) is not None


def is_plain(node: Node) -> bool:
    """A scalar without quotes; its style is `None` or empty, depending on the parser."""
    return isinstance(node, ScalarNode) and not node.style


def pairs(node: MappingNode) -> Iterator[tuple[Node, Node]]:
    """Keys and values, merge keys (`<<`) followed; a key of the map itself wins, then that of an earlier map."""
    known = {key.value for key, _ in node.value if isinstance(key, ScalarNode)}
    for key, value in node.value:
        if is_plain(key) and key.value == "<<":
            sources = value.value if isinstance(value, SequenceNode) else [value]
            for source in sources:
                if isinstance(source, MappingNode):
                    merged = [(k, v) for k, v in pairs(source) if not isinstance(k, ScalarNode) or k.value not in known]
                    yield from merged
                    known |= {k.value for k, _ in merged if isinstance(k, ScalarNode)}
        else:
            yield key, value


def plain(node: Node) -> Any:
    """A subtree as JSON-like values, by the rules of YAML 1.2: `NO` is a text."""
    if isinstance(node, MappingNode):
        return {str(key.value): plain(value) for key, value in pairs(node)}
    if isinstance(node, SequenceNode):
        return [plain(item) for item in node.value]
    text: str = node.value
    if not is_plain(node):
        return text
    if NULL.fullmatch(text):
        return None
    if BOOL.fullmatch(text):
        return text.lower() == "true"
    if INT.fullmatch(text):
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)
    if FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def kind(node: Node) -> str:
    """What a node is, for messages."""
    if isinstance(node, MappingNode):
        return "a map"
    if isinstance(node, SequenceNode):
        return "a list"
    return "nothing" if is_null(node) else f"{node.value!r}"
