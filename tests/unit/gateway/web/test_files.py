"""`/fs/` as a client sees it, over calls of the application."""

import email
import email.policy
import json
from base64 import b64encode
from email.message import EmailMessage
from hashlib import sha256
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes

import pytest

from dav.reply import WsgiApp
from gateway.web.app import make_wsgi_app
from store.errors import BlockCorrupt, StoreUnavailable
from tests.conformance.tree_cases import BIG, HARD_NAMES, SAMPLE
from tests.support.trees import File, Link, MemoryTree
from tests.unit.dav.calls import Answer, call, environ_for

FILE = "/fs/geo/1.0.0/big.bin"
DIGEST = f"sha-256=:{b64encode(sha256(BIG).digest()).decode()}:"
ETAG = '"' + sha256(BIG).hexdigest() + '"'


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", SAMPLE)
    tree.publish("geo", "latest", SAMPLE)
    tree.publish("@scope/roads", "latest", {b"x": b"x"})
    return tree


@pytest.fixture
def app(tree: MemoryTree) -> WsgiApp:
    return make_wsgi_app(tree)


class Links(HTMLParser):
    """Collects a page's links and element names."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.tags: set[str] = set()
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.hrefs += [value for key, value in attrs if key == "href" and value and tag == "a"]


def test_get_returns_the_bytes_and_what_identifies_them(app: WsgiApp) -> None:
    answer = call(app, "GET", FILE)
    assert (answer.status, answer.body) == (200, BIG)
    assert answer.headers["content-length"] == str(len(BIG))
    assert answer.headers["etag"] == ETAG
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["last-modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert "content-range" not in answer.headers


def test_head_equals_get_without_a_body(app: WsgiApp) -> None:
    for headers in ({}, {"Range": "bytes=5-9"}, {"Range": "bytes=999999-"}):
        head, get = call(app, "HEAD", FILE, headers), call(app, "GET", FILE, headers)
        assert head == get._replace(body=b"")


def test_head_with_a_range_is_206(app: WsgiApp) -> None:
    answer = call(app, "HEAD", FILE, {"Range": "bytes=0-0"})
    assert answer.status == 206
    assert answer.headers["content-range"] == f"bytes 0-0/{len(BIG)}"


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=65530-65540", 65530, 65541),
        ("bytes=-7", len(BIG) - 7, len(BIG)),
        ("bytes=9-", 9, len(BIG)),
    ],
)
def test_a_range_returns_that_part(app: WsgiApp, header: str, start: int, stop: int) -> None:
    answer = call(app, "GET", FILE, {"Range": header})
    assert (answer.status, answer.body) == (206, BIG[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(BIG)}"
    assert answer.headers["content-length"] == str(stop - start)


def test_a_range_past_the_end_is_416_with_the_size(app: WsgiApp) -> None:
    answer = call(app, "GET", FILE, {"Range": f"bytes={len(BIG)}-"})
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{len(BIG)}"


@pytest.mark.parametrize("asked", [{"Range": f"bytes={len(BIG)}-"}, {"If-Match": '"other"'}])
def test_no_cache_keeps_that_somebody_asked_for_what_there_is_not(app: WsgiApp, asked: dict[str, str]) -> None:
    answer = call(app, "GET", FILE, asked)
    assert answer.status in (412, 416)
    assert answer.headers["cache-control"] == "no-store"  # and not a year, to whoever asks for the file


def parts_of(answer: Answer) -> list[tuple[str, bytes]]:
    """Read a multipart/byteranges answer with a parser that is not ours: (Content-Range, content) of each part."""
    head = f"MIME-Version: 1.0\r\nContent-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.body, policy=email.policy.HTTP)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return [(str(part["Content-Range"]), part.get_payload(decode=True)) for part in message.iter_parts()]  # type: ignore[misc]  # bytes of a part that is no multipart


def test_several_ranges_come_as_parts(app: WsgiApp) -> None:
    size = len(BIG)
    answer = call(app, "GET", FILE, {"Range": "bytes=70000-70009, 0-2, -5, 999999999-"})
    assert answer.status == 206
    assert answer.headers["content-length"] == str(len(answer.body))
    assert "content-range" not in answer.headers
    assert answer.headers["repr-digest"] == DIGEST
    assert parts_of(answer) == [
        (f"bytes 70000-70009/{size}", BIG[70000:70010]),
        (f"bytes 0-2/{size}", BIG[:3]),
        (f"bytes {size - 5}-{size - 1}/{size}", BIG[-5:]),
    ]
    assert call(app, "HEAD", FILE, {"Range": "bytes=70000-70009, 0-2, -5, 999999999-"}) == answer._replace(body=b"")


def test_ranges_that_overlap_are_one_and_not_a_multipart(app: WsgiApp) -> None:
    answer = call(app, "GET", FILE, {"Range": "bytes=5-90,0-9,90-99"})
    assert (answer.status, answer.body) == (206, BIG[:100])
    assert answer.headers["content-range"] == f"bytes 0-99/{len(BIG)}"


def test_ranges_of_which_none_exists_are_416(app: WsgiApp) -> None:
    answer = call(app, "GET", FILE, {"Range": f"bytes={len(BIG)}-,999999999-"})
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(BIG)}")


def test_too_many_ranges_get_the_whole_file(app: WsgiApp) -> None:
    many = ",".join(f"{i * 500}-{i * 500}" for i in range(101))
    answer = call(app, "GET", FILE, {"Range": f"bytes={many}"})
    assert (answer.status, len(answer.body)) == (200, len(BIG))


def test_parts_are_read_while_they_are_sent(tree: MemoryTree) -> None:
    size = 8 << 20
    tree.publish("geo", "2.0.0", {b"large": bytes(size)})
    app, read = make_wsgi_app(tree), 0
    tree.blocking_calls.clear()
    environ = environ_for("GET", "/fs/geo/2.0.0/large", {"Range": f"bytes=0-{4 << 20},{6 << 20}-{7 << 20}"}, b"")
    for piece in app(environ, lambda _status, _headers: None):
        assert len(piece) <= 1 << 20
        read += len(piece)
        # Never more than a piece of 1 MiB ahead of what was sent.
        assert tree.blocking_calls["read"] << 20 <= read + (3 << 20)
    assert tree.blocking_calls["read"] == 7


def test_a_digest_of_the_whole_file_comes_with_every_part_of_it(app: WsgiApp) -> None:
    for method in ("GET", "HEAD"):
        for headers in ({}, {"Range": "bytes=1-2"}):
            assert call(app, method, FILE, headers).headers["repr-digest"] == DIGEST


def test_if_range_with_the_strong_etag_keeps_the_range_and_another_drops_it(app: WsgiApp) -> None:
    assert call(app, "GET", FILE, {"Range": "bytes=0-3", "If-Range": ETAG}).status == 206
    whole = call(app, "GET", FILE, {"Range": "bytes=0-3", "If-Range": '"other"'})
    assert (whole.status, whole.body) == (200, BIG)
    assert "content-range" not in whole.headers


def test_conditions_answer_304_and_412(app: WsgiApp) -> None:
    unchanged = call(app, "GET", FILE, {"If-None-Match": ETAG})
    assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", ETAG)
    assert call(app, "GET", FILE, {"If-Match": '"other"'}).status == 412
    assert call(app, "GET", FILE, {"If-Match": ETAG}).status == 200
    assert call(app, "GET", FILE, {"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"}).status == 304


def test_an_empty_file_is_whole_and_has_no_ranges(app: WsgiApp) -> None:
    answer = call(app, "GET", "/fs/geo/1.0.0/empty")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert call(app, "GET", "/fs/geo/1.0.0/empty", {"Range": "bytes=0-"}).status == 416


def test_a_channel_that_moves_back_is_read_again(app: WsgiApp, tree: MemoryTree) -> None:
    """Clients that know dates alone: what they have is newer than what the channel shows."""
    tree.publish("geo", "qa", {b"x": File(b"old", mtime_ns=1_600_000_000_000_000_000)})
    tree.publish("geo", "qa", {b"x": File(b"new", mtime_ns=1_650_000_000_000_000_000)})
    kept = call(app, "GET", "/fs/geo/qa/x").headers["last-modified"]
    for top in ("fs", "webdav"):
        assert call(app, "GET", f"/{top}/geo/qa/x", {"If-Modified-Since": kept}).status == 304
    tree.publish("geo", "qa", {b"x": File(b"old", mtime_ns=1_600_000_000_000_000_000)})
    for top in ("fs", "webdav"):
        again = call(app, "GET", f"/{top}/geo/qa/x", {"If-Modified-Since": kept})
        assert (again.status, again.body) == (200, b"old")
    own = again.headers["last-modified"]
    assert call(app, "GET", "/fs/geo/qa/x", {"If-Modified-Since": own}).status == 304
    assert call(app, "GET", "/fs/geo/qa/x", {"Range": "bytes=0-0", "If-Range": own}).status == 200


def test_versions_are_kept_for_ever_and_channels_asked_for_again(app: WsgiApp, tree: MemoryTree) -> None:
    assert call(app, "GET", FILE).headers["cache-control"] == "public, max-age=31536000, immutable"
    moving = call(app, "GET", "/fs/geo/latest/big.bin")
    assert moving.headers["cache-control"] == "no-cache"
    pinned = call(app, "GET", moving.headers["content-location"])
    assert pinned.body == BIG
    assert "immutable" in pinned.headers["cache-control"]
    tree.publish("geo", "latest", {b"big.bin": b"moved"})
    assert call(app, "GET", "/fs/geo/latest/big.bin").body == b"moved"
    assert call(app, "GET", moving.headers["content-location"]).body == BIG


def test_content_location_of_a_scoped_dataset_leads_to_the_same_bytes(app: WsgiApp) -> None:
    for target in ("/fs/@scope/roads/latest/x", "/fs/@scope%2Froads/latest/x"):
        answer = call(app, "GET", target)
        assert answer.body == b"x"
        assert call(app, "GET", answer.headers["content-location"]).body == b"x"


def test_a_json_listing_leads_to_every_hard_name(app: WsgiApp) -> None:
    answer = call(app, "GET", "/fs/geo/1.0.0/names", {"Accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    listing = json.loads(answer.body)
    assert listing["href"] == "/fs/geo/1.0.0/names/"
    entries = listing["entries"]
    assert {unquote_to_bytes(entry["href"].rpartition("/")[2]) for entry in entries} == set(HARD_NAMES)
    for entry in entries:
        content = call(app, "GET", entry["href"]).body
        assert sha256(content).hexdigest() == entry["sha256"]
        assert len(content) == entry["size"]


def test_a_json_listing_tells_kinds_times_and_targets(app: WsgiApp) -> None:
    listing = json.loads(call(app, "GET", "/fs/geo/1.0.0/", {"Accept": "application/json"}).body)
    entries = {entry["name"]: entry for entry in listing["entries"]}
    assert entries["run.sh"]["executable"] is True
    assert entries["run.sh"]["mtime"] == "2009-02-13T23:31:30.123456789Z"
    assert entries["old"]["mtime"] == "1969-12-31T23:59:58.500000000Z"
    assert (entries["link"]["kind"], entries["link"]["target"]) == ("link", "a.txt")
    assert (entries["sub"]["kind"], entries["sub"]["href"]) == ("folder", "/fs/geo/1.0.0/sub/")


def test_a_json_listing_of_many_pages_is_whole_and_empty_ones_are_empty() -> None:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"many": {b"%05d" % i: b"" for i in range(3000)}, b"none": {}})
    app = make_wsgi_app(tree)
    many = json.loads(call(app, "GET", "/fs/geo/1.0.0/many/", {"Accept": "application/json"}).body)["entries"]
    assert [entry["name"] for entry in many] == [f"{i:05}" for i in range(3000)]
    assert json.loads(call(app, "GET", "/fs/geo/1.0.0/none/", {"Accept": "application/json"}).body)["entries"] == []


def test_a_page_leads_to_every_hard_name_and_holds_no_script(app: WsgiApp) -> None:
    answer = call(app, "GET", "/fs/geo/1.0.0/names/", {"Accept": "text/html,*/*"})
    page = Links(answer.body)
    found = {unquote_to_bytes(href.rpartition("/")[2]) for href in page.hrefs if "/names/" in href and "?" not in href}
    found.discard(b"")  # the folder itself, the last of the path
    assert found == set(HARD_NAMES)
    assert "script" not in page.tags
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["content-length"] == str(len(answer.body))


def test_markup_in_names_and_targets_stays_text() -> None:
    tree = MemoryTree()
    nasty = b"<img src=x onerror=alert(1)>\"'&"
    tree.publish("geo", "1.0.0", {nasty: {nasty: Link(nasty)}})
    page = Links(
        call(make_wsgi_app(tree), "GET", "/fs/geo/1.0.0/%3Cimg%20src=x%20onerror=alert%281%29%3E%22%27&/").body
    )
    assert "img" not in page.tags


def test_long_folders_come_in_pages_that_lead_on() -> None:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"%05d" % i: b"" for i in range(2500)})
    app = make_wsgi_app(tree)
    target, seen = "/fs/geo/1.0.0/", set[str]()
    for _ in range(3):
        page = Links(call(app, "GET", target).body)
        seen |= {href for href in page.hrefs if href.rpartition("/")[2].isdecimal()}
        target = next((href for href in page.hrefs if "after=" in href), "")
    assert (len(seen), target) == (2500, "")


@pytest.mark.parametrize("query", ["after=", "after=x", "after=-1", "after=" + "9" * 30, "after=\u0661", "other=1"])
def test_a_cookie_that_is_none_starts_at_the_start(app: WsgiApp, query: str) -> None:
    assert call(app, "GET", f"/fs/geo/1.0.0/?{query}").body == call(app, "GET", "/fs/geo/1.0.0/").body


def test_the_catalogue_is_listed_and_folders_need_no_slash(app: WsgiApp) -> None:
    assert "/fs/geo/" in Links(call(app, "GET", "/fs/").body).hrefs
    assert "/fs/geo/1.0.0/" in Links(call(app, "GET", "/fs/geo").body).hrefs
    assert call(app, "GET", "/fs").body == call(app, "GET", "/fs/").body
    assert call(app, "GET", "/fs/").headers["cache-control"] == "no-cache"


def test_a_file_with_a_slash_behind_it_is_404(app: WsgiApp) -> None:
    assert call(app, "GET", FILE + "/").status == 404


def test_links_are_followed_inside_the_state_alone() -> None:
    tree = MemoryTree()
    tree.publish("geo", "latest", {b"secret": b"s"})
    tree.publish(
        "geo", "1.0.0", {b"a": b"a", b"in": Link(b"./a"), b"out": Link(b"../latest/secret"), b"abs": Link(b"/a")}
    )
    app = make_wsgi_app(tree)
    assert call(app, "GET", "/fs/geo/1.0.0/in").body == b"a"
    assert call(app, "GET", "/fs/geo/1.0.0/out").status == 404
    assert call(app, "GET", "/fs/geo/1.0.0/abs").status == 404


@pytest.mark.parametrize(
    ("name", "media_type", "attachment"),
    [
        (b"x.html", "text/html; charset=utf-8", True),
        (b"x.HTM", "text/html; charset=utf-8", True),
        (b"x.svg", "image/svg+xml", True),
        (b"x.xhtml", "application/xhtml+xml", True),
        (b"x.png", "image/png", False),
        (b"x.csv", "text/csv; charset=utf-8", False),
        (b"x.parquet", "application/vnd.apache.parquet", False),
        (b"x.tar.gz", "application/gzip", False),
        (b"x", "application/octet-stream", False),
        (b".html", "text/html; charset=utf-8", True),
    ],
)
def test_nothing_in_a_dataset_runs_in_our_origin(name: bytes, media_type: str, attachment: bool) -> None:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {name: b"<script>alert(1)</script>"})
    for top in ("fs", "webdav"):
        answer = call(make_wsgi_app(tree), "GET", f"/{top}/geo/1.0.0/{name.decode()}")
        assert answer.headers["content-type"] == media_type
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("sandbox;")
        disposition = f'attachment; filename="{name.decode()}"' if attachment else None
        assert answer.headers.get("content-disposition") == disposition
        assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "PROPFIND", "TRACE"])
def test_other_methods_are_405_with_allow(app: WsgiApp, method: str) -> None:
    answer = call(app, method, FILE)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_a_file_is_read_in_pieces_and_no_further_than_was_asked(tree: MemoryTree) -> None:
    size = 5 * 1024 * 1024
    tree.publish("geo", "2.0.0", {b"large": bytes(size)})
    app = make_wsgi_app(tree)
    tree.blocking_calls.clear()
    assert len(call(app, "GET", "/fs/geo/2.0.0/large").body) == size
    assert tree.blocking_calls["read"] == 5
    tree.blocking_calls.clear()
    call(app, "HEAD", "/fs/geo/2.0.0/large")
    assert tree.blocking_calls["read"] == 0
    call(app, "GET", "/fs/geo/2.0.0/large", {"Range": "bytes=100-200"})
    assert tree.blocking_calls["read"] == 1


def test_content_that_cannot_be_read_is_an_error_before_the_first_byte(tree: MemoryTree, app: WsgiApp) -> None:
    errors = {
        503: StoreUnavailable("s3://bucket", "no route"),
        500: BlockCorrupt(expected=bytes(32), source="packs/x", why="y"),
    }
    for status, error in errors.items():

        def fail(operation: str, error: Exception = error) -> None:
            if operation == "read":
                raise error

        tree.on_blocking = fail
        answer = call(app, "GET", FILE)
        assert answer.status == status
        assert b"packs" not in answer.body
        assert answer.headers["x-request-id"].encode() in answer.body


def test_executables_and_old_times_are_plain_files(app: WsgiApp, tree: MemoryTree) -> None:
    tree.publish("geo", "3.0.0", {b"old": File(b"o", mtime_ns=-1)})
    assert call(app, "GET", "/fs/geo/3.0.0/old").headers["last-modified"] == "Wed, 31 Dec 1969 23:59:59 GMT"
