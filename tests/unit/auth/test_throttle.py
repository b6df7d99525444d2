"""Wrong passwords slow down who sends them, and nobody else; memory is bounded; processes tell each other."""

import pytest

from auth.errors import Throttled
from auth.throttle import BY_ADDRESS, BY_USER, FIRST, FORGOTTEN_S, PROVEN_S, REMEMBERED, Pace, Throttle, line_of

HERE, THERE = "192.0.2.7", "198.51.100.9"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refused_s(throttle: Throttle, user: str, address: str) -> float:
    """Return for how long a try is refused; 0: it is not."""
    try:
        throttle.check(throttle.key(user, address))
    except Throttled as error:
        return error.retry_after_s
    return 0.0


def fail(throttle: Throttle, user: str, address: str, times: int = 1) -> None:
    for _ in range(times):
        throttle.failure(throttle.key(user, address))


def test_delays_double_from_the_first_that_is_not_free_up_to_the_longest() -> None:
    pace = Pace(free=2, first_s=1.0, longest_s=10.0)
    assert [pace.delay_s(failures) for failures in range(8)] == [0, 0, 0, 1, 2, 4, 8, 10]
    assert pace.delay_s(10**9) == 10


def test_a_few_failures_are_free_and_more_are_not(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    fail(throttle, "ada", HERE, BY_USER.free)
    assert refused_s(throttle, "ada", HERE) == 0
    fail(throttle, "ada", HERE)
    assert refused_s(throttle, "ada", HERE) == pytest.approx(1.0)
    clock.now_s += 0.6
    assert refused_s(throttle, "ada", HERE) == pytest.approx(0.4)
    clock.now_s += 0.6
    assert refused_s(throttle, "ada", HERE) == 0
    fail(throttle, "ada", HERE)
    assert refused_s(throttle, "ada", HERE) == pytest.approx(2.0)


def test_nobody_is_locked_out_at_another_address_nor_another_user_at_the_same(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    fail(throttle, "ada", HERE, BY_ADDRESS.free)
    assert refused_s(throttle, "ada", HERE) > 0
    assert refused_s(throttle, "ada", THERE) == 0
    assert refused_s(throttle, "bob", HERE) == 0


def test_many_users_from_one_address_are_slowed_down_together(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    for number in range(BY_ADDRESS.free + 1):
        fail(throttle, f"user{number}", HERE)
    assert refused_s(throttle, "another", HERE) > 0
    assert refused_s(throttle, "another", THERE) == 0


def test_the_first_tries_of_a_name_are_looked_at_whatever_others_got_wrong_at_its_address(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    assert throttle.check(throttle.key("bob", HERE), first=True) == 0
    for number in range(BY_ADDRESS.free + 1):
        fail(throttle, f"user{number}", HERE)
    bob = throttle.key("bob", HERE)
    assert throttle.check(bob, first=True) == pytest.approx(1.0)  # what a wrong one is to be answered with
    fail(throttle, "bob", HERE, FIRST - 1)  # who mistypes
    assert throttle.check(bob, first=True) > 0
    fail(throttle, "bob", HERE)
    with pytest.raises(Throttled):
        throttle.check(bob, first=True)
    assert throttle.check(throttle.key("bob", THERE), first=True) == 0
    clock.now_s += FORGOTTEN_S + 1
    assert throttle.check(bob, first=True) == 0


def test_who_logged_in_from_an_address_is_not_held_up_by_others_there(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    throttle.success(throttle.key("ada", HERE))
    for number in range(BY_ADDRESS.free + 9):
        fail(throttle, f"user{number}", HERE)
    assert refused_s(throttle, "ada", HERE) == 0
    assert refused_s(throttle, "eve", HERE) > 0
    fail(throttle, "ada", HERE, BY_USER.free + 1)  # but by what is tried under their own name
    assert refused_s(throttle, "ada", HERE) > 0
    clock.now_s += PROVEN_S
    for number in range(BY_ADDRESS.free + 9):
        fail(throttle, f"user{number}", HERE)
    assert refused_s(throttle, "ada", HERE) > 0


def test_a_login_ends_the_users_row_of_failures_but_not_the_address_s(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    fail(throttle, "ada", HERE, BY_ADDRESS.free + 1)
    throttle.success(throttle.key("bob", HERE))
    throttle.success(throttle.key("ada", HERE))
    assert refused_s(throttle, "ada", HERE) == 0
    assert refused_s(throttle, "carl", HERE) > 0


def test_failures_are_forgotten_after_a_while(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    fail(throttle, "ada", HERE, 20)
    clock.now_s += FORGOTTEN_S + 1
    fail(throttle, "ada", HERE, BY_USER.free)
    assert refused_s(throttle, "ada", HERE) == 0


def test_memory_is_bounded(clock: Clock) -> None:
    throttle = Throttle(clock=clock)
    for number in range(REMEMBERED + 50):
        key = throttle.key(f"user{number}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        throttle.failure(key)
        throttle.success(key)
    assert len(throttle._addresses) <= REMEMBERED
    assert len(throttle._users) <= REMEMBERED
    assert len(throttle._proven) <= REMEMBERED


@pytest.mark.parametrize(
    ("address", "line"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", "-"),
        ("unix", "-"),
    ],
)
def test_addresses_of_one_client_are_one(address: str, line: str) -> None:
    assert line_of(address) == line


def test_processes_tell_each_other_of_failures_and_logins(clock: Clock) -> None:
    other = Throttle(clock=clock)
    told: list[str] = []

    def on_failure(key: str) -> None:
        told.append(key)
        other.failed(key)

    throttle = Throttle(clock=clock, on_failure=on_failure, on_success=other.succeeded)
    fail(throttle, "ada", "2001:db8::1", BY_USER.free + 1)
    assert refused_s(other, "ada", "2001:db8::2") > 0
    assert all(key.isascii() and len(key) <= 64 and "ada" not in key for key in told)
    throttle.success(throttle.key("ada", "2001:db8::1"))
    assert refused_s(other, "ada", "2001:db8::2") == 0


def test_a_login_is_told_when_it_is_news_alone(clock: Clock) -> None:
    told: list[str] = []
    throttle = Throttle(clock=clock, on_success=told.append)
    key = throttle.key("ada", HERE)
    throttle.success(key)
    throttle.success(key)
    assert told == [key]
    throttle.failure(key)
    throttle.success(key)
    assert told == [key, key]


@pytest.mark.parametrize("key", ["", "x", "ada@192.0.2.7", "0" * 16 + "@", "0" * 16 + "@" + "1" * 99, "0" * 16 + "@é"])
def test_what_is_no_key_is_passed_over(clock: Clock, key: str) -> None:
    throttle = Throttle(clock=clock)
    throttle.failed(key)
    throttle.succeeded(key)
    assert not len(throttle._users)
    assert not throttle._proven
