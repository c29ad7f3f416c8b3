"""Reading nodes by a schema: every problem is noted with its place, and reading goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from portway.config.document import is_null, kind, pairs, plain, position
from portway.config.errors import Problem
from portway.config.schema import Key

MOST_LISTED = 12


class Reader:
    """Problems of one file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def problem(self, node: Node, message: str, key: str = "", hint: str = "") -> None:
        line, column = position(node)
        self.problems.append(Problem(message, self.file, line, column, key, hint))

    def members(self, node: MappingNode, path: str) -> dict[str, tuple[Node, Node]]:
        """Key and value nodes by name; each name once."""
        found: dict[str, tuple[Node, Node]] = {}
        for key, value in pairs(node):
            if not isinstance(key, ScalarNode):
                self.problem(key, f"{path or 'the file'}: a key must be a text")
            elif key.value in found:
                first = position(found[key.value][0])[0]
                self.problem(key, f"{join(path, key.value)} is given twice (first on line {first})")
            else:
                found[key.value] = (key, value)
        return found

    def map(self, node: Node, keys: dict[str, Key], path: str, hints: dict[str, str] | None = None) -> dict[str, Any]:
        """A map with these keys. `hints`: what to do about keys that belong elsewhere."""
        read: dict[str, Any] = {}
        if is_null(node):
            return read
        if not isinstance(node, MappingNode):
            self.problem(node, f"{path}: expected a map, found {kind(node)}")
            return read
        for name, (key, value) in self.members(node, path).items():
            if name not in keys:
                self.unknown(key, name, keys, path, hints or {})
            elif not is_null(value):
                result = self.value(value, keys[name], join(path, name))
                if result is not None:
                    read[name] = result
        return read

    def unknown(self, key: Node, name: str, keys: dict[str, Key], path: str, hints: dict[str, str]) -> None:
        full, spelt = join(path, name), underscored(name)
        if spelt in hints:
            same = "" if spelt == name else f", that is {spelt},"
            self.problem(key, f"{full}{same} {hints[spelt]}", full)
            return
        near = nearest(name, list(keys))
        if near:
            hint = f"did you mean {near}?"
        elif len(keys) <= MOST_LISTED:
            hint = f"allowed here: {', '.join(keys)}"
        else:
            hint = ""
        self.problem(key, f"unknown key {full}", full, hint)

    def value(self, node: Node, key: Key, path: str) -> Any:
        """What a node says, or `None` where it cannot stand."""
        if key.shape == "tree":
            if isinstance(node, MappingNode):
                self.doubles(node, path)
                return plain(node)
            self.problem(node, f"{path}: expected a map, found {kind(node)}", path)
            return None
        if key.shape == "map":
            return self.map(node, key.keys or {}, path)
        if key.shape == "list":
            items = node.value if isinstance(node, SequenceNode) else [node]
            read = [self.scalar(item, key, path) for item in items if not is_null(item)]
            return [item for item in read if item is not None]
        return self.scalar(node, key, path)

    def doubles(self, node: Node, path: str) -> None:
        """Notes keys that are given twice, in a tree that is not read by a schema."""
        if isinstance(node, MappingNode):
            for name, (_, value) in self.members(node, path).items():
                self.doubles(value, join(path, name))
        elif isinstance(node, SequenceNode):
            for index, item in enumerate(node.value):
                self.doubles(item, f"{path}[{index}]")

    def scalar(self, node: Node, key: Key, path: str) -> Any:
        if not isinstance(node, ScalarNode):
            quote = "; put the text in quotes" if isinstance(node, MappingNode) else ""
            self.problem(node, f"{path}: expected a text, found {kind(node)}{quote}", path)
            return None
        try:
            return key.parse(node.value)
        except ValueError as error:
            secret = path.rpartition(".")[2] in ("authtoken", "api_key", "client_secret", "secret")
            self.problem(node, f"{path}: {'is not valid' if secret else error}", path)
            return None


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def underscored(word: str) -> str:
    """A key that was written like a flag."""
    return word.strip("-").replace("-", "_").lower()


def nearest(word: str, known: list[str]) -> str:
    """The closest known word, or nothing: at most two letters, or a third of them, apart."""
    normal = underscored(word)
    limit = max(2, len(normal) // 3)
    ranked = sorted((distance(normal, candidate), candidate) for candidate in known)
    return ranked[0][1] if ranked and ranked[0][0] <= limit and ranked[0][0] < len(ranked[0][1]) else ""


def distance(first: str, second: str) -> int:
    """Damerau-Levenshtein distance (letters added, dropped, changed, or two swapped)."""
    earlier: list[int] = []
    previous = list(range(len(second) + 1))
    for row, letter in enumerate(first, 1):
        current = [row]
        for column, other in enumerate(second, 1):
            cost = min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (letter != other))
            if row > 1 and column > 1 and letter == second[column - 2] and first[row - 2] == other:
                cost = min(cost, earlier[column - 2] + 1)
            current.append(cost)
        earlier, previous = previous, current
    return previous[-1]
