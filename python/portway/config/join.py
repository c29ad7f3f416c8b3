"""Join strings: where an edge is, its CA's fingerprint, and a token, as `portway edge` prints them."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import NamedTuple

from portway.config import edit, values
from portway.config.errors import ConfigError
from portway.config.load import load

PREFIX = "pw1_"


class Join(NamedTuple):
    address: str
    fingerprint: str
    """SHA-256 of the CA's certificate, hex."""
    token: str
    crl_url: str = ""
    """Where the list of revoked certificates is; nothing where the edge does not tell."""


def decode(text: str) -> Join:
    """Reads a join string. Raises `ConfigError`; the text itself is a secret and is not repeated."""
    bad = ConfigError("This is no join string: copy the whole text after join= from the line `edge ready` of the edge.")
    body = text.strip().removeprefix(PREFIX)
    if body == text.strip() or not re.fullmatch(r"[A-Za-z0-9_-]+", body):
        raise bad
    try:
        content = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        joined = Join(values.connect_url(content["a"]), content["f"].lower(), content["t"])
        if url := content.get("c"):
            joined = joined._replace(crl_url=values.web_url(url))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise bad from None
    if not re.fullmatch(r"[0-9a-f]{64}", joined.fingerprint) or not joined.token:
        raise bad
    return joined


def write(path: Path, joined: Join) -> None:
    """Writes address, trust and token into a configuration file."""
    settings = {"connect_url": joined.address, "connect_cas": f"pin:sha256:{joined.fingerprint}"}
    # The list of an edge joined earlier says nothing about the certificate of this one.
    if joined.crl_url or (path.exists() and load([path]).agent.get("crl_url")):
        settings["crl_url"] = joined.crl_url
    edit.set_values(path, {**settings, "authtoken": joined.token})
