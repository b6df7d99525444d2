"""What programs that read data ask of a running server: each request answered alike by every way through it.

The first time a request goes to a thread or to the quick way, the second time what was kept may answer. Both are held
against the application itself.
"""

import http.client
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256

import pytest

from gateway.web.app import make_fast_lane, make_wsgi_app
from tests.conformance.tree_cases import BIG
from tests.interop.http.serving import Serving, serving
from tests.support.trees import MemoryTree
from tests.unit.dav.calls import Answer, call

pytestmark = pytest.mark.interop

ETAG = '"' + sha256(BIG).hexdigest() + '"'
DIGEST = f"sha-256=:{b64encode(sha256(BIG).digest()).decode()}:"
SIZE = len(BIG)
MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"
LATER = "Sun, 01 Jan 2090 00:00:00 GMT"


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"t.parquet": BIG})
    tree.publish("geo", "latest", {b"t.parquet": BIG})
    return tree


@pytest.fixture
def running(tree: MemoryTree) -> Iterator[Serving]:
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running:
        yield running


def ask(running: Serving, method: str, target: str, headers: dict[str, str]) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    try:
        connection.request(method, target, headers=headers)
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders() if name not in ("Date", "Server")}
        return Answer(answer.status, fields, answer.read())
    finally:
        connection.close()


CASES = [
    ("HEAD", {}, 200, {"content-length": str(SIZE), "content-range": None}),
    ("HEAD", {"Range": "bytes=0-0"}, 206, {"content-length": "1", "content-range": f"bytes 0-0/{SIZE}"}),
    ("GET", {"Range": "bytes=-8"}, 206, {"content-range": f"bytes {SIZE - 8}-{SIZE - 1}/{SIZE}"}),
    ("GET", {"Range": f"bytes={SIZE - 8}-{SIZE + 8}"}, 206, {"content-range": f"bytes {SIZE - 8}-{SIZE - 1}/{SIZE}"}),
    ("GET", {"Range": "bytes=5-3"}, 200, {"content-range": None}),
    ("GET", {"Range": f"bytes={SIZE}-"}, 416, {"content-range": f"bytes */{SIZE}"}),
    ("GET", {"Range": "bytes=0-0,9000-9000"}, 206, {"content-range": None}),
    ("HEAD", {"Range": "bytes=0-0,9000-9000"}, 206, {"content-range": None}),
    ("GET", {"Range": "bytes=0-9", "If-Range": ETAG}, 206, {"content-length": "10"}),
    ("GET", {"Range": "bytes=0-9", "If-Range": '"other"'}, 200, {"content-range": None}),
    ("GET", {"Range": "bytes=0-9", "If-Range": f"W/{ETAG}"}, 200, {"content-range": None}),
    ("GET", {"Range": "bytes=0-9", "If-Range": MODIFIED}, 206, {"content-length": "10"}),
    ("GET", {"Range": "bytes=0-9", "If-Range": LATER}, 200, {"content-range": None}),
    ("GET", {"If-None-Match": ETAG}, 304, {"etag": ETAG}),
    ("HEAD", {"If-None-Match": f"W/{ETAG}"}, 304, {"etag": ETAG}),
    ("GET", {"If-None-Match": "*"}, 304, {"etag": ETAG}),
    ("GET", {"If-None-Match": '"x"', "If-Modified-Since": LATER}, 200, {"etag": ETAG}),
    ("GET", {"If-Modified-Since": MODIFIED}, 304, {}),
    ("GET", {"If-Modified-Since": LATER}, 304, {}),
    ("GET", {"If-Match": ETAG}, 200, {}),
    ("GET", {"If-Match": '"x"'}, 412, {}),
    ("GET", {"If-Match": f"W/{ETAG}"}, 412, {}),
    ("GET", {"If-Match": '"x"', "If-None-Match": ETAG}, 412, {}),
    ("GET", {"If-Match": ETAG, "If-None-Match": ETAG}, 304, {}),
    ("GET", {"If-Match": ETAG, "Range": "bytes=0-9"}, 206, {"content-length": "10"}),
    ("GET", {"If-None-Match": ETAG, "Range": "bytes=0-9"}, 304, {}),
    ("GET", {"If-Unmodified-Since": "Tue, 14 Nov 2023 22:13:19 GMT"}, 412, {}),
    ("GET", {"If-Unmodified-Since": MODIFIED, "Range": "bytes=0-9"}, 206, {}),
    ("GET", {"If-Match": ETAG, "If-Unmodified-Since": "Tue, 14 Nov 2023 22:13:19 GMT"}, 200, {}),
]


@pytest.mark.parametrize(("method", "headers", "status", "expected"), CASES)
def test_a_request_is_answered_alike_by_every_way(
    running: Serving,
    tree: MemoryTree,
    method: str,
    headers: dict[str, str],
    status: int,
    expected: dict[str, str | None],
) -> None:
    target = "/fs/geo/1.0.0/t.parquet"
    direct = call(make_wsgi_app(tree), method, target, headers)
    assert direct.status == status
    for name, value in expected.items():
        assert direct.headers.get(name) == value, name
    assert ("repr-digest" in direct.headers) is (status in (200, 206))
    for _ in range(3):
        # A whole file in between, which the quick way keeps the head of.
        assert ask(running, "GET", target, {}).headers["repr-digest"] == DIGEST
        assert ask(running, method, target, headers) == direct


def test_a_channel_names_its_state_and_is_asked_for_again(running: Serving, tree: MemoryTree) -> None:
    first = ask(running, "GET", "/fs/geo/latest/t.parquet", {})
    assert first.headers["cache-control"] == "no-cache"
    assert ask(running, "GET", first.headers["content-location"], {}).body == BIG
    again = ask(running, "GET", "/fs/geo/latest/t.parquet", {"If-None-Match": first.headers["etag"]})
    assert (again.status, again.headers["content-location"]) == (304, first.headers["content-location"])
    tree.publish("geo", "latest", {b"t.parquet": b"moved"})
    assert ask(running, "GET", "/fs/geo/latest/t.parquet", {"If-None-Match": first.headers["etag"]}).body == b"moved"
    # A range of what was read before the move is not mixed with what is there now.
    rest = ask(running, "GET", "/fs/geo/latest/t.parquet", {"Range": "bytes=2-", "If-Range": first.headers["etag"]})
    assert (rest.status, rest.body) == (200, b"moved")
    assert ask(running, "GET", first.headers["content-location"], {}).body == BIG
