"""How the secrets of a store stand in `aetherfs.json`: each wrapped by a key-encryption key that the store never sees.

    "encryption": {"cipher": "aes-256-gcm",
                   "kek": {"kind": "key", "check": hex of 8 bytes} or
                          {"kind": "aws-kms", "key": ARN, "blob": base64, "check": hex of 8 bytes},
                   "id": wrapped, "handle": wrapped,
                   "data": [{"id": hex of 16 bytes, "created": ns, "wrapped": wrapped}, ...]}

A wrapped secret is base64 of 32 bytes of salt, drawn for it alone, and AES-256-GCM of the secret (32 bytes and the tag)
with nonce 0 under HKDF-SHA256(key-encryption key, salt, "aetherfs/1/wrap"); its associated data are the store's id (16
bytes) and what it is: `id`, `handle`, or `data` and the data key's id (16 bytes). A salt serves one wrapping, so no
pair (key, nonce) is used twice. `check` tells which key is wanted: HKDF-SHA256(key-encryption key, "aetherfs/1/check").

Pure; values are immutable. docs/format.md, Sealing.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from store import jsondoc
from store.errors import FeatureMissing, KeyWrong, ObjectCorrupt
from store.layout import ROOT_KEY
from store.sealing.secret_keys import KEY_ID_SIZE, KEY_SIZE, KeyRing, derive
from store.secret import Secret

CIPHER: Final = "aes-256-gcm"
CHECK_SIZE: Final = 8
MAX_DATA_KEYS: Final = 256
KINDS: Final = ("key", "aws-kms")
_SALT: Final = 32
_NONCE: Final = bytes(12)
_WRAPPED: Final = _SALT + KEY_SIZE + 16


class TooManyKeys(Exception):
    """A record with one more data key would not be read by anybody."""


@dataclass(frozen=True, slots=True)
class Kek:
    """Which key-encryption key is wanted."""

    kind: str
    check: str  # 16 hex digits
    key: str = ""  # AWS KMS: the key's ARN or id
    blob: str = ""  # AWS KMS: base64 of the key-encryption key as KMS has encrypted it
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)  # fields of later versions


@dataclass(frozen=True, slots=True)
class DataKey:
    """One data key, wrapped."""

    id: str  # 32 hex digits
    created_ns: int
    wrapped: str
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Envelope:
    """All secrets of a store, wrapped."""

    kek: Kek
    id_secret: str
    handle: str
    data: tuple[DataKey, ...]  # in the order in which they were made; the last one seals
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)  # fields of later versions

    def encoded(self) -> dict[str, Any]:
        """Return it as it stands in the record."""
        kek = {**self.kek.extra, "kind": self.kek.kind, "check": self.kek.check}
        if self.kek.kind != "key":
            kek |= {"key": self.kek.key, "blob": self.kek.blob}
        return {
            **self.extra, "cipher": CIPHER, "kek": kek, "id": self.id_secret, "handle": self.handle,
            "data": [
                {**one.extra, "id": one.id, "created": one.created_ns, "wrapped": one.wrapped} for one in self.data
            ],
        }  # fmt: skip


def decode_envelope(fields: jsondoc.Fields) -> Envelope:
    """Read it.

    Raises:
        ObjectCorrupt: it is none.  FeatureMissing: made by a newer version.
    """
    cipher, kek = fields.text("cipher"), fields.fields("kek")
    kind = kek.text("kind")
    if cipher != CIPHER or kind not in KINDS:
        raise FeatureMissing("read", [f"encryption by {cipher}, with a key from {kind}"])
    remote = kind != "key"
    found = Envelope(
        Kek(
            kind, kek.hex("check", size=CHECK_SIZE),
            kek.text("key", limit=2048) if remote else "", kek.text("blob", limit=16384) if remote else "",
            kek.rest(),
        ),
        fields.text("id"), fields.text("handle"),
        tuple(
            DataKey(one.hex("id", size=KEY_ID_SIZE), one.integer("created"), one.text("wrapped"), one.rest())
            for one in fields.objects("data")
        ),
    )  # fmt: skip
    if not 0 < len(found.data) <= MAX_DATA_KEYS:
        raise ObjectCorrupt(ROOT_KEY, f"it has {len(found.data)} data keys, 1 to {MAX_DATA_KEYS} are expected")
    if len({one.id for one in found.data}) != len(found.data):
        raise ObjectCorrupt(ROOT_KEY, "two of its data keys have one id")
    return replace(found, extra=fields.rest())


def check_of(kek: Secret) -> str:
    """Return what tells a key-encryption key from others."""
    return derive(kek, "aetherfs/1/check", size=CHECK_SIZE).hex()


def wrap(kek: Secret, secret: Secret, what: bytes, store: str) -> str:
    """Wrap one secret."""
    salt = os.urandom(_SALT)
    gcm = AESGCM(derive(kek, "aetherfs/1/wrap", salt=salt))
    return base64.b64encode(salt + gcm.encrypt(_NONCE, secret.reveal(), bytes.fromhex(store) + what)).decode()


def unwrap(kek: Secret, wrapped: str, what: bytes, store: str) -> Secret:
    """Unwrap one secret.

    Raises:
        ObjectCorrupt: it does not open, though the key is the right one by its check.
    """
    try:
        sealed = base64.b64decode(wrapped, validate=True)
        if len(sealed) != _WRAPPED:
            raise ObjectCorrupt(ROOT_KEY, f"a wrapped key has {len(sealed)} bytes, {_WRAPPED} are expected")
        gcm = AESGCM(derive(kek, "aetherfs/1/wrap", salt=sealed[:_SALT]))
        return Secret(gcm.decrypt(_NONCE, sealed[_SALT:], bytes.fromhex(store) + what))
    except (binascii.Error, ValueError, InvalidTag) as error:
        raise ObjectCorrupt(ROOT_KEY, "a wrapped key does not open: it was changed, or comes from elsewhere") from error


def new_envelope(kek: Secret, about: Kek, store: str, created_ns: int) -> Envelope:
    """Draw the secrets of a new store and wrap them."""
    id_secret, handle = Secret(os.urandom(KEY_SIZE)), Secret(os.urandom(KEY_SIZE))
    bare = Envelope(about, wrap(kek, id_secret, b"id", store), wrap(kek, handle, b"handle", store), ())
    return with_new_data_key(kek, bare, store, created_ns)


def with_new_data_key(kek: Secret, envelope: Envelope, store: str, created_ns: int) -> Envelope:
    """Add a data key, which seals all that is written from now on.

    Raises:
        TooManyKeys: there is no room for one more.
    """
    if len(envelope.data) >= MAX_DATA_KEYS:
        raise TooManyKeys(f"the store has {len(envelope.data)} data keys, and can have no more")
    key_id = os.urandom(KEY_ID_SIZE)
    wrapped = wrap(kek, Secret(os.urandom(KEY_SIZE)), b"data" + key_id, store)
    return replace(envelope, data=(*envelope.data, DataKey(key_id.hex(), created_ns, wrapped)))


def opened(kek: Secret, envelope: Envelope, store: str, where: str) -> KeyRing:
    """Unwrap all secrets.

    Args:
        kek: the key-encryption key.
        envelope: what the record has.
        store: the store's id, 32 hex digits.
        where: where the key came from, for messages.

    Raises:
        KeyWrong: it is another store's key, or was replaced by `key rotate`.
        ObjectCorrupt: a secret does not open though the key is right.
    """
    if check_of(kek) != envelope.kek.check:
        raise KeyWrong(
            where, f"does not open this store: it is key {check_of(kek)}, and {envelope.kek.check} is wanted; "
            "it is another store's, or was replaced by `aetherfs key rotate`"
        )  # fmt: skip
    return KeyRing(
        data=_data_keys(kek, envelope, store),
        id_secret=unwrap(kek, envelope.id_secret, b"id", store),
        handle=unwrap(kek, envelope.handle, b"handle", store),
    )


def _data_keys(kek: Secret, envelope: Envelope, store: str) -> dict[bytes, Secret]:
    found = {}
    for one in envelope.data:
        key_id = bytes.fromhex(one.id)
        found[key_id] = unwrap(kek, one.wrapped, b"data" + key_id, store)
    return found


def rewrapped(ring: KeyRing, kek: Secret, about: Kek, envelope: Envelope, store: str) -> Envelope:
    """Wrap all secrets anew by another key-encryption key; nothing of the old wrapping stays."""
    return replace(
        envelope, kek=about, id_secret=wrap(kek, ring.id_secret, b"id", store),
        handle=wrap(kek, ring.handle, b"handle", store),
        data=tuple(
            replace(one, wrapped=wrap(kek, ring.data_key(key_id), b"data" + key_id, store))
            for one, key_id in ((one, bytes.fromhex(one.id)) for one in envelope.data)
        ),
    )  # fmt: skip
