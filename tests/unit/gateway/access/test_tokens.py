"""A gateway's tokens: made, shown, revoked; seen by other gateways in time; what the bucket is asked for."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auth.errors import BadCredentials, Throttled, Undecided
from auth.principal import user
from auth.tokens import HTTP, NFS, TokenUnusable, TooManyTokens, new_text, parse_rules
from gateway.access import token_objects
from gateway.access.token_records import (
    ABSENT_S,
    FRESH_S,
    GUESSES,
    GUESSES_A_SECOND,
    OF_ONE,
    RECORDS,
    RETRY_S,
    STALE_S,
)
from gateway.access.token_uses import EVERY_S, Uses, last_use
from gateway.access.tokens import Tokens
from gateway.errors import TokenMissing, TokenTaken
from store.errors import ObjectCorrupt, StoreFull, StoreUnavailable
from store.layout import TOKEN_NAMES, TOKENS, token_key, token_name_key, token_owner_key, token_use_key
from store.objects.base import Fetched, ObjectStore
from store.objects.local import FolderStore
from store.objects.memory import MemoryStore
from store.objects.wrapper import Wrapper
from tests.support.staging import Clock
from tests.support.vault import Vault

READ = parse_rules(["read:@geo/*"], kind=HTTP)
ADA = user("ada", frozenset({"staff"}))


class Watched(Wrapper):
    """Counts what the bucket is asked for, and is away when told."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.fetched: list[str] = []
        self.unless: list[str | None] = []
        self.written: list[str] = []
        self.away = False

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        self.fetched.append(key)
        self.unless.append(unless)
        if self.away:
            raise StoreUnavailable(self.address, "it is away")
        return super().fetch(key, unless=unless)

    def put(self, key: str, data: bytes | bytearray | memoryview) -> str:
        if self.away:
            raise StoreUnavailable(self.address, "it is away")
        self.written.append(key)
        return super().put(key, data)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def objects(clock: Clock) -> Watched:
    return Watched(MemoryStore(clock=lambda: int(clock.now_s * 1e9)))


@pytest.fixture
def gateway(objects: Watched, clock: Clock) -> Callable[[], Tokens]:
    """Return what opens one more gateway's tokens on the same store. Last uses are written only when told."""

    class Quiet(Uses):
        def _run(self) -> None:
            return

    return lambda: Tokens(objects, clock=clock, uses=Quiet(objects, clock=clock))


@pytest.fixture
def tokens(gateway: Callable[[], Tokens]) -> Tokens:
    return gateway()


def test_a_token_is_known_once_it_was_checked(tokens: Tokens, objects: Watched) -> None:
    text, record = tokens.create("ci", READ, owner=ADA)
    assert tokens.known(str(text)) is None
    principal = tokens.check(str(text))
    assert (str(principal), principal.grants, principal.owner) == ("token:ci", READ, ADA)
    objects.fetched.clear()
    assert tokens.known(str(text)) == principal == tokens.check(str(text))
    assert objects.fetched == []
    assert record.created_ns == int(1000e9)


def test_the_secret_lies_nowhere_in_the_bucket(tokens: Tokens, objects: Watched) -> None:
    text, _ = tokens.create("ci", READ)
    tokens.check(str(text))
    tokens.close()
    stored = [objects.get(info.key) + info.key.encode() for info in objects.list("")]
    assert len(stored) == 3
    assert not any(text.secret.encode() in data for data in stored)


def test_a_wrong_secret_is_refused_from_memory_too(tokens: Tokens, objects: Watched) -> None:
    text, _ = tokens.create("ci", READ)
    tokens.check(str(text))
    objects.fetched.clear()
    wrong = text._replace(secret=new_text().secret)
    assert tokens.known(str(wrong)) is None
    with pytest.raises(BadCredentials):
        tokens.check(str(wrong))
    assert objects.fetched == []


def test_a_token_is_of_one_kind_alone(tokens: Tokens) -> None:
    web, _ = tokens.create("web", READ)
    mount, _ = tokens.create("mount", parse_rules(["read:*"], kind=NFS), nfs=True)
    assert tokens.check(str(mount), nfs=True).name == "mount"
    assert tokens.known(str(mount)) is None
    for text, nfs in ((web, True), (mount, False)):
        with pytest.raises(BadCredentials, match="alone"):
            tokens.check(str(text), nfs=nfs)


def test_a_handle_of_a_mount_goes_by_the_tokens_id(tokens: Tokens, clock: Clock) -> None:
    mount, record = tokens.create("mount", parse_rules(["read:*"], kind=NFS), nfs=True)
    web, _ = tokens.create("web", READ)
    assert tokens.known_grant(mount.id) is None
    assert tokens.check_grant(mount.id) == tokens.known_grant(mount.id)
    for bad in (web.id, new_text().id, "../../aetherfs.json", ""):
        with pytest.raises(BadCredentials):
            tokens.check_grant(bad)
        assert tokens.known_grant(bad) is None
    tokens.revoke(record.name)
    assert tokens.known_grant(mount.id) is None
    with pytest.raises(BadCredentials, match="revoked"):
        tokens.check_grant(mount.id)


def test_every_gateway_refuses_a_revoked_token_in_time(
    tokens: Tokens, gateway: Callable[[], Tokens], clock: Clock
) -> None:
    text, _ = tokens.create("ci", READ)
    other = gateway()
    other.check(str(text))
    tokens.check(str(text))
    clock.now_s += 1
    tokens.revoke("ci")
    assert tokens.known(str(text)) is None
    with pytest.raises(BadCredentials, match="revoked"):
        tokens.check(str(text))
    assert other.known(str(text)) is not None  # it can't know yet
    clock.now_s += FRESH_S - 0.5
    assert other.known(str(text)) is None
    with pytest.raises(BadCredentials, match="revoked"):
        other.check(str(text))
    assert other.generation == 1
    assert FRESH_S <= 30


def test_what_is_known_is_asked_for_again_by_its_etag(tokens: Tokens, objects: Watched, clock: Clock) -> None:
    text, _ = tokens.create("ci", READ)
    tokens.check(str(text))
    objects.fetched.clear()
    objects.unless.clear()
    for _ in range(10):
        clock.now_s += FRESH_S + 1
        assert tokens.check(str(text)) == tokens.known(str(text))
    assert objects.fetched == [token_key(text.id)] * 10
    assert objects.unless == [objects.head(token_key(text.id)).etag] * 10
    assert tokens.generation == 0


def test_a_token_expires_on_the_second(tokens: Tokens, clock: Clock) -> None:
    text, _ = tokens.create("ci", READ, lives_s=10)
    tokens.check(str(text))
    clock.now_s += 9.5
    assert tokens.known(str(text)) is not None
    clock.now_s += 0.5
    assert tokens.known(str(text)) is None
    with pytest.raises(BadCredentials, match="expired"):
        tokens.check(str(text))


def test_names_of_good_tokens_are_taken(tokens: Tokens, objects: Watched) -> None:
    first, _ = tokens.create("ci", READ)
    with pytest.raises(TokenTaken):
        tokens.create("ci", READ)
    assert len([*objects.list("auth/tokens/")]) == 1
    assert tokens.check(str(first)).name == "ci"


@pytest.mark.parametrize("ending", ["revoked", "expired"])
def test_a_name_is_given_anew_when_its_token_has_ended(tokens: Tokens, clock: Clock, ending: str) -> None:
    first, _ = tokens.create("ci", READ, lives_s=100)
    tokens.check(str(first))
    if ending == "revoked":
        tokens.revoke("ci")
    else:
        clock.now_s += 100
    second, record = tokens.create("ci", READ)
    assert tokens.check(str(second)).name == "ci"
    with pytest.raises(BadCredentials, match=ending):
        tokens.check(str(first))
    assert tokens.find("ci").record == record
    assert [known.record for _, known in tokens.list()] == [record]


def test_a_user_has_a_bounded_number_of_good_tokens(
    tokens: Tokens, objects: Watched, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_objects, "MOST_OF_ONE", 3)
    for number, lives_s in enumerate((0, 100, 0)):
        tokens.create(f"ci{number}", READ, owner=ADA, lives_s=lives_s)
    with pytest.raises(TooManyTokens, match="you have 3 tokens"):
        tokens.create("one-more", READ, owner=ADA)
    assert len([*objects.list("auth/tokens/")]) == 3
    tokens.create("bobs", READ, owner=user("bob"))  # each has their own bound
    tokens.create("ops", READ)  # and whoever has the store's credentials none
    clock.now_s += 100  # one has expired
    tokens.create("ci3", READ, owner=ADA)
    with pytest.raises(TooManyTokens):
        tokens.create("ci4", READ, owner=ADA)
    tokens.revoke("ci0")
    for _ in range(5):
        with pytest.raises(TokenTaken):  # what comes to nothing does not count
            tokens.create("ci2", READ, owner=ADA)
    tokens.create("ci4", READ, owner=ADA)


@pytest.mark.parametrize("failing", [TOKENS, TOKEN_NAMES])
def test_a_token_that_could_not_be_made_does_not_count(
    tokens: Tokens, objects: Watched, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    monkeypatch.setattr(token_objects, "MOST_OF_ONE", 1)
    put_if = Watched.put_if

    def fails(self: Watched, key: str, data: bytes, *, match: str | None) -> str:
        if key.startswith(failing):
            raise StoreFull(self.address)
        return put_if(self, key, data, match=match)

    with monkeypatch.context() as patch:
        patch.setattr(Watched, "put_if", fails)
        for _ in range(3):
            with pytest.raises(StoreFull):
                tokens.create("ci", READ, owner=ADA)
    assert [*objects.list(TOKENS)] == []
    tokens.create("ci", READ, owner=ADA)


def test_a_count_of_tokens_that_can_not_be_read_makes_none(tokens: Tokens, objects: Watched) -> None:
    tokens.create("ci", READ, owner=ADA)
    objects.put(token_owner_key("ada"), b'{"format": 1, "tokens": ["x"]}')
    with pytest.raises(ObjectCorrupt):
        tokens.create("ci2", READ, owner=ADA)
    assert tokens.revoke("ci").revoked_ns  # but stands in nobody's way who takes one back


def test_of_many_who_want_one_name_one_gets_it(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, create=True)
    made: list[str] = []
    taken: list[TokenTaken] = []
    ready = threading.Barrier(8)

    def create() -> None:
        own = Tokens(store)
        ready.wait()
        try:
            made.append(str(own.create("ci", READ)[0]))
        except TokenTaken as error:
            taken.append(error)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(taken)) == (1, 7)
    reader = Tokens(store)
    assert reader.check(made[0]).name == "ci"
    assert [known.record.name for _, known in reader.list()] == ["ci"]
    assert len([*store.list("auth/tokens/")]) == 1
    reader.close()


def test_a_maker_that_died_between_its_writes_blocks_no_name(tokens: Tokens, objects: Watched) -> None:
    tokens.create("ci", READ)
    objects.delete(token_name_key("ci"))  # as if only the record was written
    second, _ = tokens.create("ci", READ)
    assert tokens.check(str(second)).name == "ci"
    assert len([*tokens.list()]) == 1


def test_what_there_is_not_is_not_asked_for_again_at_once(tokens: Tokens, objects: Watched, clock: Clock) -> None:
    text = new_text()
    for _ in range(20):
        with pytest.raises(BadCredentials, match="there is no token"):
            tokens.check(str(text))
    assert len(objects.fetched) == 1
    clock.now_s += ABSENT_S
    with pytest.raises(BadCredentials):
        tokens.check(str(text))
    assert len(objects.fetched) == 2


def test_guessing_costs_the_bucket_little_and_shuts_nobody_out_who_is_known(
    tokens: Tokens, objects: Watched, clock: Clock
) -> None:
    text, _ = tokens.create("ci", READ)
    tokens.check(str(text))
    objects.fetched.clear()
    refused = 0
    for _ in range(3 * GUESSES):
        with pytest.raises((BadCredentials, Throttled)) as error:
            tokens.check(str(new_text()))
        refused += isinstance(error.value, Throttled)
    assert len(objects.fetched) == GUESSES
    assert refused == 2 * GUESSES
    clock.now_s += FRESH_S + 1  # the record has to be asked for again, meanwhile
    for _ in range(3 * GUESSES):
        with pytest.raises((BadCredentials, Throttled)):
            tokens.check(str(new_text()))
    assert tokens.check(str(text)).name == "ci"


def test_who_guesses_from_a_few_addresses_keeps_nobody_out_elsewhere(
    tokens: Tokens, gateway: Callable[[], Tokens], objects: Watched, clock: Clock
) -> None:
    good = [str(tokens.create(f"token{number}", READ)[0]) for number in range(10)]
    fresh = gateway()  # that has met none of them
    objects.fetched.clear()
    for _ in range(600):  # a minute, in which each of five asks ten times a second
        clock.now_s += 0.1
        for host in range(5):
            with pytest.raises((BadCredentials, Throttled)):
                fresh.check(str(new_text()), address=f"192.0.2.{host}")
    assert len(objects.fetched) <= GUESSES + 60 * GUESSES_A_SECOND
    assert {fresh.check(text, address="198.51.100.7").name for text in good} == {f"token{n}" for n in range(10)}
    with pytest.raises(Throttled):
        fresh.check(str(new_text()), address="192.0.2.0")
    clock.now_s += 1
    with pytest.raises(BadCredentials):  # it is heard again before long
        fresh.check(str(new_text()), address="192.0.2.0")


def test_an_address_of_ipv6_guesses_for_all_of_its_network(tokens: Tokens) -> None:
    for number in range(OF_ONE):
        with pytest.raises(BadCredentials):
            tokens.check(str(new_text()), address=f"2001:db8::{number:x}")
    with pytest.raises(Throttled):
        tokens.check(str(new_text()), address="2001:db8::ffff")
    with pytest.raises(BadCredentials):
        tokens.check(str(new_text()), address="2001:db8:0:1::1")


def test_many_good_tokens_that_come_at_once_are_no_guesses(tokens: Tokens, gateway: Callable[[], Tokens]) -> None:
    shown = [str(tokens.create(f"token{number}", READ)[0]) for number in range(GUESSES + 50)]
    fresh = gateway()
    assert {fresh.check(text, address="192.0.2.1").name for text in shown} == {
        f"token{number}" for number in range(GUESSES + 50)
    }


def test_while_the_bucket_is_away_what_was_known_counts_for_an_hour(
    tokens: Tokens, objects: Watched, clock: Clock
) -> None:
    text, _ = tokens.create("ci", READ)
    tokens.check(str(text))
    objects.away = True
    clock.now_s += FRESH_S + 1
    objects.fetched.clear()
    assert tokens.known(str(text)) is None  # somebody has to ask first
    for _ in range(10):
        assert tokens.check(str(text)).name == "ci"
        assert tokens.known(str(text)) is not None
    assert len(objects.fetched) == 1
    clock.now_s += RETRY_S
    tokens.check(str(text))
    assert len(objects.fetched) == 2
    clock.now_s += STALE_S
    with pytest.raises(Undecided):
        tokens.check(str(text))
    objects.away = False
    assert tokens.check(str(text)).name == "ci"


def test_a_token_that_nothing_is_known_of_waits_for_the_bucket(tokens: Tokens, objects: Watched) -> None:
    text, _ = tokens.create("ci", READ)
    objects.away = True
    with pytest.raises(Undecided) as undecided:
        tokens.check(str(text))
    assert text.secret not in str(undecided.value)
    objects.away = False
    assert tokens.check(str(text)).name == "ci"


def test_a_damaged_record_grants_nothing(tokens: Tokens, objects: Watched, clock: Clock) -> None:
    text, _ = tokens.create("ci", READ)
    tokens.check(str(text))
    good = objects.get(token_key(text.id))
    objects.put(token_key(text.id), good.replace(b"read:@geo/*", b"read:@gel/*"))
    clock.now_s += FRESH_S + 1
    with pytest.raises(Undecided):
        tokens.check(str(text))
    assert tokens.known(str(text)) is None
    other, _ = tokens.create("other", READ)
    objects.put(token_key(text.id), objects.get(token_key(other.id)))
    with pytest.raises(ObjectCorrupt, match="another token's"):
        token_objects.fetch_record(objects, text.id)


def test_a_record_that_was_taken_away_is_noticed(tokens: Tokens, objects: Watched, clock: Clock) -> None:
    text, _ = tokens.create("ci", READ)
    tokens.check(str(text))
    objects.delete(token_key(text.id))
    clock.now_s += FRESH_S + 1
    with pytest.raises(BadCredentials, match="there is no token"):
        tokens.check(str(text))
    assert tokens.generation == 1
    assert [*tokens.list()] == []
    with pytest.raises(TokenMissing):
        tokens.find("ci")


def test_unknown_fields_survive_a_revocation(tokens: Tokens, objects: Watched) -> None:
    from store import jsondoc

    text, _ = tokens.create("ci", READ)
    key = token_key(text.id)
    document = jsondoc.decode(key, objects.get(key), limit=1 << 20).rest() | {"later": [1]}
    objects.put(key, jsondoc.encode(document))
    record = tokens.revoke("ci")
    after = jsondoc.decode(key, objects.get(key), limit=1 << 20).rest()
    assert (after["later"], after["seq"], after["revoked"]) == ([1], 2, record.revoked_ns)
    assert tokens.revoke("ci") == record
    assert jsondoc.decode(key, objects.get(key), limit=1 << 20).integer("seq") == 2


def test_a_token_that_there_is_not_cannot_be_revoked(tokens: Tokens) -> None:
    with pytest.raises(TokenMissing):
        tokens.revoke("ci")
    with pytest.raises(TokenUnusable):
        tokens.create("a/b", READ)
    with pytest.raises(TokenUnusable):
        tokens.create("ci", READ, owner=user("a" * 300))


def test_a_list_goes_on_behind_a_place(tokens: Tokens) -> None:
    names = {f"token{number}" for number in range(70)}
    for name in names:
        tokens.create(name, READ)
    whole = [*tokens.list()]
    assert {known.record.name for _, known in whole} == names
    assert [*tokens.list(after=whole[29][0])] == whole[30:]


def test_last_uses_are_written_every_ten_minutes_by_one_gateway(
    tokens: Tokens, gateway: Callable[[], Tokens], objects: Watched, clock: Clock
) -> None:
    text, record = tokens.create("ci", READ)
    assert tokens.find("ci").used_ns == 0
    other = gateway()
    for _ in range(61):
        for each in (tokens, other):
            each.check(str(text))
            each._uses.write_due()
        clock.now_s += 20
    assert objects.written == [token_use_key(text.id)] * 3  # after 0, 600 and 1200 seconds
    assert tokens.find("ci").used_ns == last_use(objects, record.id) == int(2200e9)
    clock.now_s += EVERY_S
    tokens.check(str(text))
    tokens.close()
    assert tokens.find("ci").used_ns == int(clock.now_s * 1e9)


def test_uses_that_cannot_be_written_do_no_harm(tokens: Tokens, objects: Watched) -> None:
    text, record = tokens.create("ci", READ)
    tokens.check(str(text))
    objects.away = True
    assert tokens._uses.write_due() == 0
    tokens.close()
    objects.away = False
    objects.put(token_use_key(record.id), b"no json")
    assert tokens.find("ci").used_ns == 0


def test_the_thread_of_uses_writes_by_itself(objects: Watched) -> None:
    written = threading.Event()

    class Told(Watched):
        def put(self, key: str, data: bytes | bytearray | memoryview) -> str:
            done = super().put(key, data)
            written.set()
            return done

    tokens = Tokens(Told(objects))
    text, _ = tokens.create("ci", READ)
    tokens.check(str(text))
    assert written.wait(30)
    tokens.close()


def test_the_short_way_ends_with_what_it_rests_on(tokens: Tokens, clock: Clock) -> None:
    text, _ = tokens.create("ci", READ, lives_s=20)
    other, _ = tokens.create("other", READ)
    for shown in (text, other):
        tokens.check(str(shown))
    for _ in range(19):
        clock.now_s += 1
        assert tokens.known(str(text)) is not None
        assert tokens.known(str(text), nfs=True) is None
    clock.now_s += 1
    assert tokens.known(str(text)) is None
    assert tokens.known(str(other)) is not None
    tokens.revoke("other")
    assert tokens.known(str(other)) is None
    assert all(other.secret.encode() not in key for key in tokens._good)


def test_a_use_is_noted_by_the_short_way_too(tokens: Tokens, clock: Clock) -> None:
    text, record = tokens.create("ci", READ)
    tokens.check(str(text))
    tokens._uses.write_due()
    clock.now_s += 25
    assert tokens.known(str(text)) is not None
    assert tokens._uses._pending == {record.id: int(clock.now_s * 1e9)}


def test_of_what_is_changed_while_a_token_is_judged_nothing_is_missed(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, _ = tokens.create("ci", READ)
    tokens.check(str(text))
    at_hand = tokens._records.at_hand

    def late(token: str) -> Any:
        monkeypatch.undo()
        found = at_hand(token)
        tokens.revoke("ci")  # behind the look at the record, before the judgement
        return found

    tokens._good.clear()
    monkeypatch.setattr(tokens._records, "at_hand", late)
    tokens.known(str(text))
    assert tokens.known(str(text)) is None


def test_memory_is_bounded(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.access.token_records.RECORDS", 5)
    monkeypatch.setattr("gateway.access.token_records.ABSENT", 7)
    monkeypatch.setattr("gateway.access.tokens.SHORT_WAYS", 6)
    for number in range(20):
        tokens.check(str(tokens.create(f"token{number}", READ)[0]))
        with pytest.raises(BadCredentials):
            tokens.check(str(new_text()))
    assert (len(tokens._records._held), len(tokens._records._absent)) == (5, 7)
    assert len(tokens._good) <= 6
    assert RECORDS <= 10_000


def test_an_encrypted_store_seals_them(tmp_path: Path) -> None:
    from gateway.cli import main

    store, key = tmp_path / "store", tmp_path / "key"
    assert main.run(["init", "--encrypt", "--store", str(store), "--key-file", str(key), "-q"]) == 0
    vault = Vault(store, key)
    objects = vault.objects()
    tokens = Tokens(objects)
    text, _ = tokens.create("secret-name", READ, owner=ADA)
    assert tokens.check(str(text)).owner == ADA
    tokens.close()
    files = [path for path in store.rglob("*") if path.is_file() and "auth" in path.parts]
    assert len(files) == 4
    assert all(path.read_bytes().startswith(b"AFSL") for path in files)
    assert not any(b"secret-name" in path.read_bytes() for path in files)
