"""PROPFIND's answers as documents: what each entry says, and that they are XML whatever names and requests come."""

import gzip
import re
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote, unquote_to_bytes
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav.properties import FILE_PROPERTIES, FOLDER_PROPERTIES
from dav.reply import WsgiApp
from dav.wire.multistatus import display_names, hrefs
from dav.wire.paths import quote_name
from gateway.web.app import make_wsgi_app
from store.vfs.tree import NO_VERIFIER, Entry, FileDigests, Kind, Listing, Node
from tests.conformance.tree_cases import SAMPLE
from tests.support.trees import Contents, File, Link, MemoryTree
from tests.unit.dav.calls import Answer, call, environ_for
from tests.unit.docs.pages import section

NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b"..")
)
ALLPROP = b'<propfind xmlns="DAV:"><allprop/></propfind>'
Z = "{urn:schemas-microsoft-com:}"
OC = "{http://owncloud.org/ns}"


def app_over(contents: Contents) -> WsgiApp:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", contents)
    return make_wsgi_app(tree)


def asked(*names: str) -> bytes:
    """Return a body that asks for properties by their names in Clark notation."""
    elements = []
    for number, name in enumerate(names):
        space, _, local = name[1:].rpartition("}") if name.startswith("{") else ("", "", name)
        elements.append(f"<a{number}:{local} xmlns:a{number}={quoteattr(space)}/>" if space else f"<{local}/>")
    return f'<D:propfind xmlns:D="DAV:"><D:prop>{"".join(elements)}</D:prop></D:propfind>'.encode()


def propfind(
    app: WsgiApp, path: str, body: bytes = b"", *, depth: str = "1", headers: Mapping[str, str] | None = None
) -> Answer:
    answer = call(app, "PROPFIND", f"/webdav/geo/1.0.0{path}", {"Depth": depth, **(headers or {})}, body)
    assert answer.status == 207, answer
    return answer


def responses(answer: Answer) -> Iterator[tuple[str, dict[str, dict[str, str | None]]]]:
    """Yield href and, by status, the properties with their text."""
    for response in ElementTree.fromstring(answer.body):
        assert response.tag == "{DAV:}response"
        stats: dict[str, dict[str, str | None]] = {}
        for stat in response.findall("{DAV:}propstat"):
            status = (stat.findtext("{DAV:}status") or "").split()[1]
            assert status not in stats
            stats[status] = {prop.tag: prop.text for prop in stat.findall("{DAV:}prop/*")}
        assert stats
        yield response.findtext("{DAV:}href") or "", stats


def of(answer: Answer) -> dict[str, dict[str, str | None]]:
    ((_, stats),) = responses(answer)
    return stats


# Names


@given(st.lists(NAMES, max_size=5))
def test_names_are_spelt_together_as_each_alone(names: list[bytes]) -> None:
    assert hrefs(names) == [quote_name(name) for name in names]
    assert display_names(names) == [display_names([name])[0] for name in names]


@given(st.sets(NAMES, min_size=1, max_size=6))
def test_any_names_are_listed_as_xml_and_each_href_leads_to_its_file(names: set[bytes]) -> None:
    app = app_over({b"d": {name: name for name in names}})
    listed = dict(responses(propfind(app, "/d")))
    assert {unquote_to_bytes(href.rpartition("/")[2]) for href in listed if not href.endswith("/d/")} == names
    for href in listed:
        if not href.endswith("/d/"):
            assert call(app, "GET", href).body == unquote_to_bytes(href.rpartition("/")[2])


def test_every_byte_of_a_name_comes_back_however_it_was_escaped() -> None:
    every = [bytes([byte]) for byte in range(1, 256) if byte != ord("/")]
    names = [b"x" + byte for byte in every]
    app = app_over({name: name for name in names})
    assert (
        sorted(unquote_to_bytes(href.rpartition("/")[2]) for href, _ in list(responses(propfind(app, "")))[1:]) == names
    )
    for name in names:
        for target in ("".join(f"%{byte:02X}" for byte in name), "".join(f"%{byte:02x}" for byte in name), quote(name)):
            assert call(app, "GET", f"/webdav/geo/1.0.0/{target}").body == name


def test_names_that_mean_something_to_xml_urls_and_templates_are_shown_as_they_are() -> None:
    names = ["&<>\"'#?%+", "%s %d %%", "a b", "\N{GRINNING FACE}", "]]>", "&amp;", "n" * 255, "{}"]
    app = app_over({name.encode(): b"" for name in names})
    shown = [stats["200"]["{DAV:}displayname"] for _, stats in list(responses(propfind(app, "")))[1:]]
    assert sorted(str(name) for name in shown) == sorted(names)


def test_what_is_not_text_is_shown_with_replacements() -> None:
    app = app_over({b"\xff\x01\r\n\x7f": b"", "\ufffe".encode(): b""})
    shown = {stats["200"]["{DAV:}displayname"] for _, stats in list(responses(propfind(app, "")))[1:]}
    assert shown == {"\ufffd" * 5, "\ufffd"}


# Properties


def test_an_entry_of_a_listing_is_to_the_byte_what_is_said_of_it_alone() -> None:
    app = app_over({**SAMPLE, b"many": {b"%d" % i: b"%d" % i for i in range(30)}})
    some = asked("{DAV:}getetag", f"{OC}checksums", f"{OC}permissions", "{DAV:}resourcetype", f"{Z}Win32FileAttributes")
    for body in (b"", ALLPROP, b'<propfind xmlns="DAV:"><propname/></propfind>', some):
        for folder in ("", "/names", "/many", "/sub"):
            listing = propfind(app, folder, body)
            begin, _, rest = listing.body.partition(b"<D:response>")
            entries = rest.removesuffix(b"</D:multistatus>\n").split(b"<D:response>")
            for (href, _), entry in zip(responses(listing), entries, strict=True):
                alone = call(app, "PROPFIND", href, {"Depth": "0"}, body).body
                assert alone == begin + b"<D:response>" + entry + b"</D:multistatus>\n"


def test_all_properties_of_a_file_and_of_a_folder() -> None:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"run": File(b"x", executable=True, mtime_ns=1_600_000_000_999_999_999), b"d": {}})
    app = make_wsgi_app(tree)
    names = [f"{Z}Win32{kind}" for kind in ("CreationTime", "LastModifiedTime", "LastAccessTime", "FileAttributes")]
    names += ["{DAV:}creationdate", "{DAV:}getlastmodified", "{http://apache.org/dav/props/}executable"]
    date = "Sun, 13 Sep 2020 12:26:40 GMT"
    assert of(propfind(app, "/run", asked(*names), depth="0")) == {
        "200": dict(zip(names, [date, date, date, "00000001", "2020-09-13T12:26:40Z", date, "T"], strict=True))
    }
    of_folder = of(propfind(app, "/d", asked(*names), depth="0"))
    assert of_folder["200"][f"{Z}Win32FileAttributes"] == "00000010"
    assert list(of_folder["404"]) == ["{http://apache.org/dav/props/}executable"]


def test_locks_quota_and_location_are_properties_of_nothing() -> None:
    names = ["{DAV:}lockdiscovery", "{DAV:}supportedlock", "{DAV:}quota-used-bytes", "{DAV:}quota", "{DAV:}location"]
    app = app_over(SAMPLE)
    for path in ("", "/a.txt"):
        assert list(of(propfind(app, path, asked(*names), depth="0"))) == ["404"]
        for body in (b"", b'<propfind xmlns="DAV:"><propname/></propfind>'):
            assert not set(names) & set(of(propfind(app, path, body, depth="0"))["200"])


def test_the_page_names_all_properties_there_are() -> None:
    stated: dict[Kind, set[tuple[str, bool]]] = {Kind.FILE: set(), Kind.FOLDER: set()}
    for line in section("docs/webdav.md", "Properties").splitlines():
        cells = line.split("|")
        if len(cells) != 6 or "`" not in line:
            continue
        space = cells[2].strip(" `")
        for name in re.findall(r"`(\w+)`", cells[1]):
            for kind, word in ((Kind.FILE, "files"), (Kind.FOLDER, "folders")):
                if word in cells[3]:
                    stated[kind].add((f"{{{space}}}{name}", cells[4].strip() == "yes"))
    tables = {Kind.FILE: FILE_PROPERTIES, Kind.FOLDER: FOLDER_PROPERTIES}
    assert stated == {kind: {(name, name.startswith("{DAV:}")) for name in table} for kind, table in tables.items()}


def test_the_checksums_are_one_element_that_rclone_reads() -> None:
    answer = propfind(app_over({b"a": b"a"}), "/a", asked(f"{OC}checksums"), depth="0")
    checksums = ElementTree.fromstring(answer.body).findall(f".//{OC}checksums/{OC}checksum")
    assert [checksum.text for checksum in checksums] == [
        "MD5:0cc175b9c0f1b6a831c399e269772661 SHA256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    ]


def test_files_behind_links_have_the_properties_of_the_files_in_their_place() -> None:
    app = app_over({b"a": b"one", b"b": Link(b"z/f"), b"c": {}, b"d": Link(b"c"), b"e": b"", b"z": {b"f": b"behind"}})
    shown = {href: stats["200"] for href, stats in responses(propfind(app, ""))}
    assert [href.removeprefix("/webdav/geo/1.0.0/") for href in shown] == ["", "a", "b", "c/", "e", "z/"]
    link, file = shown["/webdav/geo/1.0.0/b"], of(propfind(app, "/z/f", depth="0"))["200"]
    assert link["{DAV:}displayname"] == "b"
    assert {**link, "{DAV:}displayname": "f"} == file


# Requests

LOCALS = st.from_regex(r"[A-Za-z_\u00e9][A-Za-z0-9._\u00e9-]{0,8}", fullmatch=True).filter(
    lambda text: not text.lower().startswith("xml")
)
SPACES = st.sampled_from(["", "DAV:", "urn:schemas-microsoft-com:", "http://owncloud.org/ns"]) | st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="}\ufffe\uffff"), min_size=1, max_size=12
).filter(lambda text: "www.w3.org" not in text)


@given(st.lists(st.tuples(SPACES, LOCALS), max_size=6, unique=True))
def test_each_property_asked_for_is_answered_once_under_its_own_name(names: list[tuple[str, str]]) -> None:
    clark = [f"{{{space}}}{local}" if space else local for space, local in names]
    app = app_over({b"a": b"a"})
    for _, stats in responses(propfind(app, "", asked(*clark))):
        assert Counter(name for stat in stats.values() for name in stat) == Counter(clark)


def test_names_of_xmls_own_namespace_and_of_none_are_answered() -> None:
    body = b'<propfind xmlns="DAV:"><prop><xml:lang/><x xmlns=""/><y xmlns="a&#10;&quot;&amp;b"/></prop></propfind>'
    assert of(propfind(app_over({}), "", body, depth="0")) == {
        "404": {"{http://www.w3.org/XML/1998/namespace}lang": None, "x": None, '{a\n"&b}y': None}
    }


@pytest.mark.parametrize("headers", [{"Prefer": "return=minimal"}, {"Brief": "t"}])
def test_who_prefers_it_short_hears_nothing_about_what_is_not_there(headers: dict[str, str]) -> None:
    app = app_over({b"a": b"a", b"d": {}})
    answer = propfind(app, "", asked("{DAV:}getetag", "{x}y"), headers=headers)
    assert [list(stats) for _, stats in responses(answer)] == [["200"]] * 3
    assert [len(stats["200"]) for _, stats in responses(answer)] == [0, 1, 0]
    assert answer.headers.get("preference-applied") == headers.get("Prefer")
    assert "Prefer" in answer.headers["vary"]
    assert "404" in of(propfind(app, "", asked("{x}y"), depth="0"))


def test_gzip_comes_to_who_accepts_it_when_there_is_something_to_gain() -> None:
    app = app_over(
        {b"d": {b"%04d" % i: b"" for i in range(2500)}, b"a.txt": b"x" * 5000, b"e": {b"%d" % i: b"" for i in range(5)}}
    )
    for path in ("/d", "/e"):
        plain = propfind(app, path)
        zipped = propfind(app, path, headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in plain.headers
        assert zipped.headers["content-encoding"] == "gzip"
        assert "Accept-Encoding" in plain.headers["vary"]
        assert gzip.decompress(zipped.body) == plain.body
        assert len(zipped.body) < len(plain.body) / 2
        assert zipped == propfind(app, path, headers={"Accept-Encoding": "gzip"})
        assert zipped.headers.get("content-length", str(len(zipped.body))) == str(len(zipped.body))
    small = propfind(app, "/a.txt", depth="0", headers={"Accept-Encoding": "gzip"})
    file = call(app, "GET", "/webdav/geo/1.0.0/a.txt", {"Accept-Encoding": "gzip", "Range": "bytes=0-99"})
    assert "content-encoding" not in small.headers | file.headers
    assert len(file.body) == 100


def test_two_thousand_entries_fit_into_what_explorers_redirector_takes() -> None:
    app = app_over({b"%04d" % i + b"n" * 60: b"" for i in range(2000)})
    redirector = {"User-Agent": "Microsoft-WebDAV-MiniRedir/10.0.19045"}
    answer = propfind(app, "", headers=redirector)
    assert len(list(responses(answer))) == 2001
    assert len(answer.body) < 1_000_000 < len(propfind(app, "").body)
    assert of(propfind(app, "/0000" + "n" * 60, asked("{DAV:}getetag"), depth="0", headers=redirector))["200"]


# Large folders


class Endless(MemoryTree):
    """A tree whose folder `d` has as many entries as one likes, without holding them."""

    count = 0

    def children(
        self, folder: Node, *, after: int = 0, limit: int = 1024, verifier: bytes = NO_VERIFIER, passing: bool = False
    ) -> Listing:
        node = folder._replace(kind=Kind.FILE, size=1)
        stop = min(after + limit, self.count)
        entries = [Entry(number + 1, b"entry-%09d" % number, node) for number in range(after, stop)]
        return Listing(entries, stop == self.count, NO_VERIFIER)

    def digests_of(self, files: Sequence[Node], *, passing: bool = False) -> list[FileDigests]:
        return [FileDigests(bytes(32), bytes(16))] * len(files)


def peak_of(count: int, headers: Mapping[str, str]) -> tuple[int, int]:
    """Return bytes of memory and of the answer that a listing of so many entries takes."""
    tree = Endless()
    tree.publish("geo", "1.0.0", {b"d": {b"x": b""}})
    tree.count = count
    app = make_wsgi_app(tree)
    environ = environ_for("PROPFIND", "/webdav/geo/1.0.0/d", {"Depth": "1", **headers}, b"")
    tracemalloc.start()
    try:
        size = sum(map(len, app(environ, lambda *_: None)))
        return tracemalloc.get_traced_memory()[1], size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("headers", [{}, {"Accept-Encoding": "gzip"}])
def test_a_folder_of_any_size_is_listed_in_the_same_memory(headers: dict[str, str]) -> None:
    peak_of(2_000, headers)
    small, less = peak_of(4_000, headers)
    large, more = peak_of(40_000, headers)
    assert more > 8 * less
    assert large < small + (1 << 20)
    assert large < 8 << 20


def test_where_much_is_asked_of_each_entry_pages_are_smaller() -> None:
    app = app_over({b"%04d" % i: b"" for i in range(1000)})
    body = asked(*(f"{{urn:x}}{'n' * 60}{i}" for i in range(400)))
    pieces = list(app(environ_for("PROPFIND", "/webdav/geo/1.0.0", {"Depth": "1"}, body), lambda *_: None))
    assert len(pieces) > 20
    assert max(map(len, pieces)) < 2 << 20
