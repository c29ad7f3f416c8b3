"""For everybody: by keyboard alone, in dark and light, on a phone, and as axe judges it. It leaves pictures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from selenium.webdriver.common.keys import Keys

from harness.agents import Agent
from harness.local import LocalApi
from harness.process import until
from page.gallery import Gallery
from page.inspector import Inspector, OpenPage

SIDEWAYS = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
VISITED = ("/json", "/bad-json", "/hostile", "/html", "/png", "/binary", "/grpc", "/count")
SIZES = {"wide": (1300, 850), "phone": (500, 850)}


def _replayed(page: Inspector) -> None:
    page.compare("/count")
    page.wait(".diff")


def _edited(page: Inspector) -> None:
    page.open("/json")
    page.click("Replay with changes")
    page.wait("form.replay")


def _opened(path: str, tab: str = "") -> Callable[[Inspector], None]:
    def do(page: Inspector) -> None:
        page.open(path)
        if tab:
            page.tab(tab)

    return do


def _filters(page: Inspector) -> None:
    page.click("Filter")
    page.wait("#fields")


def _keys(page: Inspector) -> None:
    page.click("Keys")
    page.wait("dialog[open]")


def _menu(page: Inspector) -> None:
    page.open("/json")
    page.click("Copy as")
    page.wait("[role=menu]")


VIEWS: dict[str, tuple[str, Callable[[Inspector], None] | None]] = {
    "list": ("/inspect/http", None),
    "filters": ("/inspect/http", _filters),
    "nothing-found": ("/inspect/http?path=nowhere", None),
    "json": ("/inspect/http", _opened("/json")),
    "error": ("/inspect/http", _opened("/bad-json")),
    "headers": ("/inspect/http", _opened("/hostile", "Headers")),
    "raw": ("/inspect/http", _opened("/html", "Raw")),
    "image": ("/inspect/http", _opened("/png")),
    "hex": ("/inspect/http", _opened("/binary")),
    "grpc": ("/inspect/http", _opened("/grpc")),
    "edit": ("/inspect/http", _edited),
    "compare": ("/inspect/http", _replayed),
    "keys": ("/inspect/http", _keys),
    "menu": ("/inspect/http", _menu),
    "status": ("/status", None),
}


def _show(page: Inspector, path: str, do: Callable[[Inspector], None] | None) -> None:
    page.go(path)
    if path == "/status":
        page.wait("table.figures")
    elif "?" not in path:
        page.wait(".rows .request")
    if do:
        do(page)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_in_any_view(
    agent: Agent, api: LocalApi, open_page: OpenPage, axe: str, dark: bool, size: str
) -> None:
    width, height = SIZES[size]
    page = open_page(api, width=width, height=height, dark=dark)
    page.wait_text(".notice", "No request so far")
    found = {"empty": page.judged(axe)}
    for path in VISITED:
        agent.get(path)
    for name, (path, do) in VIEWS.items():
        _show(page, path, do)
        assert not page.script(SIDEWAYS), f"{name} has to be scrolled sideways"
        page.shot(f"{size}-{'dark' if dark else 'light'}-{name}")
        found[name] = page.judged(axe)
    assert {name: told for name, told in found.items() if told} == {}
    back = page.script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, back[back.index("(") + 1 : -1].split(",")[:3])) < 200) == dark, back


def test_everything_is_done_without_a_mouse(agent: Agent, api: LocalApi, gallery: Gallery, open_page: OpenPage) -> None:
    for path in ("/one", "/json", "/three"):
        agent.get(path)
    page = open_page(api)
    page.wait_count(3)
    page.press("l", Keys.ARROW_DOWN)
    page.wait_text(".detail .whole", "/three")
    page.press(Keys.ARROW_DOWN)
    page.wait_text(".detail .whole", "/json")
    page.press(Keys.END)
    page.wait_text(".detail .whole", "/one")
    page.press("k")
    page.wait_text(".detail .whole", "/json")
    # What is found in it.
    page.press("f")
    until("the field has the focus", lambda: page.script("return document.activeElement.id") == "find")
    page.press("user 7", Keys.ENTER)
    page.wait_text(".find", "1 of")
    page.press(Keys.ESCAPE)
    # Its tabs, by the way that Tab leads.
    page.script("document.querySelector('#part-summary').focus()")
    page.press(Keys.ARROW_RIGHT)
    page.wait("[role=tab][aria-selected=true]", "Headers")
    page.press(Keys.END)
    page.wait("[role=tab][aria-selected=true]", "Raw")
    # Sent again, and with changes.
    page.press("r")
    page.wait_text(".detail .facts", "replay of")
    page.wait_count(4)
    page.press("e")
    page.wait("form.replay")
    page.press(Keys.ESCAPE)
    page.wait_text(".detail", "Choose a request")
    page.press("p")
    page.wait("button[aria-pressed=true]", "Go on")
    page.press("p")
    page.press("/")
    until("the field has the focus", lambda: page.script("return document.activeElement.id") == "search")
    page.press("three", Keys.ENTER)
    page.wait_rows("GET /three 200")
    page.press(Keys.ESCAPE)
    page.press("?")
    page.wait("dialog[open]")
    page.press(Keys.ESCAPE)
    until("it is closed", lambda: not page.all("dialog[open]"))
    assert len(gallery.heads) == 4


def test_a_menu_is_gone_through_by_arrows_and_chosen_by_enter(agent: Agent, api: LocalApi, open_page: OpenPage) -> None:
    agent.get("/text")
    page = open_page(api)
    page.open("/text")
    focus = "return document.activeElement.innerText"
    page.press("c")
    page.wait("[role=menu]")
    until("the first has the focus", lambda: page.script(focus) == "curl")
    page.press(Keys.ARROW_DOWN)
    assert page.script(focus) == "HTTPie"
    page.press(Keys.END, Keys.ARROW_DOWN, Keys.ARROW_UP)
    assert page.script(focus) == "fetch"
    assert page.text(".said") == "", "nothing is copied on the way"
    # Neither are its keys those of the page.
    page.press("r", "p", Keys.ESCAPE)
    assert not page.all("[role=menu]")
    assert page.script("return document.activeElement.id") == "copy"
    page.wait_text(".detail .whole", "/text")
    assert page.rows() == ["GET /text 200"]
    page.press("c", Keys.ARROW_DOWN, Keys.ENTER)
    page.wait_text(".said", "Copied for HTTPie.")
    assert page.clipboard().startswith("http GET")
    # And elsewhere it closes by itself.
    page.script("document.querySelector('#export').focus()")
    page.press(Keys.ENTER)
    page.wait("[role=menu]", "HAR file")
    page.press(Keys.TAB)
    assert not page.all("[role=menu]")


def test_requests_are_gone_through_from_wherever_the_focus_is(agent: Agent, api: LocalApi, open_page: OpenPage) -> None:
    for path in ("/one", "/two", "/three"):
        agent.get(path)
    page = open_page(api)
    # Where the list is out of sight, it cannot have the focus.
    page.phone()
    page.press("j")
    page.wait_text(".detail .whole", "/three")
    page.press("j", "j", "j")
    page.wait_text(".detail .whole", "/one")
    page.press("k")
    page.wait_text(".detail .whole", "/two")
    page.press(Keys.ESCAPE)
    page.wait_rows("GET /three 200", "GET /two 200", "GET /one 200")


def test_every_control_is_reached_by_tab_and_shows_that_it_is(agent: Agent, api: LocalApi, open_page: OpenPage) -> None:
    agent.get("/json")
    page = open_page(api)
    page.open("/json")
    page.driver.refresh()
    page.wait("#response-panel .tree")
    reached: list[str] = []
    while "find" not in reached:
        page.press(Keys.TAB)
        name, shows = page.script(
            "const one = document.activeElement;"
            "const shown = [one, one.parentElement].some((it) => getComputedStyle(it).outlineStyle !== 'none');"
            "return [one.id || one.textContent.slice(0, 30) || one.tagName, shown]"
        )
        reached.append(name)
        assert shows, f"{name} does not show that it has the focus"
        assert len(reached) < 40, reached
    for wanted in (
        "Inspect",
        "Status",
        "search",
        "Filter",
        "Pause",
        "Clear",
        "export",
        "replay",
        "edit",
        "copy",
        "find",
    ):
        assert wanted in reached, reached
    assert "list" in reached


def test_on_a_phone_a_request_takes_the_place_of_the_list_and_there_is_a_way_back(
    agent: Agent, api: LocalApi, open_page: OpenPage
) -> None:
    agent.get("/json")
    page = open_page(api, width=500, height=850)
    page.open("/json")
    assert not page.all(".left")[0].is_displayed()
    page.click("← List")
    page.wait_rows("GET /json 200")
    assert page.all(".left")[0].is_displayed()
    page.open("/json")
    # The phone's own way back as well, and not out of the page.
    page.script("history.back()")
    until("the list is there", page.all(".left")[0].is_displayed)
    page.wait_rows("GET /json 200")


@pytest.mark.parametrize("width", [360, 800])
def test_nothing_stands_on_something_else(
    agent: Agent, api: LocalApi, open_page: OpenPage, gallery: Gallery, width: int
) -> None:
    """On a phone, and where the list has the window to itself."""
    endpoint = {"name": "another", "url": "http://", "upstream": {"url": gallery.address}}
    api.post("/api/endpoints", endpoint)
    for path in VISITED:
        agent.get(path)
    parts = (
        '--X\r\nContent-Disposition: form-data; name="a"\r\nContent-Type: application/json\r\n\r\n{"a": 1}\r\n--X--\r\n'
    )
    with agent.visitor() as visitor:
        visitor.ask("POST", "/echo", body=parts.encode(), headers={"Content-Type": "multipart/form-data; boundary=X"})
    page = open_page(api)
    page.phone(width)
    found = {}
    # What unfolds is meant to be on top.
    views = {name: view for name, view in VIEWS.items() if name not in ("keys", "menu")}
    for name, (path, do) in {**views, "parts": ("/inspect/http", _opened("/echo"))}.items():
        _show(page, path, do)
        page.shot(f"{width}-{name}")
        found[name] = page.overlapping()
    assert {name: told for name, told in found.items() if told} == {}
