"""What goes on for long, and what comes in masses."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from harness.agents import Agent, Agents
from harness.local import LocalApi, local
from harness.process import until
from harness.visitor import Visitor
from page import followers
from page.gallery import Gallery
from page.inspector import OpenPage

MANY = 5_000
MOST = 10_000


@pytest.fixture
def echo() -> Iterator[str]:
    """A WebSocket that says everything back, in capitals."""

    def talk(peer: ServerConnection) -> None:
        for said in peer:
            peer.send(said.upper() if isinstance(said, str) else said[::-1])

    server: Server = serve(talk, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield "{}:{}".format(*server.socket.getsockname())
    server.shutdown()


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_frames_of_a_websocket_are_shown_as_they_come(
    alone: Agents, open_page: OpenPage, echo: str, compression: str | None
) -> None:
    agent = alone.http(echo)
    api = local(agent)
    page = open_page(api)
    visitor = Visitor(None, agent.url)
    with connect(f"ws://{visitor.host}/socket", sock=visitor.connection.sock, compression=compression) as peer:
        page.open("/socket")
        page.wait_text(".detail .facts", "101")
        page.tab("Frames")
        page.wait_text("#part-panel", "No frames so far.")
        peer.send("hello there")
        assert peer.recv() == "HELLO THERE"
        page.wait_text("table.frames", "↑\ttext", "hello there", "↓\ttext", "HELLO THERE")
        peer.send(b"\x01\x02\x03")
        assert peer.recv() == b"\x03\x02\x01"
        # The window of the compression goes on over all of them.
        peer.send("hello there, hello there again")
        assert peer.recv() == "HELLO THERE, HELLO THERE AGAIN"
        page.wait_text("table.frames", "01 02 03", "03 02 01", "hello there, hello there again")
        peer.ping()
        page.wait_text("table.frames", "↑\tping", "↓\tpong")
    page.wait_text("table.frames", "↑\tclose", "1000")
    rows = page.text("table.frames tbody").split("\n")
    if compression is None:
        assert any("11 B" in row and "hello there" in row for row in rows), rows
    page.shot(f"websocket-{compression}")


def test_events_of_a_stream_are_shown_as_they_come(
    agent: Agent, api: LocalApi, gallery: Gallery, open_page: OpenPage
) -> None:
    page = open_page(api)
    with agent.visitor() as visitor:
        answer = visitor.open("GET", "/events")
        page.open("/events")
        page.wait_text(".detail .facts", "200")
        for number in range(3):
            gallery.step()
            page.wait_text("table.frames", f"↓\te{number}\ttick\t14 B\tevent number {number}")
        answer.read()
    assert len(page.all("table.frames tbody tr")) == 3
    page.shot("events")


async def flood(address: tuple[str, int], host: str, count: int, path: str, connections: int = 8) -> None:
    async def one(numbers: range) -> None:
        reader, writer = await asyncio.open_connection(*address)
        for number in numbers:
            writer.write(f"GET {path}{number} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    share = count // connections
    await asyncio.gather(*(one(range(n * share, (n + 1) * share)) for n in range(connections)))


def flooded(agent: Agent, count: int, path: str = "/n/") -> threading.Thread:
    """Sends so many requests, on a thread of its own."""
    visitor = Visitor(None, agent.url)
    assert visitor.connection.sock
    host, port = visitor.connection.sock.getpeername()[:2]
    sending = threading.Thread(target=lambda: asyncio.run(flood((host, port), visitor.host, count, path)))
    sending.start()
    return sending


# Every frame is drawn, and the longest time between two is kept.
MEASURE = """
window.longest = 0; window.frames_drawn = 0;
let last = performance.now();
const tick = (now) => {
  window.longest = Math.max(window.longest, now - last);
  last = now;
  window.frames_drawn++;
  requestAnimationFrame(tick);
};
requestAnimationFrame(tick);
"""
ROWS_NOW = "return document.querySelectorAll('.rows .request').length"


def test_5000_requests_that_stream_in_leave_the_page_responsive(
    agent: Agent, api: LocalApi, open_page: OpenPage
) -> None:
    page = open_page(api)
    page.wait_text(".notice", "No request so far")
    page.script(MEASURE)
    sending = flooded(agent, MANY)
    most = 0
    clicks = 0
    while sending.is_alive():
        most = max(most, page.script(ROWS_NOW))
        # Between two looks at the list, a request is opened.
        if page.script("const [row] = document.querySelectorAll('.rows .request'); row?.click(); return Boolean(row)"):
            clicks += bool(page.wait(".detail .whole"))
        sending.join(0.05)
    page.wait_count(MANY)
    most = max(most, page.script(ROWS_NOW))
    nodes = page.script("return document.querySelectorAll('*').length")
    assert clicks > 3
    assert most < 100, "only what is in sight is drawn"
    assert nodes < 2_000
    assert page.script("return window.longest") < 2_000
    assert page.script("return window.frames_drawn") > 20
    page.shot("many")


def test_10000_requests_are_scrolled_through(agent: Agent, api: LocalApi, open_page: OpenPage) -> None:
    flooded(agent, MOST, "/some/longer/path/with/number/").join()
    kept = len(api.get("/api/ui/requests")["requests"])
    page = open_page(api)
    page.wait_count(kept)
    assert kept >= MOST
    newest = page.rows()[0]
    page.script("window.longest = 0")
    page.script(MEASURE)
    height = page.script("const list = document.querySelector('.list'); return list.scrollHeight - list.clientHeight")
    seen = set()
    for step in range(41):
        page.script("document.querySelector('.list').scrollTop = arguments[0]", height * step / 40)
        until("rows are in sight", lambda: page.script(IN_SIGHT))
        seen.update(page.rows())
        assert page.script(ROWS_NOW) < 100
    assert len(seen) > 800
    assert newest in seen
    page.press("\ue010")
    assert page.script("return window.longest") < 2_000
    page.shot("10000")


# Whether a row stands in the middle of what is in sight of the list.
IN_SIGHT = """
const box = document.querySelector(".list").getBoundingClientRect();
const found = document.elementFromPoint(box.left + 50, box.top + box.height / 2);
return Boolean(found && found.closest(".request"));
"""


def test_a_page_that_does_not_read_holds_up_nobody(agent: Agent, api: LocalApi) -> None:
    stuck = socket.create_connection((api.host, api.port))
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    followers.ask(stuck, api)
    flooded(agent, 2_000).join()
    assert agent.get("/text").status == 200
    stuck.close()


def test_there_is_room_for_other_requests_however_many_pages_are_open(agent: Agent, api: LocalApi) -> None:
    assert agent.url
    with followers.every_place(api) as taken:
        answer = api.ask("GET", "/api/ui/events")
        assert (answer.status, answer.json["msg"]) == (503, "busy")
        assert api.get("/api/status")["status"] == "online"
        taken[-1].close()
        until("a place is free again", lambda: _one_more(api))


def _one_more(api: LocalApi) -> bool:
    with socket.create_connection((api.host, api.port)) as one:
        return followers.follows(one, api)
