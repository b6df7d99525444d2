"""`aetherfs key show`, `rotate`, `sheet` and `forget`: looks after the key of an encrypted store."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.common import Command, Common, columns, keep_examples, pass_common, spell_time

if TYPE_CHECKING:
    from gateway.config import Settings
    from store.objects.base import ObjectStore
    from store.root import StoreRoot


@click.group()
def key() -> None:
    """Look after the key of an encrypted store.

    Example:
      aetherfs key show
      aetherfs key rotate
    """


key.help = keep_examples(key.help)


@contextlib.contextmanager
def _opened(common: Common) -> "Iterator[tuple[Settings, ObjectStore, StoreRoot]]":
    """Open an encrypted store as it lies.

    Raises:
        NotEncrypted: it is not.
    """
    from gateway.stores import Options, connect, open_record
    from store.errors import NotEncrypted

    settings = common.settings()
    objects, _ = connect(settings, Options(on_wait=common.waiting, on_long=common.remark), create=False)
    with contextlib.closing(objects):
        root, _ = open_record(settings, objects)
        if root.keys is None:
            raise NotEncrypted(
                objects.address, "only an encrypted store has a key: `aetherfs init --encrypt` makes one"
            )
        yield settings, objects, root


@key.command(cls=Command)
@pass_common
def show(common: Common) -> None:
    """Tell which key opens the store and which data keys it has. No secret is shown.

    Example:
      aetherfs key show --json
    """
    with _opened(common) as (_, objects, root):
        common.result(_document(root, objects.address), _lines(root, objects.address))


@key.command(cls=Command)
@click.option("--data", is_flag=True, help="Add a data key for what is written from now on, instead.")
@click.option("--new-key-file", type=click.Path(path_type=Path), metavar="FILE", help="Where the new key goes, or is.")
@click.option("--new-kms-key", metavar="ID", help="The key of AWS KMS that is to keep it.")
@pass_common
def rotate(common: Common, data: bool, new_key_file: Path | None, new_kms_key: str | None) -> None:
    """Give the store another key: its secrets are wrapped anew, and the old key opens nothing any more.

    A key file is replaced in place, unless a place for the new key is named; one that was given (--key-file) is kept
    beside it, since other stores may have it, until you remove it. Blocks are not rewritten. With --data the
    key stays, and what is written from now on is sealed by a new data key. After a leak do both, and think of what
    whoever had the key may have copied: docs/security.md.

    Example:
      aetherfs key rotate
      aetherfs key rotate --new-kms-key alias/aetherfs
      aetherfs key rotate --data
    """
    from gateway.keys import KeyFile, kms_client
    from gateway.new_store import recovery_sheet, rotate_data
    from gateway.new_store import rotate as rewrap
    from store.sealing.key_source import KeySource, KmsKey, make_key_file

    if sum((data, new_key_file is not None, new_kms_key is not None)) > 1:
        raise click.UsageError("--data, --new-key-file and --new-kms-key exclude each other")
    with _opened(common) as (settings, objects, root):
        if data:
            root = rotate_data(settings, objects, root)
            common.result(_document(root, objects.address), "what is written from now on has a new data key")
            return
        onto: KeySource | None = None
        if new_key_file is not None:
            if not new_key_file.exists():
                make_key_file(new_key_file)
            onto = KeyFile(new_key_file)
        elif new_kms_key is not None:
            onto = KmsKey(new_kms_key, lambda: kms_client(new_kms_key))
        root, source, kept = rewrap(settings, objects, root, onto)
        assert root.envelope is not None, "encrypted"  # noqa: S101  # for the type checker
        sheet = recovery_sheet(source, root, objects.address)
        said = [f"the key is {root.envelope.kek.check} now; the one before opens nothing here any more"]
        if kept:
            said.append(f"it is kept in {kept}, since other stores may have it: remove it if none has")
        added = {"recovery": "\n".join(sheet), "old_key_file": str(kept) if kept else None}
        common.result(_document(root, objects.address) | added, [*said, *sheet])


@key.command(cls=Command)
@pass_common
def sheet(common: Common) -> None:
    """Write the recovery sheet once more: it holds the key.

    Example:
      aetherfs key sheet | lpr
    """
    from gateway.keys import key_source
    from gateway.new_store import recovery_sheet

    with _opened(common) as (settings, objects, root):
        lines = recovery_sheet(key_source(settings), root, objects.address)
        common.result({"recovery": "\n".join(lines)}, lines)


@key.command(cls=Command)
@pass_common
def forget(common: Common) -> None:
    """Forget which encrypted store was seen at the address, and how far it had got, so that another may lie there.

    Say so only if you know why it is another one: this is what tells a store from one that somebody put in its place.

    Example:
      aetherfs key forget --store /srv/secret
    """
    from gateway.pins import forget_pin
    from gateway.stores import Options, connect

    objects, _ = connect(common.settings(), Options(on_wait=common.waiting), create=False)
    with contextlib.closing(objects):
        known = forget_pin(objects.address)
        said = "forgotten" if known else "nothing was known of it"
        common.result({"store": objects.address, "forgotten": known}, f"{said}: {objects.address}")


def _document(root: "StoreRoot", address: str) -> dict[str, object]:
    assert root.envelope is not None, "encrypted"  # noqa: S101  # for the type checker
    kek = root.envelope.kek
    return {
        "store": address,
        "id": root.store,
        "key": {"kind": kek.kind, "check": kek.check} | ({"kms_key": kek.key} if kek.kind != "key" else {}),
        "data_keys": [
            {"id": one.id, "created": spell_time(one.created_ns), "current": one is root.envelope.data[-1]}
            for one in root.envelope.data
        ],
    }


def _lines(root: "StoreRoot", address: str) -> list[str]:
    assert root.envelope is not None, "encrypted"  # noqa: S101  # for the type checker
    kek = root.envelope.kek
    by = f"kept by AWS KMS: {kek.key}" if kek.kind != "key" else "a key file, or AETHERFS_KEY"
    rows = [
        (f"  {one.id[:12]}", spell_time(one.created_ns), "seals what is written" if last else "opens what it sealed")
        for one in root.envelope.data
        for last in [one is root.envelope.data[-1]]
    ]
    return [f"store {root.store}: {address}", f"key {kek.check}, {by}", "data keys", *columns(rows)]
