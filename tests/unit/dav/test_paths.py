import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav.reply import target_of
from dav.wire.paths import RequestPath, quote_name, quote_path, spelt_path, split_target

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


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", ""),
        ("*", ""),
        ("http://host", ""),
        ("http://host/a%40b/@c/?x=/y/", "/a%40b/@c"),
        ("//a///b/", "/a/b"),
        ("/%c3%a9/%C3%A9", "/%c3%a9/%C3%A9"),
        ("/@s%2Fn/1.0+b~_-!$&'()*,;=:", "/@s%2Fn/1.0+b~_-!$&'()*,;=:"),
        ("/100%/%zz/%4", "/100%25/%25zz/%254"),
        ('/a"b<c>d^e`f{g|h}i\\j', "/a%22b%3Cc%3Ed%5Ee%60f%7Bg%7Ch%7Di%5Cj"),
        ("/\xe9", "/%E9"),
    ],
)
def test_a_path_is_spelt_as_it_was_asked_for(target: str, expected: str) -> None:
    assert spelt_path(target) == expected


@given(st.lists(names, max_size=5), st.text(alphabet="%@&'<>\"/ 0aA\xe9?#", max_size=30))
def test_a_path_means_the_same_however_it_is_spelt(path: list[bytes], other: str) -> None:
    for target in (quote_path(path) or "/", "/" + other):
        spelt = spelt_path(target)
        assert split_target(spelt or "/").names == split_target(target).names
        assert spelt_path(spelt) == spelt
        assert not set(spelt) & set('<>"?# ')


def test_without_the_target_as_sent_the_decoded_path_is_taken_as_it_is() -> None:
    assert split_target(target_of({"PATH_INFO": "/100%/what?"})).names == (b"100%", b"what?")
