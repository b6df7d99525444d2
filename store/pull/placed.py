"""Remembers what the last pull put into a folder, so that the next one knows what is not the user's own.

A small file in the user's state directory, one for each destination, whatever the store. Without it, only what equals
the new state counts as ours. It holds

    "AFPL", u32 version 1, id of the manifest (32), its root (32), u64 number of entries, then one after another
    u8 kind, u8 flags (bit 0 executable, bit 1 identity may be trusted), u16 length of the path,
    device, inode, size (u64), mtime, ctime (ns, i64), SHA-256 (of a file's content or a link's target; else zeros), the
    path and at the end the BLAKE3 (32) of all that

Paths longer than 65,535 bytes are left out. An identity is trusted when its times had settled as it was noted: a write
since then must show in them. One thread.
"""

import contextlib
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from blake3 import blake3

from store.kinds import Kind
from store.push.source import Identity

HEAD: Final = struct.Struct("<4sI32s32sQ")
ROW: Final = struct.Struct("<BBHQQQqq32s")
MAGIC: Final = b"AFPL"
EXECUTABLE: Final = 1
TRUSTED: Final = 2
_DIGEST: Final = 32
_NOTHING: Final = Identity(0, 0, 0, 0, 0)


class Placed(NamedTuple):
    """One entry that a pull put there."""

    kind: Kind
    executable: bool
    digest: bytes  # SHA-256 of a file's content or a link's target; of a folder 32 zeros
    identity: Identity | None  # None: it says nothing, the content must be read


@dataclass(slots=True)
class Placement:
    """Everything that a pull put into a folder."""

    manifest: bytes
    root: bytes
    entries: dict[bytes, Placed] = field(default_factory=dict)


def recall(path: Path) -> Placement | None:
    """Read what was noted; `None` where nothing was, or it is damaged."""
    try:
        data = path.read_bytes()
        magic, version, manifest, root, count = HEAD.unpack_from(data)
    except (OSError, struct.error):
        return None
    if magic != MAGIC or version != 1 or blake3(data[:-_DIGEST]).digest() != data[-_DIGEST:]:
        return None
    placement = Placement(manifest, root)
    at = HEAD.size
    try:
        for _ in range(count):
            kind, flags, size, *fields, digest = ROW.unpack_from(data, at)
            at += ROW.size
            identity = Identity(*fields) if flags & TRUSTED else None
            placement.entries[data[at : at + size]] = Placed(Kind(kind), bool(flags & EXECUTABLE), digest, identity)
            at += size
    except (struct.error, ValueError):  # written by something else: as good as none
        return None
    return placement


def note(path: Path, placement: Placement) -> None:
    """Write down what was put there, atomically.

    Raises:
        OSError: it can't be written.
    """
    rows = [HEAD.pack(MAGIC, 1, placement.manifest, placement.root, 0)]
    for name, placed in placement.entries.items():
        if len(name) <= 0xFFFF:
            flags = EXECUTABLE * placed.executable | TRUSTED * (placed.identity is not None)
            rows.append(ROW.pack(placed.kind, flags, len(name), *(placed.identity or _NOTHING), placed.digest) + name)
    rows[0] = HEAD.pack(MAGIC, 1, placement.manifest, placement.root, len(rows) - 1)
    data = b"".join(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data + blake3(data).digest())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
