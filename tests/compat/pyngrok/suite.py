"""Runs tests of pyngrok's own against our command: `suite.py NGROK TEST…`, in the folder that holds `tests`.

What they would download is put in place instead; hosts of the edge, which no name server knows, are this machine; and
of scripts that only its authors have, there is the one function that its tests import.
"""

from __future__ import annotations

import os
import socket
import sys
import types
import unittest
from pathlib import Path
from typing import Any

from pyngrok import installer  # type: ignore[import-not-found]

NGROK = Path(sys.argv[1]).resolve()
known = socket.getaddrinfo


def install(path: str, *_: Any, **__: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).symlink_to(NGROK)


def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
    return known("127.0.0.1" if str(host).endswith(".localhost") else host, *rest, **more)


def subdomain(prefix: str) -> str:
    return f"{prefix}-{os.getpid()}"


installer.install_ngrok = install
socket.getaddrinfo = getaddrinfo
scripts = types.ModuleType("scripts.create_test_resources")
vars(scripts).update(create_test_resources=None, generate_name_for_subdomain=subdomain)
sys.modules["scripts"] = types.ModuleType("scripts")
sys.modules["scripts.create_test_resources"] = scripts
sys.path.insert(0, str(Path.cwd()))
unittest.main(module=None, argv=["suite", "--verbose", *(f"tests.{name}" for name in sys.argv[2:])])
