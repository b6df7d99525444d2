"""Reads a whole store that lies in a folder, and believes nothing: written from docs/format.md alone.

Imports nothing of the project on purpose: what this reader understands, the page says. It checks every object and every
byte of content, keeps whole files in memory, and is for small stores in tests. Manifests: `states`. Encrypted stores:
`sealing`; all keys here are plain ones.
"""

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

from blake3 import blake3

from tests.conformance.format.sealing import Vault, unlock
from tests.conformance.format.states import FILE, Entry, Place, State, decoded, need


class Dataset(NamedTuple):
    head: dict[str, Any]
    tags: dict[str, dict[str, Any]]
    removed: dict[str, str]
    entries: list[dict[str, Any]]  # oldest first
    states: dict[str, dict[bytes, Entry]]  # manifest id -> path -> entry; the root's path is empty


class Store(NamedTuple):
    root: dict[str, Any]
    datasets: dict[str, Dataset]
    explained: set[str]  # keys of all objects that were read, as they lie
    vault: Vault | None  # of an encrypted store


def read_store(folder: Path, key: bytes | None = None) -> Store:
    """Read and check everything that can be reached, and all packs, index segments and change hints.

    Args:
        folder: where it lies.
        key: the key-encryption key of an encrypted store.
    """
    return Reader(folder, key).store()


class Reader:
    def __init__(self, folder: Path, key: bytes | None = None) -> None:
        self.folder, self.key = folder, key
        self.vault: Vault | None = None
        self.explained: set[str] = set()
        self.footers: dict[bytes, dict[Place, bytes]] = {}  # pack -> place -> digest
        self.trees: dict[tuple[str, str], tuple[str, dict[bytes, Entry]]] = {}  # by id and root

    def store(self) -> Store:
        root = self.document("aetherfs.json")
        need(root["format"] == 1, "format")
        need((root["encryption"] is None) == (self.key is None), "a key, and nothing to open, or none")
        if self.key is not None:
            self.vault = Vault(unlock(root, self.key))
        else:
            need(not root["features"].get("read"), "a feature this reader does not have")
        operations(root)
        for key in self.keys("packs"):
            self.footer(bytes.fromhex(key.rpartition("/")[2]))
        datasets = {}
        for key in self.keys("datasets"):
            prefix, _, name = key.removeprefix("datasets/").partition("/")
            need(prefix == blake3(name.encode()).hexdigest(length=1), f"{key} lies at another prefix")
            datasets[name] = self.dataset(key, name)
            if self.there(f"changes/{prefix}"):
                need(self.whole(f"changes/{prefix}").decode().isalnum(), "a change hint is an operation id")
        if self.keys("index"):
            self.index()
        return Store(root, datasets, self.explained, self.vault)

    # objects

    def keys(self, prefix: str) -> list[str]:
        found = (path for path in self.folder.glob(f"{prefix}/**/*") if path.is_file())
        lying = (path.relative_to(self.folder).as_posix() for path in found)
        return sorted(key if self.vault is None else self.vault.show(key) for key in lying)

    def lies_at(self, key: str) -> str:
        return key if self.vault is None else self.vault.hide(key)

    def there(self, key: str) -> bool:
        return (self.folder / self.lies_at(key)).exists()

    def whole(self, key: str) -> bytes:
        self.explained.add(self.lies_at(key))
        data = (self.folder / self.lies_at(key)).read_bytes()
        return data if self.vault is None or key == "aetherfs.json" else self.vault.open(key, data)

    def name_of(self, chunk: bytes) -> bytes:
        return (blake3(chunk) if self.vault is None else blake3(chunk, key=self.vault.chunks)).digest()

    def document(self, key: str) -> dict[str, Any]:
        data = self.whole(key)
        value = json.loads(data)
        need(isinstance(value, dict), f"{key} is no JSON object")
        if "sum" in value:
            summed = data.rstrip(b" ").replace(value["sum"].encode(), b"0" * 32, 1)
            need(blake3(summed).hexdigest()[:32] == value["sum"], f"sum of {key}")
        return dict(value)

    def framed(self, key: str, magic: bytes) -> tuple[bytes, bytes, bytes]:
        """Return a whole object, its table, and the table's digest."""
        data = self.whole(key)
        need(len(data) >= 192, f"{key} is too short")
        found, version, length, required, _, key_id, _ = struct.unpack_from("<4sHHII16s32s", data, 0)
        need(found == magic and (version, length, required) == (1, 64, 0) and not any(key_id), f"header of {key}")
        trailer = data[-128:]
        head, at, stored, plain, coding, width, zeros, digest, more, end = struct.unpack("<64sQIIBB6s32s4s4s", trailer)
        need(end == magic and at >= 64 and at + stored + 128 == len(data), f"trailer of {key}")
        need(head == data[:64] and not any(zeros + more), f"trailer of {key}")
        need(blake3(data[at : at + stored] + trailer[:88]).digest() == digest, f"table of {key}")
        return data, decoded(coding, data[at : at + stored], plain, width), digest

    # datasets

    def dataset(self, key: str, name: str) -> Dataset:
        head = self.document(key)
        need(head["name"] == name, f"{key} is the head of {head['name']}")
        size = len(self.whole(key))
        need((size % 256 == 85) == head["deleted"] and size <= 262144, f"length of {key}")
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
        if (id, state["root"]) not in self.trees:
            self.trees[id, state["root"]] = self.tree(id, state["root"])
        root, tree = self.trees[id, state["root"]]
        files = [entry for entry in tree.values() if entry.kind == FILE]
        need(root == state["root"], f"root of {id}")
        need((len(files), sum(len(file.data) for file in files)) == (state["files"], state["size"]), f"counts of {id}")
        return tree

    def tree(self, id: str, wanted: str) -> tuple[str, dict[bytes, Entry]]:
        first, second = f"manifests/{id[:2]}/{id}", f"manifests/{id[:2]}/{id}-{wanted[:16]}"
        data, table, root = self.framed(second if self.there(second) else first, b"AFMF")
        state = State(data, table, self.chunk)
        need(state.id.hex() == id, f"manifest {id} says of itself that it is another")
        return root.hex(), state.tree()

    def chunk(self, pack: bytes, place: Place, digest: bytes) -> bytes:
        offset, stored, plain, coding = place
        need(self.footers[pack].get(place) == digest, "a block that its pack does not list")
        found = decoded(coding, self.whole(pack_key(pack))[offset : offset + stored], plain, 0)
        need(self.name_of(found) == digest, "a chunk does not have its name")
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
            need(self.name_of(decoded(coding, data[offset : offset + stored], plain, 0)) == digest, "a block")
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
            expected = {digest[:8] for digest in digests if digest[0] < 8} | {min(digests)[:8]}
            need(hooked.get(id) == expected, f"hooks of pack {id.hex()}")


def pack_key(id: bytes) -> str:
    return f"packs/{id.hex()[:2]}/{id.hex()}"


def operations(document: dict[str, Any]) -> None:
    """Check the last pairs of seq and operation id: they count up to the object's own seq."""
    last = [seq for seq, _ in document["operations"]]
    seq = document["seq"]
    need(last == list(range(max(1, seq - 63), seq + 1)), f"operations of seq {seq}")
