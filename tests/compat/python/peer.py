"""An agent made of the official Python SDK, for the tests to drive.

Reads one JSON ask (see `harness/sdk.py`) from the command line, binds what it says and writes one JSON event a
line; then does what the lines of its standard input say, until they end. Runs in the SDK's own environment, so it
imports nothing of ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import ngrok  # type: ignore[import-not-found]

BYTES = {"termination", "mutual_tlsca"}

Ask = dict[str, Any]


def tell(event: str, **fields: object) -> None:
    # One write: the SDK calls from threads of its own.
    os.write(1, json.dumps({"event": event, **fields}).encode() + b"\n")


def told(refused: ValueError) -> None:
    """The SDK's error: what it was about, the message, the code if there is one."""
    about, message, code = [*refused.args, None, None][:3]
    tell("refused", text=f"{about}: {message}", code=code)


async def connect(ask: Ask) -> Any:
    session = ngrok.SessionBuilder()
    session.authtoken(ask["token"]).server_addr(ask["server"]).root_cas(ask["ca"])
    session.metadata(ask["metadata"])
    if ask["heartbeat"]:
        session.heartbeat_interval(ask["heartbeat"])
    session.handle_heartbeat(lambda latency: tell("heartbeat", ms=latency))
    return await session.connect()


async def bind(session: Any, endpoint: Ask) -> Any:
    builder = {
        "http": session.http_endpoint,
        "tcp": session.tcp_endpoint,
        "tls": session.tls_endpoint,
        "labeled": session.labeled_listener,
    }[endpoint["proto"]]()
    for method, *arguments in endpoint["options"]:
        getattr(builder, method)(*[bytearray(a.encode()) if method in BYTES else a for a in arguments])
    listener = await builder.listen_and_forward(endpoint["upstream"])
    labels = listener.labels() if endpoint["proto"] == "labeled" else {}
    tell("up", url=listener.url() or "", id=listener.id(), labels=labels, metadata=listener.metadata())
    return listener


async def main() -> int:
    ask: Ask = json.loads(sys.argv[1])
    try:
        session = await connect(ask)
        tell("session")
        kept = [await bind(session, endpoint) for endpoint in ask["endpoints"]]
    except ValueError as refused:
        told(refused)
        return 1
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        if order["do"] == "close":
            await session.close_listener(order["id"])
            tell("down", id=order["id"])
            continue
        try:
            kept.append(await bind(session, order["endpoint"]))
        except ValueError as refused:
            told(refused)
    await session.close()
    tell("closed")
    return 0


code = asyncio.run(main())
sys.stdout.flush()
# The SDK's own threads go on, and now and then crash an interpreter that is being taken down.
os._exit(code)
