"""Sessions that were ended: known at once here, within half a minute elsewhere, and never forgotten too early."""

import pytest

from auth.errors import Undecided
from auth.principal import user
from auth.session import Session, begin
from gateway.access import ended as limits
from gateway.access.ended import Ended, Over, read_ended, write_ended
from store.errors import NotWarm, ObjectCorrupt, StoreError, StoreUnavailable
from store.layout import ENDED_KEY
from store.objects.base import Fetched
from store.objects.memory import MemoryStore

NOW = 1_800_000_000.0


class Away(MemoryStore):
    """A store that is away when it is told to be."""

    away = False
    asked = 0

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("memory:", "told to be away")
        return super().fetch(key, unless=unless)


class Gateways:
    """Two gateways on one store."""

    def __init__(self) -> None:
        self.store, self.s = Away(), 0.0
        self.one, self.two = (Ended(self.store, clock=lambda: self.s, now=lambda: NOW + self.s) for _ in range(2))

    def session(self, name: str = "ada") -> Session:
        return begin(user(name), NOW + self.s, 3600, "oidc")


@pytest.fixture
def both() -> Gateways:
    return Gateways()


def test_a_logout_ends_one_session_here_at_once_and_elsewhere_soon(both: Gateways) -> None:
    gone, stays = both.session(), both.session()
    assert not both.two.covers(gone)
    both.one.end(gone)
    assert both.one.covers(gone, wait=False)
    both.s += limits.FRESH_S
    assert both.two.covers(gone)
    assert not both.two.covers(stays)
    assert not both.one.covers(stays)


def test_a_logout_everywhere_ends_all_of_the_user_and_nobody_elses(both: Gateways) -> None:
    mine, other, others = both.session(), both.session(), both.session("eve")
    both.one.end(mine, everywhere=True)
    both.s += limits.FRESH_S
    for gateway in (both.one, both.two):
        assert gateway.covers(mine)
        assert gateway.covers(other)
        assert not gateway.covers(others)
        assert not gateway.covers(both.session())  # that began later


def test_nobody_waits_where_nobody_may(both: Gateways) -> None:
    session = both.session()
    with pytest.raises(NotWarm):
        both.one.covers(session, wait=False)
    assert not both.one.covers(session)
    assert not both.one.covers(session, wait=False)
    both.s += limits.FRESH_S
    with pytest.raises(NotWarm):
        both.one.covers(session, wait=False)


def test_a_worker_that_is_told_by_another_asks_at_once(both: Gateways) -> None:
    session = both.session()
    assert not both.two.covers(session)
    telling = Ended(both.store, now=lambda: NOW, told=both.two.look_again)
    telling.end(session)
    with pytest.raises(NotWarm):
        both.two.covers(session, wait=False)
    assert both.two.covers(session)


def test_a_store_that_is_away_is_not_hammered_and_lets_sessions_go_on_for_a_bounded_time(both: Gateways) -> None:
    session = begin(user("ada"), NOW, 10 * 3600, "oidc")
    assert not both.one.covers(session)
    both.store.away = True
    both.s += limits.FRESH_S
    before = both.store.asked
    for _ in range(10):
        assert not both.one.covers(session)
    assert both.store.asked == before + 1
    both.s += limits.STALE_S
    with pytest.raises(Undecided):
        both.one.covers(session)


def test_a_gateway_that_never_saw_the_list_lets_nobody_in(both: Gateways) -> None:
    both.store.away = True
    with pytest.raises(Undecided):
        both.one.covers(both.session())


def test_a_logout_that_others_cannot_be_told_counts_here(both: Gateways) -> None:
    session = both.session()
    both.one.covers(session)
    both.store.away = True
    with pytest.raises(StoreError):
        both.one.end(session)
    assert both.one.covers(session)
    both.store.away = False
    both.s += limits.FRESH_S
    assert both.one.covers(session)


def test_two_gateways_that_write_at_once_lose_nothing(both: Gateways) -> None:
    import threading

    sessions = [both.session(f"user-{n}") for n in range(20)]
    threads = [
        threading.Thread(target=(both.one, both.two)[n % 2].end, args=(session,)) for n, session in enumerate(sessions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fresh = Ended(both.store, clock=lambda: both.s, now=lambda: NOW)
    assert all(fresh.covers(session) for session in sessions)


def test_what_would_be_over_anyway_is_left_out(both: Gateways) -> None:
    both.one.end(both.session())
    both.s += 3601
    both.one.end(both.session("eve"))
    assert list(read_ended(both.store.get(ENDED_KEY))) == ["eve"]


def test_very_many_logouts_of_one_user_end_all_of_theirs(both: Gateways) -> None:
    stays, others = both.session(), both.session("eve")
    for _ in range(limits.MOST_SESSIONS + 1):
        both.one.end(both.session())
    assert both.one.covers(stays)
    assert not both.one.covers(others)
    assert len(both.store.get(ENDED_KEY)) < 1000


def test_a_logout_everywhere_ends_the_session_that_asks_though_it_began_by_a_clock_ahead(both: Gateways) -> None:
    session = begin(user("ada"), NOW + 30, 3600, "oidc")
    both.one.end(session, everywhere=True)
    assert both.two.covers(session)
    assert both.one.covers(session)


@pytest.mark.parametrize("name", ["user", "\N{SNOWMAN}" * 40], ids=["plain", "escaped"])
def test_what_very_many_end_can_still_be_read_and_ends_rather_too_much(both: Gateways, name: str) -> None:
    ends_s = int(NOW) + 3600
    one = Over(0, {f"{s:032x}": ends_s for s in range(limits.MOST_SESSIONS)})
    each = len(write_ended({f"{name}0000": one})) - len(write_ended({})) + 1
    told = {f"{name}{n:04}": one for n in range((limits.LARGEST - 100) // each)}
    filler = limits.LARGEST - len(write_ended({**told, "f": Over()})) - 20
    told["f" * filler] = Over(int(NOW), {})
    both.store.put(ENDED_KEY, write_ended(told))
    sessions = [both.session(), both.session("eve")]
    for session in sessions:
        both.one.end(session)
    assert all(both.two.covers(session) for session in sessions)
    assert all(both.two.covers(_first_of(name)) for name in told if name[0] != "f")


def _first_of(name: str) -> Session:
    return Session(f"{0:032x}", user(name), "", int(NOW) - 60, int(NOW) + 3600, "oidc")


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b'{"format":2,"users":{}}', b'{"format":1,"users":[]}', b'{"format":1,"users":{"a":1}}',
     b'{"format":1,"users":{"a":{"before":"x","sessions":{}}}}',
     b'{"format":1,"users":{"a":{"before":1,"sessions":{"i":true}}}}'],
)  # fmt: skip
def test_a_damaged_object_is_told(data: bytes) -> None:
    with pytest.raises(ObjectCorrupt):
        read_ended(data)


def test_what_is_written_is_read_again() -> None:
    users = {"ada": limits.Over(5, {}), "a\u00e9 b": limits.Over(0, {"00": 9})}
    assert read_ended(write_ended(users)) == users
