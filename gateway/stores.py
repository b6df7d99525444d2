"""Opens the store that settings name: address -> objects, with retries and the guard of conditional writes -> record.

What a store does with conditional writes is probed before the first one and remembered for a day in the cache folder:
one small file a store, replaced atomically. A damaged or old file only means another probe.
Threads: plain functions; what they return may be used from any.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.config import Settings, key_given, own_key_file
from store.catalogue.catalogue import Seen
from store.errors import KeyWrong, NotEncrypted, ObjectMissing, StoreMissing
from store.layout import ROOT_KEY
from store.objects.address import FolderAddress, open_objects, parse_address
from store.objects.base import ObjectStore
from store.objects.guard import Guarded
from store.objects.patience import OnLong, Patient
from store.objects.probe import Conditions
from store.objects.retry import STANDARD, Backoff, OnWait, Retrying
from store.root import ROOT_LIMIT, StoreRoot, create_store, in_plain
from store.root import open_store as open_root
from store.seen import SeenHeads

if TYPE_CHECKING:
    from store.sealing.envelope import Envelope
    from store.sealing.secret_keys import DataKeys, KeyRing

REMEMBERED_S: Final = 86_400.0
LARGEST_NOTE: Final = 4096  # bytes
_ENCRYPTION: Final = re.compile(rb'"encryption"\s*:\s*\{')  # in a record, of whatever program


class Opened(NamedTuple):
    """An open store."""

    objects: ObjectStore  # in plain
    root: StoreRoot
    guard: Guarded  # the part of `objects` that tells whether several writers are safe; as an encrypted store lies
    seen: Seen  # told of heads that are read


class Options(NamedTuple):
    """What commands may add to the settings."""

    create: bool = False  # make the embedded default store if it is not there (never another one)
    single_writer: bool = False  # write even where conditional writes are ignored
    on_wait: OnWait | None = None  # told why, and for how many seconds, before each retry
    on_long: OnLong | None = None  # told what is waited for when it has taken half a minute, and again
    backoff: Backoff = STANDARD  # how often a call is repeated, and for how long


PLAIN: Final = Options()


def open_store(settings: Settings, options: Options = PLAIN) -> Opened:
    """Open the store and read its record.

    Raises:
        StoreMissing: there is none at the address.
        ConfigError: a key was given in two ways.
        KeyNeeded, KeyWrong: the store is encrypted, and there is no key, or another one.
        NotEncrypted, StoreSwapped, Replayed: it is not what was seen here before, or what a key was given for.
        BadAddress, StoreUnavailable, StoreDenied, ObjectCorrupt, FeatureMissing: as they say.
    """
    from gateway.pins import check_plain, read_pin

    given = key_given(settings)
    own = options.create and not settings.store.url
    objects, guard = connect(settings, options, create=own)
    with contextlib.ExitStack() as undo:
        undo.callback(objects.close)
        try:
            root, seen = open_record(settings, objects)
        except StoreMissing:
            if not own:
                raise
            if given:  # what is meant to be secret never goes into a plain store
                raise NotEncrypted(
                    objects.address,
                    f"{given} gives a key, and there is no store yet: `aetherfs init --encrypt` makes one",
                ) from None
            check_plain(objects.address, read_pin(objects.address))
            root, seen = create_store(objects).root, unseen
        undo.pop_all()
    return Opened(in_plain(objects, root), root, guard, seen)


def looks_encrypted(settings: Settings, objects: ObjectStore) -> bool:
    """Tell whether a store whose record can't be used is, or was, an encrypted one, as far as that can be told."""
    from gateway import pins

    if key_given(settings) or pins.read_pin(objects.address) is not None:
        return True
    try:
        return _ENCRYPTION.search(objects.get(ROOT_KEY, size=ROOT_LIMIT)) is not None
    except ObjectMissing:
        return False


def unseen(name: str, seq: int) -> None:
    """Note nothing: what a plain store shows is believed."""


def open_record(settings: Settings, objects: ObjectStore) -> tuple[StoreRoot, Seen]:
    """Read the record of the store in `objects`, and hold it against what was seen here before; errors as `open_store`.

    What ciphers need is imported only where the store is encrypted, or a key is given.
    """
    from gateway import pins

    given = key_given(settings)
    address = objects.address
    pin = pins.read_pin(address)

    def unlock(envelope: "Envelope", store: str) -> "KeyRing":
        from gateway.keys import key_source
        from store.sealing.key_source import unlock_with

        pins.check_id(address, store, pin)
        return unlock_with(key_source(settings))(envelope, store)

    try:
        root = open_root(objects, unlock)
    except KeyWrong:  # or the key was exchanged after the record was read
        root = open_root(objects, unlock)
    if root.keys is None:
        pins.check_plain(address, pin)
        if given:  # a reader that was given a key must not be shown somebody's plain store instead
            raise NotEncrypted(address, f"{given} gives a key for it: unset it, or check the address")
        own = own_key_file(root.store)
        if os.path.exists(own):  # this user has its key, so it was encrypted once
            raise NotEncrypted(
                address, f"{own} is the key of that store: somebody has put a plain one in its place; put the "
                "encrypted one back, or remove that file if you know better"
            )  # fmt: skip
        return root, unseen
    pins.keep_pin(address, root, pin)
    root.keys.reload = lambda: _data_keys(open_root(objects, unlock))
    return root, SeenHeads(pins.seen_file(root.store), root.keys.derived("seen"))


def _data_keys(root: StoreRoot) -> "DataKeys":
    return root.keys.data if root.keys is not None else {}


def connect(settings: Settings, options: Options, *, create: bool) -> tuple[ObjectStore, Guarded]:
    """Open the objects alone, whether or not they are a store; `create` makes the folder or bucket.

    Raises:
        BadAddress, StoreMissing, StoreUnavailable, StoreDenied: as they say.
    """
    bare = open_objects(
        settings.store_address, create=create, insecure_store=settings.store.insecure,
        answer_s=options.backoff.answer_s,
    )  # fmt: skip
    note = _note_file(settings.cache_dir, bare.address)
    retrying = Retrying(bare, options.backoff, on_wait=options.on_wait)
    guard = Guarded(
        Patient(retrying, options.on_long) if options.on_long else retrying,
        remembered=read_conditions(note),
        remember=lambda conditions: write_conditions(note, conditions),
        single_writer=options.single_writer,
    )
    return guard, guard


def store_folder(settings: Settings) -> Path | None:
    """Return the folder that the store is, `None` for a store that lies elsewhere.

    Raises:
        BadAddress: the address cannot be used.
    """
    address = parse_address(settings.store_address)
    return address.path if isinstance(address, FolderAddress) else None


def _note_file(cache_dir: Path, address: str) -> Path:
    return cache_dir / "conditions" / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}.json"


def read_conditions(note: Path, *, clock: Callable[[], float] = time.time) -> Conditions | None:
    """Return what was remembered; `None` if nothing usable, or it is older than a day."""
    try:
        with note.open("rb") as opened:
            found = json.loads(opened.read(LARGEST_NOTE))
        conditions = Conditions(
            create=found["create"] is True,
            match=found["match"] is True,
            quoted=found["quoted"] is True,
            why=str(found["why"]),
        )
        age_s = clock() - float(found["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return conditions if 0 <= age_s < REMEMBERED_S else None


def write_conditions(note: Path, conditions: Conditions, *, clock: Callable[[], float] = time.time) -> None:
    """Remember what a probe found. A store that failed it is probed again next time: it may have been repaired."""
    if not conditions.honoured:
        return
    temporary = note.with_name(f"{note.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):  # only the next start's speed depends on it
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({**conditions._asdict(), "time": clock()}), encoding="utf-8")
        os.replace(temporary, note)
