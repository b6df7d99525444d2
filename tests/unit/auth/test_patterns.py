"""Patterns of dataset names: what they fit, in which time, and whether there is anything to fit."""

import itertools
import time

import pytest

from auth.patterns import EVERYTHING, LONGEST, can_fit, check_pattern, fits, may_begin
from store.catalogue.refs import is_dataset


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["maps", "@geo/maps", "@geo/a.b-c_d", ""]),
        ("maps", ["maps"]),
        ("ma*", ["ma", "maps", "ma/x"]),
        ("*ps", ["ps", "maps", "@geo/ps"]),
        ("m*a*s", ["mas", "maps", "maaas", "mxaxs"]),
        ("m?ps", ["maps", "mops"]),
        ("@geo/*", ["@geo/maps", "@geo/"]),
        ("@*/maps", ["@geo/maps", "@/maps"]),
        ("a**b", ["ab", "axb"]),
        ("a.b", ["a.b"]),
    ],
)
def test_a_pattern_fits_these_names(pattern: str, names: list[str]) -> None:
    check_pattern(pattern)
    assert [name for name in names if not fits(pattern, name)] == []


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("maps", ["map", "mapss", "Maps", "@geo/maps", "maps/x", "maps\n"]),
        ("ma*", ["am", "m", "Ma"]),
        ("m*a*s", ["ms", "mas ", "msa"]),
        ("m?ps", ["mps", "maaps"]),
        ("@geo/*", ["@geo", "@geox/maps", "geo/maps"]),
        ("a.b", ["axb", "a.bc"]),
        ("a*bc*bc", ["abc", "abbc"]),  # the two stretches may not share what they fit
    ],
)
def test_a_pattern_does_not_fit_those(pattern: str, names: list[str]) -> None:
    assert [name for name in names if fits(pattern, name)] == []


@pytest.mark.parametrize(
    "pattern",
    ["", " ", "Maps", "maps ", "@", "@/x", "/x", "x/", "a/b/c", "[a]", "a{1}", "ä", "a\n", "-a", ".a", "@@a", "a@b",
     "a" * (LONGEST + 1)],
)  # fmt: skip
def test_what_no_name_is_like_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is not a pattern"):
        check_pattern(pattern)


def test_no_pattern_takes_long() -> None:
    """A regular expression of stars alone would take longer than the world is old."""
    pattern, name = "*a" * (LONGEST // 2), "a" * 130 + "b"
    check_pattern(pattern)
    began = time.thread_time()
    assert not fits(pattern, name)
    assert not fits("*a" * 60 + "*c", name)
    assert fits("*a" * 60 + "*", name)
    assert time.thread_time() - began < 1.0


@pytest.mark.parametrize(
    ("pattern", "possible"),
    [
        (EVERYTHING, True),
        ("@*", True),
        ("@geo/*", True),
        ("*/*", True),
        ("@me*/x", True),
        ("?????????", True),
        ("a" * 64, True),
        ("a" * 64 + "*", True),
        ("@" + "a" * 64 + "/" + "b" * 64, True),
        ("public/*", False),
        ("@geo", False),
        ("a/b", False),
        ("@token/*", False),
        ("@me/x", False),
        ("a" * 65, False),
        ("@" + "a" * 65 + "*", False),
        ("?" * 131, False),
        ("?" * 130, True),
    ],
)
def test_patterns_that_can_fit_no_name_are_known(pattern: str, possible: bool) -> None:
    check_pattern(pattern)
    assert can_fit(pattern) is possible


@pytest.mark.parametrize(
    ("pattern", "beginning", "expected"),
    [
        ("*", "", True),
        ("*", "@geo/", True),
        ("@geo/*", "@geo/", True),
        ("@geo/*", "@ge/", False),
        ("@g*", "@geo/", True),
        ("@?eo/maps", "@geo/", True),
        ("@geo/maps", "@geo/", True),
        ("@geo/maps", "@geo/maps", False),
        ("@geo/m**", "@geo/m", True),
        ("maps*", "@geo/", False),
        ("*s", "@geo/", True),
        ("maps", "", True),
        ("*", "@" + "a" * 1_000_000 + "/", False),
    ],
)
def test_a_pattern_may_fit_names_that_begin_so(pattern: str, beginning: str, expected: bool) -> None:
    assert may_begin(pattern, beginning) is expected


def test_of_all_short_patterns_those_may_begin_so_that_fit_a_name_that_does() -> None:
    names = ["".join(chars) for n in range(1, 7) for chars in itertools.product("@/a", repeat=n)]
    wrong = [
        (pattern, beginning)
        for n in range(1, 5)
        for pattern in map("".join, itertools.product("@/a*?", repeat=n))
        for beginning in ("", "@a/", "@", "a")
        if may_begin(pattern, beginning)
        != any(fits(pattern, name) for name in names if name.startswith(beginning) and name != beginning)
    ]
    assert wrong == []


def test_of_all_short_patterns_those_can_fit_that_fit_some_name() -> None:
    names = ["".join(chars) for n in range(1, 8) for chars in itertools.product("@/a.", repeat=n)]
    names = [name for name in names if is_dataset(name)]
    assert len(names) > 100
    wrong = [
        pattern
        for n in range(1, 5)
        for pattern in map("".join, itertools.product("@/a.*?", repeat=n))
        if can_fit(pattern) != any(fits(pattern, name) for name in names)
    ]
    assert wrong == []
