"""What changes while a gateway runs: tokens that are revoked, users and rules that are replaced, broken or opened.

On a gateway of its own. A token that was revoked is good for nothing within a minute (half of one, by what gateways
remember). What can't be used leaves what was there before in force.
"""

import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from tests.interop.guarded.gateway import ADA, BOB, POLICY, Guarded, basic, bearer
from tests.support.until import wait_until

WORKERS = 2
FILES = 2000  # each is asked for once: what was answered before may be answered again for ten seconds
_numbers = itertools.count()


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    changing = Guarded(tmp_path_factory.mktemp("changing"))
    changing.publish({"maps:1.0.0": {b"%d" % number: b"%d\n" % number for number in range(FILES)}})
    token = changing.token("short", "read:maps")
    changing.start("--workers", str(WORKERS))
    try:
        assert status(changing, bearer(token)) == {200}
        assert status(changing, basic("x", token)) == {200}
        changing.place.run("token", "revoke", "short")  # first of all, for it takes longest
        yield changing
    finally:
        code = changing.stop()
    assert code == 0


def asked(changing: Guarded, fields: dict[str, str]) -> int:
    return changing.ask("GET", f"/fs/maps/1.0.0/{next(_numbers) % FILES}", fields).status


def status(changing: Guarded, fields: dict[str, str]) -> set[int]:
    """Return what both workers answer, as far as eight connections find out."""
    return {asked(changing, fields) for _ in range(8)}


def waited(until: Callable[[], bool]) -> None:
    """Wait for something that both workers see by themselves within seconds."""
    wait_until(until, every_s=0.1)


def said(changing: Guarded, words: str) -> int:
    """Return how often the gateway has said something."""
    return changing.errors.read_text().count(words)


def replaced(changing: Guarded, text: str) -> None:
    coming = changing.policy.with_suffix(".coming")
    coming.write_text(text)
    coming.replace(changing.policy)


@pytest.mark.slow
def test_rules_act_within_seconds_and_those_that_can_not_be_used_not_at_all(changing: Guarded) -> None:
    bob = basic("bob", BOB)
    assert status(changing, bob) == {200}
    replaced(changing, POLICY.replace('on = ["maps"]', 'on = ["other"]'))
    waited(lambda: status(changing, bob) == {404})
    everybody = '[[rule]]\nallow = ["read"]\nto = ["anonymous"]\non = ["*"]\n'
    for text in (
        everybody + "[[rule]",
        everybody + "x = 1",
        everybody.replace("anonymous", "anyone"),
        "\0",
        "[[rule]]\n",
    ):
        replaced(changing, text)
        time.sleep(0.2)
    coming = changing.policy.with_suffix(".coming")
    coming.write_text(everybody)
    coming.chmod(0o666)  # whoever has an account here could write it
    coming.replace(changing.policy)
    waited(lambda: said(changing, "can be changed by others") == WORKERS)
    assert status(changing, {}) == {401}
    assert status(changing, bob) == {404}
    changing.policy.chmod(0o600)
    waited(lambda: status(changing, {}) == {200})
    assert changing.ask("PROPFIND", "/webdav/", {"Depth": "1"}).status == 207
    # Where the top is open, a dataset that is not asks for a login by its own address.
    replaced(changing, POLICY)
    waited(lambda: status(changing, {}) == {401} and status(changing, bob) == {200})


@pytest.mark.slow
def test_users_that_are_replaced_half_way_change_nothing(changing: Guarded) -> None:
    whole = changing.users.read_bytes()
    for part in (
        whole[:20],
        whole[:-10],
        whole[: whole.index(b"\n") + 8],
        whole + whole,
        b"bob:" + b"x" * 60 + b"\n",
    ):  # not an empty file, which is one without users
        changing.users.write_bytes(part)
        time.sleep(0.2)
    waited(lambda: said(changing, "can't be used: the one before stays") >= WORKERS)
    time.sleep(2.5)  # both have looked at the last one
    assert status(changing, basic("bob", BOB)) == {200}
    assert status(changing, basic("ada", ADA)) == {200}
    log = changing.errors.read_text()
    assert not [line for line in whole.decode().splitlines() if line.partition(":")[2][-20:] in log]
    changing.write_users({"ada": ADA, "bob": "another-pass-word"})
    waited(lambda: asked(changing, basic("bob", "another-pass-word")) == 200)
    # The old one is good for nothing, and counts as no guess: this client has not heard of it yet.
    waited(lambda: status(changing, basic("bob", BOB)) == {401})
    # Those asked just now may all have been answered by one worker, and the other looks at the file a moment later.
    waited(lambda: status(changing, basic("bob", "another-pass-word")) == {200})
    changing.write_users({"ada": ADA})
    waited(lambda: status(changing, basic("bob", "another-pass-word")) == {401})


@pytest.mark.slow
def test_a_revoked_token_is_good_for_nothing_within_a_minute(changing: Guarded) -> None:
    token = changing.tokens["short"]
    ways = [bearer(token), basic("x", token)]
    # Many times: one worker may answer whatever is asked a few times, and the other know it for longer.
    waited(lambda: all(status(changing, fields) == {401} for _ in range(8) for fields in ways))
    for fields in ways:
        assert status(changing, fields) == {401}
    again = changing.token("short", "read:maps")  # the same name, another token
    assert status(changing, bearer(again)) == {200}
    assert status(changing, bearer(token)) == {401}
