"""The store's own record, `aetherfs.json`: who the store is, what it needs, how it cuts chunks, its keys.

    {"format": 1, "store": id, "created": ns, "seq": n, "operations": [[seq, id], ...],
     "features": {"read": [...], "write": [...], "maintenance": [...]},
     "chunker": {"algorithm": "fastcdc", "min": 16384, "avg": 65536, "max": 262144, "normalization": 1, "seed": 0},
     "keys": {"handle": base64}, "encryption": null, "mac": null}

Of an encrypted store `keys` and the chunker's seed say nothing: they are among the secrets in `encryption`
(`store.sealing.envelope`), and `mac` covers every other field. `Unlock` says who opens it.

A program that lacks a feature refuses the class of work that needs it, by name, and goes on with the others. Writers
read the record again (`refreshed`) before each commit.

Values are immutable, any thread; `create_store`, `open_store` and `refreshed` block. docs/format.md, aetherfs.json.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from store import jsondoc
from store.commit import Operations, compare_and_set, remember
from store.errors import FeatureMissing, KeyNeeded, ObjectCorrupt, ObjectMissing, Replayed, StoreMissing
from store.layout import ROOT_KEY
from store.objects.base import AtHand, ObjectStore
from store.secret import Secret

if TYPE_CHECKING:  # what ciphers need takes long to import, and a store that is not encrypted does without
    from store.objects.cached import CachedObjects
    from store.sealing.envelope import Envelope
    from store.sealing.secret_keys import KeyRing

FORMAT: Final = 1
ROOT_LIMIT: Final = 256 * 1024  # bytes; a fresh record takes about 500
HANDLE_KEY_SIZE: Final = 32

Work = Literal["read", "write", "maintenance"]
_WORK_NAMES: Final[Mapping[Work, str]] = {"read": "read", "write": "write to", "maintenance": "maintain"}
ENCRYPTION: Final = "encryption"  # the feature of an encrypted store
FEATURES: Final[Mapping[Work, frozenset[str]]] = {
    "read": frozenset({ENCRYPTION}), "write": frozenset(), "maintenance": frozenset(),
}  # fmt: skip

Unlock = Callable[["Envelope", str], "KeyRing"]  # (wrapped secrets, store's id) -> secrets


@dataclass(frozen=True, slots=True)
class ChunkerSettings:
    """How this store's files are cut; fixed for its life, since other cuts would share nothing with what is there."""

    algorithm: str = "fastcdc"
    min: int = 16 * 1024  # bytes
    avg: int = 64 * 1024
    max: int = 256 * 1024
    normalization: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class StoreRoot:
    """What `aetherfs.json` says."""

    store: str  # 32 hex digits
    created_ns: int
    handle_key: Secret = field(repr=False)  # 32 bytes; authenticates NFS handles
    chunker: ChunkerSettings = field(default_factory=ChunkerSettings)
    features: Mapping[Work, tuple[str, ...]] = field(default_factory=dict)
    envelope: "Envelope | None" = None  # of an encrypted store
    keys: "KeyRing | None" = field(default=None, repr=False, compare=False)  # its secrets
    seq: int = 0
    operations: Operations = ()
    etag: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)  # fields of later versions, by object

    @property
    def id_key(self) -> bytes | None:
        """Return what the ids of chunks are keyed with, where the store is encrypted."""
        return None if self.keys is None else self.keys.derived("chunks")

    def require(self, work: Work) -> None:
        """Check that this program can do one class of work on the store.

        Raises:
            FeatureMissing: it can't.
        """
        needed = [name for name in self.features.get(work, ()) if name not in FEATURES[work]]
        if work != "read":
            needed += [name for name in self.features.get("read", ()) if name not in FEATURES["read"]]
        if needed:
            raise FeatureMissing(_WORK_NAMES[work], list(dict.fromkeys(needed)))


class Created(NamedTuple):
    """The outcome of `create_store`."""

    root: StoreRoot
    fresh: bool  # False: there was a store already, and it was left as it is


def in_plain(objects: ObjectStore, root: StoreRoot) -> ObjectStore:
    """Return a store's objects as everything above reads and writes them: those of an encrypted one opened."""
    if root.keys is None:
        return objects
    from store.objects.sealed import Sealed  # what ciphers need is imported only where the store is encrypted

    return Sealed(objects, root.keys, root.store)


class Through(NamedTuple):
    """A store's objects in plain, through a cache of them as they lie."""

    objects: ObjectStore
    forget: Callable[[str, int, int], None]  # (key, offset, size) of a range that is damaged: the cache drops it
    below: Callable[[str, int, int], tuple[str, int, int]]  # the range of the cache that a range lies in
    at_hand: AtHand  # a range that is on this machine and takes no waiting


def in_plain_through(cached: "CachedObjects", root: StoreRoot) -> Through:
    """Return what `in_plain` does of objects that are cached, with what their readers owe to the cache."""
    if root.keys is None:
        return Through(cached, cached.forget, lambda key, offset, size: (key, offset, size), cached.at_hand)
    from store.objects.sealed import Sealed  # as in `in_plain`

    sealed = Sealed(cached, root.keys, root.store, forget=cached.forget, at_hand=cached.at_hand)
    return Through(sealed, sealed.forget, sealed.below, sealed.at_hand)


def create_store(
    objects: ObjectStore,
    *,
    token: Callable[[int], bytes] = secrets.token_bytes,
    encrypt: Callable[[StoreRoot], StoreRoot] | None = None,
    unlock: Unlock | None = None,
) -> Created:
    """Make a store, or open the one that is there.

    Args:
        objects: where.
        token: draws that many random bytes.
        encrypt: makes the record of a new store into that of an encrypted one.
        unlock: opens the secrets of a store that is there and encrypted.

    Raises:
        ObjectCorrupt, FeatureMissing, KeyNeeded, KeyWrong: there is a store, and it can't be used.
    """
    fresh = StoreRoot(store=token(16).hex(), created_ns=objects.now_ns(), handle_key=Secret(token(HANDLE_KEY_SIZE)))
    if encrypt is not None:
        fresh = encrypt(fresh)

    def decide(old: bytes | None, operation: str) -> bytes | None:
        return None if old is not None else encode_root(fresh, operation)

    committed = compare_and_set(objects, ROOT_KEY, decide)
    if committed.written and encrypt is not None:  # the keys are at hand
        return Created(replace(decode_opened(committed.data or b"", fresh.keys), etag=committed.etag), fresh=True)
    root = decode_root(committed.data or b"", etag=committed.etag, unlock=unlock)
    root.require("read")
    return Created(root, committed.written)


def open_store(objects: ObjectStore, unlock: Unlock | None = None) -> StoreRoot:
    """Read the record and check that the store can be read.

    Args:
        objects: where.
        unlock: opens the secrets of an encrypted store.

    Raises:
        StoreMissing: there is no store.
        ObjectCorrupt: the record does not decode.
        FeatureMissing: reading needs what this program can't do.
        KeyNeeded: it is encrypted, and there is no `unlock`.  KeyWrong: `unlock` has another key.
    """
    root = refreshed(objects, None, unlock)
    root.require("read")
    return root


def refreshed(objects: ObjectStore, root: StoreRoot | None, unlock: Unlock | None = None) -> StoreRoot:
    """Return the record as it is now; `root` itself when it has not changed since (one conditional request).

    The secrets of an encrypted store that was opened already stay those that are known.

    Raises:
        StoreMissing: there is no store (any more).
        ObjectCorrupt: the record does not decode, or is another store's.
        Replayed: it is an encrypted store's, and older than `root`.
    """
    try:
        found = objects.fetch(ROOT_KEY, unless=root.etag if root and root.etag else None)
    except ObjectMissing as error:
        raise StoreMissing(objects.address) from error
    if found is None and root is not None:
        return root
    data, etag = (found.data, found.etag) if found else (b"", "")
    if root is None or root.keys is None:
        now = decode_root(data, etag=etag, unlock=unlock)
    else:
        now = replace(decode_opened(data, root.keys), etag=etag)
    if root is not None and now.store != root.store:
        raise ObjectCorrupt(ROOT_KEY, f"it is store {now.store[:12]} now, expected {root.store[:12]}")
    if root is not None and root.keys is not None and now.seq < root.seq:
        raise Replayed(ROOT_KEY, now.seq, root.seq)
    return now


def encode_root(root: StoreRoot, operation: str) -> bytes:
    """Write the record's next generation: `seq` grows by one and `operation` is remembered."""
    seq = root.seq + 1
    extra = root.extra
    encrypted = root.envelope is not None
    document: dict[str, Any] = {
        **extra.get("", {}),
        "format": FORMAT,
        "store": root.store,
        "created": root.created_ns,
        "features": {**extra.get("features", {}), **{work: [*root.features.get(work, ())] for work in FEATURES}},
        "chunker": {
            **extra.get("chunker", {}),
            "algorithm": root.chunker.algorithm,
            "min": root.chunker.min,
            "avg": root.chunker.avg,
            "max": root.chunker.max,
            "normalization": root.chunker.normalization,
            "seed": 0 if encrypted else root.chunker.seed,
        },
        "keys": {**extra.get("keys", {})},
        "encryption": None if root.envelope is None else root.envelope.encoded(),
        "mac": None,
        "seq": seq,
        "operations": [[*pair] for pair in remember(root.operations, seq, operation)],
    }
    if not encrypted:
        document["keys"]["handle"] = base64.b64encode(root.handle_key.reveal()).decode()
    elif root.keys is None:
        raise KeyNeeded(root.store, "its keys are needed to change its record")
    else:
        document["mac"] = _mac(document, root.keys)
    return jsondoc.encode(document)


def _mac(document: Mapping[str, Any], keys: "KeyRing") -> str:
    """Return the MAC of a record: HMAC-SHA256 over its canonical form without `mac` and `sum`, in hex."""
    covered = {name: value for name, value in document.items() if name not in ("mac", "sum")}
    return hmac.digest(keys.derived("record"), jsondoc.canonical(covered), "sha256").hex()


def decode_root(data: bytes, *, etag: str = "", unlock: Unlock | None = None) -> StoreRoot:
    """Read the record.

    Raises:
        ObjectCorrupt: the bytes are not such a record, or not what its MAC says.
        FeatureMissing: it is of a format that this program doesn't know, so that no field may be trusted.
        KeyNeeded: it is encrypted, and there is no `unlock`; or what that raises.
    """
    root = replace(_parsed(data), etag=etag)
    if root.envelope is None:
        return root
    if unlock is None:
        raise KeyNeeded(root.store[:12], "give its key")
    return replace(decode_opened(data, unlock(root.envelope, root.store)), etag=etag)


def decode_opened(data: bytes, keys: "KeyRing | None") -> StoreRoot:
    """Read the record of an encrypted store of which the keys are known; errors as `decode_root`."""
    root = _parsed(data)
    if keys is None:
        return root
    document = jsondoc.decode(ROOT_KEY, data, limit=ROOT_LIMIT).rest()
    if root.envelope is None:
        raise ObjectCorrupt(ROOT_KEY, "it says that this store is not encrypted, and it was: somebody has edited it")
    if not hmac.compare_digest(str(document.get("mac")).encode("utf-8", "replace"), _mac(document, keys).encode()):
        raise ObjectCorrupt(ROOT_KEY, "its MAC does not fit: somebody has edited it without having the store's keys")
    return replace(root, keys=keys, handle_key=keys.handle, chunker=replace(root.chunker, seed=keys.seed))


def _parsed(data: bytes) -> StoreRoot:
    fields = jsondoc.decode(ROOT_KEY, data, limit=ROOT_LIMIT)
    store_format = fields.integer("format")
    if store_format != FORMAT:
        raise FeatureMissing(_WORK_NAMES["read"], [f"format {store_format}"])
    features, encryption = fields.fields("features"), fields.take("encryption")
    needed = {work: tuple(str(name) for name in features.array(work)) for work in FEATURES}
    unknown = [name for name in needed["read"] if name not in FEATURES["read"]]
    if unknown:  # no further field may be trusted to mean what it means here
        raise FeatureMissing(_WORK_NAMES["read"], unknown)
    chunker, keys = fields.fields("chunker"), fields.fields("keys")
    envelope = None
    if (encryption is not None) != (ENCRYPTION in needed["read"]):
        raise ObjectCorrupt(ROOT_KEY, "its list of features and its keys do not agree on whether it is encrypted")
    if encryption is not None:
        from store.sealing.envelope import decode_envelope

        envelope = decode_envelope(fields.inner("encryption", encryption))
    fields.take("mac")
    standard = ChunkerSettings()
    settings = ChunkerSettings(
        algorithm=chunker.text("algorithm", default=standard.algorithm),
        min=chunker.integer("min", default=standard.min),
        avg=chunker.integer("avg", default=standard.avg),
        max=chunker.integer("max", default=standard.max),
        normalization=chunker.integer("normalization", default=standard.normalization),
        seed=chunker.integer("seed", default=standard.seed),
    )
    if not 0 < settings.min <= settings.avg <= settings.max:
        raise ObjectCorrupt(ROOT_KEY, f"chunk sizes {settings.min}, {settings.avg}, {settings.max} do not grow")
    return StoreRoot(
        store=fields.hex("store", size=16),
        created_ns=fields.integer("created"),
        handle_key=_handle_key(keys) if envelope is None else Secret(bytes(HANDLE_KEY_SIZE)),
        chunker=settings,
        features=needed,
        envelope=envelope,
        seq=fields.integer("seq"),
        operations=jsondoc.operations(fields),
        extra={"features": features.rest(), "chunker": chunker.rest(), "keys": keys.rest(), "": fields.rest()},
    )


def _handle_key(keys: jsondoc.Fields) -> Secret:
    text = keys.text("handle", default="")
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != HANDLE_KEY_SIZE:
        raise ObjectCorrupt(ROOT_KEY, f"keys.handle is not {HANDLE_KEY_SIZE} bytes in base64")
    return Secret(key)
