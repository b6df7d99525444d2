"""`aetherfs init`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.common import Command, Common, pass_common

if TYPE_CHECKING:
    from store.root import StoreRoot


@click.command(cls=Command)
@click.option("--encrypt", is_flag=True, help="Encrypt everything that will lie in it; see docs/security.md.")
@click.option("--single-writer", is_flag=True, help="Take a store that ignores conditions: nobody else writes.")
@pass_common
def init(common: Common, encrypt: bool, single_writer: bool) -> None:
    """Make a store. One that is there already is left as it is.

    With --encrypt its key comes from --key-file (which is made if it is not there), AETHERFS_KEY or store.kms_key; with
    none of them, a key file of its own is made in the configuration folder, where every command finds it. A sheet to
    print and lock away is written to stdout: without the key, nothing in the store can ever be read again.

    Example:
      aetherfs init --store /srv/data
      aetherfs init --store 's3://bucket/prefix?endpoint=http://127.0.0.1:9000'
      aetherfs init --store /srv/secret --encrypt --key-file ~/secret.key
    """
    from gateway.config import key_given
    from gateway.pins import check_plain, read_pin
    from gateway.stores import Options, connect, open_record
    from store.errors import NotEncrypted, StoreMissing
    from store.root import create_store

    settings = common.settings()
    given = key_given(settings)
    options = Options(single_writer=single_writer, on_wait=common.waiting)
    objects, guard = connect(settings, options, create=True)
    try:
        address = objects.address
        sheet: list[str] = []
        key_file: Path | None = None
        fresh = False
        try:
            root, _ = open_record(settings, objects)
            guard.ensure_writable()
        except StoreMissing:
            guard.ensure_writable()
            if encrypt:
                from gateway.new_store import create_encrypted

                made, key_file, sheet = create_encrypted(settings, objects)
            elif given:
                raise NotEncrypted(address, f"{given} gives a key for it: add --encrypt, or unset it") from None
            else:
                check_plain(address, read_pin(address))
                made = create_store(objects)
            root, fresh = made.root, made.fresh
        if encrypt and root.keys is None:
            raise NotEncrypted(address, "cannot become so: make another store and push to it, or copy this one there")
    finally:
        objects.close()
    common.result(_document(root, address, fresh, key_file, sheet), [_line(root, address, fresh), *sheet])


def _document(
    root: "StoreRoot", address: str, fresh: bool, key_file: Path | None, sheet: list[str]
) -> dict[str, object]:
    document: dict[str, object] = {"store": address, "id": root.store, "created": fresh}
    if root.envelope is not None:
        document |= {"encrypted": True, "key_file": str(key_file) if key_file else None, "recovery": "\n".join(sheet)}
    return document


def _line(root: "StoreRoot", address: str, fresh: bool) -> str:
    kind = "encrypted store" if root.envelope is not None else "store"
    said = f"made {kind} {root.store}" if fresh else f"{kind} {root.store} is there already, left as it is"
    return f"{said}: {address}"
