import pytest
from hypothesis import given
from hypothesis import strategies as st

from dav.wire.conditions import (
    Conditions,
    Outcome,
    Validators,
    evaluate,
    matches,
    parse_http_date,
    range_applies,
    strong_etag,
)
from dav.wire.dates import http_date

NOW = Validators('"abc"', 1_700_000_000)
SAME, EARLIER, LATER = http_date(1_700_000_000), http_date(1_699_999_999), http_date(1_700_000_001)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (Conditions(), Outcome.PROCEED),
        (Conditions(if_match='"abc"'), Outcome.PROCEED),
        (Conditions(if_match='"x", "abc"'), Outcome.PROCEED),
        (Conditions(if_match="*"), Outcome.PROCEED),
        (Conditions(if_match='"x"'), Outcome.FAILED),
        (Conditions(if_match='W/"abc"'), Outcome.FAILED),
        (Conditions(if_match="abc"), Outcome.FAILED),
        (Conditions(if_none_match='"abc"'), Outcome.NOT_MODIFIED),
        (Conditions(if_none_match='W/"abc"'), Outcome.NOT_MODIFIED),
        (Conditions(if_none_match='"x" ,, "abc"'), Outcome.NOT_MODIFIED),
        (Conditions(if_none_match="*"), Outcome.NOT_MODIFIED),
        (Conditions(if_none_match='"x"'), Outcome.PROCEED),
        (Conditions(if_none_match='"a,b", "abc"'), Outcome.NOT_MODIFIED),
        (Conditions(if_modified_since=SAME), Outcome.NOT_MODIFIED),
        (Conditions(if_modified_since=LATER), Outcome.NOT_MODIFIED),
        (Conditions(if_modified_since=EARLIER), Outcome.PROCEED),
        (Conditions(if_modified_since="yesterday"), Outcome.PROCEED),
        (Conditions(if_none_match='"x"', if_modified_since=LATER), Outcome.PROCEED),
        (Conditions(if_unmodified_since=SAME), Outcome.PROCEED),
        (Conditions(if_unmodified_since=EARLIER), Outcome.FAILED),
        (Conditions(if_match='"abc"', if_unmodified_since=EARLIER), Outcome.PROCEED),
        (Conditions(if_match='"x"', if_none_match='"abc"'), Outcome.FAILED),
    ],
)
def test_preconditions_decide(conditions: Conditions, expected: Outcome) -> None:
    assert evaluate(conditions, NOW) is expected


@pytest.mark.parametrize(
    "date",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_a_date_counts_in_all_three_forms(date: str) -> None:
    assert parse_http_date(date) == 784_111_777
    assert evaluate(Conditions(if_modified_since=date), Validators('"abc"', 784_111_777)) is Outcome.NOT_MODIFIED


def test_a_year_of_two_digits_is_not_far_from_now() -> None:
    assert parse_http_date("Friday, 01-Jan-27 00:00:00 GMT") == 1_798_761_600
    assert parse_http_date("Friday, 31-Feb-27 00:00:00 GMT") is None


MOVED_S = 1_700_000_500  # when the channel moved that leads to a file of NOW


@pytest.mark.parametrize(
    ("date_s", "unmodified"),
    [
        (1_700_000_000, True),  # exactly Last-Modified
        (1_700_000_100, False),  # of a later file, which the channel showed before it moved back
        (MOVED_S, True),
        (MOVED_S + 9, True),
        (1_699_999_999, False),
    ],
)
def test_behind_a_channel_a_date_counts_that_is_exact_or_after_its_move(date_s: int, unmodified: bool) -> None:
    current = NOW._replace(moved_s=MOVED_S)
    date = http_date(date_s)
    since = evaluate(Conditions(if_modified_since=date), current)
    assert since is (Outcome.NOT_MODIFIED if unmodified else Outcome.PROCEED)
    until = evaluate(Conditions(if_unmodified_since=date), current)
    assert until is (Outcome.PROCEED if unmodified else Outcome.FAILED)


def test_a_date_keeps_no_range_behind_a_channel() -> None:
    current = NOW._replace(moved_s=MOVED_S)
    assert not range_applies(Conditions(if_range=SAME), current)
    assert range_applies(Conditions(if_range='"abc"'), current)


def test_dates_say_nothing_of_what_has_none() -> None:
    current = Validators('"abc"', None)
    for date in (EARLIER, SAME, LATER):
        assert evaluate(Conditions(if_modified_since=date, if_unmodified_since=date), current) is Outcome.PROCEED
        assert not range_applies(Conditions(if_range=date), current)


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        (None, True),
        ('"abc"', True),
        ('"x"', False),
        ('W/"abc"', False),
        (SAME, True),
        (LATER, False),
        (EARLIER, False),
        ("nonsense", False),
    ],
)
def test_if_range_holds_for_the_exact_strong_validator_alone(if_range: str | None, applies: bool) -> None:
    assert range_applies(Conditions(if_range=if_range), NOW) is applies


@given(st.integers(-62135596800, 253402300799))
def test_a_date_that_was_spelt_is_read_back(seconds: int) -> None:
    assert parse_http_date(http_date(seconds)) == seconds


@pytest.mark.parametrize("seconds", [-(2**63) // 10**9 * 100, 2**62])
def test_times_that_a_date_cannot_spell_are_clamped(seconds: int) -> None:
    assert parse_http_date(http_date(seconds)) is not None


@pytest.mark.parametrize("text", ["", "Tue, 31 Feb 2023 00:00:00 GMT", "Tue, 14 Nov 2023 22:13:20 CET", "0"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_http_date(text) is None


etags = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), max_size=8).map(
    '"{}"'.format
)


@given(st.lists(st.tuples(st.sampled_from(["", "W/"]), etags), max_size=5), etags)
def test_a_list_of_tags_matches_exactly_its_members(listed: list[tuple[str, str]], etag: str) -> None:
    header = ", ".join(weak + tag for weak, tag in listed)
    assert matches(header, etag, weak=True) == any(tag == etag for _, tag in listed)
    assert matches(header, etag, weak=False) == any(tag == etag and not weak for weak, tag in listed)


@given(st.text(max_size=60))
def test_any_text_is_compared_without_an_error(header: str) -> None:
    assert matches(header, '"never sent by anyone at all"', weak=True) == (header.strip() == "*")


def test_an_etag_is_the_digest_in_quotes() -> None:
    assert strong_etag(bytes(32)) == '"' + "0" * 64 + '"'
