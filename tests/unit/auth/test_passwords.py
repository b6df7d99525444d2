"""Passwords: how many hashes are made, for whom, and what is remembered. Hashes are counted, not timed."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from auth import passwords as module
from auth.errors import AuthError, BadCredentials, Throttled
from auth.hashes import LONGEST, verify
from auth.htpasswd import LONGEST_NAME, Users
from auth.passwords import MISSES, REMEMBERED, REMEMBERED_S, WAITING, Passwords
from auth.principal import user
from auth.throttle import BY_ADDRESS, BY_USER, FIRST, Throttle
from tests.unit.auth.test_hashes import QUICK, SMALL
from tests.unit.auth.test_throttle import HERE, THERE, Clock


class World:
    """Users, a clock, and a count of the hashes that were made."""

    def __init__(self, users: Users) -> None:
        self.users, self.clock = users, Clock()
        self.hashes: list[str] = []
        self.throttle = Throttle(clock=self.clock)
        self.passwords = Passwords(lambda: self.users, self.throttle, clock=self.clock, verify=self.verify)

    def verify(self, text: str, password: bytes) -> bool:
        self.hashes.append(text)
        return verify(text, password)

    def login(self, name: str, password: bytes, address: str = HERE) -> bool:
        try:
            assert self.passwords.check(name, password, address) == user(name)
        except BadCredentials:
            return False
        return True


@pytest.fixture
def world() -> World:
    return World(Users({"ada": QUICK, "bob": SMALL}))


def test_the_right_password_alone_is_let_in(world: World) -> None:
    assert world.login("ada", b"secret")
    assert world.login("bob", b"secret")
    assert not world.login("ada", b"other")
    assert not world.login("ada", b"")
    assert not world.login("eve", b"secret")
    assert not world.login("", b"secret")


def test_a_thousand_requests_cost_one_hash(world: World) -> None:
    assert world.passwords.known("ada", b"secret", HERE) is None
    for _ in range(1000):
        assert world.login("ada", b"secret")
    assert world.passwords.known("ada", b"secret", HERE) == user("ada")
    assert len(world.hashes) == 1


def test_what_was_found_is_forgotten_after_a_while(world: World) -> None:
    assert world.login("ada", b"secret")
    world.clock.now_s += REMEMBERED_S + 1
    assert world.passwords.known("ada", b"secret", HERE) is None
    assert world.login("ada", b"secret")
    assert len(world.hashes) == 2


def test_a_changed_or_removed_line_is_minded_at_once(world: World) -> None:
    assert world.login("ada", b"secret")
    world.users = Users({"ada": SMALL})  # the same password, hashed anew
    assert world.passwords.known("ada", b"secret", HERE) is None
    assert world.login("ada", b"secret")
    world.users = Users({})
    assert world.passwords.known("ada", b"secret", HERE) is None
    assert not world.login("ada", b"secret")


def test_a_user_who_is_added_is_let_in_although_they_were_refused_before(world: World) -> None:
    assert not world.login("eve", b"secret")
    world.users = Users({"eve": QUICK})
    assert world.login("eve", b"secret")


def test_memory_answers_the_address_alone_that_logged_in(world: World) -> None:
    assert world.login("ada", b"secret", HERE)
    assert world.passwords.known("ada", b"secret", THERE) is None  # else it were a way to guess without a hash
    assert world.passwords.known("ada", b"other", HERE) is None
    assert world.passwords.known("bob", b"secret", HERE) is None
    assert world.login("ada", b"secret", THERE)
    assert len(world.hashes) == 2


@pytest.mark.parametrize("users", [{"ada": QUICK}, {"ada": SMALL}, {"ada": QUICK, "bob": SMALL}])
def test_an_unknown_user_takes_a_hash_of_the_file_s_own_kind_and_cost(users: dict[str, str]) -> None:
    world = World(Users(users))
    assert not world.login("nobody", b"secret")  # which would fit
    assert len(world.hashes) == 1
    assert world.hashes[0] in users.values()
    assert not world.login("ada", b"wrong")
    assert len(world.hashes) == 2


def test_an_unknown_user_takes_a_hash_even_where_there_are_no_users() -> None:
    world = World(Users({}))
    assert not world.login("nobody", b"secret")
    assert not world.login("nobody", b"other")
    assert [text.partition("$v=")[0] for text in world.hashes] == ["$argon2id"] * 2


def test_known_and_unknown_users_are_refused_in_the_same_words(world: World) -> None:
    words = []
    for name in ("ada", "eve"):
        for password in (b"wrong", b"wrong", b"x" * (LONGEST + 1)):
            with pytest.raises(BadCredentials) as caught:
                world.passwords.check(name, password, HERE)
            words.append(str(caught.value).replace(name, "NAME"))
    assert words[:3] == words[3:]


def test_what_no_file_could_hold_costs_no_hash_but_counts(world: World) -> None:
    long = b"x" * (LONGEST + 1)
    for _ in range(BY_USER.free + 1):
        assert not world.login("ada", long)
    assert world.hashes == []
    for name in ("ada", "nobody", "n" * (LONGEST_NAME + 1)):
        with pytest.raises(Throttled):
            world.passwords.check(name, long, HERE)
    assert world.login("ada", b"secret")  # of whose password nothing was guessed


def test_what_costs_no_hash_makes_no_guess_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth.throttle.REMEMBERED", 20)
    for number in range(BY_USER.free + 1):
        assert not world.login("ada", b"guess %d" % number)
    for number in range(50):
        for name, password in (("n" * LONGEST_NAME + str(number), b"p"), (f"user{number}", b"p" * (LONGEST + 1))):
            with pytest.raises(AuthError):
                world.passwords.check(name, password, HERE)
    with pytest.raises(Throttled):
        world.passwords.check("ada", b"secret", HERE)


def test_guesses_are_slowed_down_and_cost_nothing_then(world: World) -> None:
    refused = 0
    for number in range(50):
        try:
            world.passwords.check("ada", b"guess %d" % number, HERE)
        except Throttled as error:
            refused += error.retry_after_s > 0
        except BadCredentials:
            pass
    assert refused == 50 - BY_USER.free - 1
    assert len(world.hashes) == BY_USER.free + 1


def test_a_login_ends_the_row_of_wrong_passwords(world: World) -> None:
    for number in range(BY_USER.free):
        assert not world.login("ada", b"guess %d" % number)
    assert world.login("ada", b"secret")
    for number in range(BY_USER.free):
        assert not world.login("ada", b"another %d" % number)


def test_guessing_locks_out_nobody_who_has_the_password(world: World) -> None:
    assert world.login("ada", b"secret", HERE)
    for number in range(50):
        with pytest.raises(AuthError):
            world.passwords.check("ada", b"guess %d" % number, HERE)
    assert world.passwords.known("ada", b"secret", HERE) == user("ada")  # the same address, by memory
    assert world.login("ada", b"secret", HERE)
    assert world.login("ada", b"secret", THERE)


def test_guessing_at_many_users_locks_out_nobody_at_the_same_address(world: World) -> None:
    answers = []
    for number in range(BY_ADDRESS.free + 20):
        with pytest.raises(AuthError) as refused:
            world.passwords.check(f"user{number}", b"guess", HERE)
        answers.append(type(refused.value))
    assert answers == [BadCredentials] * (BY_ADDRESS.free + 1) + [Throttled] * 19  # who guesses is told to wait
    hashes = len(world.hashes)
    for number in range(9):
        with pytest.raises(Throttled):
            world.passwords.check("user1", b"another guess %d" % number, HERE)  # and has a few tries a name, no more
    assert len(world.hashes) == hashes + FIRST - 1
    assert world.login("ada", b"secret", HERE)


def test_what_is_remembered_answers_a_few_guesses_at_its_own_address_and_then_no_more(world: World) -> None:
    assert world.login("ada", b"secret", HERE)
    refused = 0
    for number in range(BY_USER.free + 1 + MISSES):
        assert world.passwords.known("ada", b"secret", HERE) == user("ada")
        with pytest.raises(AuthError) as error:
            world.passwords.check("ada", b"guess %d" % number, HERE)
        refused += error.type is Throttled
    assert refused == MISSES
    assert world.passwords.known("ada", b"secret", HERE) is None
    with pytest.raises(Throttled):  # as a wrong one: memory tells no more which it is
        world.passwords.check("ada", b"secret", HERE)
    world.clock.now_s += 60
    assert world.login("ada", b"secret", HERE)  # by its hash, and is remembered again
    assert world.passwords.known("ada", b"secret", HERE) == user("ada")


def test_a_client_that_goes_on_sending_an_old_password_counts_once(world: World) -> None:
    for _ in range(50):
        assert not world.login("ada", b"old")
    assert len(world.hashes) == 1
    assert world.login("ada", b"secret")


def test_a_wrong_password_is_remembered_where_it_was_sent_alone(world: World) -> None:
    assert not world.login("ada", b"that of another site", HERE)
    assert not world.login("ada", b"that of another site", THERE)
    assert len(world.hashes) == 2  # who tries it there is answered as slowly as for any other


def test_memory_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 100)
    for number in range(150):
        assert world.login("ada", b"secret", f"10.0.0.{number}")
        assert not world.login(f"user{number}", b"x", f"10.1.0.{number}")
    assert len(world.passwords._good) == len(world.passwords._wrong) == 100
    assert REMEMBERED > 100


class Held:
    """Hashes that are made when the test says so."""

    def __init__(self, fits: Callable[[bytes], bool] = lambda password: password == b"secret") -> None:
        self.go, self.made, self.running, self.most = threading.Event(), 0, 0, 0
        self._fits, self._lock = fits, threading.Lock()

    def __call__(self, text: str, password: bytes) -> bool:
        with self._lock:
            self.made += 1
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.go.wait(30)
        with self._lock:
            self.running -= 1
        return self._fits(password)


def ask(passwords: Passwords, questions: list[tuple[str, bytes, str]], held: Held) -> list[str]:
    """Ask all questions at one time, let the hashes go once all wait, and return the outcomes."""
    outcomes: list[str] = []

    def run(name: str, password: bytes, address: str) -> None:
        try:
            passwords.check(name, password, address)
            outcomes.append("in")
        except AuthError as error:
            outcomes.append(type(error).__name__)

    threads = [threading.Thread(target=run, args=question) for question in questions]
    for number, thread in enumerate(threads, 1):
        thread.start()
        while len(outcomes) + passwords._turns._sum + waiting(passwords) < number:
            threading.Event().wait(0.001)
    held.go.set()
    for thread in threads:
        thread.join(30)
    return sorted(outcomes)


def waiting(passwords: Passwords) -> int:
    """Return how many wait for somebody else's hash."""
    conditions: list[Any] = [flight.done._cond for flight in [*passwords._flights.values()]]  # type: ignore[attr-defined]  # what an Event is made of
    return sum(len(condition._waiters) for condition in conditions)


@pytest.mark.parametrize(("password", "outcome"), [(b"secret", "in"), (b"wrong", "BadCredentials")])
def test_equal_questions_at_one_time_share_one_hash(password: bytes, outcome: str) -> None:
    held, told = Held(), list[str]()
    passwords = Passwords(lambda: Users({"ada": QUICK}), Throttle(on_failure=told.append), verify=held)
    questions = [("ada", password, address) for address in (HERE,) * 8 + (THERE,) * 8]
    assert ask(passwords, questions, held) == [outcome] * 16
    assert held.made == 1
    assert len(told) == (0 if outcome == "in" else 2)  # once for each address


def test_no_more_hashes_are_made_at_a_time_than_allowed_and_one_address_has_but_half() -> None:
    held = Held()
    passwords = Passwords(lambda: Users({"ada": QUICK}), Throttle(), verify=held, at_once=2)
    flood = [("ada", b"guess %d" % number, HERE) for number in range(60)]
    others = [("ada", b"secret", f"10.0.0.{number}") for number in range(5)]
    outcomes = ask(passwords, [*flood, *others], held)
    assert outcomes.count("in") == 5
    assert outcomes.count("Throttled") >= 60 - (2 + WAITING) // 2
    assert held.most <= 2
    assert passwords._turns._taken == {}
    assert passwords._flights == {}


def test_a_flood_from_everywhere_waits_up_to_a_bound() -> None:
    held = Held()
    passwords = Passwords(lambda: Users({"ada": QUICK}), Throttle(), verify=held, at_once=2)
    outcomes = ask(passwords, [("ada", b"guess %d" % n, f"10.0.0.{n}") for n in range(60)], held)
    assert outcomes.count("Throttled") == 60 - 2 - WAITING
    assert outcomes.count("BadCredentials") == 2 + WAITING


def test_many_users_of_one_proxy_may_come_at_once() -> None:
    held = Held()
    passwords = Passwords(lambda: Users({f"user{n}": QUICK for n in range(17)}), Throttle(), verify=held, at_once=2)
    assert ask(passwords, [(f"user{n}", b"secret", HERE) for n in range(17)], held) == ["in"] * 17


def test_guesses_that_waited_are_held_against_what_failed_meanwhile() -> None:
    held = Held()
    throttle = Throttle()
    passwords = Passwords(lambda: Users({"ada": QUICK}), throttle, verify=held, at_once=1)
    key = throttle.key("ada", HERE)
    for _ in range(BY_USER.free):
        throttle.failure(key)
    guesses = [("ada", b"guess %d" % n, HERE) for n in range(4)]
    assert ask(passwords, guesses, held) == ["BadCredentials", "Throttled", "Throttled", "Throttled"]
    assert held.made == 1


def test_a_question_is_not_refused_for_another_address_s_sake() -> None:
    throttle = Throttle()

    def fits(password: bytes) -> bool:
        if password == b"first":  # while it is made, somebody guesses at the address of the second
            for _ in range(BY_USER.free + 1):
                throttle.failure(throttle.key("ada", HERE))
        return password == b"secret"

    held = Held(fits)
    passwords = Passwords(lambda: Users({"ada": QUICK}), throttle, verify=held, at_once=1)
    questions = [("bob", b"first", HERE), ("ada", b"secret", HERE), ("ada", b"secret", THERE)]  # the third shares
    assert ask(passwords, questions, held) == ["BadCredentials", "Throttled", "in"]


def test_an_error_of_a_hash_reaches_all_and_is_not_remembered(world: World) -> None:
    def broken(text: str, password: bytes) -> bool:
        raise MemoryError

    world.passwords._verify = broken
    with pytest.raises(MemoryError):
        world.passwords.check("ada", b"secret", HERE)
    world.passwords._verify = world.verify
    assert world.login("ada", b"secret")
