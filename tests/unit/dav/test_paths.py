import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav.reply import target_of
from dav.wire.paths import RequestPath, quote_name, quote_path, split_target

names = st.binary(min_size=1, max_size=255).filter(lambda name: b"/" not in name and b"\0" not in name)


@given(st.lists(names, max_size=5))
def test_names_of_any_bytes_survive_the_way_through_a_url(path: list[bytes]) -> None:
    assert split_target(quote_path(path) or "/").names == tuple(path)


@given(names)
def test_an_encoded_name_is_ascii_without_anything_html_xml_or_urls_care_about(name: bytes) -> None:
    encoded = quote_name(name)
    assert encoded.isascii()
    assert not set(encoded) & set("/?#&;<>\"'+ \\:=")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", RequestPath((), True)),
        ("*", RequestPath((), True)),
        ("/a/b", RequestPath((b"a", b"b"), False)),
        ("/a//b/", RequestPath((b"a", b"b"), True)),
        ("/a%2Fb/c", RequestPath((b"a/b", b"c"), False)),
        ("/a%252Fb", RequestPath((b"a%2Fb",), False)),
        ("/100%zz", RequestPath((b"100%zz",), False)),
        ("/%FF?x=/y/", RequestPath((b"\xff",), False)),
        ("/\xe9", RequestPath((b"\xe9",), False)),
        ("/a+b", RequestPath((b"a+b",), False)),
        ("http://host:80/a/b", RequestPath((b"a", b"b"), False)),
        ("http://host", RequestPath((), True)),
    ],
)
def test_a_target_is_split_before_it_is_decoded(target: str, expected: RequestPath) -> None:
    assert split_target(target) == expected


def test_without_the_target_as_sent_the_decoded_path_is_taken_as_it_is() -> None:
    assert split_target(target_of({"PATH_INFO": "/100%/what?"})).names == (b"100%", b"what?")
