"""Cookies, hosts, and places that somebody may be sent on to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav.reply import TLS
from gateway.web.cookies import HOME, is_secure, local_path, origin, read_cookie, set_cookie


@pytest.mark.parametrize("path", ["/", "/fs/", "/fs/geo/?sort=name&order=asc", "/fs/%C3%A9/a%20b", "/ui/", "/a//b"])
def test_places_on_this_gateway_are_kept(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["", "fs/", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/%5Cevil.example",
     "/%5c%5cevil.example", "https://evil.example/", "https:evil.example", "javascript:alert(1)", "/\t/evil.example",
     "/\n/evil.example", "/fs/\r\nSet-Cookie: a=b", "/fs/\x00", " /fs/", "/fs/ x", "/é", "/fs/#x", "/%zz", "/%",
     "/ui/login", "/ui/logout", "/ui/login/start", "/" + "a" * 3000, "http://evil.example//fs/", "//", "/\u2028/x",
     "/..//evil.example", "/.//evil.example", "/fs/%2e%2e//evil.example", "/%2f/evil.example", "/ui/../ui/login",
     "/%75i/login"],
)  # fmt: skip
def test_other_places_are_not(path: str) -> None:
    assert local_path(path) == HOME


@given(st.text(max_size=60) | st.from_regex(r"[/\\%a-z0-9.:@?#\t\r\n-]{0,40}", fullmatch=True))
def test_any_place_stays_here_and_ends_no_line(text: str) -> None:
    path = local_path(text)
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))
    assert path.isascii()
    assert path.isprintable()
    assert " " not in path


@pytest.mark.parametrize("host", ["data.example.org", "data.example.org:8443", "127.0.0.1:1", "[::1]:8080", "a_b"])
def test_hosts_are_taken_as_they_were_asked(host: str) -> None:
    assert origin({"HTTP_HOST": host}, "") == f"http://{host}"
    assert origin({"HTTP_HOST": host, TLS: True}, "") == f"https://{host}"
    assert origin({"HTTP_HOST": host}, "https://data.example.org/") == "https://data.example.org"


@pytest.mark.parametrize(
    "host", ["", "a b", "a/b", "a@b", "a\\b", "a:b", "a:123456", "a\r\nx: y", "[::1", "é", "a?b", "a#b", "-a"]
)
def test_other_hosts_are_none(host: str) -> None:
    assert origin({"HTTP_HOST": host}, "") is None


def test_cookies_are_for_this_host_alone_and_for_no_script() -> None:
    assert set_cookie("__Host-a", "v", secure=True, lasts_s=5) == (
        "Set-Cookie", "__Host-a=v; Path=/; Max-Age=5; HttpOnly; SameSite=Lax; Secure"
    )  # fmt: skip
    assert "Secure" not in set_cookie("a", "v", secure=False, lasts_s=5)[1]


def test_tls_before_the_gateway_counts() -> None:
    assert is_secure({TLS: True}, "")
    assert not is_secure({}, "")
    assert is_secure({}, "https://data.example.org")
    assert not is_secure({TLS: True}, "http://localhost:8080")


@pytest.mark.parametrize(
    ("field", "value"),
    [("a=1", "1"), ("b=2; a=1", "1"), ("a=1; a=1", "1"), ("a=1; a=2", None), ("ab=1", None), ("", None), ("a", ""),
     ("a=1=2", "1=2"), (";;a=1;;", "1"), ("A=1", None), ("a=1;" + "b" * 40_000, None)],
)  # fmt: skip
def test_a_cookie_is_read_once_or_not(field: str, value: str | None) -> None:
    assert read_cookie({"HTTP_COOKIE": field}, "a") == value
