"""What `push` and the catalogue write is what docs/format.md says, to a reader that knows only the page."""

import os
import shutil
from pathlib import Path

import pytest

from store.catalogue.catalogue import Catalogue
from store.catalogue.head import Content
from store.catalogue.history import Archive
from store.push.push import push
from store.repository import Repository
from tests.conformance.format import sample
from tests.conformance.format.cutter import cut
from tests.conformance.format.reader import Store, read_store
from tests.conformance.format.states import Entry, Refused
from tests.conformance.format.stores import KEYS, make_store


def _without_extents(tree: dict[bytes, Entry]) -> dict[bytes, Entry]:
    return {path: entry._replace(extents=()) for path, entry in tree.items()}


def _objects(folder: Path) -> set[str]:
    """Return the keys of all objects of a folder store."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {key for key in found if not key.startswith((".tmp/", ".lock/"))}


class Published:
    """A store with three states of one dataset and one of another."""

    def __init__(self, folder: Path, key: bytes | None) -> None:
        self.store, self.key = folder / "store", key
        _, repository = make_store(self.store, key)
        source = folder / "source"
        self.ids: list[str] = []
        self.trees: list[dict[bytes, Entry]] = []
        sample.make(source)
        self._push(repository, source, "@geo/city.data", ["1.0.0", "latest", "qa"])
        with (source / "a/b/c/large").open("r+b") as file:
            file.seek(700_000)
            file.write(b"an edit in the middle")
        (source / "a/script").unlink()
        self._push(repository, source, "@geo/city.data", ["1.1.0", "latest"])
        (source / "names/new").write_bytes(b"new")
        self._push(repository, source, "@geo/city.data", ["2026.11.22-1", "latest"])
        nothing = folder / "nothing"
        nothing.mkdir()
        self._push(repository, nothing, "nothing", ["latest"])

    def read(self, folder: Path | None = None) -> Store:
        return read_store(folder or self.store, self.key)

    def _push(self, repository: Repository, source: Path, dataset: str, tags: list[str]) -> None:
        pushed = push(repository, source, dataset, tags, self.store.parent / "state")
        self.ids.append(pushed.manifest)
        self.trees.append(sample.look(source))


@pytest.fixture(scope="module", params=KEYS)
def key(request: pytest.FixtureRequest) -> bytes | None:
    return KEYS[request.param]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, key: bytes | None) -> Published:
    return Published(tmp_path_factory.mktemp("published"), key)


def test_every_state_reads_back_as_the_folder_that_was_pushed(published: Published) -> None:
    datasets = published.read().datasets
    read = [*datasets["@geo/city.data"].states.items(), *datasets["nothing"].states.items()]
    assert {id: _without_extents(tree) for id, tree in read} == dict(zip(published.ids, published.trees, strict=True))


def test_the_page_explains_every_object_of_a_store(published: Published) -> None:
    assert published.read().explained == _objects(published.store)


def test_tags_and_history_say_what_was_pushed(published: Published) -> None:
    found = published.read().datasets["@geo/city.data"]
    first, second, third, _ = published.ids
    assert {tag: (about["kind"], about["manifest"]) for tag, about in found.tags.items()} == {
        "1.0.0": ("version", first), "1.1.0": ("version", second), "2026.11.22-1": ("version", third),
        "latest": ("channel", third), "qa": ("channel", first),
    }  # fmt: skip
    assert [(entry["op"], entry["tags"], entry["state"]["manifest"]) for entry in found.entries] == [
        ("push", ["1.0.0", "latest", "qa"], first),
        ("push", ["1.1.0", "latest"], second),
        ("push", ["2026.11.22-1", "latest"], third),
    ]


def test_runs_of_zeros_are_holes_and_small_files_are_one_run(published: Published) -> None:
    tree = published.read().datasets["@geo/city.data"].states[published.ids[0]]
    assert any(hole for _, hole in tree[b"a/sparse"].extents)
    assert any(hole for _, hole in tree[b"zeros"].extents)
    assert tree[b"one byte"].extents == ((0, False),)
    assert tree[b"empty file"].extents == ()
    assert len(tree[b"a/b/c/large"].extents) > 1500_000 // 262_144


def test_files_are_cut_by_the_stores_own_seed(published: Published) -> None:
    found = published.read()
    large = found.datasets["@geo/city.data"].states[published.ids[0]][b"a/b/c/large"]
    lengths = cut(large.data, found.vault.seed if found.vault else 0)
    assert [offset for offset, _ in large.extents] == [sum(lengths[:number]) for number in range(len(lengths))]


def test_a_second_version_stores_little_more_than_its_edit(published: Published) -> None:
    datasets = published.read().datasets
    sizes = sum((published.store / key).stat().st_size for key in _objects(published.store) if key.startswith("packs/"))
    once = sum(len(entry.data) for entry in datasets["@geo/city.data"].states[published.ids[0]].values())
    assert sizes < once


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["manifests/", "packs/", "index/"])
def test_no_damaged_byte_of_a_body_or_table_goes_unnoticed(published: Published, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(published.store, folder)
    for key in sorted(key for key in _objects(folder) if key.startswith(kind)):
        good = (folder / key).read_bytes()
        end = len(good) - 64
        for at in {64, 65, (64 + end) // 2, end - 2, end - 1}:
            (folder / key).write_bytes(good[:at] + bytes([good[at] ^ 0x40]) + good[at + 1 :])
            with pytest.raises(Refused):
                published.read(folder)
        (folder / key).write_bytes(good)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["encrypted"], indirect=True)
def test_no_damaged_byte_of_an_encrypted_store_goes_unnoticed(published: Published, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(published.store, folder)
    for key in sorted(_objects(folder)):
        good = (folder / key).read_bytes()
        for at in {0, 8, 40, 63, 64, len(good) // 2, len(good) - 65, len(good) - 1} if len(good) < 5000 else {0, 9}:
            (folder / key).write_bytes(good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1 :])
            with pytest.raises((Refused, ValueError)):
                published.read(folder)
        (folder / key).write_bytes(good)


def test_an_encrypted_store_opens_by_its_key_alone(published: Published) -> None:
    for other in {None, bytes(32), KEYS["encrypted"]} - {published.key}:
        with pytest.raises(Refused):
            read_store(published.store, other)


@pytest.mark.parametrize("key", ["encrypted"], indirect=True)
def test_nothing_of_an_encrypted_store_is_read_after_it_was_moved(published: Published, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(published.store, folder)
    heads = sorted(key for key in _objects(folder) if key.startswith("datasets/"))
    (folder / heads[0]).write_bytes((folder / heads[1]).read_bytes())
    with pytest.raises(Refused, match="does not open"):
        published.read(folder)


def test_heads_that_outgrow_themselves_read_back_whole(tmp_path: Path, key: bytes | None) -> None:
    objects, repository = make_store(tmp_path / "store", key)
    contents = []
    for number in range(3):
        (tmp_path / "source").mkdir(exist_ok=True)
        (tmp_path / "source" / "file").write_bytes(b"%d" % number)
        pushed = push(repository, tmp_path / "source", "d", [f"0.0.{number}"], tmp_path / "state")
        state = repository.catalogue.resolve(f"d:0.0.{number}").content
        assert state.manifest == pushed.manifest
        contents.append(state)
    catalogue = Catalogue(objects, repository.root, archive=Archive(objects, spill_from=3000, keep=700))
    _many_commits(catalogue, contents)
    found = read_store(tmp_path / "store", key).datasets["d"]
    assert max(reference["level"] for reference in found.head["older"]) >= 1
    assert found.head["tagged"]
    assert {tag: about["manifest"] for tag, about in found.tags.items()} == {
        tag.tag: tag.content.manifest for tag in catalogue.tags("d")
    }
    assert [(entry["n"], entry["id"]) for entry in found.entries] == [
        (entry.n, entry.operation) for entry in reversed([*catalogue.log("d")])
    ]
    assert {tag: id for tag, id in found.removed.items() if id} == {"0.0.1": contents[1].manifest}
    rollback = found.entries[-1]
    assert (rollback["op"], rollback["state"]) == ("rollback", found.entries[rollback["from"] - 1]["state"])


def _many_commits(catalogue: Catalogue, contents: list[Content]) -> None:
    for number in range(120):
        catalogue.set_tags("d", ["stable", f"9.0.{number}"], contents[number % 3], op="tag", message="m" * 300)
    catalogue.untag("d", "0.0.1")
    catalogue.untag("d", "9.0.5", message="comes back")
    catalogue.set_tags("d", ["9.0.5"], contents[5 % 3])
    catalogue.rollback("d", "stable")


def test_a_removed_dataset_keeps_its_versions_and_a_length_of_its_own(tmp_path: Path, key: bytes | None) -> None:
    _, repository = make_store(tmp_path / "store", key)
    (tmp_path / "source").mkdir()
    pushed = push(repository, tmp_path / "source", "d", ["1.0.0", "latest"], tmp_path / "state")
    repository.catalogue.delete("d", by="me")
    found = read_store(tmp_path / "store", key).datasets["d"]
    assert found.head["deleted"] is True
    assert found.tags == {}
    assert found.removed == {"1.0.0": pushed.manifest, "latest": ""}
    assert (found.entries[-1]["op"], found.entries[-1]["state"], found.entries[-1]["by"]) == ("delete", None, "me")


def test_a_manifest_has_one_id_in_every_store(published: Published, tmp_path: Path) -> None:
    _, other = make_store(tmp_path / "other", KEYS["plain"])
    source = tmp_path / "source"
    shutil.copytree(published.store.parent / "source", source, symlinks=True)
    os.utime(source, ns=(published.trees[2][b""].mtime_ns,) * 2)
    pushed = push(other, source, "copy", ["latest"], tmp_path / "state")
    state = read_store(tmp_path / "other").datasets["copy"].tags["latest"]
    there = published.read().datasets["@geo/city.data"].tags["latest"]
    assert pushed.manifest == published.ids[2]
    assert state["manifest"] == there["manifest"]
    assert state["root"] != there["root"]
