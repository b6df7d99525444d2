"""Signed JSON Web Tokens of a provider: its keys, and the claims of a token that one of them signed (RFC 7515 to 7519).

Only signatures of key pairs are taken: never `none`, never a shared secret (HS256), whatever a header says. The
algorithm must be one of `ALGORITHMS`, and the key of the kind that it needs, so that a public key is never used as a
secret. Keys come from the provider's document alone: `jku`, `jwk`, `x5u` and `x5c` of a header are not looked at.
Everything is bounded before it is parsed. The signatures themselves are joserfc's and cryptography's.

Any thread; pure.
"""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final, NamedTuple

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from auth.errors import BadCredentials
from auth.strict_json import parse_json

LARGEST: Final = 16 * 1024  # characters of a token; those of providers with many groups have a few thousand
LARGEST_HEADER: Final = 4096  # bytes, decoded; some hold a certificate chain
LARGEST_KEYS: Final = 512 * 1024  # bytes of a provider's document of keys
MOST_KEYS: Final = 100
RSA_BITS: Final = (2048, 8192)
ALGORITHMS: Final = {  # name (RFC 7518 section 3.1, RFC 8037, RFC 9864) -> kind of key, curve
    "RS256": ("RSA", ""),
    "RS384": ("RSA", ""),
    "RS512": ("RSA", ""),
    "PS256": ("RSA", ""),
    "PS384": ("RSA", ""),
    "PS512": ("RSA", ""),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
_PUBLIC: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}  # the members that make a key
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class UnknownKey(BadCredentials):
    """A token was signed with none of the keys that are known: the provider may have a new one, of whatever name."""


class Header(NamedTuple):
    """What a token says of its signature."""

    algorithm: str
    key: str | None  # its id
    kind: str  # `typ`, in lower case, without `application/`


class Token(NamedTuple):
    """A token, taken apart. Nothing of it is verified yet."""

    header: Header
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


class Key(NamedTuple):
    """One public key of a provider."""

    id: str | None
    kind: str
    curve: str
    algorithm: str | None  # the only one that it is for
    key: RSAKey | ECKey | OKPKey


class Keys(NamedTuple):
    """The keys of a provider that can be used."""

    keys: tuple[Key, ...] = ()

    def fitting(self, header: Header) -> Key:
        """Return the key that a token was signed with, if anybody signed it.

        Raises:
            UnknownKey: there is none of that id and kind.
            BadCredentials: it names none, and several could be meant.
        """
        kind, curve = ALGORITHMS[header.algorithm]
        usable = [
            key
            for key in self.keys
            if (key.kind, key.curve) == (kind, curve)
            and key.algorithm in (None, header.algorithm)
            and header.key in (None, key.id)
        ]
        if not usable:
            raise UnknownKey(f"the provider has no key {header.key!r:.100} for {header.algorithm}")
        if len(usable) > 1:
            raise BadCredentials(f"the token's key {header.key!r:.100} could be one of {len(usable)}")
        return usable[0]


def parse_keys(data: bytes) -> Keys:
    """Read a provider's document of keys (RFC 7517 section 5). Keys that are of no use here are left out.

    Raises:
        ValueError: it is no such document, or larger than anybody's.
    """
    if len(data) > LARGEST_KEYS:
        raise ValueError(f"keys: more than {LARGEST_KEYS} bytes")
    document = parse_json(data)
    keys = document.get("keys")
    if not isinstance(keys, list) or len(keys) > MOST_KEYS:
        raise ValueError(f"keys: not a list of at most {MOST_KEYS}")
    return Keys(tuple(key for one in keys if isinstance(one, dict) and (key := _key(one)) is not None))


def parse_token(text: str) -> Token:
    """Take a token apart.

    Raises:
        BadCredentials: it is no signed token, or signed in a way that is not allowed.
    """
    if len(text) > LARGEST:
        raise BadCredentials(f"a token of more than {LARGEST} characters")
    parts = text.split(".")
    if len(parts) != 3:
        raise BadCredentials("not a signed token")
    try:
        head, payload, signature = (_decode(part) for part in parts)
        if len(head) > LARGEST_HEADER:
            raise ValueError("its header is too long")
        header, claims = parse_json(head), parse_json(payload)
    except ValueError as error:
        raise BadCredentials(f"not a signed token: {str(error)[:100]}") from None
    return Token(_header(header), claims, f"{parts[0]}.{parts[1]}".encode("ascii"), signature)


def verify(token: Token, keys: Keys) -> None:
    """Check a token's signature.

    Raises:
        UnknownKey: of a key that is not there, or is not what it was.
        BadCredentials: it is none.
    """
    key = keys.fitting(token.header)
    try:
        fits = JWSRegistry.algorithms[token.header.algorithm].verify(token.signed, token.signature, key.key)
    except (JoseError, ValueError, TypeError) as error:
        raise BadCredentials(f"the token's signature is none: {str(error)[:100]}") from None
    if not fits:
        raise UnknownKey("the token's signature does not fit")  # some give a new key the old one's id, or none


def _header(header: dict[str, Any]) -> Header:
    algorithm, key, kind = header.get("alg"), header.get("kid"), header.get("typ", "")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise BadCredentials(f"a token signed by {algorithm!r:.40} is not taken")
    if "crit" in header:  # section 4.1.11: what must be understood, and is not
        raise BadCredentials("a token with critical extensions is not taken")
    if "b64" in header or not isinstance(kind, str) or not (key is None or (isinstance(key, str) and len(key) <= 1024)):
        raise BadCredentials("the token's header is odd")
    return Header(algorithm, key, kind.lower().removeprefix("application/"))


def _key(one: dict[str, Any]) -> Key | None:
    kind, operations = one.get("kty"), one.get("key_ops", ["verify"])
    if not isinstance(kind, str) or kind not in _PUBLIC or one.get("use", "sig") != "sig":
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    public = {name: one.get(name) for name in _PUBLIC[kind]}
    curve, key_id, algorithm = public.get("crv", ""), one.get("kid"), one.get("alg")
    values = [value for value in public.values() if isinstance(value, str)]
    if len(values) < len(public) or (kind, curve) not in ALGORITHMS.values():
        return None
    if not all(value is None or isinstance(value, str) for value in (key_id, algorithm)):
        return None
    if kind == "RSA" and not _sound(*values):
        return None
    try:
        made = _IMPORTS[kind].import_key({"kty": kind, **dict(zip(public, values, strict=True))})
        made.get_op_key("verify")  # the point lies on its curve
    except (JoseError, ValueError, TypeError):
        return None
    return Key(key_id, kind, str(curve), algorithm, made)


_IMPORTS: Final[dict[str, type[RSAKey] | type[ECKey] | type[OKPKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


def _sound(modulus: str, exponent: str) -> bool:
    """Tell whether an RSA key is neither too weak nor one that costs much to use."""
    try:
        n, e = (int.from_bytes(_decode(value), "big") for value in (modulus, exponent))
    except ValueError:
        return False
    return RSA_BITS[0] <= n.bit_length() <= RSA_BITS[1] and 3 <= e < 1 << 32 and e & 1 == 1 and n & 1 == 1


def _decode(part: str) -> bytes:
    """Decode base64url without padding, in its one spelling."""
    if not _BASE64.fullmatch(part):
        raise ValueError("not base64url")
    try:
        data = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    if urlsafe_b64encode(data).rstrip(b"=") != part.encode("ascii"):  # bits behind the last byte that are not zero
        raise ValueError("not base64url")
    return data
