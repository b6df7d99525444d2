"""Any text is a reference or a BadName; what is a reference is written back as it was."""

from hypothesis import given
from hypothesis import strategies as st

from store.catalogue.refs import format_reference, kind_of, parse_dataset, parse_reference, parse_tag, split_location
from store.catalogue.versions import parse_range, parse_version
from store.errors import BadName

PARTS = st.sampled_from(
    ["geo", "@geo/", "@", "/", ":", "latest", "1.2.3", "v", "-rc.1", "+b", "2026", "-11-01", ".", "*", "^", "~", ">=",
     "<", " ", "b3-", "0123456789ab", "0", "9", "x", "é", "\n", "\ud800", "A"]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=300), st.lists(PARTS, max_size=8).map("".join))
PART = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
NUMBERS = st.integers(0, 3000)
SEMVER = st.builds("{}.{}.{}".format, NUMBERS, NUMBERS, NUMBERS)


@given(TEXTS)
def test_any_text_is_a_reference_or_a_bad_name(text: str) -> None:
    try:
        reference = parse_reference(text)
    except BadName:
        return
    assert format_reference(reference) == text
    assert parse_reference(format_reference(reference)) == reference


@given(TEXTS)
def test_any_text_is_a_location_or_a_bad_name(text: str) -> None:
    try:
        reference, path = split_location(text)
    except BadName:
        return
    written = format_reference(reference)
    assert text in (written, f"{written}/{path}")


@given(TEXTS)
def test_any_text_is_a_tag_or_a_bad_name(text: str) -> None:
    try:
        tag = parse_tag(text)
    except BadName:
        return
    assert (kind_of(tag) == "version") == (parse_version(tag) is not None)
    assert parse_reference(f"x:{tag}").dataset == "x"


@given(st.one_of(PART, st.builds("@s{}/{}".format, PART.map(lambda part: part[:63]), PART)))
def test_every_name_of_the_grammar_is_a_dataset(name: str) -> None:
    assert parse_dataset(name) == name


@given(SEMVER, SEMVER)
def test_exactly_one_of_less_equal_more_holds(one: str, other: str) -> None:
    version = parse_version(one)
    assert version is not None
    holds = [parse_range(f"{operator}{other}").includes(version) for operator in ("<", "=", ">")]
    assert holds.count(True) == 1


@given(SEMVER)
def test_a_version_is_in_the_ranges_that_begin_with_it(text: str) -> None:
    version = parse_version(text)
    assert version is not None
    assert all(parse_range(mark + text).includes(version) for mark in ("", "=", "^", "~", ">=", "<="))
