"""Tries `portway service` where it may leave traces, as root or administrator: from its installation to its removal.

usage: packaging/try_service.py [COMMAND …]

For the managers of services that are not on this machine; the standard library and behind.py are all it takes. Nothing
is configured but one endpoint, so the edge inside the agent serves it.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import behind

T = TypeVar("T")

PATIENCE = 120
WEB = ("127.0.0.1", 4747)
CONFIG = """\
version: 3
agent: {{web_addr: "{web}"}}
endpoints: [{{name: try, url: "http://try.localhost", upstream: {{url: {port}}}}}]
"""


def main() -> int:
    command = sys.argv[1:] or [str(Path(sysconfig.get_path("scripts")) / "portway")]
    port = behind.serve()
    with tempfile.TemporaryDirectory() as home:
        config = Path(home) / "portway.yml"
        config.write_text(CONFIG.format(web="{}:{}".format(*WEB), port=port))
        if os.name != "nt":
            config.chmod(0o600)
        service = [*command, "service"]
        run(*service, "install", "--config", str(config))
        try:
            run(*service, "start")
            served()
            run(*service, "restart")
            served()
            run(*service, "stop")
            until("nobody serves", lambda: not urls())
        finally:
            run(*service, "uninstall")
    print("try_service: installed, served, restarted, stopped and removed")
    return 0


def run(*argv: str) -> None:
    print("$", *argv, flush=True)
    subprocess.run(argv, check=True, timeout=PATIENCE)


def served() -> None:
    url = urlsplit(until("it serves", lambda: next(iter(urls()), "")))
    answer = fetched("127.0.0.1", url.port or 80, "/", url.netloc)
    if answer != behind.BODY:
        raise SystemExit(f"try_service: {url.geturl()} answers {answer[:200]!r}")


def urls() -> list[str]:
    """What the agent says that it serves; nothing where there is none."""
    try:
        told = json.loads(fetched(*WEB, "/api/tunnels"))
    except OSError:
        return []
    return [one["public_url"] for one in told["tunnels"]]


def fetched(address: str, port: int, path: str, host: str = "localhost") -> bytes:
    connection = http.client.HTTPConnection(address, port, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().read()
    finally:
        connection.close()


def until(what: str, ask: Callable[[], T]) -> T:
    """Asks again and again: a service manager announces none of this."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.2)
    raise SystemExit(f"try_service: not within {PATIENCE} s: {what}")


if __name__ == "__main__":
    sys.exit(main())
