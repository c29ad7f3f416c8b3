"""An agent made of the official Python SDK, for the tests to drive.

Reads one JSON ask (see `harness/sdk.py`) from the command line, binds what it says and writes one JSON
event a line. Ends when its standard input does. Runs in the SDK's own environment, so it imports nothing of ours.
"""

import asyncio
import json
import sys

import ngrok


def tell(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


async def connect(ask):
    session = ngrok.SessionBuilder()
    session.authtoken(ask["token"]).server_addr(ask["server"]).root_cas(ask["ca"])
    session.metadata(ask.get("metadata", ""))
    session.handle_heartbeat(lambda latency: tell("heartbeat", ms=latency))
    return await session.connect()


def builder(session, endpoint):
    proto = endpoint["proto"]
    made = {
        "http": session.http_endpoint,
        "tcp": session.tcp_endpoint,
        "tls": session.tls_endpoint,
        "labeled": session.labeled_listener,
    }[proto]()
    for method, *arguments in endpoint.get("options", []):
        getattr(made, method)(*[a.encode() if method in BYTES else a for a in arguments])
    return made


BYTES = {"termination", "mutual_tlsca"}


async def main():
    ask = json.loads(sys.argv[1])
    try:
        session = await connect(ask)
        tell("session")
        kept = []
        for endpoint in ask["endpoints"]:
            listener = await builder(session, endpoint).listen_and_forward(endpoint["upstream"])
            kept.append(listener)
            labels = listener.labels() if endpoint["proto"] == "labeled" else {}
            tell("up", url=listener.url() or "", id=listener.id(), labels=labels)
    except ValueError as refused:
        code = refused.args[1] if len(refused.args) > 1 else None
        tell("refused", text=str(refused.args[0]), code=code)
        return 1
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await session.close()
    tell("closed")
    return 0


sys.exit(asyncio.run(main()))
