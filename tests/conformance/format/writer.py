"""Writes a small store into a folder, from docs/format.md alone: the other half of `reader`.

Imports nothing of the project on purpose. One state of one dataset, all of it coded PLAIN; encrypted where a key is
given. One thread.
"""

import base64
import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from blake3 import blake3

from tests.conformance.format.sealing import Secrets, Vault, lock
from tests.conformance.format.states import FOLDER, LINK, WIDTHS, Entry

NODES, NAMES, LINKS, SHA256, MD5, FILES, EXTENTS, DIGESTS, BLOCKS, PACKS = 1, 2, 3, 4, 16, 17, 18, 19, 20, 21
CREATED_NS = 1_700_000_000_000_000_000
OPERATION = "0123456789abcdef01234567"


class State(NamedTuple):
    """What a tag says of a manifest."""

    manifest: str
    root: str
    size: int
    files: int


def write_store(
    folder: Path, dataset: str, tags: dict[str, str], tree: dict[bytes, Entry], key: bytes | None = None
) -> State:
    """Make a store with one state: a pack, a manifest, a head.

    Args:
        folder: not there yet.
        dataset: its name.
        tags: tag -> "version" or "channel".
        tree: path -> entry; the root's path is empty.
        key: the key-encryption key; makes the store an encrypted one.
    """
    record: dict[str, Any] = {
        "format": 1, "store": os.urandom(16).hex(), "created": CREATED_NS, "seq": 1, "operations": [[1, OPERATION]],
        "features": {}, "chunker": {}, "keys": {"handle": base64.b64encode(os.urandom(32)).decode()},
        "encryption": None, "mac": None,
    }  # fmt: skip
    vault = None
    if key is not None:
        keys = {os.urandom(16): os.urandom(32)}
        secrets = Secrets(bytes.fromhex(record["store"]), os.urandom(32), os.urandom(32), keys)
        vault = Vault(secrets)
        record = lock(record, secrets, key, CREATED_NS)
    Folder(folder, None).put("aetherfs.json", _json(record))
    objects = Folder(folder, vault)
    state = _write_manifest(objects, tree)
    about = dict(zip(("manifest", "root", "size", "files"), state, strict=True))
    head = {
        "name": dataset, "seq": 1, "operations": [[1, OPERATION]], "created": CREATED_NS, "changed": CREATED_NS,
        "deleted": False, "next": {"tag": len(tags) + 1, "entry": 2, "segment": 1},
        "tags": {tag: {"n": n, "kind": tags[tag], "moved": CREATED_NS, **about} for n, tag in enumerate(tags, 1)},
        "history": [{"n": 1, "time": CREATED_NS, "op": "push", "id": OPERATION, "tags": [*tags], "state": about}],
    }  # fmt: skip
    prefix = blake3(dataset.encode()).hexdigest()[:2]
    data = _json(head)
    objects.put(f"datasets/{prefix}/{dataset}", data + b" " * (-len(data) % 256))
    return state


class Folder:
    """A folder store: keys and objects as they are, or hidden and sealed."""

    def __init__(self, folder: Path, vault: Vault | None) -> None:
        self._folder, self._vault = folder, vault

    def put(self, key: str, data: bytes) -> None:
        path = self._folder / (key if self._vault is None else self._vault.hide(key))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if self._vault is None else self._vault.seal(key, data))

    def name_of(self, chunk: bytes) -> bytes:
        return (blake3(chunk) if self._vault is None else blake3(chunk, key=self._vault.chunks)).digest()


def _write_manifest(objects: Folder, tree: dict[bytes, Entry]) -> State:
    order = _in_order(tree)
    record_of = {path: number for number, path in enumerate(order)}
    part = {kind: bytearray() for kind in WIDTHS}
    pack, pack_id = _Pack(objects.name_of), os.urandom(16)
    part[PACKS] += pack_id
    part[FILES] += struct.pack("<I", 0)
    files = size = 0
    for path in order:
        entry = tree[path]
        name = path.rpartition(b"/")[2]
        parent = record_of[path.rpartition(b"/")[0]] if path else 0
        below = [record_of[other] for other in order if other and other.rpartition(b"/")[0] == path]
        if entry.kind == FOLDER:
            row = (len(below), min(below, default=0))
        elif entry.kind == LINK:
            row = (len(entry.data), len(part[LINKS]))
            part[LINKS] += entry.data
        else:
            row = (len(entry.data), files)
            files, size = files + 1, size + len(entry.data)
            part[SHA256] += hashlib.sha256(entry.data).digest()
            part[MD5] += hashlib.md5(entry.data).digest()
            if entry.data:
                part[EXTENTS] += struct.pack("<QI", 0, pack.row_of(entry.data))
            part[FILES] += struct.pack("<I", len(part[EXTENTS]) // 12)
        part[NODES] += struct.pack(
            "<QqIIIHBB",
            row[0],
            entry.mtime_ns,
            row[1],
            parent,
            len(part[NAMES]),
            len(name),
            entry.kind,
            entry.executable,
        )
        part[NAMES] += name
    for digest, (offset, data) in pack.blocks.items():
        part[DIGESTS] += digest
        part[BLOCKS] += struct.pack("<IIIIBBH", 0, offset, len(data), len(data), 0, 0, 0)
    objects.put(f"packs/{pack_id.hex()[:2]}/{pack_id.hex()}", pack.finish())
    content = struct.pack("<4sHHQQQQ", b"AFMC", 1, 0, len(order), len(part[NAMES]), len(part[LINKS]), files)
    id = blake3(content + part[NODES] + part[NAMES] + part[LINKS] + part[SHA256]).digest()
    sections, pages, body = b"", b"", b""
    for kind, plain in part.items():  # one page is enough for each
        page_size = max(len(plain), WIDTHS[kind])
        first, count = len(pages) // 48, int(bool(plain))
        sections += struct.pack("<HHHBBQIIII", kind, 1, WIDTHS[kind], 0, 0, len(plain), page_size, first, count, 0)
        if plain:
            pages += struct.pack("<QIB3s32s", 64 + len(body), len(plain), 0, bytes(3), blake3(plain).digest())
            body += plain
    table = struct.pack("<32s40sHHI", id, content, len(part), 0, len(pages) // 48) + sections + pages
    whole = _framed(b"AFMF", body, table)
    objects.put(f"manifests/{id.hex()[:2]}/{id.hex()}", whole)
    return State(id.hex(), whole[-40:-8].hex(), size, files)


class _Pack:
    def __init__(self, name_of: Callable[[bytes], bytes]) -> None:
        self._name_of = name_of
        self.blocks: dict[bytes, tuple[int, bytes]] = {}  # digest -> (offset, bytes)
        self._end = 64

    def row_of(self, data: bytes) -> int:
        digest = self._name_of(data)
        if digest not in self.blocks:
            self.blocks[digest] = (self._end, data)
            self._end += len(data)
        return [*self.blocks].index(digest)

    def finish(self) -> bytes:
        rows = [struct.pack("<32sIIIBBH", digest, offset, len(data), len(data), 0, 0, 0)
                for digest, (offset, data) in self.blocks.items()]  # fmt: skip
        footer = struct.pack("<Q", len(rows)) + b"".join(rows)
        return _framed(b"AFPK", b"".join(data for _, data in self.blocks.values()), footer)


def _in_order(tree: dict[bytes, Entry]) -> list[bytes]:
    """Return the paths breadth first, each folder's entries sorted."""
    order = [b""]
    for folder in order:
        order += sorted(path for path in tree if path and path.rpartition(b"/")[0] == folder)
    return order


def _framed(magic: bytes, body: bytes, table: bytes) -> bytes:
    header = struct.pack("<4sHHII16s32s", magic, 1, 64, 0, 0, bytes(16), bytes(32))
    covered = header + struct.pack("<QIIBB6s", 64 + len(body), len(table), len(table), 0, 0, bytes(6))
    digest = blake3(table + covered).digest()
    return header + body + table + covered + digest + bytes(4) + magic


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
