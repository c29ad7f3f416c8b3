"""One request to the API and its answer (rest-api.md §1). The key is in a header, and nowhere else."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from portway import __version__
from portway.api.errors import UnreachableError, UsageError
from portway.api.request import Request
from portway.hosts import is_here

TIMEOUT = 30  # seconds without a sign of the server
LONGEST = 120  # seconds that an answer may take as a whole
LARGEST = 64 << 20

LOST = "Whether it was done is not known."


class Answer(NamedTuple):
    status: int
    reason: str
    """In the words of the standard, where it has some."""
    content: bytes
    operation: str
    """Id of what the server did, if it says so."""
    location: str


class Client:
    """Who asks, and whom. Raises `UsageError` for a key or an address that cannot be used."""

    def __init__(self, base: str, key: str, proxy: str = "") -> None:
        self.base = checked_url(base)
        if not re.fullmatch(r"[!-~]+", key):
            raise UsageError("The API key is none: it has blanks, or signs that no key has.")
        self._key = key
        self._proxy = proxy

    def send(self, request: Request) -> Answer:
        """What the server answers, whatever that is. Raises `UnreachableError`."""
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Ngrok-Version": "2",
            "Accept": "application/json",
            "User-Agent": f"portway/{__version__}",
        }
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        message = urllib.request.Request(  # noqa: S310 - the scheme is checked
            self.base + request.target, data=request.body, headers=headers, method=request.method
        )
        lost = "" if request.method == "GET" else f" {LOST}"
        try:
            with self._opener().open(message, timeout=TIMEOUT) as response:
                return _answer(response, time.monotonic() + LONGEST, lost)
        except TimeoutError:
            raise UnreachableError(f"{self.base} did not answer within {TIMEOUT} s.{lost}") from None
        except http.client.IncompleteRead:
            raise UnreachableError(f"The answer of {self.base} broke off.{lost}") from None
        except urllib.error.URLError as error:
            raise UnreachableError(self._unreached(error.reason, lost)) from None
        except http.client.RemoteDisconnected:
            raise UnreachableError(f"{self.base} ended the connection without an answer.{lost}") from None
        except http.client.HTTPException:
            raise UnreachableError(f"What answers at {self.base} does not speak HTTP.{lost}") from None
        except OSError as error:
            raise UnreachableError(f"The answer of {self.base} broke off: {_cause(error)}.{lost}") from None

    def _opener(self) -> urllib.request.OpenerDirector:
        """Follows no redirect, which would take the key elsewhere, and takes no status for an error."""
        opener = urllib.request.OpenerDirector()
        opener.add_handler(urllib.request.ProxyHandler(self._proxies()))
        opener.add_handler(urllib.request.HTTPHandler())
        opener.add_handler(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
        return opener

    def _proxies(self) -> dict[str, str]:
        """The proxy on the way; none to this machine itself, where nothing is encrypted."""
        if self.base.startswith("http:"):
            return {}
        proxy = self._proxy or urllib.request.getproxies().get("https", "")
        if urllib.request.proxy_bypass(urlsplit(self.base).netloc):
            return {}
        scheme, separator, _ = proxy.partition("://")
        if separator and scheme.lower() != "http":
            raise UnreachableError(
                f"{self.base} cannot be reached through a proxy of the kind {scheme}: name one of http://."
            )
        return {"https": proxy} if proxy else {}

    def _unreached(self, reason: object, lost: str) -> str:
        if isinstance(reason, ssl.SSLCertVerificationError):
            return (
                f"The certificate of {self.base} cannot be trusted: {reason.verify_message.rstrip('.')}. "
                "If a CA of your own has signed it, name its PEM file in SSL_CERT_FILE."
            )
        if isinstance(reason, TimeoutError):
            return f"{self.base} did not answer within {TIMEOUT} s.{lost}"
        if isinstance(reason, ssl.SSLError):
            return f"There is no TLS connection to {self.base}: {_cause(reason)}."
        if isinstance(reason, (ConnectionResetError, BrokenPipeError)):
            return f"{self.base} ended the connection without an answer.{lost}"
        proxy = self._proxies().get("https", "").rpartition("@")[2].removeprefix("http://").rstrip("/")
        through = f" through the proxy {proxy}" if proxy else ""
        return f"Cannot reach {self.base}{through}: {_cause(reason)}."


def _cause(error: object) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error).replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return f"there is no such name ({error.strerror})"
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def _answer(response: http.client.HTTPResponse, end: float, lost: str) -> Answer:
    parts: list[bytes] = []
    count = 0
    while data := response.read(1 << 16):
        parts.append(data)
        count += len(data)
        if count > LARGEST:
            raise UnreachableError(f"The answer is larger than {LARGEST >> 20} MiB.{lost}")
        if time.monotonic() > end:
            raise UnreachableError(f"The answer did not end within {LONGEST} s.{lost}")
    if response.length:
        raise http.client.IncompleteRead(b"")
    return Answer(
        response.status,
        phrase(response.status, response.reason),
        b"".join(parts),
        response.headers.get("Ngrok-Operation-Id") or "",
        response.headers.get("Location") or "",
    )


def phrase(status: int, said: str) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return said


def checked_url(text: str) -> str:
    """The base of all paths, in one spelling. Raises `UsageError`, which does not quote what may hold a password."""
    wrong = UsageError("The address of the API is none: write a URL such as https://api.example.com.")
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or port == 0:
        raise wrong
    if "@" in parts.netloc or not all("!" <= letter <= "~" for letter in parts.path):
        raise wrong
    try:
        name = host if ":" in host else host.encode("idna").decode()
    except UnicodeError:
        raise wrong from None
    if not re.fullmatch(r"[\w.:-]+(%[\w.-]+)?", name, re.ASCII):
        raise wrong
    if parts.scheme == "http" and not is_here(name):
        raise UsageError(
            f"The key would travel to {name} for everybody to read: only https:// leads to other machines."
        )
    place = f"[{name}]" if ":" in name else name
    return urlunsplit((parts.scheme, place if port is None else f"{place}:{port}", parts.path.rstrip("/"), "", ""))
