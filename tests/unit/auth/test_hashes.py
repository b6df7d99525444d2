"""Which hashes are taken, what they cost at most, and which passwords fit."""

import base64

import bcrypt
import pytest

from auth.hashes import BCRYPT_LONGEST, LONGEST, check_hash, check_new, new_hash, verify

# Fixed, for they stand in names of tests, which all processes have to find alike.
QUICK = "$2b$04$ERnGUJqecRHsB/K8CRGxPuN0QqzO67RhV5BhitIPR3yTK.eKqYCwK"
SMALL = "$argon2id$v=19$m=8,t=1,p=1$dADovCEgEnHqP+DPCBA16g$8oQ2/0KW4I6IMejrSx33ZfdNLw+7IQZ/gKMExRO3mt0"
SALT, DIGEST = base64.b64encode(bytes(16)).decode().rstrip("="), base64.b64encode(bytes(32)).decode().rstrip("=")


@pytest.mark.parametrize("kind", ["$2a$", "$2b$", "$2y$"])
def test_each_name_of_bcrypt_is_taken_and_fits_its_password_alone(kind: str) -> None:
    text = kind + QUICK[4:]
    assert check_hash(text) == "bcrypt, cost 4"
    assert verify(text, b"secret")
    assert not verify(text, b"Secret")
    assert not verify(text, b"")


def test_argon2id_is_taken_and_fits_its_password_alone() -> None:
    assert check_hash(SMALL) == "argon2id, 8 KiB, 1 passes, 1 lanes"
    assert verify(SMALL, b"secret")
    assert not verify(SMALL, b"secret ")


def test_a_password_that_bcrypt_sees_only_the_beginning_of_does_not_fit() -> None:
    text = bcrypt.hashpw(b"p" * BCRYPT_LONGEST, bcrypt.gensalt(4)).decode()
    assert verify(text, b"p" * BCRYPT_LONGEST)
    assert not verify(text, b"p" * BCRYPT_LONGEST + b"q")


def test_bcrypt_does_not_end_at_a_zero_byte() -> None:
    assert not verify(bcrypt.hashpw(b"a\0b", bcrypt.gensalt(4)).decode(), b"a\0c")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no hash of a known kind"),
        ("secret", "no hash of a known kind"),
        ("$apr1$abcdefgh$3456789012345678901234", "MD5"),
        ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "SHA-1"),
        ("$5$salt$digest", "SHA-256 crypt"),
        ("$6$salt$digest", "SHA-512 crypt"),
        ("$y$j9T$salt$digest", "yescrypt"),
        ("$2x$" + QUICK[4:], "bcrypt, but not as it is written"),
        (QUICK + " ", "bcrypt, but not as it is written"),
        (QUICK[:-1], "bcrypt, but not as it is written"),
        (QUICK[:-1] + "z", "bcrypt, but not as it is written"),  # bits that no digest has: it would never fit
        (QUICK[:4] + "03" + QUICK[6:], "cost 3"),
        (QUICK[:4] + "16" + QUICK[6:], "costs go from 4 to 15"),
        (QUICK[:4] + "31" + QUICK[6:], "cost 31"),
        ("$argon2i$v=19$m=8,t=1,p=1$" + SALT + "$" + DIGEST, "not argon2id"),
        ("$argon2id$v=16$m=8,t=1,p=1$" + SALT + "$" + DIGEST, "not as it is written"),
        ("$argon2id$v=19$m=262145,t=1,p=1$" + SALT + "$" + DIGEST, "m=262145"),
        ("$argon2id$v=19$m=262144,t=9,p=1$" + SALT + "$" + DIGEST, "t=9"),
        ("$argon2id$v=19$m=1024,t=1,p=17$" + SALT + "$" + DIGEST, "p=17"),
        ("$argon2id$v=19$m=15,t=1,p=2$" + SALT + "$" + DIGEST, "at least m=8"),
        ("$argon2id$v=19$m=8,t=1,p=1$" + SALT[:-1] + "B$" + DIGEST, "no base64"),
        ("$argon2id$v=19$m=8,t=1,p=1$" + SALT + "A$" + DIGEST[:-1] + "B", "no base64"),
        ("$argon2id$v=19$m=8,t=1,p=1$" + SALT + "\n$" + DIGEST, "not as it is written"),
    ],
)
def test_other_hashes_are_refused_and_named_but_not_shown(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        check_hash(text)
    assert len(text) < 8 or text not in str(caught.value)


def test_new_hashes_are_taken_and_fit() -> None:
    assert check_hash(new_hash(b"secret", by_bcrypt=True)) == "bcrypt, cost 12"
    made = new_hash("pässwörd".encode())
    assert check_hash(made) == "argon2id, 65536 KiB, 3 passes, 4 lanes"
    assert verify(made, "pässwörd".encode())
    assert new_hash(b"secret") != new_hash(b"secret")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        (b"", "empty"),
        (b"p" * (LONGEST + 1), "1025 bytes"),
        (b"\xff", "UTF-8"),
        (b"two\nlines", "line break"),
        (b"zero\0", "control"),
        (b"del\x7f", "control"),
        (b"aefs_is_what_tokens_begin_with", "taken for a token"),
    ],
)
def test_passwords_that_clients_cannot_send_are_refused(password: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_new(password, by_bcrypt=False)


def test_a_password_that_is_too_long_for_bcrypt_is_good_for_argon2id() -> None:
    long = b"p" * (BCRYPT_LONGEST + 1)
    with pytest.raises(ValueError, match="73 bytes, and bcrypt looks at 72"):
        new_hash(long, by_bcrypt=True)
    assert verify(new_hash(long), long)
