from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from store.objects.s3_clock import SECOND_NS, StoreClock

START_S = 1_800_000_000


class Monotonic:
    def __init__(self) -> None:
        self.ns = 5_000

    def __call__(self) -> int:
        return self.ns


def date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def test_before_the_first_answer_nothing_is_known() -> None:
    assert StoreClock().now_ns() is None


def test_the_time_is_carried_forward_between_answers() -> None:
    monotonic = Monotonic()
    clock = StoreClock(monotonic_ns=monotonic)
    clock.note(date(START_S))
    monotonic.ns += 1_500_000_000
    assert clock.now_ns() == START_S * SECOND_NS + 1_500_000_000


def test_a_date_within_the_same_second_moves_nothing() -> None:
    monotonic = Monotonic()
    clock = StoreClock(monotonic_ns=monotonic)
    clock.note(date(START_S))
    monotonic.ns += 900_000_000
    clock.note(date(START_S))
    assert clock.now_ns() == START_S * SECOND_NS + 900_000_000


def test_a_server_whose_clock_was_set_is_believed_either_way() -> None:
    monotonic = Monotonic()
    clock = StoreClock(monotonic_ns=monotonic)
    for told in (START_S, START_S + 3600, START_S - 3600):
        clock.note(date(told))
        assert clock.now_ns() == told * SECOND_NS


def test_what_is_no_date_is_ignored() -> None:
    clock = StoreClock()
    for text in ("", "yesterday", "0", "Sun, 99 Nov 1994 08:49:37 GMT"):
        clock.note(text)
        assert clock.now_ns() is None


@given(st.lists(st.integers(0, 3 * SECOND_NS), max_size=20))
def test_the_estimate_is_never_more_than_a_second_behind_nor_two_ahead(steps_ns: list[int]) -> None:
    monotonic = Monotonic()
    clock = StoreClock(monotonic_ns=monotonic)
    true_ns = START_S * SECOND_NS + 123_456_789
    for step_ns in steps_ns:
        true_ns += step_ns
        monotonic.ns += step_ns
        clock.note(date(true_ns // SECOND_NS))
        estimate_ns = clock.now_ns()
        assert estimate_ns is not None
        assert true_ns - SECOND_NS < estimate_ns <= true_ns + 2 * SECOND_NS
