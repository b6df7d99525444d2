"""A store that another program wrote from docs/format.md alone is a store to this one."""

import os
from pathlib import Path

import pytest

from store.blocks import BlockReader
from store.errors import ObjectCorrupt
from store.kinds import Kind
from store.push.push import push
from store.repository import Repository
from tests.conformance.format import sample
from tests.conformance.format.reader import read_store
from tests.conformance.format.states import FOLDER, Entry, Refused
from tests.conformance.format.stores import KEYS, opened
from tests.conformance.format.writer import State, write_store

TAGS = {"1.0.0": "version", "latest": "channel"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for below in ("", "names", "names/empty", "z"):
        (folder / below).mkdir()
    for number, name in enumerate(sample.NAMES):
        (folder / "names" / os.fsdecode(name)).write_bytes(b"%d" % (number % 7))
    (folder / "nothing").write_bytes(b"")
    (folder / "z" / "run.sh").write_bytes(b"#!/bin/sh\n")
    (folder / "z" / "run.sh").chmod(0o755)
    (folder / "z" / "link").symlink_to("run.sh")
    os.utime(folder / "nothing", ns=(-5, -5))
    return folder


@pytest.fixture(params=KEYS)
def key(request: pytest.FixtureRequest) -> bytes | None:
    return KEYS[request.param]


@pytest.fixture
def written(tmp_path: Path, source: Path, key: bytes | None) -> State:
    return write_store(tmp_path / "store", "@by/hand", TAGS, sample.look(source), key)


@pytest.fixture
def repository(tmp_path: Path, written: State, key: bytes | None) -> Repository:
    return opened(tmp_path / "store", key).repository


def test_what_was_written_by_the_page_is_checked_and_read(source: Path, repository: Repository) -> None:
    content = repository.catalogue.resolve("@by/hand:1.0.0").content
    manifest = repository.manifest(bytes.fromhex(content.manifest), bytes.fromhex(content.root))
    manifest.check()
    blocks = BlockReader(repository.objects, 1 << 20, id_key=repository.root.id_key)
    found = {b"": Entry(Kind.FOLDER, manifest.record(0).mtime_ns, False, b"", ())}
    for _, path, record in manifest.walk():
        data = b""
        if record.kind == Kind.FILE:
            data = b"".join(blocks.load([block for _, block in manifest.extents(record) if block]))
        elif record.kind == Kind.LINK:
            data = manifest.link(record)
        found[path] = Entry(record.kind, record.mtime_ns, record.executable, data, ())
    blocks.close()
    assert found == sample.look(source)


def test_pushing_the_same_folder_finds_the_same_id_and_changes_nothing(
    tmp_path: Path, source: Path, written: State, repository: Repository
) -> None:
    pushed = push(repository, source, "@by/hand", [*TAGS], tmp_path / "state")
    assert (pushed.manifest, pushed.changed, pushed.bytes_new) == (written.manifest, False, 0)


def test_a_commit_on_top_goes_on_from_what_was_written(
    tmp_path: Path, source: Path, written: State, repository: Repository
) -> None:
    (source / "nothing").unlink()
    pushed = push(repository, source, "@by/hand", ["1.0.1", "latest"], tmp_path / "state")
    head = repository.catalogue.head("@by/hand")
    assert [(entry.n, entry.content.manifest if entry.content else "") for entry in head.history] == [
        (1, written.manifest),
        (2, pushed.manifest),
    ]
    assert {tag.tag: tag.n for tag in repository.catalogue.tags("@by/hand")} == {"1.0.0": 1, "latest": 2, "1.0.1": 3}
    assert head.seq == 2
    assert pushed.bytes_new == 0


def test_the_reader_and_the_writer_of_the_page_agree(
    tmp_path: Path, source: Path, written: State, key: bytes | None
) -> None:
    [found] = read_store(tmp_path / "store", key).datasets.values()
    assert {path: entry._replace(extents=()) for path, entry in found.states[written.manifest].items()} == sample.look(
        source
    )


@pytest.mark.parametrize("name", [b"..", b".", b"a\0b"], ids=["above", "itself", "NUL"])
def test_a_name_that_the_page_forbids_is_refused_by_both_though_every_digest_is_right(
    tmp_path: Path, source: Path, name: bytes, key: bytes | None
) -> None:
    tree = {**sample.look(source), b"z/" + name: Entry(FOLDER, 0, False, b"", ())}
    written = write_store(tmp_path / "store", "bad", TAGS, tree, key)
    with pytest.raises(Refused, match=r"^name "):
        read_store(tmp_path / "store", key)
    repository = opened(tmp_path / "store", key).repository
    with pytest.raises(ObjectCorrupt):
        repository.manifest(bytes.fromhex(written.manifest), bytes.fromhex(written.root)).check()
