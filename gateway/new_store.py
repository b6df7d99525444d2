"""Makes an encrypted store, and changes the keys of one: what `init --encrypt` and `key rotate` do.

A key is durable in its file before the store's record needs it. Plain functions that block.
"""

import contextlib
import datetime
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from gateway import pins
from gateway.config import ConfigError, Settings, own_key_file
from gateway.keys import KeyFile, OwnKeys, key_source
from store.commit import compare_and_set
from store.errors import ObjectCorrupt, Replayed
from store.layout import ROOT_KEY
from store.objects.base import ObjectStore
from store.root import ENCRYPTION, Created, StoreRoot, create_store, decode_opened, decode_root, encode_root
from store.sealing.envelope import Envelope, TooManyKeys, with_new_data_key
from store.sealing.key_source import KeySource, make_envelope, make_key_file, rewrap, spell_key, unlock_with
from store.sealing.secret_keys import KeyRing

_GROUP: Final = 4  # characters of a key that stand together on a sheet


class Made(NamedTuple):
    """An encrypted store, made."""

    created: Created
    key_file: Path | None
    sheet: list[str]


class Rotated(NamedTuple):
    """A store that has got another key."""

    root: StoreRoot
    source: KeySource  # who has it
    kept: Path | None  # where the one before is kept, where a file was replaced


def create_encrypted(settings: Settings, objects: ObjectStore) -> Made:
    """Make an encrypted store.

    Raises:
        ConfigError, KeyWrong, OSError: the key can't be made or used.  What the object store raises.
    """
    given = source = key_source(settings)
    key_file: Path | None = None

    def encrypt(fresh: StoreRoot) -> StoreRoot:
        nonlocal source, key_file
        if isinstance(source, OwnKeys):
            source = KeyFile(own_key_file(fresh.store), keep=False)
        if isinstance(source, KeyFile):
            key_file = source.path
            if not key_file.exists():
                with contextlib.suppress(FileExistsError):  # made meanwhile, by another init with the same file
                    make_key_file(key_file)
        envelope, keys = make_envelope(source, fresh.store, fresh.created_ns)
        features = {**fresh.features, "read": (*fresh.features.get("read", ()), ENCRYPTION)}
        return replace(fresh, envelope=envelope, keys=keys, handle_key=keys.handle, features=features)

    created = create_store(objects, encrypt=encrypt, unlock=unlock_with(given))
    if not created.fresh:  # somebody was faster
        if given is not source and key_file is not None:
            key_file.unlink(missing_ok=True)  # of a store that has not come to be
        return Made(created, None, [])
    pins.forget_pin(objects.address)
    pins.keep_pin(objects.address, created.root, None)
    return Made(created, key_file, recovery_sheet(source, created.root, objects.address))


def recovery_sheet(source: KeySource, root: StoreRoot, address: str) -> list[str]:
    """Return what to print and lock away, as lines: all that is needed to read the store again."""
    if root.envelope is None:
        return []
    kek = root.envelope.kek
    day = datetime.datetime.fromtimestamp(root.created_ns // 10**9, datetime.UTC).date()
    lines = ["", f"Recovery sheet of AetherFS store {root.store}", f"  made        {day}", f"  address     {address}"]
    if kek.kind != "key":
        lines += [
            f"  key         kept by AWS KMS: {kek.key}",
            "  Who may use that key of KMS reads the store. If it is deleted, nothing here can ever be read again.",
        ]
        return lines
    text = spell_key(source.kek(root.envelope, root.store))
    groups = textwrap.wrap(text, _GROUP, break_on_hyphens=False)
    lines += [
        f"  key {kek.check}",
        f"              {' '.join(groups[: len(groups) // 2])}",
        f"              {' '.join(groups[len(groups) // 2 :])}",
        "  Print this and lock it away; whoever has it reads the store, and without the key nobody ever does.",
        "  To use it: write the key into a file of mode 600 (spaces do not matter) and give it as --key-file.",
    ]
    return lines


def rotate(settings: Settings, objects: ObjectStore, known: StoreRoot, onto: KeySource | None) -> Rotated:
    """Wrap a store's secrets by another key; the old wrapping is dropped. Safe to end anywhere, and to do again.

    Args:
        settings: say which key it is now.
        objects: the store, as it lies.
        known: its record, as it was opened.
        onto: the key that it gets; `None`: a new one of the kind that it has, in the same place.

    Raises:
        ConfigError: the key that it has was given by value, so that no new one can be put in its place; or the new key
            is the one that it has.
        KeyWrong, KeyNeeded, OSError, and what the object store raises.
    """
    source = key_source(settings)
    if isinstance(source, OwnKeys) and own_key_file(known.store).exists():
        source = KeyFile(own_key_file(known.store), keep=False)
    file = source if onto is None and isinstance(source, KeyFile) else None

    def change(root: StoreRoot, keys: KeyRing, envelope: Envelope) -> Envelope:
        if onto is None and not isinstance(source, KeyFile) and envelope.kek.kind == "key":
            raise ConfigError("the key is given by value: name a file for the new one with --new-key-file")
        changed = rewrap(_Next(file) if file else onto or source, keys, envelope, root.store)
        if changed.kek.check == envelope.kek.check:
            raise ConfigError(f"the new key is the one that the store has, {changed.kek.check}: it must be another one")
        return changed

    with file.alone() if file else contextlib.nullcontext():
        root = _changed(objects, source, known, change)
        if file is not None:
            file.replace()
    return Rotated(root, onto or source, file.kept if file else None)


class _Next:
    """The key that is about to stand in a key file."""

    def __init__(self, file: KeyFile) -> None:
        self._file, self.where = file, file.where
        self.kek, self.draw = file.kek, file.draw_next


def rotate_data(settings: Settings, objects: ObjectStore, known: StoreRoot) -> StoreRoot:
    """Add a data key, which seals what is written from now on; what is there stays as it is. Safe to end anywhere.

    Args:
        settings: say who has its key.
        objects: the store, as it lies.
        known: its record, as it was opened.

    Raises:
        ConfigError: it has as many data keys as it can have.  Others as `rotate`.
    """
    source = key_source(settings)

    def change(root: StoreRoot, keys: KeyRing, envelope: Envelope) -> Envelope:
        try:
            return with_new_data_key(source.kek(envelope, root.store), envelope, root.store, objects.now_ns())
        except TooManyKeys as error:
            raise ConfigError(str(error)) from error

    return _changed(objects, source, known, change)


def _changed(
    objects: ObjectStore, source: KeySource, known: StoreRoot,
    change: Callable[[StoreRoot, KeyRing, Envelope], Envelope],
) -> StoreRoot:  # fmt: skip
    """Change a store's secrets in one compare-and-set; never those of a record that is older than the known one."""
    keys: KeyRing | None = None

    def decide(old: bytes | None, operation: str) -> bytes | None:
        nonlocal keys
        root = decode_root(old or b"", unlock=unlock_with(source))
        if root.store != known.store or root.keys is None or root.envelope is None:
            raise ObjectCorrupt(ROOT_KEY, "it was replaced by another store's meanwhile")
        if root.seq < known.seq:  # put back just now: what was changed since would be lost for good
            raise Replayed(ROOT_KEY, root.seq, known.seq)
        root.require("write")
        keys = root.keys
        return encode_root(replace(root, envelope=change(root, keys, root.envelope)), operation)

    committed = compare_and_set(objects, ROOT_KEY, decide)
    root = decode_opened(committed.data or b"", keys)
    pins.keep_pin(objects.address, root, None)  # others may have gone further meanwhile
    return root
