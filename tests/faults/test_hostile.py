"""Objects made to harm, whose digests are all right, under every command that reads and under a gateway.

What they may lead to is an error or a harmless answer, in bounded memory, with nothing written outside of a pull's own
folder. Which lies there are, and that each is noticed: tests/unit/store/manifest/test_manifest_hostile.py.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import zstandard

from nfs.wire import nfs3
from nfs.wire.nfs3types import diropargs3, nfsstat3
from store.catalogue.head import Content as StateContent
from store.codec import Coding
from store.digest import PackId, chunk_digest
from store.frame import PACK_MAGIC, header, table_and_trailer
from store.kinds import Kind
from store.layout import manifest_key, pack_key
from store.manifest.build import Built
from store.objects.local import FolderStore
from store.pack import ROW, Block, PackBuilder
from store.repository import Repository
from store.root import create_store
from tests.faults.test_huge_objects import PROGRAM
from tests.interop.serve.gateways import DEADLINE_S, Gateway, Place
from tests.support.http_client import ask
from tests.support.manifests import MTIME_NS, PACK, Content, Item, build, forged, item_of, opened, sections_of
from tests.support.nfs_client import NfsClient
from tests.support.trees import Link
from tests.unit.store.manifest.test_manifest_hostile import HARM

pytestmark = [pytest.mark.interop, pytest.mark.slow]

MOST: Final = 300 << 20  # bytes of memory for a process; each takes less than 100 MB on sound data
TEXT: Final = b"alpha" * 30
BOMB: Final = 1 << 30  # bytes that a few thousand unfold to
CLAIMED: Final = 8 << 20  # bytes that the bomb says it has: the most that a block may
# The tree that all lies are told about: one block lies under all of its files.
SOUND: Final = build(item_of({b"a": TEXT, b"b": {b"x": b"", b"y": TEXT}, b"c": {b"z": TEXT}, b"l": Link(b"a")}))
PATHS: Final = ("", "a", "b", "b/x", "b/y", "c", "c/z", "l", "..", "b/..", "b/.", "b/y/..")


def lying(harm: str) -> Built:
    """Return the tree with one lie in it."""
    sections = {kind: bytearray(data) for kind, data in sections_of(opened(SOUND)).items()}
    HARM[harm](sections)
    return forged({kind: bytes(data) for kind, data in sections.items()}, records=SOUND.records, files=SOUND.files)


def one_file(block: Block) -> Built:
    """Return a state of one file in one block."""
    content = Content(bytes(32), bytes(16), [(0, block)])
    top = Item(b"", Kind.FOLDER, MTIME_NS)
    top.children.append(Item(b"a", Kind.FILE, MTIME_NS, size=block.plain, content=content))
    return build(top)


def bomb(objects: FolderStore) -> Built:
    """Store a block that unfolds to a gigabyte."""
    packer = zstandard.ZstdCompressor().compressobj()  # a stream, which does not say its size
    stored = b"".join(packer.compress(bytes(1 << 20)) for _ in range(BOMB >> 20)) + packer.flush()
    builder = PackBuilder()
    block = builder.add(chunk_digest(b"bomb"), Coding.ZSTD, stored, CLAIMED)
    objects.put(pack_key(block.pack.hex()), bytes(builder.finish()))
    return one_file(block)


def crowded(objects: FolderStore) -> Built:
    """Store a pack whose footer claims four billion blocks."""
    pack, digest = PackId(b"\xcc" * 16), chunk_digest(TEXT)
    rows = (2**32 - 1).to_bytes(8, "little") + ROW.pack(digest, 64, len(TEXT), len(TEXT), Coding.PLAIN, 0, 0)
    body = header(PACK_MAGIC) + TEXT
    objects.put(pack_key(pack.hex()), body + table_and_trailer(rows, at=len(body), magic=PACK_MAGIC)[0])
    return one_file(Block(digest, pack, 64, len(TEXT), len(TEXT), Coding.PLAIN))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A store with a dataset for each lie, `lie-0` and on, and `sound`."""
    work = tmp_path_factory.mktemp("hostile")
    objects = FolderStore(work / "store", create=True)
    create_store(objects)
    builder = PackBuilder()
    builder.id = PACK
    builder.add(chunk_digest(TEXT), Coding.PLAIN, TEXT, len(TEXT))
    objects.put(pack_key(PACK.hex()), bytes(builder.finish()))
    catalogue = Repository.open(objects).catalogue
    states = [SOUND, *map(lying, sorted(HARM)), bomb(objects), crowded(objects)]
    for name, built in zip(["sound", *lies()], states, strict=True):
        key = manifest_key(built.id.hex())
        if any(objects.list(key)):  # the same content at another place
            key = manifest_key(built.id.hex(), built.root.hex())
        objects.put(key, built.data)
        content = StateContent(built.id.hex(), built.root.hex(), built.size, built.files)
        catalogue.set_tags(name, ["1.0.0"], content, op="push")
    return Place(str(work / "store"), work / "home")


def lies() -> list[str]:
    return [f"lie-{number}" for number in range(len(HARM) + 2)]


def test_commands_refuse_what_cannot_be_in_bounded_memory(place: Place, tmp_path: Path) -> None:
    names = ["sound", *lies()]
    commands = [
        words
        for name in names
        for words in (
            ["ls", f"{name}:1.0.0"], ["ls", f"{name}:1.0.0/b"], ["cat", f"{name}:1.0.0/a"], ["stats", name],
            ["diff", "sound:1.0.0", f"{name}:1.0.0"], ["pull", f"{name}:1.0.0", str(tmp_path / "to" / name)],
            ["verify", "--deep", f"{name}:1.0.0"],
        )
    ]  # fmt: skip
    (tmp_path / "to").mkdir()
    program = [sys.executable, "-P", "-c", PROGRAM, json.dumps(commands)]
    ended = subprocess.run(program, capture_output=True, text=True, env=place.environment, timeout=DEADLINE_S * 2)
    assert ended.returncode == 0, ended.stderr
    told, memory = json.loads(ended.stdout)
    assert memory < MOST
    for words, (code, said) in zip(commands, told, strict=True):
        at = f"{words} ended with {code}: {said}"
        allowed = {0} if "lie-" not in " ".join(words) else {0, 3, 6} if words[0] in ("ls", "cat") else {0, 6}
        assert code in allowed, at  # 3: what a name was changed from is not there
        assert "Traceback" not in said, at
        assert "mistake of ours" not in said, at
        assert code == 6 or words[0] != "verify" or words[-1] in ("sound:1.0.0", f"{lies()[-1]}:1.0.0"), at
    assert {path.name for path in tmp_path.iterdir()} == {"to"}
    shown = [path for name in names for path in (tmp_path / "to" / name).rglob("*") if path.is_file()]
    assert shown
    assert all(path.read_bytes() in (TEXT, b"") for path in shown)


@pytest.fixture(scope="module")
def gateway(place: Place) -> Iterator[Gateway]:
    with place.serve() as gateway:
        assert gateway.process.stderr is not None
        threading.Thread(target=gateway.process.stderr.read, daemon=True).start()  # else its log would fill the pipe
        yield gateway


def test_a_gateway_answers_with_errors_in_bounded_memory(gateway: Gateway) -> None:
    for name in lies():
        for path in PATHS:
            for way, method in (("fs", "GET"), ("webdav", "PROPFIND"), ("webdav", "GET")):
                status, body = ask(gateway.http, method, f"/{way}/{name}/1.0.0/{path}", timeout_s=DEADLINE_S)
                assert status in (200, 207, 301, 302, 308, 400, 403, 404, 405, 500), (method, path, status)
                assert status != 200 or len(body) < 100_000, (method, path)
        over_nfs(gateway, name)
    assert ask(gateway.http, "GET", "/fs/sound/1.0.0/b/y", timeout_s=DEADLINE_S) == (200, TEXT)
    assert gateway.process.poll() is None
    for pid in family(gateway.process.pid):
        assert peak(pid) < MOST


def over_nfs(gateway: Gateway, name: str) -> None:
    """Look every path up, list what is found and read it."""
    with NfsClient(gateway.nfs_port) as client:
        for path in PATHS:
            handle = client.handle(f"/{name}")
            for part in f"1.0.0/{path}".strip("/").split("/"):
                found = client.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(handle, part.encode())))
                if found.status is not nfsstat3.NFS3_OK:
                    break
                handle = found.resok.object
            client.call("READDIR", nfs3.READDIR3args(handle, 0, bytes(8), 65_536))
            read = client.call("READ", nfs3.READ3args(handle, 0, 65_536))
            assert read.status is not nfsstat3.NFS3_OK or b"".join(read.resok.data) in (TEXT, b"")


def family(pid: int) -> list[int]:
    """Return a process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in family(int(child)))]


def peak(pid: int) -> int:
    """Return the most memory that a process had, in bytes."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
