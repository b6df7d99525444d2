"""Tokens as a provider would sign them, and as it never would."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any, Final

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

ISSUER: Final = "https://login.example.org"
CLIENT: Final = "aetherfs"
Signing = RSAKey | ECKey | OKPKey


def part(value: object) -> str:
    """Write a value as one part of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def claims(now_s: float | None = None, **changed: Any) -> dict[str, Any]:
    """Return what a good token says; `None` leaves a claim out."""
    now = int(time.time() if now_s is None else now_s)
    told = {"iss": ISSUER, "aud": CLIENT, "sub": "ada", "iat": now, "exp": now + 300, "groups": ["staff"]} | changed
    return {name: value for name, value in told.items() if value is not None}


def sign(key: Signing, told: object, algorithm: str = "RS256", **header: Any) -> str:
    """Sign a token; header members that are `None` are left out."""
    head = {"alg": algorithm, "kid": key.kid, "typ": "JWT"} | header
    text = f"{part({name: value for name, value in head.items() if value is not None})}.{part(told)}"
    signature = JWSRegistry.algorithms[algorithm].sign(text.encode(), key)
    return f"{text}.{part(signature)}"


def sign_by_secret(secret: bytes, told: object, **header: Any) -> str:
    """Sign a token with HS256, by whatever bytes."""
    text = f"{part({'alg': 'HS256', 'typ': 'JWT'} | header)}.{part(told)}"
    return f"{text}.{part(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def rsa(name: str = "one", bits: int = 2048) -> RSAKey:
    """Make a key pair."""
    return RSAKey.generate_key(bits, {"kid": name, "use": "sig"})


def published(*keys: Signing, **more: Any) -> bytes:
    """Write the document of keys, as a provider publishes it."""
    return json.dumps({"keys": [key.as_dict(private=False) | more for key in keys]}).encode()
