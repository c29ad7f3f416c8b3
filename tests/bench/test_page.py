"""The HTML report of `portway bench`, as a browser shows it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from harness.browser import browser, complaints, shot
from harness.edge import isolated
from harness.process import portway


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two runs compared."""
    home = tmp_path_factory.mktemp("bench")
    run = [*portway(), "bench", "--local", "--secs", "0.1", "--rounds", "2", "--connections", "4"]
    env = isolated(home / "home")
    first, html = home / "first.json", home / "page.html"
    subprocess.run([*run, "--save", str(first)], env={**env}, check=True, capture_output=True, timeout=120)
    again = [*run, "--compare", str(first), "--html", str(html), "--json"]
    done = subprocess.run(again, env={**env}, check=False, capture_output=True, text=True, timeout=120)
    assert json.loads(done.stdout), done.stderr
    return html


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_figures_and_plots_and_has_nothing_to_complain_of(
    page: Path, width: int, dark: bool, tmp_path: Path
) -> None:
    with browser(width=width, dark=dark) as driver:
        driver.get(page.as_uri())
        assert driver.title.startswith("portway bench: ")
        rows = [row.text for row in driver.find_elements(By.CSS_SELECTOR, "table tr")]
        assert any(row.startswith("requests/s") for row in rows), rows
        plots = driver.find_elements(By.CSS_SELECTOR, ".plots svg")
        assert len(plots) >= 6
        assert all(plot.size["width"] > 100 and plot.size["height"] > 50 for plot in plots)
        curves = driver.find_elements(By.CSS_SELECTOR, "svg .new")
        assert curves, "the latencies of this run"
        assert driver.find_elements(By.CSS_SELECTOR, "svg .was"), "and those of the one it is compared with"
        wider = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not driver.execute_script(wider), "nothing has to be scrolled sideways"
        back = driver.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")
        assert (sum(map(int, back[back.index("(") + 1 : -1].split(",")[:3])) < 200) == dark, back
        fetched = driver.execute_script("return performance.getEntriesByType('resource').length")
        assert fetched == 0, "it is one file"
        assert complaints(driver) == []
        shot(driver, tmp_path / "report.png")
