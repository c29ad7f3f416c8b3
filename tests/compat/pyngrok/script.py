"""What users of pyngrok write, unchanged but for its last line: `script.py NGROK VERSION CONFIG UPSTREAM`.

Says on stdout, as JSON, what it was told on the way.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from typing import Any
from urllib.request import urlopen

from pyngrok import agent, ngrok  # type: ignore[import-not-found]
from pyngrok.conf import PyngrokConfig  # type: ignore[import-not-found]
from pyngrok.exception import PyngrokNgrokError, PyngrokNgrokHTTPError  # type: ignore[import-not-found]

path, version, config, upstream = sys.argv[1:]
known = socket.getaddrinfo


def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
    """Hosts of the edge, which no name server knows, are this machine."""
    return known("127.0.0.1" if str(host).endswith(".localhost") else host, *rest, **more)


socket.getaddrinfo = getaddrinfo

started = threading.Event()
seen: list[str] = []


def monitor(log: Any) -> None:
    seen.append(log.msg or "")
    if log.msg == "started tunnel":
        started.set()


settings = PyngrokConfig(ngrok_path=path, config_path=config, config_version=version, log_event_callback=monitor)
told: dict[str, Any] = {}

tunnel = ngrok.connect(upstream, name="shop", pyngrok_config=settings)
told["connected"] = [tunnel.name, tunnel.proto, tunnel.public_url, tunnel.upstream["url"]]
told["monitor"] = started.wait(30)
told["listed"] = [one.public_url for one in ngrok.get_tunnels(settings)]

body = json.dumps({"one": 1}).encode()
with urlopen(f"{tunnel.public_url}/buy?what=tea", body) as answer:
    told["status"] = answer.status
requests = agent.get_requests(pyngrok_config=settings)
told["captured"] = [[one.tunnel_name, one.request["method"], one.request["uri"]] for one in requests]
first = agent.get_request(requests[0].id, pyngrok_config=settings)
agent.replay_request(first.id, pyngrok_config=settings)
both = sorted(agent.get_requests("shop", pyngrok_config=settings), key=lambda one: one.id)
told["replayed"] = [one.id == first.id for one in both]
told["original"] = both[1].request["headers"]["Ngrok-Replay-Original-Request-Id"] == [first.id]
told["elsewhere"] = len(agent.get_requests("nobody", pyngrok_config=settings))

tunnel.refresh_metrics()
told["counted"] = tunnel.metrics["http"]["count"]
process = ngrok.get_ngrok_process(settings)
found = ngrok.api_request(f"{process.api_url}{tunnel.uri}")
told["found"] = [found["name"], found["public_url"] == tunnel.public_url]
try:
    ngrok.api_request(f"{process.api_url}/api/tunnels", "POST", data={"name": "x", "addr": "1", "proto": "odd"})
except PyngrokNgrokHTTPError as error:
    told["refused"] = [error.status_code, "protocol name" in error.body]
told["agent"] = [agent.get_agent_status(settings).status, agent.get_agent_status(settings).agent_version]

agent.delete_requests(settings)
told["deleted"] = len(agent.get_requests(pyngrok_config=settings))
both_schemes = ngrok.connect(upstream, schemes=["http", "https"], pyngrok_config=settings)
told["schemes"] = sorted((one.public_url or "").split(":")[0] for one in ngrok.get_tunnels(settings))
tcp = ngrok.connect("22", "tcp", pyngrok_config=settings)
told["tcp"] = [tcp.proto, (tcp.public_url or "").split(":")[0], tcp.upstream["url"]]
for one in ngrok.get_tunnels(settings):
    ngrok.disconnect(one.public_url, settings)
told["left"] = len(ngrok.get_tunnels(settings))
told["errors"] = [log.line for log in process.logs if log.lvl in ("ERROR", "CRITICAL")]
ngrok.kill(settings)
told["gone"] = process.proc.poll() is not None
told["version"] = ngrok.get_version(settings)[0]
try:
    told["update"] = ngrok.update(settings)
except PyngrokNgrokError as error:
    told["update"] = str(error)
json.dump(told, sys.stdout)
sys.stdout.flush()
os._exit(0)
