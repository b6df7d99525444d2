"""Hashes of passwords as an htpasswd file holds them: bcrypt ($2a$, $2b$, $2y$) and argon2id (RFC 9106).

A hash says itself what checking it costs, so costs have bounds: nobody waits longer than some two seconds, and no hash
takes more than 256 MiB. Other kinds (crypt, MD5, SHA-1, plain text) are refused: they are broken, or quick to guess.

bcrypt looks at no more than 72 bytes. A longer password is refused when it is set, and never fits: else every password
with the same beginning would. Pure functions; any thread; hashing releases the interpreter's lock. Messages never hold
a hash or a password.
"""

import base64
import binascii
import re
from typing import Final

import argon2
import bcrypt

from auth.errors import Undecided
from auth.tokens import PREFIX

LONGEST: Final = 1024  # bytes of a password
BCRYPT_LONGEST: Final = 72  # bytes of a password that bcrypt looks at
BCRYPT_COST: Final = 12  # of new hashes: 2 ** 12 rounds, about 0.25 s
BCRYPT_COSTS: Final = range(4, 16)
ARGON2_MEMORY: Final = 256 << 10  # KiB, at most
ARGON2_WORK: Final = 2 << 20  # KiB times passes, at most: some two seconds
ARGON2_LANES: Final = 16  # at most
# The last character of salt and digest has bits that no byte uses. They are zero, or no password ever fits.
_BCRYPT: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]", re.ASCII)
_NUMBER: Final = r"([1-9][0-9]{0,6})"
_ARGON2: Final = re.compile(
    rf"\$argon2id\$v=19\$m={_NUMBER},t={_NUMBER},p={_NUMBER}\$([A-Za-z0-9+/]{{11,86}})\$([A-Za-z0-9+/]{{22,86}})",
    re.ASCII,
)
_OTHERS: Final = (
    (re.compile(r"\$apr1\$|\$1\$"), "MD5"),
    (re.compile(r"\{SHA\}"), "SHA-1"),
    (re.compile(r"\{SSHA\}"), "salted SHA-1"),
    (re.compile(r"\$5\$"), "SHA-256 crypt"),
    (re.compile(r"\$6\$"), "SHA-512 crypt"),
    (re.compile(r"\$y\$"), "yescrypt"),
    (re.compile(r"\$argon2[id]\$"), "argon2, but not argon2id"),
    (re.compile(r"\$2"), "bcrypt, but not as it is written"),
    (re.compile(r"\$argon2id"), "argon2id, but not as it is written"),
)


def check_hash(text: str) -> str:
    """Check that passwords can be held against a hash, and say what it is: `bcrypt, cost 12`.

    Raises:
        ValueError: another kind, damaged, or dearer than is allowed. The message does not hold it.
    """
    if found := _BCRYPT.fullmatch(text):
        cost = int(found[1])
        if cost not in BCRYPT_COSTS:
            raise ValueError(f"bcrypt of cost {cost}: costs go from {BCRYPT_COSTS[0]} to {BCRYPT_COSTS[-1]}")
        return f"bcrypt, cost {cost}"
    if found := _ARGON2.fullmatch(text):
        memory, passes, lanes = (int(found[at]) for at in (1, 2, 3))
        if not (_canonical(found[4]) and _canonical(found[5])):
            raise ValueError("argon2id whose salt or digest is no base64")
        if lanes > ARGON2_LANES or not 8 * lanes <= memory <= ARGON2_MEMORY or memory * passes > ARGON2_WORK:
            raise ValueError(
                f"argon2id with m={memory}, t={passes}, p={lanes}: at most m={ARGON2_MEMORY}, p={ARGON2_LANES} and "
                f"m*t={ARGON2_WORK} are allowed, and at least m=8*p"
            )
        return f"argon2id, {memory} KiB, {passes} passes, {lanes} lanes"
    kind = next((name for beginning, name in _OTHERS if beginning.match(text)), "no hash of a known kind")
    raise ValueError(f"{kind}: bcrypt and argon2id are taken; set the password anew with `aetherfs user passwd`")


def verify(text: str, password: bytes) -> bool:
    """Tell whether a password fits a hash that `check_hash` let through, in a time that depends on the hash alone.

    Raises:
        Undecided: there was no memory for it.
    """
    if text.startswith("$2"):
        fits = bcrypt.checkpw(password[:BCRYPT_LONGEST], text.encode())
        return fits and len(password) <= BCRYPT_LONGEST
    try:
        return argon2.low_level.verify_secret(text.encode(), password, argon2.low_level.Type.ID)
    except argon2.exceptions.VerifyMismatchError:
        return False
    except argon2.exceptions.VerificationError as error:
        raise Undecided(f"a password could not be checked: {error}") from error


def new_hash(password: bytes, *, by_bcrypt: bool = False) -> str:
    """Hash a new password: argon2id with the parameters of RFC 9106 for little memory (64 MiB), or bcrypt.

    Raises:
        ValueError: the password cannot be used; the message says why.
    """
    check_new(password, by_bcrypt=by_bcrypt)
    if by_bcrypt:
        return bcrypt.hashpw(password, bcrypt.gensalt(BCRYPT_COST)).decode()
    return argon2.PasswordHasher.from_parameters(argon2.profiles.RFC_9106_LOW_MEMORY).hash(password)


def check_new(password: bytes, *, by_bcrypt: bool) -> None:
    """Check that every client can send a new password, and that its hash covers all of it.

    Raises:
        ValueError: it is empty, too long, no UTF-8, has control characters (RFC 7617, 2), or looks like a token.
    """
    if not password:
        raise ValueError("the password is empty")
    if password.startswith(PREFIX.encode()):
        raise ValueError(f"the password begins with {PREFIX}, and would be taken for a token")
    if len(password) > LONGEST:
        raise ValueError(f"the password has {len(password)} bytes: at most {LONGEST} are taken")
    if by_bcrypt and len(password) > BCRYPT_LONGEST:
        raise ValueError(
            f"the password has {len(password)} bytes, and bcrypt looks at {BCRYPT_LONGEST} alone: take a shorter one, "
            "or argon2id"
        )
    try:
        text = password.decode()
    except UnicodeDecodeError as error:
        raise ValueError("the password is no UTF-8") from error
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise ValueError("the password has a line break or another control character, which clients cannot send")


def _canonical(digits: str) -> bool:
    """Tell whether base64 without its `=` is what an encoder writes."""
    try:
        data = base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except binascii.Error:
        return False
    return base64.b64encode(data).decode().rstrip("=") == digits
