"""What the scalars of a configuration may say (config.md §3). Each function takes the text of a value and gives what
it means; it raises `ValueError` with a sentence for the user."""

from __future__ import annotations

import ipaddress
import re
from decimal import Decimal

from portway.config.proxy import parse as parse_proxy

UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
SIZES = {"": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}
BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def text(value: str) -> str:
    return value


def boolean(value: str) -> bool:
    try:
        return BOOLS[value.lower()]
    except KeyError:
        raise ValueError(f"expected true or false, found {value!r}") from None


def integer(value: str) -> int:
    """A whole number, or a size such as `50MB`."""
    match = re.fullmatch(r"([-+]?[0-9]+) ?([A-Za-z]*)", value)
    if match is None or match[2].upper() not in SIZES:
        raise ValueError(f"expected a whole number, found {value!r}")
    number = int(match[1]) * SIZES[match[2].upper()]
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{value} is too large")
    return number


def between(least: int, most: int) -> Between:
    return Between(least, most)


class Between:
    """A whole number, or a size, in a range."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most

    def __call__(self, value: str) -> int:
        number = integer(value)
        if not self.least <= number <= self.most:
            raise ValueError(f"expected a number from {self.least} to {self.most}, found {value!r}")
        return number


def millis(value: str) -> int:
    """A duration that something may take, in milliseconds."""
    nanos = duration(value)
    if not 10**6 <= nanos <= 8760 * UNITS["h"]:
        raise ValueError(f"expected a duration from 1ms to 8760h, found {value!r}")
    return nanos // 10**6


def ports(value: str) -> str:
    """`20000-20999`, or one port."""
    match = re.fullmatch(r"([0-9]{1,5})(?: ?- ?([0-9]{1,5}))?", value)
    if match is None or not 0 < int(match[1]) <= int(match[2] or match[1]) <= 65535:
        raise ValueError("a range such as 20000-20999, the smaller port first, or one port")
    return f"{match[1]}-{match[2]}" if match[2] else match[1]


def rule(value: str) -> str:
    """What a token may bind."""
    if not re.fullmatch(r"bind:\S+", value.strip()):
        raise ValueError(f"{value!r} is no rule; write bind: and what may be bound, such as bind:*.example.com")
    return value


def ratio(value: str) -> float:
    try:
        if "_" in value or value != value.strip():  # which Python would let pass
            raise ValueError(value)
        return float(value)
    except ValueError:
        raise ValueError(f"expected a number, found {value!r}") from None


def duration(value: str) -> int:
    """A Go duration such as `1m30s`, in nanoseconds."""
    if value.startswith("-"):
        raise ValueError(f"{value!r} is negative")
    rest = value.removeprefix("+")
    if rest == "0":
        return 0
    if re.fullmatch(r"[0-9.]+", rest):
        raise ValueError(f"{value!r} needs a unit, as in {rest}s (units: ns us ms s m h)")
    parts = DURATION.findall(rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise ValueError(f"{value!r} is no duration such as 10s or 1m30s (units: ns us ms s m h)")
    return int(sum(Decimal(number) * UNITS[unit] for number, unit in parts))


def host_port(value: str, default: int | None = None) -> str:
    """`host:port`; a scheme in front and a slash behind are dropped."""
    bare = re.sub(r"^(tls|https)://", "", value.strip()).removesuffix("/")
    host, colon, port = bare.rpartition(":")
    if (not colon or bare.endswith("]")) and default is not None:
        host, port = bare, str(default)
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535 or re.search(r"[\s/@]", host):
        raise ValueError(f"{value!r} is no address such as example.com:443")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{value!r}: write an IPv6 address in brackets, [::1]:443")
    return f"{host}:{port}"


def connect_url(value: str) -> str:
    return host_port(value, 443)


def leg(value: str) -> str:
    """Where an edge tells agents to connect once more; `self` is where they do already."""
    return value if value == "self" else host_port(value, 443)


def web_addr(value: str) -> str:
    """`host:port`, a port, or `false`."""
    if value.lower() == "false":
        return "false"
    if value.isdecimal() and int(value) <= 65535:
        return f"127.0.0.1:{value}"
    if value.endswith(":0"):
        return value
    return host_port(value)


def allowed_host(value: str) -> str:
    """An entry of `web_allow_hosts`: an address, a range, a name, or a dot and what names below it end with."""
    if value.isascii():
        return value
    try:
        return ".".join(label.encode("idna").decode() if label else "" for label in value.split("."))
    except UnicodeError:
        raise ValueError(f"{value!r} is no host") from None


def listener(value: str) -> str | None:
    """Where to listen: `127.0.0.1:80`, `[::]:80`, `:80` (everywhere), `80` (this machine), or `off`."""
    if value in ("", "off", "false"):
        return None
    host, _, port = value.rpartition(":")
    if not value.startswith(":") and not host:
        host = "127.0.0.1"
    host = {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(host, host)  # noqa: S104 - asked for by `:PORT`
    expected = ValueError("an IP address and port such as 0.0.0.0:443")
    try:
        ip = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise expected from None
    if (ip.version == 6) != host.startswith("["):
        raise expected
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise ValueError("a port that is a number from 0 to 65535")
    return f"{host}:{port}"


def address(value: str) -> str:
    """An IP address, or `IP:port`."""
    bare = value.rpartition(":")[0].strip("[]") if value.count(":") == 1 or "]:" in value else value
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        raise ValueError(f"{value!r} is no IP address") from None
    return value


def proxy(value: str) -> str:
    parse_proxy(value)
    return value


def check_no_user(url: str) -> None:
    """Nobody makes use of a password in these URLs, and nobody is to see one."""
    if re.match(r"[^/?#]*//[^/?#]*@", url):
        raise ValueError("this URL holds a user or a password, which nobody asks for here: leave out all up to the @")


def web_url(value: str) -> str:
    """An `http://` or `https://` URL."""
    check_no_user(value)
    if not re.fullmatch(r"https?://[^\s/@?#]+([/?]\S*)?", value):
        raise ValueError(f"{value!r} is no URL with http:// or https:// in front")
    return value


def crl_url(value: str) -> str:
    """Where an edge says that the list of revoked certificates is, or `off`."""
    return "off" if value in ("off", "false") else web_url(value)


def dns_server(value: str) -> str:
    """The `IP:port` of an IP address, or of what has a port already."""
    address(value)
    bare = value.strip("[]") if value.startswith("[") and value.endswith("]") else value
    if bare.count(":") == 1 or bare.startswith("["):
        host, _, port = bare.rpartition(":")
        if not (port.isdecimal() and 0 < int(port) <= 65535):
            raise ValueError(f"{value!r} has no port from 1 to 65535")
        return f"{host}:{port}"
    return f"[{bare}]:53" if ":" in bare else f"{bare}:53"


def one_of(*allowed: str) -> OneOf:
    return OneOf(allowed)


class OneOf:
    """One of some words."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self.allowed = allowed

    def __call__(self, value: str) -> str:
        if value not in self.allowed:
            raise ValueError(f"{value!r} is not one of {', '.join(self.allowed)}")
        return value


def subdomain(value: str) -> str:
    """What stands before the base domain of an edge."""
    if not re.fullmatch(r"[A-Za-z0-9.-]+", value):
        raise ValueError(f"{value!r}: a subdomain has letters, digits, - and . only")
    return value


def name(value: str) -> str:
    """Of an endpoint."""
    if not value or not value.isprintable():
        raise ValueError("a name must not be empty, nor hold control characters")
    return AtMost(255)(value)


def at_most(limit: int) -> AtMost:
    return AtMost(limit)


class AtMost:
    """A text of so many bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, value: str) -> str:
        if len(value.encode()) > self.limit:
            raise ValueError(f"longer than {self.limit} bytes")
        return value
