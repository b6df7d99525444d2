"""How the keys of objects are hidden: a name can be read back by who has the key, and tells nobody else a thing.

    plain key                        in the bucket
    datasets/<hh>/<name>             datasets/<gg>/<token of the name>
    history/<name>/<n>-<digest>      history/<token of the name>/<token of the rest>
    manifests/<aa>/<id>[-<root>]     manifests/<tt>/<token of id and root>
    index/<hh>/<segment>             index/<gg>/<segment>
    changes/<hh>                     changes/<gg>
    any other                        as it is: a random id, or a word that stands in every store

A token is AES-256-SIV (RFC 5297, deterministic) in lower-case base32 without padding; its associated data is what it is
a token of, so that a dataset and a segment of one spelling have nothing in common. Names are filled with zeros to
`NAME` bytes first, so that their length does not show. `<gg>` takes the place of `<hh>` by a secret permutation of the
256 groups; `<tt>` is the first byte of the token. What shows is which objects have one name, and which datasets share
one of 256 groups. Pure; any thread.
"""

import base64
import binascii
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from store.layout import DATASETS, MANIFESTS, dataset_key, dataset_of_key, manifest_key
from store.sealing.secret_keys import KeyRing

NAME: Final = 136  # bytes; a scoped name has at most 130
HISTORY: Final = "history/"
GROUPED: Final = ("index/", "changes/")
_KINDS: Final = {
    "packs": "pack", "manifests": "manifest", "index": "index", "datasets": "head", "history": "history",
    "changes": "change", "pushes": "push", "gc": "gc", "moved": "moved", "auth": "auth", "usage": "usage",
}  # fmt: skip


def kind_of(key: str) -> str:
    """Return the kind of an object by its plain key, as keys are derived for it."""
    first = key.partition("/")[0]
    return _KINDS.get(first, first)


class Names:
    """Translates the keys of one store."""

    def __init__(self, ring: KeyRing) -> None:
        """Derive what is needed."""
        self._siv = AESSIV(ring.derived("names", 64))
        groups = ring.derived("groups")
        order = sorted(range(256), key=lambda group: blake3(bytes([group]), key=groups).digest())
        self._hidden = {f"{group:02x}": f"{hidden:02x}" for hidden, group in enumerate(order)}
        self._plain = {hidden: group for group, hidden in self._hidden.items()}

    def hide(self, key: str) -> str:
        """Return the key under which an object lies in the bucket."""
        first, slash, rest = key.partition("/")
        head = first + slash
        if head == DATASETS:
            name = dataset_of_key(key)
            if name is not None:
                group = self._hidden[rest[:2]]
                return f"{DATASETS}{group}/{self._token('dataset', _padded(name))}"
        elif head == MANIFESTS:
            id, _, root = rest.rpartition("/")[2].partition("-")
            try:
                token = self._token("manifest", bytes.fromhex(id) + bytes.fromhex(root))
            except ValueError:
                return key
            return f"{MANIFESTS}{_first(token)}/{token}"
        elif head == HISTORY:
            name, _, segment = rest.rpartition("/")
            if name and segment:
                return f"{HISTORY}{self._token('dataset', _padded(name))}/{self._token('segment', segment.encode())}"
        elif head in GROUPED and rest[:2] in self._hidden:
            return head + self._hidden[rest[:2]] + rest[2:]
        return key

    def hide_prefix(self, prefix: str) -> str:
        """Return a prefix in the bucket below which all lies that has a plain prefix, and perhaps more."""
        first, slash, rest = prefix.partition("/")
        head = first + slash
        if head in (DATASETS, *GROUPED) and rest[:2] in self._hidden:
            end = rest[2:] if head in GROUPED else rest[2:3]
            return head + self._hidden[rest[:2]] + end
        if head == HISTORY and rest.endswith("/") and rest[:-1]:
            return f"{HISTORY}{self._token('dataset', _padded(rest[:-1]))}/"
        return head if head in (DATASETS, MANIFESTS, HISTORY, *GROUPED) else prefix

    def show(self, hidden: str) -> str | None:
        """Return the plain key of an object in the bucket; `None` where it is none of ours."""
        first, slash, rest = hidden.partition("/")
        head = first + slash
        if head == DATASETS:
            name = self._name(rest.rpartition("/")[2])
            key = None if name is None else dataset_key(name)
        elif head == MANIFESTS:
            ids = self._read("manifest", rest.rpartition("/")[2])
            key = None if ids is None or len(ids) not in (32, 40) else manifest_key(ids[:32].hex(), ids[32:].hex())
        elif head == HISTORY:
            token, _, segment = rest.partition("/")
            name, of = self._name(token), self._read("segment", segment)
            key = None if name is None or of is None else f"{HISTORY}{name}/{of.decode('ascii', 'replace')}"
        elif head in GROUPED:
            group = self._plain.get(rest[:2])
            return None if group is None else head + group + rest[2:]
        else:
            return hidden
        return key if key is not None and self.hide(key) == hidden else None

    def _name(self, token: str) -> str | None:
        found = self._read("dataset", token)
        return None if found is None else found.rstrip(b"\0").decode("ascii", "replace")

    def _token(self, of: str, plain: bytes) -> str:
        sealed = self._siv.encrypt(plain, [of.encode()])
        return base64.b32encode(sealed).decode().rstrip("=").lower()

    def _read(self, of: str, token: str) -> bytes | None:
        try:
            sealed = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
            return self._siv.decrypt(sealed, [of.encode()])
        except (binascii.Error, ValueError, InvalidTag):
            return None


def _padded(name: str) -> bytes:
    return name.encode().ljust(NAME, b"\0")


def _first(token: str) -> str:
    return base64.b32decode(token[:8].upper())[:1].hex()
