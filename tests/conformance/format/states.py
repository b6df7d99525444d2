"""Reads manifests, written from docs/format.md, Manifests and Codings, alone. Part of `reader`; pure but for `Fetch`.

Imports nothing of the project on purpose.
"""

import hashlib
import struct
from collections.abc import Callable
from typing import NamedTuple

import zstandard
from blake3 import blake3

FILE, FOLDER, LINK = 1, 2, 3
PLAIN, ZSTD, COLUMNS = 0, 1, 2
NODES, NAMES, LINKS, SHA256, MD5, FILES, EXTENTS, DIGESTS, BLOCKS, PACKS = 1, 2, 3, 4, 16, 17, 18, 19, 20, 21
WIDTHS = {NODES: 32, NAMES: 1, LINKS: 1, SHA256: 32, MD5: 16, FILES: 4, EXTENTS: 12, DIGESTS: 32, BLOCKS: 20, PACKS: 16}
HOLE = 0xFFFFFFFF

Place = tuple[int, int, int, int]  # of a block in its pack: offset, stored length, plain length, coding
Fetch = Callable[[bytes, Place, bytes], bytes]  # (pack's id, place, digest) -> chunk
Extents = tuple[tuple[int, bool], ...]  # of a file: (offset, is it a hole?)


class Refused(Exception):
    """Something in the store is not as the page says."""


class Entry(NamedTuple):
    kind: int
    mtime_ns: int
    executable: bool
    data: bytes  # of a file: its content; of a link: its target
    extents: Extents


def need(good: object, why: str) -> None:
    if not good:
        raise Refused(why)


class State:
    """One manifest: its sections, whole."""

    def __init__(self, data: bytes, table: bytes, fetch: Fetch) -> None:
        """Take the sections apart and check the id.

        Args:
            data: the whole object.
            table: its table, plain.
            fetch: reads and checks one block.
        """
        self.fetch = fetch
        self.id, content, n_sections, zero, n_pages = struct.unpack_from("<32s40sHHI", table, 0)
        need(len(table) == 80 + 32 * n_sections + 48 * n_pages and not zero, "length of the table")
        pages = list(struct.iter_unpack("<QIB3s32s", table[80 + 32 * n_sections :]))
        plain: list[bytes] = []  # pages
        self.part = part = dict[int, bytes]()
        at = 64
        for row in struct.iter_unpack("<HHHBBQIIII", table[80 : 80 + 32 * n_sections]):
            kind, flags, width, _, _, size, page_size, first, count, _ = row
            need(kind in WIDTHS or not flags & 1, f"section {kind}, which this reader does not know")
            need(kind not in part and width == WIDTHS.get(kind, width) and first == len(plain), f"section {kind}")
            need(page_size % width == 0 and count == -(-size // page_size), f"pages of section {kind}")
            for number in range(count):
                offset, stored, coding, zeros, digest = pages[first + number]
                found = data[at : at + stored]
                need(offset == at and not any(zeros) and blake3(found).digest() == digest, f"page of section {kind}")
                plain.append(decoded(coding, found, min(page_size, size - number * page_size), width))
                at += stored
            part[kind] = b"".join(plain[first:])
        need(part.keys() >= WIDTHS.keys() and len(plain) == n_pages, "sections and pages")
        magic, version, zero, records, names, links, files = struct.unpack("<4sHHQQQQ", content)
        need((magic, version, zero) == (b"AFMC", 1, 0), "content header")
        counts = (len(part[NODES]) // 32, len(part[NAMES]), len(part[LINKS]), len(part[SHA256]) // 32)
        need(counts == (records, names, links, files), "counts in the content header")
        need((len(part[MD5]) // 16, len(part[FILES]) // 4) == (files, files + 1), "as many digests as files")
        ends = (part[FILES][:4], part[FILES][-4:])
        need(ends == (bytes(4), struct.pack("<I", len(part[EXTENTS]) // 12)), "extents of no file")
        hashed = blake3(content + part[NODES] + part[NAMES] + part[LINKS] + part[SHA256])
        need(hashed.digest() == self.id, "the content's digest is not the id")

    def tree(self) -> dict[bytes, Entry]:
        """Go through the records in their one order, and read every file."""
        part = self.part
        paths: dict[int, bytes] = {}
        tree: dict[bytes, Entry] = {}
        parents = [0]  # of each record, as the folders met so far say
        at_name = at_link = files = 0
        previous = (0, b"")
        for number, row in enumerate(struct.iter_unpack("<QqIIIHBB", part[NODES])):
            size, mtime_ns, first, parent, name_at, name_size, kind, flags = row
            need(number < len(parents) and parents[number] == parent, f"parent of record {number}")
            need(name_at == at_name and flags <= (kind == FILE), f"record {number} is {row}")
            name = part[NAMES][at_name : at_name + name_size]
            at_name += name_size
            if number:
                bad = name in (b"", b".", b"..") or b"/" in name or b"\0" in name
                need(not bad and (parent, name) > previous, f"name {name!r}")
                previous = (parent, name)
            path = paths[number] = b"/".join(filter(None, (paths.get(parent, b""), name)))
            payload: bytes = b""
            extents: Extents = ()
            if kind == FOLDER:
                need(first == (len(parents) if size else 0), f"entries of folder {number}")
                parents += [number] * size
            elif kind == LINK:
                need(first == at_link, f"target of link {number}")
                payload = part[LINKS][at_link : at_link + size]
                at_link += size
            else:
                need(kind == FILE and number and first == files, f"kind or number of record {number}")
                payload, extents = self.content(files, size)
                files += 1
            tree[path] = Entry(kind, mtime_ns, bool(flags), payload, extents)
        need(len(parents) == len(tree) and tree[b""].kind == FOLDER, "records that cannot be reached")
        need((at_name, at_link, files) == (len(part[NAMES]), len(part[LINKS]), len(part[SHA256]) // 32), "left over")
        return tree

    def content(self, file: int, size: int) -> tuple[bytes, Extents]:
        part = self.part
        start, stop = struct.unpack_from("<II", part[FILES], 4 * file)
        rows = list(struct.iter_unpack("<QI", part[EXTENTS][12 * start : 12 * stop]))
        need(len(rows) == stop - start, "extents")
        found = []
        at = 0
        ends = [*(offset for offset, _ in rows), size][1:]
        for (offset, block), end in zip(rows, ends, strict=True):
            need(offset == at < end, "a gap between extents")
            found.append(bytes(end - offset) if block == HOLE else self.chunk(block))
            at += len(found[-1])
            need(at == end, "a block's length is not its extent's")
        data = b"".join(found)
        need(len(data) == size, "a file's size")
        need(hashlib.sha256(data).digest() == part[SHA256][32 * file : 32 * file + 32], "a file's SHA-256")
        need(hashlib.md5(data).digest() == part[MD5][16 * file : 16 * file + 16], "a file's MD5")
        return data, tuple((offset, block == HOLE) for offset, block in rows)

    def chunk(self, row: int) -> bytes:
        part = self.part
        pack, offset, stored, plain, coding, bases, zeros = struct.unpack_from("<IIIIBBH", part[BLOCKS], 20 * row)
        need(not bases and not zeros and 0 < plain <= 8 << 20, "a block")
        id = part[PACKS][16 * pack : 16 * pack + 16]
        return self.fetch(id, (offset, stored, plain, coding), part[DIGESTS][32 * row : 32 * row + 32])


def decoded(coding: int, data: bytes, size: int, width: int) -> bytes:
    if coding in (ZSTD, COLUMNS):
        need(zstandard.get_frame_parameters(data).content_size == size, "a frame's size")
        data = zstandard.ZstdDecompressor().decompress(data)
    else:
        need(coding == PLAIN, f"coding {coding}")
    need(len(data) == size, f"{len(data)} bytes, not {size}")
    if coding == COLUMNS:
        rows = size // width
        data = b"".join(data[row::rows] for row in range(rows))
    return data
