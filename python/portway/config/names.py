"""The names of endpoints, for completion: quick, and of files with mistakes too."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

LARGEST = 1 << 20
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def names(paths: Iterable[PathLike[str]]) -> list[str]:
    """What `start` takes, in the order of the files. A file that cannot be read has none."""
    found: dict[str, None] = {}
    for path in paths:
        found |= dict.fromkeys(_names(path))
    return list(found)


def _names(path: PathLike[str]) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:  # noqa: PTH123 - as quick as can be
            root = yaml.compose(file.read(LARGEST), Loader=LOADER)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return []
    endpoints, tunnels = _value(root, "endpoints"), _value(root, "tunnels")
    items = endpoints.value if isinstance(endpoints, SequenceNode) else []
    named = [_value(item, "name") for item in items]
    found = [name.value for name in named if isinstance(name, ScalarNode)]
    pairs = tunnels.value if isinstance(tunnels, MappingNode) else []
    return found + [key.value for key, _ in pairs if isinstance(key, ScalarNode) and key.value != "<<"]


def _value(node: Node | None, key: str) -> Node | None:
    pairs = node.value if isinstance(node, MappingNode) else []
    return next((value for name, value in pairs if name.value == key), None)
