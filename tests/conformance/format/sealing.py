"""Opens and seals what lies in an encrypted store, written from docs/format.md, Sealing, alone. Pure but for salts.

Imports nothing of the project on purpose: HKDF and MAC are made of `hmac`; GCM and SIV are those of `cryptography`.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
from typing import Any, NamedTuple

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from tests.conformance.format.states import Refused, need

HEADER = struct.Struct("<4sHHQ16s32s")
PIECE, TAG, NAME = 32768, 16, 136
KINDS = {
    "datasets": "head", "history": "history", "manifests": "manifest", "packs": "pack", "index": "index",
    "changes": "change", "pushes": "push", "gc": "gc", "moved": "moved", "auth": "auth", "usage": "usage",
}  # fmt: skip


class Secrets(NamedTuple):
    """What an encrypted store's record holds, unwrapped."""

    store: bytes  # id
    id_secret: bytes
    handle: bytes
    data: dict[bytes, bytes]  # id -> key; the last one seals


def hkdf(secret: bytes, info: str, size: int = 32, salt: bytes = bytes(32)) -> bytes:
    """HKDF-SHA256 (RFC 5869)."""
    extracted = hmac.digest(salt, secret, "sha256")
    found = block = b""
    for number in range(1, -(-size // 32) + 1):
        block = hmac.digest(extracted, block + info.encode() + bytes([number]), "sha256")
        found += block
    return found[:size]


def opened(crypt: AESGCM | AESSIV, *given: Any) -> bytes:
    try:
        return bytes(crypt.decrypt(*given))
    except InvalidTag:
        raise Refused("it does not open") from None


# the record


def check_value(kek: bytes) -> str:
    return hkdf(kek, "aetherfs/1/check", 8).hex()


def wrap(kek: bytes, secret: bytes, what: bytes, store: bytes, salt: bytes) -> str:
    sealed = AESGCM(hkdf(kek, "aetherfs/1/wrap", salt=salt)).encrypt(bytes(12), secret, store + what)
    return base64.b64encode(salt + sealed).decode()


def unwrap(kek: bytes, wrapped: str, what: bytes, store: bytes) -> bytes:
    sealed = base64.b64decode(wrapped, validate=True)
    need(len(sealed) == 80, "a wrapped secret's length")
    return opened(AESGCM(hkdf(kek, "aetherfs/1/wrap", salt=sealed[:32])), bytes(12), sealed[32:], store + what)


def canonical(record: dict[str, Any]) -> bytes:
    """Return what the MAC of a record covers."""
    covered = {name: value for name, value in record.items() if name not in ("mac", "sum")}
    return json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def mac(record: dict[str, Any], id_secret: bytes) -> str:
    return hmac.new(hkdf(id_secret, "aetherfs/1/record"), canonical(record), hashlib.sha256).hexdigest()


def unlock(record: dict[str, Any], kek: bytes) -> Secrets:
    """Unwrap a record's secrets, and check its MAC."""
    found, store = record["encryption"], bytes.fromhex(record["store"])
    need(record["features"]["read"] == ["encryption"] and found["cipher"] == "aes-256-gcm", "a cipher")
    need(found["kek"]["kind"] in ("key", "aws-kms"), "who keeps the key")
    need(found["kek"]["check"] == check_value(kek), "it wants another key")
    data = {}
    for one in found["data"]:
        key_id = bytes.fromhex(one["id"])
        data[key_id] = unwrap(kek, one["wrapped"], b"data" + key_id, store)
    id_secret = unwrap(kek, found["id"], b"id", store)
    need(hmac.compare_digest(mac(record, id_secret), record["mac"]), "the record's MAC")
    need(0 < len(data) <= 256 and "handle" not in record["keys"] and not record["chunker"].get("seed"), "the record")
    return Secrets(store, id_secret, unwrap(kek, found["handle"], b"handle", store), data)


def lock(record: dict[str, Any], secrets: Secrets, kek: bytes, created_ns: int) -> dict[str, Any]:
    """Return the record of a plain store as that of an encrypted one."""

    def wrapped(secret: bytes, what: bytes) -> str:
        return wrap(kek, secret, what, secrets.store, os.urandom(32))

    found = record | {
        "features": {"read": ["encryption"]},
        "keys": {},
        "encryption": {
            "cipher": "aes-256-gcm",
            "kek": {"kind": "key", "check": check_value(kek)},
            "id": wrapped(secrets.id_secret, b"id"),
            "handle": wrapped(secrets.handle, b"handle"),
            "data": [
                {"id": id.hex(), "created": created_ns, "wrapped": wrapped(key, b"data" + id)}
                for id, key in secrets.data.items()
            ],
        },
    }
    return found | {"mac": mac(found, secrets.id_secret)}


# objects


class Vault:
    """Translates keys and objects of one store."""

    def __init__(self, secrets: Secrets) -> None:
        self.secrets = secrets
        self.chunks = hkdf(secrets.id_secret, "aetherfs/1/chunks")
        self.seed = struct.unpack("<Q", hkdf(secrets.id_secret, "aetherfs/1/cuts", 8))[0] >> 1
        self._siv = AESSIV(hkdf(secrets.id_secret, "aetherfs/1/names", 64))
        groups = hkdf(secrets.id_secret, "aetherfs/1/groups")
        self.groups = sorted(range(256), key=lambda group: blake3(bytes([group]), key=groups).digest())

    def seal(self, key: str, plain: bytes, salt: bytes | None = None) -> bytes:
        """Seal an object that has the plain key `key`."""
        key_id = [*self.secrets.data][-1]
        header = HEADER.pack(b"AFSL", 1, 64, len(plain), key_id, salt or os.urandom(32))
        cipher, about = self._cipher(key, header)
        pieces = [plain[at : at + PIECE] for at in range(0, max(1, len(plain)), PIECE)]
        body = [cipher.encrypt(n.to_bytes(12, "little"), piece, about) for n, piece in enumerate(pieces)]
        return header + b"".join(body) + header

    def open(self, key: str, sealed: bytes) -> bytes:
        """Open an object that has the plain key `key`."""
        need(len(sealed) >= 144 and sealed[:64] == sealed[-64:], f"headers of {key}")
        magic, version, length, size, key_id, _ = HEADER.unpack(sealed[:64])
        need((magic, version, length) == (b"AFSL", 1, 64) and key_id in self.secrets.data, f"header of {key}")
        need(len(sealed) == 128 + size + TAG * max(1, -(-size // PIECE)), f"size of {key}")
        cipher, about = self._cipher(key, sealed[:64])
        body = sealed[64:-64]
        pieces = [body[at : at + PIECE + TAG] for at in range(0, len(body), PIECE + TAG)]
        return b"".join(opened(cipher, n.to_bytes(12, "little"), piece, about) for n, piece in enumerate(pieces))

    def _cipher(self, key: str, header: bytes) -> tuple[AESGCM, bytes]:
        _, _, _, _, key_id, salt = HEADER.unpack(header)
        first = key.partition("/")[0]
        derived = hkdf(self.secrets.data[key_id], f"aetherfs/1/{KINDS.get(first, first)}", salt=salt)
        return AESGCM(derived), self.secrets.store + header + key.encode()

    def hide(self, key: str) -> str:
        """Return where an object lies."""
        first, _, rest = key.partition("/")
        if first in ("datasets", "index", "changes"):
            group, _, last = rest.partition("/")
            hidden = f"{self.groups.index(int(group, 16)):02x}"
            if first == "datasets":
                last = self._token("dataset", padded(last))
            return "/".join(filter(None, (first, hidden, last)))
        if first == "history":
            name, _, segment = rest.rpartition("/")
            return f"history/{self._token('dataset', padded(name))}/{self._token('segment', segment.encode())}"
        if first == "manifests":
            token = self._token("manifest", bytes.fromhex(rest.rpartition("/")[2].replace("-", "")))
            return f"manifests/{unspelt(token)[:1].hex()}/{token}"
        return key

    def show(self, hidden: str) -> str:
        """Return the plain key of an object that lies at `hidden`."""
        first, _, rest = hidden.partition("/")
        key = hidden
        if first in ("datasets", "index", "changes"):
            group, _, last = rest.partition("/")
            shown = f"{self.groups[int(group, 16)]:02x}"
            if first == "datasets":
                last = self._name(last)
            key = "/".join(filter(None, (first, shown, last)))
        elif first == "history":
            name, segment = rest.split("/")
            key = f"history/{self._name(name)}/{self._read('segment', segment).decode()}"
        elif first == "manifests":
            id = self._read("manifest", rest.rpartition("/")[2]).hex()
            key = f"manifests/{id[:2]}/{id[:64]}" + (f"-{id[64:]}" if id[64:] else "")
        need(self.hide(key) == hidden, f"{key} lies at another place")
        return key

    def _token(self, of: str, plain: bytes) -> str:
        return base64.b32encode(self._siv.encrypt(plain, [of.encode()])).decode().rstrip("=").lower()

    def _read(self, of: str, token: str) -> bytes:
        return opened(self._siv, unspelt(token), [of.encode()])

    def _name(self, token: str) -> str:
        return self._read("dataset", token).rstrip(b"\0").decode()


def padded(name: str) -> bytes:
    return name.encode() + bytes(NAME - len(name))


def unspelt(token: str) -> bytes:
    return base64.b32decode(token.upper() + "=" * (-len(token) % 8))
