"""Sealed cookies: who can make them, what they are for, and how long they are good."""

import pytest

from auth.errors import BadCredentials
from auth.principal import user
from auth.session import LARGEST, LOGIN, SESSION, SKEW_S, Sealer, TooLarge, begin, open_session, seal_session

KEY = bytes(range(32))
NOW = 1_800_000_000.0
ADA = user("ada", frozenset(("staff", "geo")))


def test_a_session_says_again_who_logged_in() -> None:
    session = begin(ADA, NOW, 3600, "oidc")
    text = seal_session(Sealer(KEY, SESSION), session)
    assert open_session(Sealer(KEY, SESSION), text, NOW + 3599) == session
    assert "ada" not in text


def test_each_login_has_an_id_and_a_csrf_token_of_its_own() -> None:
    first, second = (begin(ADA, NOW, 3600, "basic") for _ in range(2))
    assert first.id != second.id
    assert first.csrf != second.csrf


def test_a_session_ends() -> None:
    text = seal_session(Sealer(KEY, SESSION), begin(ADA, NOW, 3600, "oidc"))
    with pytest.raises(BadCredentials, match="over"):
        open_session(Sealer(KEY, SESSION), text, NOW + 3600)


def test_a_session_of_the_future_is_refused() -> None:
    text = seal_session(Sealer(KEY, SESSION), begin(ADA, NOW, 3600, "oidc"))
    assert open_session(Sealer(KEY, SESSION), text, NOW - SKEW_S).principal == ADA
    with pytest.raises(BadCredentials, match="future"):
        open_session(Sealer(KEY, SESSION), text, NOW - SKEW_S - 1)


@pytest.mark.parametrize(
    "other", [Sealer(bytes(32), SESSION), Sealer(KEY, LOGIN), Sealer(KEY, SESSION, secret=b"of the provider")]
)
def test_another_key_purpose_or_secret_opens_nothing(other: Sealer) -> None:
    text = seal_session(Sealer(KEY, SESSION), begin(ADA, NOW, 3600, "oidc"))
    with pytest.raises(BadCredentials):
        open_session(other, text, NOW)


def test_what_a_login_remembers_is_no_session() -> None:
    with pytest.raises(BadCredentials):
        open_session(Sealer(KEY, SESSION), Sealer(KEY, SESSION).seal({"state": "x"}), NOW)


def test_every_changed_character_is_noticed() -> None:
    sealer = Sealer(KEY, SESSION)
    text = seal_session(sealer, begin(ADA, NOW, 3600, "oidc"))
    for at in range(len(text) - 1):  # of the last one some bits are spare
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        with pytest.raises(BadCredentials):
            open_session(sealer, changed, NOW)


@pytest.mark.parametrize("text", ["", "A", "=", "AQ", "\x00", "é", "A" * (LARGEST + 1), "AQAA", "Ag" + "A" * 60])
def test_what_is_no_cookie_of_ours_is_refused(text: str) -> None:
    with pytest.raises(BadCredentials):
        Sealer(KEY, SESSION).open(text)


def test_more_groups_than_a_cookie_holds_are_refused_and_never_cut() -> None:
    import secrets

    few = user("ada", frozenset(secrets.token_hex(16) for _ in range(100)))
    assert len(seal_session(Sealer(KEY, SESSION), begin(few, NOW, 60, "oidc"))) <= LARGEST
    many = user("ada", frozenset(secrets.token_hex(16) for _ in range(300)))
    with pytest.raises(TooLarge):
        seal_session(Sealer(KEY, SESSION), begin(many, NOW, 60, "oidc"))
