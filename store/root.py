"""The store's own record, `aetherfs.json`: who the store is, what it needs, how it cuts chunks, its keys.

    {"format": 1, "store": id, "created": ns, "seq": n, "operations": [[seq, id], ...],
     "features": {"read": [...], "write": [...], "maintenance": [...]},
     "chunker": {"algorithm": "fastcdc", "min": 16384, "avg": 65536, "max": 262144, "normalization": 1, "seed": 0},
     "keys": {"handle": base64}, "encryption": null, "mac": null}

A program that lacks a feature refuses the class of work that needs it, by name, and goes on with the others. Writers
read the record again (`refreshed`) before each commit.

Values are immutable, any thread; `create_store`, `open_store` and `refreshed` block. docs/format.md, aetherfs.json.
"""

import base64
import binascii
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from store import jsondoc
from store.commit import Operations, compare_and_set, remember
from store.errors import FeatureMissing, ObjectCorrupt, ObjectMissing, StoreMissing
from store.layout import ROOT_KEY
from store.objects.base import ObjectStore

FORMAT: Final = 1
ROOT_LIMIT: Final = 256 * 1024  # bytes; a fresh record takes about 500
HANDLE_KEY_SIZE: Final = 32

Work = Literal["read", "write", "maintenance"]
_WORK_NAMES: Final[Mapping[Work, str]] = {"read": "read", "write": "write to", "maintenance": "maintain"}
FEATURES: Final[Mapping[Work, frozenset[str]]] = {"read": frozenset(), "write": frozenset(), "maintenance": frozenset()}


class Secret:
    """Bytes that no log, message or traceback may show."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Return the bytes."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({len(self._value)} bytes)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and secrets.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)


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
    handle_key: Secret  # 32 bytes; authenticates NFS handles
    chunker: ChunkerSettings = field(default_factory=ChunkerSettings)
    features: Mapping[Work, tuple[str, ...]] = field(default_factory=dict)
    encryption: object = None
    mac: object = None
    seq: int = 0
    operations: Operations = ()
    etag: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)  # fields of later versions, by object

    @property
    def id_key(self) -> bytes | None:
        """Return what the ids of chunks are keyed with, where the store is encrypted."""
        return None

    def require(self, work: Work) -> None:
        """Check that this program can do one class of work on the store.

        Raises:
            FeatureMissing: it can't.
        """
        needed = [name for name in self.features.get(work, ()) if name not in FEATURES[work]]
        if work != "read":
            needed += [name for name in self.features.get("read", ()) if name not in FEATURES["read"]]
        if self.encryption is not None and "encryption" not in FEATURES["read"]:
            needed.append("encryption")
        if needed:
            raise FeatureMissing(_WORK_NAMES[work], list(dict.fromkeys(needed)))


class Created(NamedTuple):
    """The outcome of `create_store`."""

    root: StoreRoot
    fresh: bool  # False: there was a store already, and it was left as it is


def create_store(objects: ObjectStore, *, token: Callable[[int], bytes] = secrets.token_bytes) -> Created:
    """Make a store, or open the one that is there.

    Args:
        objects: where.
        token: draws that many random bytes.

    Raises:
        ObjectCorrupt, FeatureMissing: there is a store, and it can't be used.
    """
    fresh = StoreRoot(store=token(16).hex(), created_ns=objects.now_ns(), handle_key=Secret(token(HANDLE_KEY_SIZE)))

    def decide(old: bytes | None, operation: str) -> bytes | None:
        return None if old is not None else encode_root(fresh, operation)

    committed = compare_and_set(objects, ROOT_KEY, decide)
    root = decode_root(committed.data or b"", etag=committed.etag)
    root.require("read")
    return Created(root, committed.written)


def open_store(objects: ObjectStore) -> StoreRoot:
    """Read the record and check that the store can be read.

    Raises:
        StoreMissing: there is no store.
        ObjectCorrupt: the record does not decode.
        FeatureMissing: reading needs what this program can't do.
    """
    root = refreshed(objects, None)
    root.require("read")
    return root


def refreshed(objects: ObjectStore, root: StoreRoot | None) -> StoreRoot:
    """Return the record as it is now; `root` itself when it has not changed since (one conditional request).

    Raises:
        StoreMissing: there is no store (any more).
        ObjectCorrupt: the record does not decode, or is another store's.
    """
    try:
        found = objects.fetch(ROOT_KEY, unless=root.etag if root and root.etag else None)
    except ObjectMissing as error:
        raise StoreMissing(objects.address) from error
    if found is None and root is not None:
        return root
    now = decode_root(found.data if found else b"", etag=found.etag if found else "")
    if root is not None and now.store != root.store:
        raise ObjectCorrupt(ROOT_KEY, f"it is store {now.store[:12]} now, expected {root.store[:12]}")
    return now


def encode_root(root: StoreRoot, operation: str) -> bytes:
    """Write the record's next generation: `seq` grows by one and `operation` is remembered."""
    seq = root.seq + 1
    extra = root.extra
    return jsondoc.encode(
        {
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
                "seed": root.chunker.seed,
            },
            "keys": {**extra.get("keys", {}), "handle": base64.b64encode(root.handle_key.reveal()).decode()},
            "encryption": root.encryption,
            "mac": root.mac,
            "seq": seq,
            "operations": [[*pair] for pair in remember(root.operations, seq, operation)],
        }
    )


def decode_root(data: bytes, *, etag: str = "") -> StoreRoot:
    """Read the record.

    Raises:
        ObjectCorrupt: the bytes are not such a record.
        FeatureMissing: it is of a format that this program doesn't know, so that no field may be trusted.
    """
    fields = jsondoc.decode(ROOT_KEY, data, limit=ROOT_LIMIT)
    store_format = fields.integer("format")
    if store_format != FORMAT:
        raise FeatureMissing(_WORK_NAMES["read"], [f"format {store_format}"])
    features, encryption = fields.fields("features"), fields.take("encryption")
    needed = {work: tuple(str(name) for name in features.array(work)) for work in FEATURES}
    unknown = [name for name in needed["read"] if name not in FEATURES["read"]]
    if encryption is not None and "encryption" not in FEATURES["read"]:
        unknown.append("encryption")
    if unknown:  # no further field may be trusted to mean what it means here
        raise FeatureMissing(_WORK_NAMES["read"], unknown)
    chunker, keys = fields.fields("chunker"), fields.fields("keys")
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
        handle_key=_handle_key(keys),
        chunker=settings,
        features=needed,
        encryption=encryption,
        mac=fields.take("mac"),
        seq=fields.integer("seq"),
        operations=jsondoc.operations(fields),
        etag=etag,
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
