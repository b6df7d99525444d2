"""What this user has seen of encrypted stores: which one lies at an address, and how far its record had got.

A small file for each address in the user's state folder, replaced atomically. So an encrypted store that is swapped for
another, for a plain one, or for its own past is refused. Plain stores are not pinned: nothing would tell two of them
apart that who may write to the bucket could not copy. Plain functions; any thread.
"""

import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Final, NamedTuple

from gateway.config import state_dir
from store.errors import NotEncrypted, Replayed, StoreSwapped
from store.layout import ROOT_KEY
from store.root import StoreRoot

_LARGEST: Final = 4096  # bytes
MARK: Final = 16  # bytes by which the secrets of a store are told from others


class Pin(NamedTuple):
    """What was seen at an address."""

    store: str  # id
    seq: int  # of its record
    mark: str = ""  # of its id secret; empty: noted by a version that kept none


def _file(address: str) -> Path:
    return state_dir() / "stores" / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}.json"


def read_pin(address: str) -> Pin | None:
    """Return what was seen; `None`: nothing yet.

    Raises:
        StoreSwapped: the note is damaged, so that nothing can be told.
    """
    path = _file(address)
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_LARGEST))
        return Pin(str(found["store"]), int(found["seq"]), str(found.get("mark", "")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreSwapped(
            address, "", "", f"what was seen of the store at {address} cannot be read from {path} "
            f"({type(error).__name__}), so that nothing tells it from another one"
        ) from None  # fmt: skip


def check_plain(address: str, pin: Pin | None) -> None:
    """Refuse a plain store where an encrypted one was.

    Raises:
        NotEncrypted: one was.
    """
    if pin is not None:
        raise NotEncrypted(
            address, f"the store {pin.store[:12]} that was there when it was first used here was: somebody has put "
            "another one there; if that is right, say so once with `aetherfs key forget`"
        )  # fmt: skip


def check_id(address: str, store: str, pin: Pin | None) -> None:
    """Refuse another store than the one that was there.

    Raises:
        StoreSwapped: it is another one.
    """
    if pin is not None and pin.store != store:
        raise StoreSwapped(address, store, pin.store)


def keep_pin(address: str, root: StoreRoot, pin: Pin | None) -> None:
    """Note what was seen; best effort.

    Args:
        address: of the store.
        root: its record.
        pin: what had been seen before the record was read; `None`: nothing that it has to be held against.

    Raises:
        StoreSwapped: its secrets are not those that were seen, and they never change.
        Replayed: the record is older than what was seen.
    """
    mark = root.keys.derived("pin", MARK).hex() if root.keys is not None else ""
    if pin is not None and pin.mark not in ("", mark):
        raise StoreSwapped(
            address, root.store, pin.store,
            f"the store at {address} calls itself {root.store[:12]} as the one did that was there when it was first "
            "used here, but has other secrets: somebody has put it in that one's place",
        )  # fmt: skip
    if pin is not None and root.seq < pin.seq:
        raise Replayed(ROOT_KEY, root.seq, pin.seq)
    with contextlib.suppress(StoreSwapped):
        now = read_pin(address)
        if now is not None and (now.store, now.mark) == (root.store, mark) and now.seq >= root.seq:
            return  # another process may have seen a later one
    path = _file(address)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"store": root.store, "seq": root.seq, "mark": mark}), encoding="utf-8")
        os.replace(temporary, path)


def seen_file(store: str) -> Path:
    """Name the file that keeps the newest generations of heads seen of a store."""
    return state_dir() / "stores" / f"{store}.seen"


def forget_pin(address: str) -> bool:
    """Forget what was seen at an address, heads too; tell whether there was anything."""
    try:
        pin = read_pin(address)
    except StoreSwapped:
        pin = Pin("", 0)
    if pin is None:
        return False
    _file(address).unlink(missing_ok=True)
    if pin.store:
        seen_file(pin.store).unlink(missing_ok=True)
    return True
