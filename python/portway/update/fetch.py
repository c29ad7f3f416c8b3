"""Bytes from a server, within limits. Whether they can be trusted is decided by signature and hash, not here."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable

TIMEOUT = 20


class UpdateError(Exception):
    """There is no update, or it cannot be trusted; a text for the user. Nothing was changed."""


def stream(url: str, take: Callable[[bytes], object], most: int, proxy: str = "") -> int:
    """Hands what is behind a URL to `take`; how many bytes it was. Raises `UpdateError`, also beyond `most` bytes."""
    if not url.startswith(("https://", "http://")):
        raise UpdateError(f"{url} is no address of http or https.")
    if proxy.startswith("socks"):
        raise UpdateError(f"{url} cannot be fetched through a SOCKS proxy: fetch the new version by other means.")
    handlers = [urllib.request.ProxyHandler({"http": proxy, "https": proxy})] if proxy else []
    opener = urllib.request.build_opener(*handlers)
    count = 0
    try:
        with opener.open(url, timeout=TIMEOUT) as answer:
            while data := answer.read(1 << 16):
                count += len(data)
                if count > most:
                    raise UpdateError(f"{url} is larger than announced ({most} bytes).")
                take(data)
    except urllib.error.HTTPError as error:
        raise UpdateError(f"{url} answers with status {error.code}.") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise UpdateError(f"Cannot fetch {url}: {reason}.") from None
    return count


def text(url: str, most: int = 1 << 20, proxy: str = "") -> str:
    """A small text."""
    parts: list[bytes] = []
    stream(url, parts.append, most, proxy)
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError:
        raise UpdateError(f"{url} is no text.") from None
