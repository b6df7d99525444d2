"""Files of users and policies, from any bytes: what they hold or a documented error, with a line and no secret."""

import contextlib
from collections.abc import Callable
from typing import TypeVar

from hypothesis import example, given
from hypothesis import strategies as st

from auth.hashes import check_hash, verify
from auth.htpasswd import HtpasswdError, check_name, parse_htpasswd, with_user, without_user
from auth.policy import PolicyError, parse_policy, policy_text, warnings
from auth.principal import ANONYMOUS, Action, user
from auth.throttle import Throttle, line_of
from gateway.access.policy_object import decode_policy, write_policy
from store.layout import POLICY_KEY
from store.objects.memory import MemoryStore
from tests.fuzz.test_store_decoders import bounded, damaged
from tests.unit.auth.test_hashes import QUICK, SMALL

USERS = f"# people\nada:{QUICK}\n\nbøb smith:{SMALL}\r\n#eve:{QUICK}\n".encode()
POLICY = (
    b'# rules\n[[rule]]\nallow = ["read", "push"]\nto = ["user:ada", "anonymous"]\non = ["maps", "@geo/*"]\n'
    b'[[rule]]  # no\ndeny = ["tag"]\nto = ["group:staff", "token:ci", "authenticated"]\non = ["*"]\n'
)
OBJECTS = MemoryStore()
write_policy(OBJECTS, POLICY.decode(), by="ada")
WORDS = st.sampled_from(
    ["[[rule]]", "[rule]", "rule", "allow", "deny", "to", "on", "=", "[", "]", "{", "}", '"', "'", '"""', "\n", ",",
     ".", '"read"', '"user:ada"', '"*"', "#", "\\", "\\u2028", "1", "1979-05-27", "inf", "\r", "\x00", "\u2028", "ä"]
)  # fmt: skip


T = TypeVar("T")


def tried(read: Callable[[], T]) -> tuple[T | None, str]:
    """Return what is read, or why it is not, which begins with the line."""
    try:
        return read(), ""
    except (HtpasswdError, PolicyError) as error:
        why = str(error)
    assert why.startswith("line ")
    return None, why


@given(damaged(USERS), st.text(max_size=6))
def test_any_file_of_users_is_read_or_refused_by_line_and_changed_at_one_line_alone(data: bytes, name: str) -> None:
    users, why = tried(lambda: parse_htpasswd(data))
    if users is None:
        assert QUICK not in why
        assert SMALL not in why
        return
    for known in users.names:
        check_name(known)
        check_hash(users.get(known) or "")
        assert parse_htpasswd(without_user(data, known)).names == tuple(n for n in users.names if n != known)
    with contextlib.suppress(ValueError):
        changed = parse_htpasswd(with_user(data, name, QUICK))
        assert changed.get(name) == QUICK
        assert {*changed.names} == {*users.names, name}
        assert all(changed.get(known) == users.get(known) for known in users.names if known != name)


@given(damaged(USERS))
def test_removing_and_adding_leaves_all_other_bytes(data: bytes) -> None:
    with contextlib.suppress(HtpasswdError):
        assert without_user(with_user(data, "new", QUICK), "new").rstrip(b"\n") == data.rstrip(b"\n")
        assert with_user(data, "new", QUICK).startswith(data)


@given(st.one_of(damaged(QUICK.encode()), damaged(SMALL.encode())), st.binary(max_size=80))
def test_any_hash_is_refused_or_cheap_enough_to_check(data: bytes, password: bytes) -> None:
    text = data.decode("latin-1")
    with contextlib.suppress(ValueError):
        said = check_hash(text)
        # Dearer ones are no error, but would make this test slow.
        if said == "bcrypt, cost 4" or said.startswith("argon2id, 8 KiB, 1 "):
            assert verify(text, password) in (True, False)


@given(damaged(POLICY))
@example(b"")
def test_any_bytes_are_a_policy_or_refused_by_line(data: bytes) -> None:
    policy, _ = tried(lambda: parse_policy(policy_text(data)))
    if policy is None:
        return
    lines = data.count(b"\n") + 1
    assert all(1 <= rule.line <= lines for rule in policy.rules)
    assert isinstance(warnings(policy), list)
    for who in (ANONYMOUS, user("ada", frozenset({"staff"}))):
        assert policy.decide(who, Action.READ, "maps").allowed == policy.allows(who, Action.READ, "maps")


@given(damaged(OBJECTS.get(POLICY_KEY)))
def test_any_object_is_a_policy_or_damaged(data: bytes) -> None:
    bounded(lambda: decode_policy(data))


@given(st.lists(WORDS, max_size=40).map("".join))
def test_any_words_of_toml_are_a_policy_or_refused_by_line(text: str) -> None:
    tried(lambda: parse_policy(text))


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_user_and_address_have_a_short_key_of_ascii_and_any_key_is_taken(name: str, address: str) -> None:
    throttle = Throttle()
    key = throttle.key(name, address)
    assert key.isascii()
    assert len(key) <= 64
    assert line_of(line_of(address).partition("/")[0]) == line_of(address)
    throttle.failed(key)
    throttle.failed(name)
    throttle.succeeded(address)
    assert len(throttle._users) == 1
