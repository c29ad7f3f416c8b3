"""From words of a command line to a request: path, query and body (api-cli.md §1). Only what was given is in it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from portway.api.catalogue import Command, Flag, secret
from portway.api.errors import UsageError
from portway.config.sources import LARGEST, Sources


class Request(NamedTuple):
    method: str
    target: str
    """Path and query."""
    body: bytes | None
    secrets: tuple[str, ...] = ()
    """What the body holds that nobody is to read."""


def build(command: Command, words: Sequence[str], given: Iterable[tuple[Flag, str]]) -> Request:
    """The request of a command, from the words of its path and its flags as they were typed. Raises `UsageError`."""
    values: dict[Flag, list[str]] = {}
    for flag, text in given:
        values.setdefault(flag, []).append(text)
    if any(not _sound(text) for texts in (words, *values.values()) for text in texts):
        raise UsageError("What was typed is no UTF-8.")
    _one_of_each(values)
    read = {flag: _value(flag, texts) for flag, texts in values.items()}
    return Request(
        command.method,
        _path(command, words, read) + _query(command, read),
        _body(command, read),
        tuple(text for flag, value in read.items() if secret(command, flag) for text in _texts(value)),
    )


def _sound(text: str) -> bool:
    """Bytes of an argument that are no text are kept as halves of letters."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _one_of_each(values: dict[Flag, list[str]]) -> None:
    """A text stands on the command line, in a file or behind a URL."""
    first: dict[str, Flag] = {}
    for flag in values:
        other = first.setdefault(flag.field, flag)
        if other is not flag:
            raise UsageError(f"--{other.name} and --{flag.name} exclude each other.")


def _path(command: Command, words: Sequence[str], read: dict[Flag, Any]) -> str:
    parts = dict(zip(command.parameters, words, strict=True))
    parts |= {flag.name.replace("-", "_"): value for flag, value in read.items() if flag.in_path}
    for flag in command.flags:
        if flag.in_path and flag not in read:
            raise UsageError(f"--{flag.name} is missing")
    for name, value in parts.items():
        if value.strip() in ("", ".", ".."):
            raise UsageError(f"{value!r} is no {name.replace('_', ' ')}")
    return command.path.format(**{name: quote(value, safe="") for name, value in parts.items()})


def _query(command: Command, read: dict[Flag, Any]) -> str:
    if command.method != "GET":
        return ""
    pairs = [(flag.field.replace("-", "_"), value) for flag, value in read.items() if not flag.in_path]
    return f"?{urlencode(pairs, quote_via=quote)}" if pairs else ""


def _body(command: Command, read: dict[Flag, Any]) -> bytes | None:
    if command.method in ("GET", "DELETE"):
        return None
    body: dict[str, Any] = {}
    for flag, value in read.items():
        if not flag.in_path:
            *outer, last = flag.keys
            place = body
            for key in outer:
                place = place.setdefault(key, {})
            place[last] = value
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


# === values


def _value(flag: Flag, texts: list[str]) -> Any:
    """What a flag holds. Of one that holds one thing the last counts."""
    try:
        return READ[flag.sign](texts)
    except ValueError as error:
        # Not what it was, where that may be a whole file; and not where it may be a secret.
        text = f' "{texts[-1]}"' if flag.sign in "?#~" and len(texts[-1]) < 80 else ""
        raise UsageError(f'invalid argument{text} for "--{flag.name}" flag: {error}') from None


def _whole(texts: list[str]) -> int:
    text = texts[-1]
    if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdecimal():
        raise ValueError("expected a whole number")
    return int(text)


def _number(texts: list[str]) -> float:
    try:
        found = float(texts[-1])
    except ValueError:
        raise ValueError("expected a number") from None
    if not math.isfinite(found):
        raise ValueError("expected a number")
    return int(found) if found.is_integer() and abs(found) < 1 << 53 else found


def _switch(texts: list[str]) -> bool:
    return texts[-1] == "true"


def listed(texts: Iterable[str]) -> list[str]:
    """Repeated values, and those that commas part; not within brackets or quotes, for lists may hold expressions.

    A value that is in double quotes as a whole stands there without them.
    """
    parts = [part for text in texts for part in _parted(text)]
    return [part for part in map(_unquoted, parts) if part]


def _parted(text: str) -> list[str]:
    found, depth, quoted = [""], 0, False
    for letter in text:
        if letter == "," and not depth and not quoted:
            found.append("")
            continue
        if letter == '"':
            quoted = not quoted
        elif not quoted:
            depth += (letter in "([{") - (letter in ")]}")
        found[-1] += letter
    return text.split(",") if depth or quoted else found  # brackets that do not match are none


def _unquoted(text: str) -> str:
    text = text.strip()
    inner = text[1:-1]
    return inner if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in inner else text


def _objects(texts: list[str]) -> list[dict[str, str]]:
    return [{"value": one} for one in listed(texts)]


def _texts_by_key(texts: list[str]) -> dict[str, str]:
    return dict(map(_pair, texts))


def _numbers_by_key(texts: list[str]) -> dict[str, int]:
    return {key: _whole([value]) for key, value in map(_pair, texts)}


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError("expected KEY=VALUE")
    return key, value


def _file(texts: list[str]) -> str:
    """A file's text, byte for byte."""
    path = Path(texts[-1]).expanduser()
    try:
        # It may be a pipe, as shells make them, and it may be something that never ends.
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"{path} is too large")
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text file") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None


def _url(texts: list[str]) -> str:
    try:
        return Sources(Path()).policy(texts[-1])
    except ValueError as error:
        raise ValueError(str(error).removeprefix("traffic_policy_url: ")) from None


READ: dict[str, Callable[[list[str]], Any]] = {
    "": lambda texts: texts[-1],
    "?": _switch,
    "#": _whole,
    "~": _number,
    "*": listed,
    "@": _objects,
    "%": _texts_by_key,
    "=": _numbers_by_key,
    "<": _file,
    "&": _url,
}


def _texts(value: Any) -> list[str]:
    """The parts of a secret that an error could quote: all of it, and each of its lines."""
    return [str(value).strip(), *(line.strip() for line in str(value).splitlines())]
