"""Cookies that only gateways of one store can make and read: sessions of browsers, and what a login keeps meanwhile.

    base64url( 1 | nonce, 12 bytes | AES-256-GCM( zlib( JSON ) ) )         the label is authenticated too

The key is derived for the one purpose (HKDF-SHA256, RFC 5869; the label says which), so a cookie of one sort is never
taken for another. A session says who logged in, in which groups, when and until when; it holds no token of a provider.

Any thread; pure: keys, time and randomness are handed in or are the system's.
"""

import base64
import binascii
import json
import re
import secrets
import zlib
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from auth.errors import BadCredentials
from auth.principal import Principal, user

SESSION: Final = "aetherfs/1/session"
LOGIN: Final = "aetherfs/1/login"
VERSION: Final = 1
LARGEST: Final = 3800  # characters: browsers keep 4096 bytes of a cookie, its name and attributes among them
LARGEST_PLAIN: Final = 64 * 1024  # bytes of the JSON
SKEW_S: Final = 60  # how far the clocks of two gateways may differ
_NONCE: Final = 12
_TEXT: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class TooLarge(BadCredentials):
    """What a session has to say is more than a cookie holds."""


class Sealer:
    """Makes and reads the cookies of one purpose."""

    def __init__(self, key: bytes, label: str, *, secret: bytes = b"") -> None:
        """Derive the key.

        Args:
            key: what all gateways of the store have: its handle key.
            label: what the cookies are for: SESSION or LOGIN.
            secret: what they have besides and the bucket has not, such as the provider's client secret.
        """
        derived = HKDF(SHA256(), 32, salt=secret or None, info=label.encode()).derive(key)
        self._cipher, self._label = AESGCM(derived), label.encode()

    def seal(self, value: dict[str, Any]) -> str:
        """Make a cookie's text.

        Raises:
            TooLarge: no browser would keep it.
        """
        plain = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, zlib.compress(plain, 9), self._label)
        text = base64.urlsafe_b64encode(bytes((VERSION,)) + nonce + sealed).decode("ascii").rstrip("=")
        if len(text) > LARGEST or len(plain) > LARGEST_PLAIN:
            raise TooLarge(f"a cookie of {len(text)} characters; browsers keep {LARGEST}")
        return text

    def open(self, text: str) -> dict[str, Any]:
        """Read a cookie's text.

        Raises:
            BadCredentials: no gateway of this store made it, or not for this.
        """
        if len(text) > LARGEST or not _TEXT.fullmatch(text):
            raise BadCredentials("no cookie of ours")
        try:
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if data[0] != VERSION:
                raise BadCredentials("a cookie of another version")
            plain = self._cipher.decrypt(data[1 : 1 + _NONCE], data[1 + _NONCE :], self._label)
            unpacked = zlib.decompressobj()
            value = json.loads(unpacked.decompress(plain, LARGEST_PLAIN).decode("utf-8", "surrogatepass"))
        except (binascii.Error, InvalidTag, ValueError, zlib.error):
            raise BadCredentials("no cookie of ours") from None
        if not isinstance(value, dict):
            raise BadCredentials("no cookie of ours")
        return value


class Session(NamedTuple):
    """A browser that is logged in."""

    id: str  # 32 hex digits, new at each login
    principal: Principal  # a user
    csrf: str  # what a form must send along
    issued_s: int  # seconds since 1970
    expires_s: int
    way: str  # how they logged in, as `gateway.web.sessions` writes it


def begin(principal: Principal, now_s: float, lasts_s: float, way: str) -> Session:
    """Return a new session of a user."""
    issued = int(now_s)
    return Session(secrets.token_hex(16), principal, secrets.token_urlsafe(24), issued, issued + int(lasts_s), way)


def seal_session(sealer: Sealer, session: Session) -> str:
    """Write a session as a cookie's text; raises `TooLarge`."""
    return sealer.seal(
        {
            "id": session.id,
            "user": session.principal.name,
            "groups": sorted(session.principal.groups),
            "csrf": session.csrf,
            "iat": session.issued_s,
            "exp": session.expires_s,
            "way": session.way,
        }
    )


def open_session(sealer: Sealer, text: str, now_s: float) -> Session:
    """Read a session.

    Raises:
        BadCredentials: it is none of ours, or over.
    """
    value = sealer.open(text)
    try:
        session = Session(
            str(value["id"]),
            user(str(value["user"]), frozenset(map(str, value["groups"]))),
            str(value["csrf"]),
            int(value["iat"]),
            int(value["exp"]),
            str(value["way"]),
        )
    except (KeyError, TypeError, ValueError):
        raise BadCredentials("no session of ours") from None
    if now_s >= session.expires_s:
        raise BadCredentials("the session is over")
    if session.issued_s > now_s + SKEW_S:
        raise BadCredentials("the session begins in the future: the clocks of two gateways differ")
    return session
