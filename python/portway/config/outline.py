"""A map in a YAML text as the pieces of text that its keys take up, comments with them. For moving them about."""

from __future__ import annotations

import re
from dataclasses import dataclass

from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from portway.config.edit import line_end


class ShapeError(ValueError):
    """The map is written in a way that cannot be taken apart; the text says how."""


@dataclass(frozen=True)
class Piece:
    """One key with all that belongs to it. The texts are those of the file, one behind the other."""

    key: ScalarNode
    value: Node
    lead: str
    """Comments and blank lines above."""
    name: str
    """The key as it is written, with its quotes."""
    rest: str
    """From the colon to the end of the last line, the comments behind and below included."""
    column: int

    @property
    def comment(self) -> str:
        """What stands behind the key on its line if the value begins on the next, or behind a value of one line."""
        first = self.rest.partition("\n")[0]
        if not is_block(self.value):
            return "" if "\n" in self.rest.rstrip("\r\n") else comment_in(self.rest, self.value)
        return comment_in(first, None)


def is_block(node: Node) -> bool:
    return isinstance(node, CollectionNode) and not node.flow_style and bool(node.value)


def comment_in(line: str, value: Node | None) -> str:
    """`  # …` at the end of a line on which at most the plain value of one key stands."""
    after = line
    if isinstance(value, ScalarNode) and value.style in ("'", '"'):
        after = line[line.rfind(value.style) :]
    found = re.search(r"\s+#[^\n]*?(?=\r?\n?$)", after)
    return found[0] if found else ""


def pieces(text: str, node: MappingNode, start: int, stop: int) -> tuple[list[Piece], str]:
    """The keys of a block map that stands in `text[start:stop]`, and what follows the last one without belonging to it.

    Raises `ShapeError`.
    """
    found: list[Piece] = []
    column = node.value[0][0].start_mark.column
    at = start
    for number, (key, value) in enumerate(node.value):
        if not isinstance(key, ScalarNode) or (not key.style and key.value == "<<"):
            raise ShapeError("it has a merge key, or one that is no text")
        begin = key.start_mark.index - key.start_mark.column
        if text[begin : key.start_mark.index].strip() or begin < at or key.start_mark.column != column:
            raise ShapeError("its keys do not stand on lines of their own")
        last = number + 1 == len(node.value)
        limit = stop if last else _line_start(node.value[number + 1][0])
        end = _with_deeper_comments(text, line_end(text, _end(text, key, value)), limit, column)
        found.append(
            Piece(
                key,
                value,
                text[at:begin],
                text[key.start_mark.index : key.end_mark.index],
                text[key.end_mark.index : end],
                column,
            )
        )
        at = end
    return found, text[at:stop]


def flow_pieces(text: str, node: MappingNode, end: str) -> list[Piece]:
    """The keys of a map in braces, as pieces of a block. Raises `ShapeError`, for comments too: they have no place."""
    found = []
    between = node.start_mark.index
    for key, value in node.value:
        if not isinstance(key, ScalarNode) or (not key.style and key.value == "<<"):
            raise ShapeError("it has a merge key, or one that is no text")
        begin, stop = key.end_mark.index, value.end_mark.index
        if value.start_mark.index < begin:
            raise ShapeError("it shares a part with another")
        if "#" in text[between : key.start_mark.index] + text[begin : value.start_mark.index]:
            raise ShapeError("there are comments between its braces")
        if isinstance(value, CollectionNode) and re.search(r"(^|\s)#", text[value.start_mark.index : stop]):
            raise ShapeError("there are comments between its braces")
        rest = shifted(f": {text[begin:stop].lstrip(' :')}{end}", 2)
        found.append(Piece(key, value, "", text[key.start_mark.index : begin], rest, 0))
        between = stop
    if "#" in text[between : node.end_mark.index]:
        raise ShapeError("there are comments between its braces")
    return found


def shifted(text: str, by: int) -> str:
    """`text` with all lines but the first moved to the right; comments and keys alike."""
    if not by:
        return text
    first, *others = text.splitlines(keepends=True) or [""]
    return first + "".join(_shift(line, by) for line in others)


def shifted_whole(text: str, by: int) -> str:
    return "".join(_shift(line, by) for line in text.splitlines(keepends=True))


def _shift(line: str, by: int) -> str:
    if not line.strip():
        return line
    return " " * by + line if by > 0 else line[min(-by, len(line) - len(line.lstrip(" "))) :]


def _line_start(key: Node) -> int:
    start: int = key.start_mark.index - key.start_mark.column
    return start


def _end(text: str, key: Node, value: Node) -> int:
    """Behind the last letter of a value. Ends of collections that a parser tells are behind comments that follow."""
    least: int = key.end_mark.index
    if value.start_mark.index < least:  # an alias: its node stands elsewhere
        return line_end(text, least) - 1
    if isinstance(value, MappingNode) and is_block(value):
        return _end(text, *value.value[-1])
    if is_block(value):
        *_, item = value.value
        return _end(text, key if item.start_mark.index >= least else value, item)
    end: int = value.end_mark.index
    if isinstance(value, ScalarNode) and value.style in ("|", ">"):
        return least + len(text[least:end].rstrip("\r\n "))
    return max(end, least)


def _with_deeper_comments(text: str, at: int, limit: int, column: int) -> int:
    """Comments that stand further to the right than a key, right below it, belong to it."""
    end = at
    while at < limit:
        following = min(line_end(text, at), limit)
        line = text[at:following]
        if line.strip() and len(line) - len(line.lstrip(" ")) <= column:
            break
        at = following
        if line.strip():
            end = at
    return end
