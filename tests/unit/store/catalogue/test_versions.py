"""Order of versions, and what lies in a range."""

import itertools

import pytest

from store.catalogue.versions import Version, parse_range, parse_version
from store.errors import BadName

ASCENDING = (
    "0.0.1",
    "1.0.0-1",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0",
    "1.0.1",
    "1.10.0",
    "24.04",
    "24.04.1",
    "24.10",
    "2026.01",
    "2026.01.31",
    "2026.11",
    "2026.11-1",
    "2026.11.22",
    "2026.11.22-1",
    "2026-11-23",
    "2026.11.23-2",
    "2026.11.23-10",
)


def version(tag: str) -> Version:
    parsed = parse_version(tag)
    assert parsed is not None, tag
    return parsed


def test_versions_of_both_kinds_are_ordered_on_one_line() -> None:
    for older, newer in itertools.combinations(ASCENDING, 2):
        assert version(older).precedence < version(newer).precedence, (older, newer)


@pytest.mark.parametrize(("one", "other"), [("1.0.0", "v1.0.0"), ("1.0.0+a", "1.0.0+b"), ("2026.11.22", "2026-11-22")])
def test_spellings_share_one_place(one: str, other: str) -> None:
    assert version(one).precedence == version(other).precedence


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("^1.2", "1.2.0 1.2.9 1.99.0", "1.1.9 2.0.0 1.3.0-rc.1 2.0.0-rc.1"),
        ("^0.2.3", "0.2.3 0.2.9", "0.2.2 0.3.0 1.0.0"),
        ("^0.0.3", "0.0.3", "0.0.2 0.0.4"),
        ("^0.0", "0.0.0 0.0.9", "0.1.0"),
        ("^0", "0.0.1 0.9.0", "1.0.0"),
        ("^1.x", "1.0.0 1.9.9", "2.0.0 0.9.0"),
        ("^1.2.3-beta.2", "1.2.3-beta.2 1.2.3-beta.10 1.2.3 1.9.0", "1.2.3-beta.1 1.2.4-beta.3 2.0.0"),
        ("~1.4", "1.4.0 1.4.9", "1.5.0 1.3.9"),
        ("~1.4.2", "1.4.2 1.4.9", "1.4.1 1.5.0"),
        ("~1", "1.0.0 1.9.0", "2.0.0"),
        ("~1.2.3-rc.1", "1.2.3-rc.1 1.2.3 1.2.9", "1.2.4-rc.1 1.3.0"),
        (">=1 <3", "1.0.0 2.9.9", "0.9.9 3.0.0 3.0.0-rc.1"),
        (">=2.0.0-rc.1 <2", "", "2.0.0-rc.1 2.0.0"),
        (">1.2", "1.3.0 2.0.0", "1.2.0 1.2.9 1.3.0-rc.1"),
        ("<=1.2", "1.2.0 1.2.9 0.1.0", "1.3.0"),
        ("<1.2", "1.1.9", "1.2.0 1.2.0-rc.1"),
        (">1.2.3", "1.2.4", "1.2.3"),
        ("<=1.2.3", "1.2.3", "1.2.4"),
        ("=1.2.3", "1.2.3 v1.2.3 1.2.3+b", "1.2.4 1.2.3-rc.1"),
        ("1.2", "1.2.0 1.2.9", "1.3.0"),
        ("*", "0.0.1 2026.11", "1.0.0-rc.1"),
        ("2026.*", "2026.01 2026.11.22 2026-01-01 2026.11.22-1", "2025.12 2027.01 1.0.0"),
        ("2026.11", "2026.11 2026.11.22 2026.11-1", "2026.12"),
        ("^2026.10", "2026.10 2026.11.22", "2026.09 2027.01"),
        ("~2026.11", "2026.11.30", "2026.12"),
        (">=2026-01-02", "2026-01-02 2026.01.03", "2026.01.01"),
        ("^24.04", "24.04 24.10.1", "23.10 25.04"),
        ("v1.2.x", "1.2.7", "1.3.0"),
        (" >= 1.2  < 1.4 ", "1.3.0", "1.4.0"),
    ],
)
def test_range_holds_what_npm_would_hold(text: str, inside: str, outside: str) -> None:
    wanted = parse_range(text)
    assert [tag for tag in inside.split() if not wanted.includes(version(tag))] == []
    assert [tag for tag in outside.split() if wanted.includes(version(tag))] == []


@pytest.mark.parametrize("text", ["", " ", "^", ">=", "1.2.3.4", "latest", "1.*.2", "<*", "^^1", "1\t2", "9" * 257])
def test_not_a_range(text: str) -> None:
    with pytest.raises(BadName):
        parse_range(text)
