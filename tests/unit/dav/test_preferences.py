import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav.wire.preferences import accepts_gzip, is_brief, prefers_minimal


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, False),
        ("", False),
        ("return=minimal", True),
        ("Return = minimal", True),
        ('return="minimal"', True),
        ("respond-async, return=minimal; foo=bar, wait=10", True),
        ("return=representation", False),
        ("return=representation, return=minimal", False),  # the first counts (RFC 7240 section 2)
        ("return", False),
        ("returned=minimal", False),
        ("depth-noroot", False),
        ('foo="a, return=minimal"', False),
        (r'foo="\", return=minimal"', False),
        ('foo="a,b", return=minimal', True),
    ],
)
def test_prefer_asks_for_the_short_form(value: str | None, expected: bool) -> None:
    assert prefers_minimal(value) is expected


@pytest.mark.parametrize(("value", "expected"), [("t", True), (" T ", True), ("f", False), ("", False), (None, False)])
def test_brief_is_t_or_it_is_not(value: str | None, expected: bool) -> None:
    assert is_brief(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("x-gzip", True),
        ("GZip", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip ; q=0.001", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0, gzip", True),
        ("identity", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("identity;q=0, br", False),
        ("br, deflate", False),
        ("gzipped", False),
    ],
)
def test_gzip_is_taken_where_it_is_named_and_not_liked_less(value: str | None, expected: bool) -> None:
    assert accepts_gzip(value) is expected


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_any_header_is_an_answer(value: str) -> None:
    for asks in (prefers_minimal, is_brief, accepts_gzip):
        assert asks(value) in (True, False)
