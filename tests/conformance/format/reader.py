"""Reads a whole store that lies in a folder, and believes nothing: written from docs/format.md alone.

Imports nothing of the project on purpose: what this reader understands, the page says. It checks every object and every
byte of content, keeps whole files in memory, and is for small stores in tests. One thread.
"""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import zstandard
from blake3 import blake3

FILE, FOLDER, LINK = 1, 2, 3
PLAIN, ZSTD, COLUMNS = 0, 1, 2
NODES, NAMES, LINKS, SHA256, MD5, FILES, EXTENTS, DIGESTS, BLOCKS, PACKS = 1, 2, 3, 4, 16, 17, 18, 19, 20, 21
WIDTHS = {NODES: 32, NAMES: 1, LINKS: 1, SHA256: 32, MD5: 16, FILES: 4, EXTENTS: 12, DIGESTS: 32, BLOCKS: 20, PACKS: 16}
HOLE = 0xFFFFFFFF


class Refused(Exception):
    """Something in the store is not as the page says."""


Runs = tuple[tuple[int, bool], ...]  # of a file: (offset, is it a hole?)


class Entry(NamedTuple):
    kind: int
    mtime_ns: int
    executable: bool
    data: bytes  # of a file: its content; of a link: its target
    runs: Runs


class Dataset(NamedTuple):
    head: dict[str, Any]
    tags: dict[str, dict[str, Any]]
    removed: dict[str, str]
    entries: list[dict[str, Any]]  # oldest first
    states: dict[str, dict[bytes, Entry]]  # manifest id -> path -> entry; the root's path is empty


class Store(NamedTuple):
    root: dict[str, Any]
    datasets: dict[str, Dataset]
    explained: set[str]  # keys of all objects that were read


def need(good: object, why: str) -> None:
    if not good:
        raise Refused(why)


def read_store(folder: Path) -> Store:
    """Read and check everything that can be reached, and all packs, index segments and change hints."""
    return Reader(folder).store()


class Reader:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.explained: set[str] = set()
        self.footers: dict[bytes, dict[tuple[int, int, int, int], bytes]] = {}  # pack -> place -> digest
        self.trees: dict[str, tuple[str, dict[bytes, Entry]]] = {}

    def store(self) -> Store:
        root = self.document("aetherfs.json")
        need(root["format"] == 1, "format")
        need(root["encryption"] is None and not root["features"].get("read"), "a feature this reader does not have")
        operations(root)
        for key in self.keys("packs"):
            self.footer(bytes.fromhex(key.rpartition("/")[2]))
        datasets = {}
        for key in self.keys("datasets"):
            prefix, _, name = key.removeprefix("datasets/").partition("/")
            need(prefix == blake3(name.encode()).hexdigest(length=1), f"{key} lies at another prefix")
            datasets[name] = self.dataset(key, name)
            if (self.folder / "changes" / prefix).exists():
                need(self.whole(f"changes/{prefix}").decode().isalnum(), "a change hint is an operation id")
        if self.keys("index"):
            self.index()
        return Store(root, datasets, self.explained)

    # objects

    def keys(self, prefix: str) -> list[str]:
        found = (path for path in self.folder.glob(f"{prefix}/**/*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def whole(self, key: str) -> bytes:
        self.explained.add(key)
        return (self.folder / key).read_bytes()

    def document(self, key: str) -> dict[str, Any]:
        value = json.loads(self.whole(key))
        need(isinstance(value, dict), f"{key} is no JSON object")
        return dict(value)

    def framed(self, key: str, magic: bytes) -> tuple[bytes, bytes, bytes]:
        """Return a whole object, its table, and the table's digest."""
        data = self.whole(key)
        need(len(data) >= 128, f"{key} is too short")
        found, version, length, required, _, key_id, _ = struct.unpack_from("<4sHHII16s32s", data, 0)
        need(found == magic and (version, length, required) == (1, 64, 0) and not any(key_id), f"header of {key}")
        at, stored, plain, digest, coding, width, zeros, end = struct.unpack("<QII32sBB10s4s", data[-64:])
        need(end == magic and at >= 64 and at + stored + 64 == len(data) and not any(zeros), f"trailer of {key}")
        need(blake3(data[at : at + stored]).digest() == digest, f"table of {key}")
        return data, decoded(coding, data[at : at + stored], plain, width), digest

    # datasets

    def dataset(self, key: str, name: str) -> Dataset:
        head = self.document(key)
        need(head["name"] == name, f"{key} is the head of {head['name']}")
        need(len(self.whole(key)) % 2 == head["deleted"] and len(self.whole(key)) <= 262144, f"length of {key}")
        operations(head)
        tags: dict[str, dict[str, Any]] = {}
        removed: dict[str, str] = {}
        layers = [self.segment(name, reference) for reference in head.get("tagged", [])]
        for layer in [*layers, head]:
            for tag in [*layer.get("tags", {}), *layer.get("removed", {})]:  # later ones override earlier ones
                for known in [known for known in [*tags, *removed] if known.lower() == tag.lower()]:
                    tags.pop(known, None)
                    removed.pop(known, None)
            tags.update(layer.get("tags", {}))
            removed.update(layer.get("removed", {}))
        entries = [*self.older(name, head.get("older", [])), *head["history"]]
        need([entry["n"] for entry in entries] == list(range(1, head["next"]["entry"])), f"numbers of {name}")
        times = [entry["time"] for entry in entries]
        need(times == sorted(set(times)) and times[-1:] == [head["changed"]], f"times of {name} do not grow")
        need(all(0 < tag["n"] < head["next"]["tag"] for tag in tags.values()), f"tag numbers of {name}")
        named = [*tags.values(), *(entry["state"] for entry in entries if entry["state"])]
        states = {state["manifest"]: self.manifest(state) for state in named}
        return Dataset(head, tags, removed, entries, states)

    def segment(self, name: str, reference: dict[str, Any]) -> dict[str, Any]:
        key = f"history/{name}/{reference['n']}-{reference['digest'][:16]}"
        found = self.document(key)
        need(blake3(self.whole(key)).hexdigest() == reference["digest"] and found["dataset"] == name, f"segment {key}")
        return found

    def older(self, name: str, references: list[dict[str, Any]]) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        for reference in references:
            found = self.segment(name, reference)
            below = found["entries"] if not reference["level"] else self.older(name, found["refs"])
            ends = (below[0]["n"], below[-1]["n"], below[0]["time"], below[-1]["time"])
            need(ends == tuple(reference[field] for field in ("first", "last", "since", "until")), f"ends in {name}")
            entries += below
        return entries

    # manifests

    def manifest(self, state: dict[str, Any]) -> dict[bytes, Entry]:
        """Read one state and hold it against what a tag or an entry says of it."""
        id = state["manifest"]
        if id not in self.trees:
            self.trees[id] = self.tree(id)
        root, tree = self.trees[id]
        files = [entry for entry in tree.values() if entry.kind == FILE]
        need(root == state["root"], f"root of {id}")
        need((len(files), sum(len(file.data) for file in files)) == (state["files"], state["size"]), f"counts of {id}")
        return tree

    def tree(self, id: str) -> tuple[str, dict[bytes, Entry]]:
        data, table, root = self.framed(f"manifests/{id[:2]}/{id}", b"AFMF")
        own_id, content, n_sections, _, n_pages = struct.unpack_from("<32s40sHHI", table, 0)
        need(own_id.hex() == id and len(table) == 80 + 32 * n_sections + 48 * n_pages, f"table of {id}")
        pages = list(struct.iter_unpack("<QIB3s32s", table[80 + 32 * n_sections :]))
        part: dict[int, bytes] = {}
        for row in struct.iter_unpack("<HHHBBQIIII", table[80 : 80 + 32 * n_sections]):
            kind, _, width, _, _, size, page_size, first, count, _ = row
            need(kind not in part and width == WIDTHS[kind], f"section {kind}")
            need(page_size % width == 0 and count == -(-size // page_size), f"pages of section {kind}")
            part[kind] = b"".join(
                self.page(data, pages[first + i], min(page_size, size - i * page_size), width) for i in range(count)
            )
        need(part.keys() == WIDTHS.keys(), "sections")
        magic, version, _, records, names, links, files = struct.unpack("<4sHHQQQQ", content)
        need((magic, version) == (b"AFMC", 1), "content header")
        counts = (len(part[NODES]) // 32, len(part[NAMES]), len(part[LINKS]), len(part[SHA256]) // 32)
        need(counts == (records, names, links, files), "counts in the content header")
        need((len(part[MD5]) // 16, len(part[FILES]) // 4) == (files, files + 1), "as many digests as files")
        first, last = part[FILES][:4], part[FILES][-4:]
        need((first, last) == (bytes(4), struct.pack("<I", len(part[EXTENTS]) // 12)), "extents of no file")
        hashed = blake3(content + part[NODES] + part[NAMES] + part[LINKS] + part[SHA256])
        need(hashed.hexdigest() == id, "the content's digest is not the id")
        return root.hex(), self.entries(part)

    def page(self, data: bytes, row: tuple[Any, ...], size: int, width: int) -> bytes:
        offset, stored, coding, zeros, digest = row
        found = data[offset : offset + stored]
        need(blake3(found).digest() == digest and not any(zeros), "a page does not have its digest")
        return decoded(coding, found, size, width)

    def entries(self, part: dict[int, bytes]) -> dict[bytes, Entry]:
        """Go through the records in their one order, and read every file."""
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
            runs: Runs = ()
            if kind == FOLDER:
                need(first == (len(parents) if size else 0), f"entries of folder {number}")
                parents += [number] * size
            elif kind == LINK:
                need(first == at_link, f"target of link {number}")
                payload = part[LINKS][at_link : at_link + size]
                at_link += size
            else:
                need(kind == FILE and number and first == files, f"kind or number of record {number}")
                payload, runs = self.content(part, files, size)
                files += 1
            tree[path] = Entry(kind, mtime_ns, bool(flags), payload, runs)
        need(len(parents) == len(tree) and tree[b""].kind == FOLDER, "records that cannot be reached")
        need((at_name, at_link, files) == (len(part[NAMES]), len(part[LINKS]), len(part[SHA256]) // 32), "left over")
        return tree

    def content(self, part: dict[int, bytes], file: int, size: int) -> tuple[bytes, Runs]:
        start, stop = struct.unpack_from("<II", part[FILES], 4 * file)
        rows = list(struct.iter_unpack("<QI", part[EXTENTS][12 * start : 12 * stop]))
        need(len(rows) == stop - start, "extents")
        found = []
        at = 0
        ends = [*(offset for offset, _ in rows), size][1:]
        for (offset, block), end in zip(rows, ends, strict=True):
            need(offset == at < end, "a gap between runs")
            found.append(bytes(end - offset) if block == HOLE else self.chunk(part, block))
            at += len(found[-1])
            need(at == end, "a block's length is not its run's")
        data = b"".join(found)
        need(len(data) == size, "a file's size")
        need(hashlib.sha256(data).digest() == part[SHA256][32 * file : 32 * file + 32], "a file's SHA-256")
        need(hashlib.md5(data).digest() == part[MD5][16 * file : 16 * file + 16], "a file's MD5")
        return data, tuple((offset, block == HOLE) for offset, block in rows)

    def chunk(self, part: dict[int, bytes], row: int) -> bytes:
        pack, offset, stored, plain, coding, bases, zeros = struct.unpack_from("<IIIIBBH", part[BLOCKS], 20 * row)
        digest = part[DIGESTS][32 * row : 32 * row + 32]
        id = part[PACKS][16 * pack : 16 * pack + 16]
        need(not bases and not zeros and 0 < plain <= 8 << 20, "a block")
        need(self.footers[id].get((offset, stored, plain, coding)) == digest, "a block that its pack does not list")
        found = decoded(coding, self.whole(pack_key(id))[offset : offset + stored], plain, 0)
        need(blake3(found).digest() == digest, "a chunk does not have its name")
        return found

    # packs and index

    def footer(self, id: bytes) -> None:
        data, table, _ = self.framed(pack_key(id), b"AFPK")
        (count,) = struct.unpack_from("<Q", table)
        need(len(table) == 8 + 48 * count, "a footer's length")
        places = self.footers[id] = {}
        end = 64
        for digest, offset, stored, plain, coding, bases, zeros in struct.iter_unpack("<32sIIIBBH", table[8:]):
            need(offset == end and (bases, zeros) == (0, 0), "a footer's row")
            need(blake3(decoded(coding, data[offset : offset + stored], plain, 0)).digest() == digest, "a block")
            places[offset, stored, plain, coding] = digest
            end += stored
        need(end == struct.unpack_from("<Q", data, len(data) - 64)[0], "blocks do not end where the footer begins")

    def index(self) -> None:
        """Hold the index against the footers that it is derived from."""
        hooked: dict[bytes, set[bytes]] = {}
        for key in self.keys("index"):
            _, table, _ = self.framed(key, b"AFIX")
            n_packs, n_hooks = struct.unpack_from("<II", table)
            need(len(table) == 8 + 16 * n_packs + 12 * n_hooks, f"counts of {key}")
            for hook, row in struct.iter_unpack("<8sI", table[8 + 16 * n_packs :]):
                need(row < n_packs, f"a hook of {key}")
                hooked.setdefault(table[8 + 16 * row : 24 + 16 * row], set()).add(hook)
        for id, places in self.footers.items():
            digests = set(places.values())
            expected = {digest[:8] for digest in digests if digest[0] == 0} | {min(digests)[:8]}
            need(hooked.get(id) == expected, f"hooks of pack {id.hex()}")


def pack_key(id: bytes) -> str:
    return f"packs/{id.hex()[:2]}/{id.hex()}"


def operations(document: dict[str, Any]) -> None:
    """Check the last pairs of seq and operation id: they count up to the object's own seq."""
    last = [seq for seq, _ in document["operations"]]
    seq = document["seq"]
    need(last == list(range(max(1, seq - 63), seq + 1)), f"operations of seq {seq}")


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
