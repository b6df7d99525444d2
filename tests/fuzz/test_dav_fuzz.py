"""Whatever a WebDAV client sends gets an answer that it can read, and none that says the fault was ours."""

import contextlib
import gzip
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav.reply import WsgiApp
from dav.wire.errors import WireError
from dav.wire.paths import quote_path, split_target
from dav.wire.propfind import parse_propfind, parse_proppatch
from gateway.web.app import make_wsgi_app
from tests.conformance.tree_cases import SAMPLE
from tests.support.trees import MemoryTree
from tests.unit.dav.calls import call

BODIES = (
    b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>',
    b'<propfind xmlns="DAV:"><prop><getetag/><c:sums xmlns:c="http://owncloud.org/ns"/><x xmlns=""/></prop></propfind>',
    b'<?xml version="1.0"?><propfind xmlns="DAV:"><propname/></propfind>',
    b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><Z:a xmlns:Z="u">1</Z:a></D:prop></D:set></D:propertyupdate>',
)
TOKENS = (
    b"<", b">", b"/>", b"</", b"&", b";", b"&lt;", b"&#0;", b"&#xfffe;", b"<!DOCTYPE a>", b"<![CDATA[", b"]]>", b"<!--",
    b"<?xml", b"?>", b' encoding="', b'utf-16"', b"xmlns:", b'xmlns=""', b'xmlns:xml="u"', b"xml:", b"D:", b"DAV:",
    b"}", b"{", b"%s", b"%", b"\0", b"\xff", b"\xc3\xa9", b"<prop>", b"</prop>", b"<D:prop/>", b"allprop", b"propname",
)  # fmt: skip
LATIN = st.text(st.characters(max_codepoint=255, exclude_characters="\0\r\n"), max_size=40)
PATHS = (
    "",
    "/",
    "/webdav",
    "/webdav/geo/1.0.0",
    "/webdav/geo/1.0.0/a.txt",
    "/webdav/geo/1.0.0/names/",
    "/webdav/geo/._x",
)
HEADERS = (
    "Depth", "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "Prefer", "Brief",
    "Accept-Encoding", "Destination", "Overwrite", "Timeout", "If", "Lock-Token", "User-Agent",
)  # fmt: skip
METHODS = ("GET", "HEAD", "OPTIONS", "PROPFIND", "PROPPATCH", "PUT", "LOCK", "MOVE", "odd")


@st.composite
def bent(draw: st.DrawFn) -> bytes:
    """Draw a real body with a few pieces cut out, doubled or put in."""
    body = draw(st.sampled_from(BODIES))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        stop = draw(st.integers(start, min(len(body), start + 12)))
        body = body[:start] + draw(st.sampled_from((b"", body[start:stop] * 2, *TOKENS))) + body[stop:]
    return body


@pytest.fixture(scope="module")
def app() -> WsgiApp:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", SAMPLE)
    tree.publish("geo", "latest", SAMPLE)
    return make_wsgi_app(tree)


@given(st.binary(max_size=300) | bent())
def test_any_body_is_a_value_or_a_wire_error(body: bytes) -> None:
    for parse in (parse_propfind, parse_proppatch):
        with contextlib.suppress(WireError):
            parse(body)


@given(bent())
def test_any_body_is_refused_or_answered_in_xml(app: WsgiApp, body: bytes) -> None:
    for method, path in (
        ("PROPFIND", "/webdav/geo/1.0.0"),
        ("PROPFIND", "/"),
        ("PROPPATCH", "/webdav/geo/latest/a.txt"),
    ):
        answer = call(app, method, path, {"Depth": "1"}, body)
        assert answer.status in (207, 400)
        if answer.status == 207:
            assert ElementTree.fromstring(answer.body).tag == "{DAV:}multistatus"


@given(
    st.sampled_from(METHODS),
    st.sampled_from(PATHS),
    LATIN,
    st.dictionaries(
        st.sampled_from(HEADERS),
        LATIN | st.sampled_from(["0", "1", "infinity", "gzip", "bytes=0-1", "WebDAVFS/3.0", "return=minimal", "t"]),
    ),
)
def test_any_target_and_headers_get_an_answer(
    app: WsgiApp, method: str, path: str, more: str, headers: dict[str, str]
) -> None:
    answer = call(app, method, path + more, headers)
    assert 200 <= answer.status < 500
    if answer.status == 207 and method == "PROPFIND":
        zipped = answer.headers.get("content-encoding") == "gzip"
        assert ElementTree.fromstring(gzip.decompress(answer.body) if zipped else answer.body) is not None


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name), min_size=1, max_size=4))
def test_any_names_come_back_out_of_their_href(names: list[bytes]) -> None:
    assert split_target(quote_path(names)).names == tuple(names)
