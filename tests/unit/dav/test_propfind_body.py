import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav.wire.errors import BadXml, DepthRefused, WireError
from dav.wire.propfind import MAX_ELEMENTS, Mode, Propfind, parse_depth, parse_propfind, parse_proppatch

HEAD = b'<?xml version="1.0" encoding="utf-8"?>'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", Propfind(Mode.ALLPROP, ())),
        (b'<propfind xmlns="DAV:"><allprop/></propfind>', Propfind(Mode.ALLPROP, ())),
        (b'<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>', Propfind(Mode.PROPNAME, ())),
        (
            b'<D:propfind xmlns:D="DAV:"><D:allprop/><D:include><x:y xmlns:x="z"/></D:include></D:propfind>',
            Propfind(Mode.ALLPROP, ("{z}y",)),
        ),
        (
            b'<d:propfind xmlns:d="DAV:"><d:prop><d:getetag/><bare xmlns=""/><d:getetag/></d:prop></d:propfind>',
            Propfind(Mode.NAMED, ("{DAV:}getetag", "bare")),
        ),
        (b'<D:propfind xmlns:D="DAV:"><D:prop/></D:propfind>', Propfind(Mode.NAMED, ())),
    ],
)
def test_propfind_body_means(body: bytes, expected: Propfind) -> None:
    assert parse_propfind(HEAD + body if body else body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"not xml",
        b'<propfind xmlns="DAV:">',
        b'<propfind xmlns="DAV:"/>',
        b"<propfind><allprop/></propfind>",
        b'<multistatus xmlns="DAV:"><allprop/></multistatus>',
        b'<propfind xmlns="DAV:"><allprop/><propname/></propfind>',
        b'<propfind xmlns="DAV:"><prop>' + b"<a/>" * MAX_ELEMENTS + b"</prop></propfind>",
        b"<a>" * 40 + b"</a>" * 40,
        b'<propfind xmlns:u="DAV:"><v:allprop/></propfind>',
        b'<propfind xmlns="DAV:"><prop><' + b"a" * 2000 + b"/></prop></propfind>",
        b'<propfind xmlns="DAV:"><prop><a xmlns="' + b"u" * 2000 + b'"/></prop></propfind>',
        b'<?xml version="1.0" encoding="no-such-thing"?><propfind xmlns="DAV:"><allprop/></propfind>',
        b'<?xml version="1.0" encoding="shift_jis"?><propfind xmlns="DAV:"><allprop/></propfind>',
        b'<?xml version="1.0" encoding="rot13"?><propfind xmlns="DAV:"><allprop/></propfind>',
    ],
)
def test_what_is_no_propfind_is_refused(body: bytes) -> None:
    with pytest.raises(BadXml):
        parse_propfind(body)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16le", "utf-16be", "iso-8859-1"])
def test_a_body_may_be_in_any_encoding_that_the_parser_knows_by_itself(encoding: str) -> None:
    text = (
        f'<?xml version="1.0" encoding="{encoding.upper()}"?><propfind xmlns="DAV:"><prop><\u00e9/></prop></propfind>'
    )
    assert parse_propfind(text.encode(encoding)) == Propfind(Mode.NAMED, ("{DAV:}\u00e9",))


@pytest.mark.parametrize(
    "doctype",
    [b"<!DOCTYPE propfind>", b'<!DOCTYPE p [<!ENTITY a "b">]>', b'<!DOCTYPE p SYSTEM "file:///etc/passwd">'],
)
def test_dtd_in_propfind_body_is_refused(doctype: bytes) -> None:
    with pytest.raises(BadXml, match="document types"):
        parse_propfind(doctype + b'<propfind xmlns="DAV:"><allprop/></propfind>')


def test_proppatch_names_what_it_sets_and_removes() -> None:
    body = (
        b'<D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop>'
        b"<Z:Win32FileAttributes>00000000</Z:Win32FileAttributes></D:prop></D:set>"
        b"<D:remove><D:prop><Z:x/></D:prop></D:remove></D:propertyupdate>"
    )
    expected = ("{urn:schemas-microsoft-com:}Win32FileAttributes", "{urn:schemas-microsoft-com:}x")
    assert parse_proppatch(body) == expected


@pytest.mark.parametrize(
    "body", [b"", b'<propertyupdate xmlns="DAV:"/>', b'<propfind xmlns="DAV:"><allprop/></propfind>']
)
def test_what_is_no_proppatch_is_refused(body: bytes) -> None:
    with pytest.raises(BadXml):
        parse_proppatch(body)


@pytest.mark.parametrize("depth", ["infinity", None, "2", "", "01", "1,noroot", "\u0661"])
def test_any_depth_but_0_and_1_is_refused(depth: str | None) -> None:
    with pytest.raises(DepthRefused):
        parse_depth(depth)


def test_depth_0_and_1_are_read() -> None:
    assert (parse_depth("0"), parse_depth(" 1 ")) == (0, 1)


@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda t: f'<propfind xmlns="DAV:">{t}</propfind>'.encode()))
def test_any_body_is_a_value_or_a_wire_error(body: bytes) -> None:
    for parse in (parse_propfind, parse_proppatch):
        with contextlib.suppress(WireError):
            parse(body)
