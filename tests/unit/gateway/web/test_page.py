"""The page of a folder: orders, pages, what it says."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from dav.reply import WsgiApp
from gateway.web import order
from gateway.web.app import make_wsgi_app
from gateway.web.page import human_size
from tests.support.trees import Contents, File, Link, MemoryTree
from tests.unit.dav.calls import Answer, call, environ_for, traced
from tests.unit.gateway.web.test_archive import Endless

SECOND = 10**9
FILES: Contents = {
    b"a": File(b"22", mtime_ns=3 * SECOND),
    b"b": File(b"1", mtime_ns=1 * SECOND),
    b"c": File(b"333", mtime_ns=2 * SECOND),
    b"d": {b"x": b""},
}


class Table(HTMLParser):
    """Row names in their order, heads with how they are sorted, links by their text."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.names: list[str] = []
        self.sorted: dict[str, str] = {}
        self.links: dict[str, str] = {}
        self._scope = self._sort = self._href = ""
        self.feed(answer.body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "th":
            self._scope, self._sort = found.get("scope") or "", found.get("aria-sort") or ""
        if tag == "a":
            self._href = found.get("href") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "th":
            self._scope = ""

    def handle_data(self, data: str) -> None:
        if self._href:
            self.links[data] = self._href
            if self._scope == "row":
                self.names.append(data)
            elif self._scope == "col" and self._sort:
                self.sorted[data] = self._sort
            self._href = ""


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", FILES)
    return tree


@pytest.fixture
def app(tree: MemoryTree) -> WsgiApp:
    return make_wsgi_app(tree)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "abcd"),
        ("sort=name&order=asc", "abcd"),
        ("sort=name&order=desc", "dcba"),
        ("sort=size&order=asc", "dbac"),
        ("sort=size&order=desc", "cabd"),
        ("sort=time&order=asc", "bcad"),
        ("sort=time", "bcad"),
        ("sort=colour&order=desc", "abcd"),
        ("order=desc", "abcd"),
    ],
)
def test_a_folder_is_sorted_as_asked(app: WsgiApp, query: str, names: str) -> None:
    table = Table(call(app, "GET", f"/fs/geo/1.0.0/?{query}"))
    assert "".join(name.rstrip("/") for name in table.names) == names


def test_heads_say_how_the_table_is_sorted_and_lead_to_the_other_order(app: WsgiApp) -> None:
    table = Table(call(app, "GET", "/fs/geo/1.0.0/?sort=size&order=asc"))
    assert table.sorted == {"Size": "ascending"}
    assert table.links["Size"] == "/fs/geo/1.0.0/?sort=size&order=desc"
    assert table.links["Name"] == "/fs/geo/1.0.0/?sort=name&order=asc"
    again = Table(call(app, "GET", table.links["Size"]))
    assert again.sorted == {"Size": "descending"}


@pytest.mark.parametrize("query", ["", "sort=name&order=desc", "sort=size&order=asc", "sort=time&order=desc"])
def test_pages_of_any_order_hold_each_entry_once(query: str) -> None:
    tree = MemoryTree()
    count = 2 * order.PAGE + 7
    tree.publish("geo", "1.0.0", {b"%05d" % i: bytes(i % 7) for i in range(count)})
    app, target, seen = make_wsgi_app(tree), f"/fs/geo/1.0.0/?{query}", list[str]()
    while target:
        table = Table(call(app, "GET", target))
        assert len(table.names) <= order.PAGE
        seen += table.names
        target = table.links.get("Next page", "")
    assert len(seen) == count == len(set(seen))
    if "name" in query:
        assert seen == sorted(seen, reverse=True)


def test_a_folder_too_large_to_be_sorted_says_so_and_is_read_no_further_than_its_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(order, "SORTABLE", 1500)
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"%05d" % i: b"" for i in range(1501)})
    app = make_wsgi_app(tree)
    tree.blocking_calls.clear()
    answer = call(app, "GET", "/fs/geo/1.0.0/?sort=size&order=desc")
    assert tree.blocking_calls["children"] == 1
    table = Table(answer)
    assert table.names[0] == "00000"
    assert table.links.keys() & {"Size", "Modified (UTC)"} == set()
    assert "sorted by name alone" in answer.body.decode()
    assert Table(call(app, "GET", table.links["Name"])).names[0] == "01500"


def test_datasets_are_sorted_by_name_and_tags_told_apart(tree: MemoryTree, app: WsgiApp) -> None:
    for name in ("zebra", "ant", "mole"):
        tree.publish(name, "latest", {})
    assert Table(call(app, "GET", "/fs/")).names == ["ant/", "geo/", "mole/", "zebra/"]
    tree.publish("geo", "1.1.0", {b"x": b"x"})
    tree.publish("geo", "latest", {b"x": b"x"})
    tree.publish("geo", "qa", {})
    page = call(app, "GET", "/fs/geo/")
    assert Table(page).names == ["qa/", "latest/", "1.1.0/", "1.0.0/"]
    text = re.sub(r"<[^>]*>", " ", page.body.decode())
    assert re.search(r"latest/\s+channel\s+b3-[0-9a-f]{12} = 1\.1\.0\s", text)
    assert re.search(r"1\.1\.0/\s+version\s+b3-", text)
    assert Table(call(app, "GET", "/fs/geo/?sort=name&order=asc")).names == ["1.0.0/", "1.1.0/", "latest/", "qa/"]


def test_json_tells_versions_from_channels_and_names_their_states(tree: MemoryTree, app: WsgiApp) -> None:
    tree.publish("geo", "latest", FILES)
    entries = call(app, "GET", "/fs/geo/", {"Accept": "application/json"})
    found = {entry["name"]: entry for entry in json.loads(entries.body)["entries"]}
    assert (found["1.0.0"]["tag"], found["latest"]["tag"]) == ("version", "channel")
    assert found["latest"]["state"] == found["1.0.0"]["state"]
    assert call(app, "GET", f"/fs/geo/{found['latest']['state']}/a").body == b"22"


def test_a_page_says_where_it_is_and_what_can_be_fetched(tree: MemoryTree, app: WsgiApp) -> None:
    tree.publish("geo", "latest", FILES)
    fixed, moving = call(app, "GET", "/fs/geo/1.0.0/d"), call(app, "GET", "/fs/geo/latest/d/")
    table = Table(fixed)
    assert table.links["datasets"] == "/fs/"
    assert table.links["1.0.0"] == "/fs/geo/1.0.0/"
    assert table.links["tar"] == "/fs/geo/1.0.0/d/?archive=tar"
    assert 'aria-current="page"' in fixed.body.decode()
    assert "never changes" in fixed.body.decode()
    assert "1 entry" in fixed.body.decode()
    assert moving.headers["content-location"].startswith("/fs/geo/b3-")
    assert moving.headers["content-location"] in moving.body.decode()
    assert "tar" not in Table(call(app, "GET", "/fs/geo/")).links
    sorted_page = call(app, "GET", "/fs/geo/latest/?sort=size&order=desc")
    pinned = call(app, "GET", sorted_page.headers["content-location"])
    assert Table(pinned).names == Table(sorted_page).names


def test_an_empty_folder_says_so(tree: MemoryTree, app: WsgiApp) -> None:
    tree.publish("geo", "2.0.0", {b"none": {}})
    page = call(app, "GET", "/fs/geo/2.0.0/none/")
    assert "This folder is empty." in page.body.decode()
    assert b"<table" not in page.body
    assert "Nothing was published here yet." in call(make_wsgi_app(MemoryTree()), "GET", "/fs/").body.decode()


def test_pages_are_asked_for_again_and_listings_kept(tree: MemoryTree, app: WsgiApp) -> None:
    page = call(app, "GET", "/fs/geo/1.0.0/")
    assert page.headers["cache-control"] == "no-cache"
    assert call(app, "GET", "/fs/geo/1.0.0/", {"If-None-Match": page.headers["etag"]}).status == 304
    wanted = {"Accept": "application/json"}
    listing = call(app, "GET", "/fs/geo/1.0.0/", wanted)
    assert listing.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert listing.headers["content-length"] == str(len(listing.body))
    assert listing.headers["vary"] == "Accept"
    assert call(app, "GET", "/fs/geo/1.0.0/", {**wanted, "If-None-Match": listing.headers["etag"]}).status == 304
    tree.publish("geo", "1.1.0", {})
    changed = call(app, "GET", "/fs/geo/", {**wanted, "If-None-Match": listing.headers["etag"]})
    assert changed.status == 200


def test_a_long_listing_has_an_etag_before_it_is_read() -> None:
    tree = MemoryTree()
    tree.publish("geo", "latest", {b"%05d" % i: b"" for i in range(3000)})
    app, wanted = make_wsgi_app(tree), {"Accept": "application/json"}
    first = call(app, "GET", "/fs/geo/latest/", wanted)
    assert "content-length" not in first.headers
    tree.blocking_calls.clear()
    assert call(app, "GET", "/fs/geo/latest/", {**wanted, "If-None-Match": first.headers["etag"]}).status == 304
    assert tree.blocking_calls["children"] == 1
    tree.publish("geo", "latest", {b"%05d" % i: b"" for i in range(2999)})
    assert call(app, "GET", "/fs/geo/latest/", {**wanted, "If-None-Match": first.headers["etag"]}).status == 200


def test_names_that_are_no_text_show_as_escapes(tree: MemoryTree, app: WsgiApp) -> None:
    tree.publish("geo", "2.0.0", {b"\xff\n<b>": Link(b"\xfe&")})
    page = call(app, "GET", "/fs/geo/2.0.0/").body.decode()
    assert "\\xff\\n&lt;b&gt;" in page
    assert "→ \\xfe&amp;" in page
    assert any(unquote(unescape(href)).endswith("\n<b>") for href in re.findall(r'href="([^"]*)"', page))


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1234567, "1.2 MiB"), (1 << 62, "4.0 EiB")]
)
def test_sizes_are_spelt_for_people(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.slow
def test_a_json_listing_of_any_length_takes_flat_memory() -> None:
    app = make_wsgi_app(Endless(60_000, 100))
    environ = environ_for("GET", "/fs/geo/1.0.0/", {"Accept": "application/json"}, b"")
    body, sent = iter(app(environ, lambda _status, _headers: None)), 0
    next(body)
    more, peak = traced(body)
    sent += more
    assert sent > 60_000 * 100
    assert peak < 4 << 20


@pytest.mark.parametrize("tag", ["1.0.0", "latest"])
def test_what_is_not_open_to_all_is_kept_by_no_cache_on_the_way(
    tree: MemoryTree, app: WsgiApp, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    tree.publish("geo", "latest", FILES)
    monkeypatch.setattr("dav.files.open_to_all", lambda _tree, _state: False)
    json_wanted = {"Accept": "application/json"}
    asked = [
        ("/fs/{}/a", {}),
        ("/webdav/{}/a", {}),
        ("/fs/{}/", {}),
        ("/fs/{}/", json_wanted),
        ("/fs/{}/?archive=zip", {}),
    ]
    for target, headers in asked:
        answer = call(app, "GET", target.format(f"geo/{tag}"), headers)
        assert (answer.status, answer.headers["cache-control"]) == (200, "private, no-cache"), target
