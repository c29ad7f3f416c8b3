"""Endpoints by labels, and two schemes of one host that the edge chooses."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from harness.site import Site
from harness.visitor import Visitor


def test_both_schemes_of_a_random_name_have_one_host(site: Site) -> None:
    agent = site.agents.http(site.upstream.url, "--scheme", "http,https")
    first, second = agent.up(2)
    assert (urlsplit(first).scheme, urlsplit(second).scheme) == ("http", "https")
    assert urlsplit(first).hostname == urlsplit(second).hostname
    for url in (first, second):
        with Visitor(site.edge, url) as visitor:
            assert visitor.get("/").status == 200


def test_an_endpoint_by_labels_is_bound(site: Site, tmp_path: Path) -> None:
    agent = site.agents.from_config(
        f"version: 2\ntunnels:\n  shop: {{labels: [app=shop], addr: '{site.upstream.url}'}}\n"
    )
    started = agent.process.wait_for("started tunnel")
    assert (started["name"], started["url"]) == ("shop", "app=shop")
    assert agent.process.stop() == 0
