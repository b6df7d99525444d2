"""Attack: guess passwords, in numbers. It slows down who guesses, on all workers, and nobody else; it tells nothing.

On a gateway of its own, whose hashes take as long as real ones.
"""

import itertools
import math
import re
import statistics
import threading
import time
from collections.abc import Iterator

import pytest

from tests.interop.guarded.gateway import BOB, COMMON, Guarded, basic, bearer, form
from tests.support.until import wait_until

TARGET = "/fs/maps/1.0.0/a.txt"
COST = 10  # some 60 ms a hash
BURST = 5  # wrong passwords of one user that cost nothing
OF_ADDRESS = 30  # of all users at one address
TRIES = 5  # a machine that stalls for a second meanwhile lets one more guess through, or the right password
_addresses = itertools.count(1)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    slow = Guarded(tmp_path_factory.mktemp("slow"))
    slow.publish({"maps:1.0.0": {b"a.txt": COMMON[b"a.txt"]}})
    slow.write_users({"ada": "ada-has-a-pass-word", "bob": BOB}, cost=COST)
    slow.start("--workers", "2")
    try:
        yield slow
    finally:
        code = slow.stop()
    assert code == 0


def fresh() -> str:
    """Return an address that nobody came from yet."""
    number = next(_addresses)
    return f"127.1.{number // 250}.{number % 250 + 1}"


def most_let_through(free: int, began_s: float) -> float:
    """Return how many wrong passwords may have been looked at since a time, each wait twice as long as the one before.

    One more is being checked where the news has not come yet.
    """
    return free + 2 + math.log2(1 + time.monotonic() - began_s)


def test_guesses_at_one_user_are_counted_on_both_workers_together(slow: Guarded) -> None:
    for _ in range(TRIES):
        source, began_s = fresh(), time.monotonic()
        tries = [slow.ask("GET", TARGET, basic("ada", f"guess {number}"), source=source) for number in range(20)]
        assert {answer.status for answer in tries} == {401, 429}
        assert [answer.status for answer in tries].count(401) <= most_let_through(BURST, began_s)
        refused = next(answer for answer in tries if answer.status == 429)
        assert 1 <= int(refused.fields["retry-after"]) <= 60
        # Even the right one has to wait, so that a guess that is right is not told from one that comes too soon.
        right = slow.ask("GET", TARGET, basic("ada", "ada-has-a-pass-word"), source=source)
        if right.status == 429:
            break
    assert right.status == 429
    # From elsewhere it is let in as ever.
    assert slow.ask("GET", TARGET, basic("ada", "ada-has-a-pass-word"), source=fresh()).status == 200


def test_guesses_at_many_users_are_counted_by_their_address(slow: Guarded) -> None:
    source, began_s = fresh(), time.monotonic()
    statuses = [slow.ask("GET", TARGET, basic(f"user{number}", "x"), source=source).status for number in range(60)]
    assert statuses[0] == 401
    assert set(statuses) == {401, 429}
    assert statuses.count(401) <= most_let_through(OF_ADDRESS, began_s)
    assert slow.ask("GET", TARGET, basic("user1", "y"), source=source).status == 429
    assert slow.ask("GET", TARGET, basic("bob", BOB), source=fresh()).status == 200
    # Who has a password is let in at that address too, though they never were before.
    assert slow.ask("GET", TARGET, basic("bob", BOB), source=source).status == 200


@pytest.mark.slow
def test_a_flood_of_guesses_holds_up_nobody_else(slow: Guarded) -> None:
    """Eight connections guess as fast as they can, at ada and at all others."""
    ending, counts = threading.Event(), [0] * 8
    looked_at: list[str] = []
    failures: list[BaseException] = []
    began_s = time.monotonic()

    def guess(number: int) -> None:
        try:
            while not ending.is_set():
                user = "ada" if number % 2 else f"user{counts[number]}"
                answer = slow.ask("GET", TARGET, basic(user, f"{number} {counts[number]}"), source="127.0.0.2")
                assert answer.status in (401, 429)
                counts[number] += 1
                if answer.status == 401:
                    looked_at.append(user)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: failures or sum(counts) > 100)
        logins: list[float] = []
        checks: list[float] = []
        while not failures and (len(logins) < 10 or sum(counts) < 500):
            asked_s = time.monotonic()
            assert slow.ask("GET", TARGET, basic("ada", "ada-has-a-pass-word"), source=fresh()).status == 200
            logins.append(time.monotonic() - asked_s)
            asked_s = time.monotonic()
            assert slow.ask("GET", "/healthz").status == 200
            checks.append(time.monotonic() - asked_s)
    finally:
        ending.set()
        for thread in threads:
            thread.join()
    assert failures == []
    # Of each connection one more may be being checked where the news has not come yet.
    assert len(looked_at) <= len(counts) + most_let_through(OF_ADDRESS, began_s)
    assert statistics.median(checks) < 2  # some hundred times what it takes
    assert statistics.median(logins) < 5
    assert slow.ask("GET", TARGET, basic("bob", BOB), source="127.0.0.3").status == 200


def test_guessed_tokens_take_no_hash_and_hold_up_nobody(slow: Guarded) -> None:
    good = slow.token("mine", "read:maps")
    for number in range(300):
        guess = f"aefs_{'abcdefghij'[number % 10]}{'bcdefghijk'[number // 10 % 10]}aaaaaaaa_{'a' * 40}"
        assert slow.ask("GET", TARGET, bearer(guess), source="127.0.0.4").status in (401, 429)
    assert slow.ask("GET", TARGET, bearer(good)).status == 200


@pytest.mark.slow
def test_time_does_not_tell_who_there_is(slow: Guarded) -> None:
    """A wrong password takes as long for a name that there is as for one that there is not.

    In turns, each from an address of its own, so that nothing is slowed down; compared by the shortest times, which a
    busy machine lengthens least. Without the same work for both, unknown names would be answered some fifty times
    sooner.
    """
    taken: dict[str, list[float]] = {"ada": [], "bob": [], "nobody": [], "group:admin": [], "zzz": []}
    for number in range(8):
        for user, times in taken.items():
            began_s = time.monotonic()
            answer = slow.ask("GET", TARGET, basic(user, f"wrong {number}"), source=fresh())
            times.append(time.monotonic() - began_s)
            assert answer.status == 401
    least = {user: min(times) for user, times in taken.items()}
    known, unknown = (least["ada"], least["bob"]), (least["nobody"], least["group:admin"], least["zzz"])
    assert min(unknown) > 0.5 * max(known), least
    assert max(unknown) < 2 * min(known), least
    assert min(least.values()) > 0.01  # a hash was made


def test_a_long_password_of_an_unknown_user_takes_no_longer(slow: Guarded) -> None:
    times = {}
    for length in (10, 1000, 40_000):
        began_s = time.monotonic()
        assert slow.ask("GET", TARGET, basic("nobody", "x" * length), source=fresh()).status in (401, 431)
        times[length] = time.monotonic() - began_s
    assert times[40_000] < 5


def test_guesses_by_the_form_and_by_basic_are_counted_together(slow: Guarded) -> None:
    for _ in range(TRIES):
        source, began_s = fresh(), time.monotonic()
        shown = slow.ask("GET", "/ui/login", source=source)
        found = re.search(rb'name="csrf" value="([^"]+)"', shown.body)
        assert found is not None
        statuses = []
        for number in range(12):
            head, body = form(csrf=found[1].decode(), next="/", user="ada", password=f"another {number}")
            cookie = shown.fields["set-cookie"].partition(";")[0]
            statuses.append(slow.ask("POST", "/ui/login", {**head, "Cookie": cookie}, body=body, source=source).status)
        assert set(statuses) == {403, 429}
        assert statuses.count(403) <= most_let_through(BURST, began_s)
        right = slow.ask("GET", TARGET, basic("ada", "ada-has-a-pass-word"), source=source)
        if right.status == 429:
            break
    assert right.status == 429
