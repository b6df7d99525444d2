"""WebDAV as a client sees it, over calls of the application."""

from collections.abc import Iterator
from contextlib import closing
from hashlib import md5, sha256
from pathlib import Path
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

import pytest

from dav.reply import WsgiApp
from gateway.web.app import make_wsgi_app
from store.errors import StoreUnavailable
from store.objects.memory import MemoryStore
from tests.conformance.tree_cases import HARD_NAMES, SAMPLE
from tests.support.staging import StoreStage
from tests.support.trees import Contents, File, Link, MemoryTree
from tests.unit.dav.calls import Answer, call, environ_for

NAMED = b'<D:propfind xmlns:D="DAV:" xmlns:o="http://owncloud.org/ns"><D:prop>%s</D:prop></D:propfind>'


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


def propfind(app: WsgiApp, target: str, depth: str = "1", body: bytes = b"") -> Answer:
    answer = call(app, "PROPFIND", target, {"Depth": depth}, body)
    assert answer.status == 207, answer
    assert int(answer.headers.get("content-length", len(answer.body))) == len(answer.body)
    return answer


def responses(answer: Answer) -> Iterator[tuple[str, ElementTree.Element]]:
    for response in ElementTree.fromstring(answer.body).iter("{DAV:}response"):
        href = response.findtext("{DAV:}href")
        assert href is not None
        yield href, response


def hrefs(answer: Answer) -> list[str]:
    return [href for href, _ in responses(answer)]


def test_options_say_class_1_and_nothing_writable(app: WsgiApp) -> None:
    for target in ("/", "*", "/webdav", "/webdav/", "/webdav/geo/1.0.0/a.txt"):
        answer = call(app, "OPTIONS", target)
        assert answer.status == 200
        assert answer.headers["dav"] == "1"
        assert answer.headers["ms-author-via"] == "DAV"
        assert answer.headers["content-length"] == "0"
        assert "PUT" not in answer.headers["allow"]
        assert "LOCK" not in answer.headers["allow"]


def test_the_hosts_root_is_a_collection_that_holds_the_mount(app: WsgiApp) -> None:
    assert hrefs(propfind(app, "/", "0")) == ["/"]
    assert hrefs(propfind(app, "/", "1")) == ["/", "/webdav/"]


def test_a_collection_has_one_name_in_its_parents_listing_and_its_own(app: WsgiApp) -> None:
    for above in ("/", "/webdav/", "/webdav/@scope/", "/webdav/geo/"):
        for href, listed in list(responses(propfind(app, above)))[1:]:
            [(_, alone)] = responses(propfind(app, href, "0"))
            assert alone.findtext(".//{DAV:}displayname") == listed.findtext(".//{DAV:}displayname") != ""


def test_every_gateway_says_when_the_list_of_datasets_changed_last(tmp_path: Path) -> None:
    with StoreStage(MemoryStore(), tmp_path) as stage, closing(stage.opened()) as other:
        stage.publish("geo", "1.0.0", {b"x": b""})
        lately, never = make_wsgi_app(stage.tree), make_wsgi_app(other)  # asked before, and not
        for target in ("/", "/webdav/"):
            said = propfind(never, target, "0").body
            assert said == propfind(lately, target, "0").body
            assert b"1970" not in said


def test_datasets_scopes_tags_and_files_are_listed(app: WsgiApp) -> None:
    assert sorted(hrefs(propfind(app, "/webdav/"))) == ["/webdav/", "/webdav/@scope/", "/webdav/geo/"]
    assert sorted(hrefs(propfind(app, "/webdav/@scope/roads"))) == [
        "/webdav/@scope/roads/",
        "/webdav/@scope/roads/latest/",
    ]
    assert hrefs(propfind(app, "/webdav/@scope%2Froads/latest/x")) == ["/webdav/@scope%2Froads/latest/x"]
    assert "/webdav/geo/1.0.0/sub/" in hrefs(propfind(app, "/webdav/geo/1.0.0/"))


@pytest.mark.parametrize(
    "asked", ["/webdav/%40scope/roads/latest", "/webdav/@scope%2froads/lat%65st", "//webdav/@scope//roads/latest"]
)
def test_hrefs_begin_as_a_client_spells_what_it_asks_for(app: WsgiApp, asked: str) -> None:
    spelt = asked.replace("//", "/")
    assert hrefs(propfind(app, asked)) == [f"{spelt}/", f"{spelt}/x"]


def test_hrefs_are_xml_whatever_a_client_leaves_bare() -> None:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"a&b'c<d>": {b"&": b""}})
    app = make_wsgi_app(tree)
    assert hrefs(propfind(app, "/webdav/geo/1.0.0/a&b'c<d>/")) == [
        "/webdav/geo/1.0.0/a&b'c%3Cd%3E/",
        "/webdav/geo/1.0.0/a&b'c%3Cd%3E/%26",
    ]
    body = b'<propertyupdate xmlns="DAV:"><set><prop><x/></prop></set></propertyupdate>'
    assert hrefs(call(app, "PROPPATCH", "/webdav/geo/1.0.0/a&b'c<d>", {}, body)) == ["/webdav/geo/1.0.0/a&b'c%3Cd%3E/"]


def test_a_collection_without_its_slash_answers_at_once_and_alike(app: WsgiApp) -> None:
    assert propfind(app, "/webdav/geo/1.0.0") == propfind(app, "/webdav/geo/1.0.0/")


def test_every_hard_name_in_a_listing_leads_to_its_file(app: WsgiApp) -> None:
    listed = hrefs(propfind(app, "/webdav/geo/1.0.0/names/"))[1:]
    assert {unquote_to_bytes(href.rpartition("/")[2]) for href in listed} == set(HARD_NAMES)
    for href in listed:
        name = unquote_to_bytes(href.rpartition("/")[2])
        assert call(app, "GET", href).body == name
        assert hrefs(propfind(app, href, "0")) == [href]


def test_the_etag_of_a_property_is_the_header_and_quoted(app: WsgiApp) -> None:
    answer = propfind(app, "/webdav/geo/1.0.0/a.txt", "0")
    etag = ElementTree.fromstring(answer.body).findtext(".//{DAV:}getetag")
    assert etag == '"' + sha256(b"hello\n").hexdigest() + '"'
    assert call(app, "HEAD", "/webdav/geo/1.0.0/a.txt").headers["etag"] == etag


def test_properties_asked_by_name_come_in_two_propstats(app: WsgiApp) -> None:
    body = NAMED % b"<D:getcontentlength/><o:checksums/><D:quota-used-bytes/><o:permissions/>"
    answer = propfind(app, "/webdav/geo/1.0.0/a.txt", "0", body)
    ((_, response),) = responses(answer)
    by_status = {
        stat.findtext("{DAV:}status"): [prop.tag for prop in stat.find("{DAV:}prop") or []]
        for stat in response.iter("{DAV:}propstat")
    }
    assert by_status == {
        "HTTP/1.1 200 OK": ["{DAV:}getcontentlength", "{http://owncloud.org/ns}checksums"],
        "HTTP/1.1 404 Not Found": ["{DAV:}quota-used-bytes", "{http://owncloud.org/ns}permissions"],
    }
    digests = "MD5:" + md5(b"hello\n", usedforsecurity=False).hexdigest() + " SHA256:" + sha256(b"hello\n").hexdigest()
    assert response.findtext(".//{http://owncloud.org/ns}checksum") == digests


def test_allprop_has_the_rfcs_properties_and_no_quota(app: WsgiApp) -> None:
    for body in (b"", b'<propfind xmlns="DAV:"><allprop/></propfind>'):
        answer = propfind(app, "/webdav/geo/1.0.0/a.txt", "0", body)
        ((_, response),) = responses(answer)
        props = response.find(".//{DAV:}prop")
        assert props is not None
        assert {prop.tag for prop in props} == {
            "{DAV:}resourcetype",
            "{DAV:}displayname",
            "{DAV:}getlastmodified",
            "{DAV:}creationdate",
            "{DAV:}getcontentlength",
            "{DAV:}getcontenttype",
            "{DAV:}getetag",
        }


def test_allprop_with_include_adds_what_it_names(app: WsgiApp) -> None:
    body = b'<propfind xmlns="DAV:"><allprop/><include><c:checksums xmlns:c="http://owncloud.org/ns"/></include></propfind>'
    assert b"MD5:" in propfind(app, "/webdav/geo/1.0.0/a.txt", "0", body).body


def test_propname_names_without_values(app: WsgiApp) -> None:
    answer = propfind(app, "/webdav/geo/1.0.0/a.txt", "0", b'<propfind xmlns="DAV:"><propname/></propfind>')
    ((_, response),) = responses(answer)
    props = response.find(".//{DAV:}prop")
    assert props is not None
    assert "{http://owncloud.org/ns}checksums" in [prop.tag for prop in props]
    assert all(prop.text is None and not len(prop) for prop in props)


@pytest.mark.parametrize("depth", [None, "infinity", "Infinity"])
def test_nothing_is_below_a_file_so_infinity_has_an_end_there(app: WsgiApp, depth: str | None) -> None:
    headers = {} if depth is None else {"Depth": depth}
    answer = call(app, "PROPFIND", "/webdav/geo/1.0.0/a.txt", headers)
    assert answer.status == 207
    assert answer.body == call(app, "PROPFIND", "/webdav/geo/1.0.0/a.txt", {"Depth": "0"}).body
    assert call(app, "PROPFIND", "/webdav/geo/1.0.0/nothing", headers).status == 404
    assert call(app, "PROPFIND", "/webdav/geo/1.0.0/a.txt", {"Depth": "2"}).status == 403


@pytest.mark.parametrize("depth", ["infinity", None, "7"])
def test_propfind_without_a_finite_depth_is_refused_by_name(app: WsgiApp, depth: str | None) -> None:
    answer = call(app, "PROPFIND", "/webdav/geo/", {} if depth is None else {"Depth": depth})
    assert answer.status == 403
    root = ElementTree.fromstring(answer.body)
    assert root.tag == "{DAV:}error"
    assert [child.tag for child in root] == ["{DAV:}propfind-finite-depth"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "MKCOL", "COPY", "MOVE", "POST", "PATCH"])
def test_writers_get_403_whatever_they_name(app: WsgiApp, method: str) -> None:
    for target in ("/webdav/geo/1.0.0/a.txt", "/webdav/new", "/webdav/geo/1.0.0/new/"):
        answer = call(app, method, target, {}, b"x" * 100_000)
        assert answer.status == 403
        assert b"read-only" in answer.body
        assert b"aetherfs push" in answer.body


@pytest.mark.parametrize("method", ["LOCK", "UNLOCK", "REPORT"])
def test_locks_are_not_a_method_here(app: WsgiApp, method: str) -> None:
    answer = call(app, method, "/webdav/geo/1.0.0/a.txt")
    assert answer.status == 405
    assert "PROPFIND" in answer.headers["allow"]


def test_proppatch_is_refused_property_by_property(app: WsgiApp) -> None:
    body = (
        b'<D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop>'
        b"<Z:Win32LastModifiedTime>x</Z:Win32LastModifiedTime></D:prop></D:set>"
        b"<D:remove><D:prop><D:displayname/></D:prop></D:remove></D:propertyupdate>"
    )
    answer = call(app, "PROPPATCH", "/webdav/geo/1.0.0/a.txt", {}, body)
    assert answer.status == 207
    stats = ElementTree.fromstring(answer.body).findall(".//{DAV:}propstat")
    assert [stat.findtext("{DAV:}status") for stat in stats] == ["HTTP/1.1 403 Forbidden"]
    assert [prop.tag for stat in stats for prop in stat.findall("{DAV:}prop/*")] == [
        "{urn:schemas-microsoft-com:}Win32LastModifiedTime",
        "{DAV:}displayname",
    ]


@pytest.mark.parametrize(
    "target", ["/", "/webdav/", "/webdav/@scope", "/webdav/geo/", "/webdav/geo/1.0.0", "/webdav/geo/latest/sub/"]
)
def test_proppatch_of_a_folder_is_refused_as_a_files_is(app: WsgiApp, target: str) -> None:
    body = b'<propertyupdate xmlns="DAV:"><set><prop><x xmlns="u:"/></prop></set></propertyupdate>'
    answer = call(app, "PROPPATCH", target, {}, body)
    assert answer.status == 207
    document = ElementTree.fromstring(answer.body)
    assert document.findtext(".//{DAV:}href") == (target if target.endswith("/") else target + "/")
    assert document.findtext(".//{DAV:}status") == "HTTP/1.1 403 Forbidden"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_proppatch_is_answered_whatever_else_stands_in_its_body(app: WsgiApp, encoding: str) -> None:
    body = (
        f'\ufeff<?xml version="1.0" encoding="{encoding}"?><!-- a --><propertyupdate xmlns="DAV:"><!-- b --><?c d?>'
        '<x:other xmlns:x="u:"/><set xml:lang="de"><!-- e --><x:other xmlns:x="u:"/><prop><!-- f --><?g?><a/></prop>'
        "</set><remove><prop><b>value</b><a/></prop></remove></propertyupdate>"
    )
    answer = call(app, "PROPPATCH", "/webdav/geo/1.0.0/a.txt", {}, body.encode(encoding.replace("16", "16-le")))
    assert answer.status == 207, answer
    assert [prop.tag for prop in ElementTree.fromstring(answer.body).findall(".//{DAV:}prop/*")] == [
        "{DAV:}a",
        "{DAV:}b",
    ]


def test_what_is_not_there_is_404_for_every_reader(app: WsgiApp) -> None:
    for target in ("/webdav/nope", "/webdav/geo/9.9.9/", "/webdav/geo/1.0.0/._a.txt", "/webdav/geo/1.0.0/a.txt/x"):
        for method in ("GET", "HEAD", "PROPFIND"):
            assert call(app, method, target, {"Depth": "0"}).status == 404
        assert call(app, "PROPPATCH", target, {}, b"<a/>").status in (400, 404)


def test_a_file_is_no_folder_with_a_slash_behind_its_name() -> None:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"f": b"x", b"to-f": Link(b"f"), b"._f": b"x", b"d": {}})
    app = make_wsgi_app(tree)
    body = b'<propertyupdate xmlns="DAV:"><set><prop><x/></prop></set></propertyupdate>'
    for name in ("f", "to-f", "._f"):
        for method in ("GET", "HEAD", "PROPFIND", "PROPPATCH"):
            for depth in ({}, {"Depth": "0"}, {"Depth": "1"}):
                said = body if method == "PROPPATCH" else b""
                assert call(app, method, f"/webdav/geo/1.0.0/{name}/?x", depth, said).status == 404
        assert call(app, "GET", f"/webdav/geo/1.0.0/{name}").status == 200
    assert call(app, "GET", "/webdav/geo/1.0.0/d/").status == 200


def test_a_body_over_the_limit_is_413_and_a_dtd_400(app: WsgiApp) -> None:
    assert call(app, "PROPFIND", "/webdav/", {"Depth": "0"}, b" " * 70_000).status == 413
    assert call(app, "PROPFIND", "/webdav/", {"Depth": "0"}, b"<!DOCTYPE x><x/>").status == 400


@pytest.mark.parametrize("method", ["PROPFIND", "PROPPATCH"])
def test_a_body_that_ends_early_is_not_read_as_if_it_were_whole(app: WsgiApp, method: str) -> None:
    for body in (b"", b'<propfind xmlns="DAV:"><allprop/></propfind>'):
        answer = call(app, method, "/webdav/geo/1.0.0/a.txt", {"Depth": "0", "Content-Length": "99"}, body)
        assert answer.status == 400
        assert b"ended" in answer.body


def test_links_to_files_show_as_files_and_links_to_folders_are_asked_for_by_name() -> None:
    tree = MemoryTree()
    state: Contents = {
        b"f": b"file",
        b"to-f": Link(b"f"),
        b"d": {b"up": Link(b".."), b"g": b"g"},
        b"to-d": Link(b"d"),
        b"gone": Link(b"x"),
    }
    tree.publish("geo", "1.0.0", state)
    app = make_wsgi_app(tree)
    assert sorted(hrefs(propfind(app, "/webdav/geo/1.0.0/"))) == [
        "/webdav/geo/1.0.0/",
        "/webdav/geo/1.0.0/d/",
        "/webdav/geo/1.0.0/f",
        "/webdav/geo/1.0.0/to-f",
    ]
    assert sorted(hrefs(propfind(app, "/webdav/geo/1.0.0/to-d"))) == [
        "/webdav/geo/1.0.0/to-d/",
        "/webdav/geo/1.0.0/to-d/g",
    ]
    assert call(app, "GET", "/webdav/geo/1.0.0/to-d/up/to-f").body == b"file"


def test_folders_of_more_than_one_page_are_listed_whole() -> None:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"%05d" % i: b"" for i in range(2500)})
    listed = hrefs(propfind(make_wsgi_app(tree), "/webdav/geo/1.0.0/"))
    assert len(listed) == len(set(listed)) == 2501


def test_a_large_folder_is_sent_while_it_is_read_and_a_small_one_has_its_length() -> None:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"large": {b"%05d" % i: b"" for i in range(5000)}, b"small": {b"x": b""}})
    app = make_wsgi_app(tree)
    assert "content-length" in propfind(app, "/webdav/geo/1.0.0/small").headers
    tree.blocking_calls.clear()
    body = iter(app(environ_for("PROPFIND", "/webdav/geo/1.0.0/large", {"Depth": "1"}, b""), lambda *_: None))
    next(body)
    assert tree.blocking_calls["children"] < 10
    assert sum(1 for _ in body) > 10
    assert tree.blocking_calls["children"] == 20


def test_times_and_names_that_xml_and_dates_cannot_spell_do_not_break_a_listing() -> None:
    tree = MemoryTree()
    tree.publish(
        "geo",
        "1.0.0",
        {b"a\x01\x0b\xef\xbf\xbf": File(b"", mtime_ns=-(2**63)), b"\xed\xa0\x80": File(b"", mtime_ns=2**63 - 1)},
    )
    listed = hrefs(propfind(make_wsgi_app(tree), "/webdav/geo/1.0.0/"))
    assert sorted(listed)[1:] == ["/webdav/geo/1.0.0/%ED%A0%80", "/webdav/geo/1.0.0/a%01%0B%EF%BF%BF"]


def test_an_unreachable_store_is_503_and_names_nothing(tree: MemoryTree, app: WsgiApp) -> None:
    def fail(_operation: str) -> None:
        raise StoreUnavailable("s3://bucket", "no route to host")

    tree.on_blocking = fail
    for method in ("GET", "PROPFIND"):
        answer = call(app, method, "/webdav/geo/1.0.0/", {"Depth": "1"})
        assert answer.status == 503
        assert answer.headers["retry-after"]
        assert b"bucket" not in answer.body


def test_the_engine_behind_it_logs_nothing(tree: MemoryTree, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        app = make_wsgi_app(tree)
        call(app, "OPTIONS", "/")
        propfind(app, "/", "1")
        call(app, "PROPPATCH", "/webdav/geo", {}, b"<x/>")
    assert caplog.records == []
