"""Chromium on the pages and files of a running server: what a person sees, and what nothing of a dataset may do."""

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from dav.reply import Environ, StartResponse
from gateway.web.app import make_wsgi_app
from tests.interop.http.serving import Serving, serving
from tests.support.trees import Contents, File, Link, MemoryTree

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

RAN = "/fs/ran"  # what scripts of the dataset ask for
SCRIPT = b"<script>fetch('/fs/ran')</script>"
DOWNLOADED: Contents = {
    b"evil.html": b"<!doctype html><body>" + SCRIPT,
    b"evil.HTM": SCRIPT,
    b"evil.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>fetch('/fs/ran')</script></svg>",
    b"evil.xml": b"<x xmlns:h='http://www.w3.org/1999/xhtml'><h:script>fetch('/fs/ran')</h:script></x>",
    b"evil.xhtml": b"<html xmlns='http://www.w3.org/1999/xhtml'><script>fetch('/fs/ran')</script></html>",
    b"evil.js": b"fetch('/fs/ran')",
    b"evil.mhtml": b"From: x\r\nContent-Type: text/html\r\n\r\n" + SCRIPT,
    b"evil": SCRIPT,
    "grüß “x” 😀.html".encode(): SCRIPT,
}
SHOWN: Contents = {name: SCRIPT for name in (b"evil.txt", b"evil.json", b"evil.css", b"evil.md", b"evil.png")}
MOVING: Contents = {
    b"big": File(b"x" * 5000, mtime_ns=1 * 10**18),
    b"link": Link(b"big"),
    b"small": File(b"1", mtime_ns=2 * 10**18),
    b"sub": {b"leaf": b"1"},
}


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def running(asked: list[str]) -> Iterator[Serving]:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {**DOWNLOADED, **SHOWN})
    tree.publish("geo", "latest", MOVING)
    app = make_wsgi_app(tree)

    def noted(environ: Environ, start: StartResponse) -> Any:
        asked.append(environ["REQUEST_URI"])
        return app(environ, start)

    with serving(noted) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # A container's root has no user namespaces for Chromium's own sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(accept_downloads=True)
    yield context.new_page()
    context.close()


def names(page: Page) -> list[str]:
    return page.locator("tbody th a").all_inner_texts()


def test_a_folder_is_sorted_by_clicks_and_by_keys(page: Page, running: Serving) -> None:
    page.goto(f"{running.url}/fs/geo/latest/")
    assert names(page) == ["big", "link", "small", "sub/"]
    page.get_by_role("columnheader", name="Size").get_by_role("link").click()
    assert names(page)[-2:] == ["small", "big"]
    size = page.get_by_role("columnheader", name="Size")
    assert size.get_attribute("aria-sort") == "ascending"
    size.get_by_role("link").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**order=desc")
    assert names(page)[:2] == ["big", "small"]
    page.get_by_role("columnheader", name="Modified").get_by_role("link").click()
    assert names(page).index("big") < names(page).index("small")


def test_every_link_is_reached_by_tab_and_the_way_up_by_its_path(page: Page, running: Serving) -> None:
    page.goto(f"{running.url}/fs/geo/latest/sub/")
    reached = []
    for _ in range(page.locator("a").count()):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent"))
    assert reached[:4] == ["datasets", "geo", "latest", "sub"]
    assert reached[-1] == "leaf"
    page.get_by_role("navigation", name="Path").get_by_role("link", name="geo").click()
    assert page.get_by_role("row", name="latest/ channel").count() == 1
    assert page.get_by_role("row", name="1.0.0/ version").count() == 1
    assert page.title() == "geo"


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_page_is_as_dark_as_the_system(browser: Browser, running: Serving, scheme: Any, dark: bool) -> None:
    context = browser.new_context(color_scheme=scheme)
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{running.url}/fs/geo/latest/")
    shown = page.evaluate("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    ground, ink = (sum(map(int, color.removeprefix("rgb(").rstrip(")").split(","))) for color in shown)
    context.close()
    assert (ground < ink) is dark
    assert abs(ground - ink) > 500
    assert not [text for text in complaints if "Content Security Policy" in text]


def test_a_folder_is_downloaded_as_an_archive(page: Page, running: Serving, tmp_path: Path) -> None:
    page.goto(f"{running.url}/fs/geo/latest/")
    with page.expect_download() as started:
        page.get_by_role("link", name="tar", exact=True).click()
    assert started.value.suggested_filename == "geo-latest.tar"
    started.value.save_as(tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as opened:
        assert opened.getnames() == ["big", "link", "small", "sub", "sub/leaf"]


@pytest.mark.parametrize("name", list(DOWNLOADED))
def test_what_could_run_is_saved_under_its_name(page: Page, running: Serving, asked: list[str], name: bytes) -> None:
    with page.expect_download() as started, pytest.raises(Error, match="Download is starting"):
        page.goto(f"{running.url}/fs/geo/1.0.0/{quote(name)}")
    assert started.value.suggested_filename == name.decode()
    assert started.value.path().read_bytes() == DOWNLOADED[name]
    assert RAN not in asked


@pytest.mark.parametrize("name", list(SHOWN))
def test_what_is_shown_runs_nothing(page: Page, running: Serving, asked: list[str], name: bytes) -> None:
    answer = page.goto(f"{running.url}/fs/geo/1.0.0/{quote(name)}")
    assert answer is not None
    assert answer.status == 200
    page.wait_for_load_state("networkidle")
    assert RAN not in asked
    # Not even what is put into the shown document has the gateway's origin.
    assert page.evaluate("self.origin") == "null"


def test_a_page_elsewhere_cannot_frame_a_folder_nor_read_it(page: Page, running: Serving) -> None:
    page.set_content(f"<iframe src='{running.url}/fs/geo/latest/'></iframe>")
    page.wait_for_load_state("networkidle")
    inner = page.frames[1]
    assert "Modified (UTC)" not in inner.content()
    read = page.evaluate(f"fetch('{running.url}/fs/geo/latest/small').then(() => 'read', () => 'refused')")
    assert read == "refused"
