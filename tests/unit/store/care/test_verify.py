"""A check finds every fault, goes on behind it, and names the tags and files that it touches."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.care.findings import FILES, Finding
from store.care.verify import Verified, verify
from store.catalogue.catalogue import Catalogue
from store.catalogue.head import Content, decode_head, encode_head
from store.errors import FeatureMissing, StoreMissing, StoreUnavailable
from store.frame import PACK_MAGIC, header
from store.kinds import Kind
from store.layout import DATASETS, MANIFESTS, PACKS, ROOT_KEY, dataset_key, manifest_key, pack_key
from store.objects.base import ObjectInfo
from store.objects.memory import MemoryStore
from store.objects.wrapper import Wrapper
from store.push.push import push
from store.repository import Repository
from store.root import create_store, open_store
from tests.support.folders import Failing
from tests.support.manifests import Item, build, content_of, item_of, pack_of, stored_pack
from tests.support.trees import Contents, lay_out
from tests.unit.store.care.test_verify_history import without_sum


class Filled(NamedTuple):
    """A store with `one:1`, `one:latest` (the same state), `one:2.0.0` and `two:latest`, and all its objects."""

    store: MemoryStore
    objects: dict[str, bytes]


def noise(seed: int, size: int) -> bytes:
    import random

    return random.Random(seed).randbytes(size)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    work = tmp_path_factory.mktemp("verify")
    store = MemoryStore()
    create_store(store)
    repository = Repository.open(store)

    def publish(dataset: str, tags: list[str], contents: Contents) -> None:
        folder = work / f"{dataset}-{tags[0]}"
        folder.mkdir()
        lay_out(contents, folder)
        push(repository, folder, dataset, tags, work / "state")

    first: Contents = {b"big": noise(1, 300_000), b"sub": {b"small": b"small", b"zeros": bytes(1 << 20)}}
    publish("one", ["1.0.0", "latest"], first)
    publish("one", ["2.0.0"], {**first, b"more": noise(2, 50_000)})
    publish("two", ["latest"], {b"other": noise(3, 1000), b"text": b"text " * 5000})
    return Filled(store, {info.key: store.get(info.key) for info in store.list("")})


@pytest.fixture(scope="module")
def damaged(filled: Filled) -> Callable[..., MemoryStore]:
    """Return the store with some objects replaced, or (`None`) removed."""

    def made(changes: dict[str, bytes | None]) -> MemoryStore:
        store = MemoryStore()
        for key, data in {**filled.objects, **changes}.items():
            if data is not None:
                store.put(key, data)
        return store

    return made


def keys(filled: Filled, prefix: str) -> list[str]:
    return sorted(key for key in filled.objects if key.startswith(prefix))


def packs_of(filled: Filled, dataset: str, tag: str) -> list[str]:
    repository = Repository.open(filled.store)
    content = repository.catalogue.resolve(f"{dataset}:{tag}").content
    manifest = repository.manifest(bytes.fromhex(content.manifest), bytes.fromhex(content.root))
    return sorted({pack_key(block.pack.hex()) for block in manifest.all_blocks()})


def manifest_of(filled: Filled, name: str) -> str:
    state = Repository.open(filled.store).catalogue.resolve(name).manifest
    return f"manifests/{state[:2]}/{state}"


def findings(done: Verified) -> dict[str, Finding]:
    return {finding.key: finding for finding in done.findings.all()}


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_store_has_no_findings(filled: Filled, deep: bool) -> None:
    done = verify(filled.store, deep=deep)
    assert findings(done) == {}
    assert (done.datasets, done.states, done.packs, done.segments) == (2, 3, 3, 3)
    assert done.files == (6 if deep else 0)  # what two states share is read once
    assert (done.bytes_read > 0) == deep
    assert done.requests > done.packs
    assert done.bytes_fetched > (sum(len(filled.objects[key]) for key in keys(filled, PACKS)) if deep else 0)


def test_without_deep_a_pack_costs_one_request_and_blocks_are_not_read(filled: Filled) -> None:
    repository = Repository.open(filled.store)
    before = repository.objects.snapshot()
    verify(repository.objects)
    spent = repository.objects.snapshot().since(before)
    manifests_and_segments = 3 * 4 + 3
    assert spent.methods["tail"].calls <= len(keys(filled, PACKS)) + manifests_and_segments
    assert spent.bytes_in < sum(len(filled.objects[key]) for key in keys(filled, PACKS)) + 400_000


@pytest.mark.parametrize("deep", [False, True])
def test_a_missing_pack_names_the_tags_and_files_that_need_it(
    filled: Filled, damaged: Callable[..., MemoryStore], deep: bool
) -> None:
    (pack,) = packs_of(filled, "one", "1.0.0")
    found = findings(verify(damaged({pack: None}), deep=deep))
    assert list(found) == [pack]
    assert found[pack].missing
    assert sorted(found[pack].names) == ["one:1.0.0", "one:2.0.0", "one:latest"]
    assert {path for _, path in found[pack].files} == {b"big", b"sub/small"}
    assert "untag" in found[pack].advice


@pytest.mark.parametrize("deep", [False, True])
def test_a_pack_cut_short_is_found(filled: Filled, damaged: Callable[..., MemoryStore], deep: bool) -> None:
    (pack,) = packs_of(filled, "two", "latest")
    for size in (0, 10, 64, len(filled.objects[pack]) - 1):
        found = findings(verify(damaged({pack: filled.objects[pack][:size]}), deep=deep))
        assert list(found) == [pack]
        assert found[pack].names == ["two:latest"]


def test_a_damaged_block_is_found_by_deep_alone_and_names_its_files_alone(
    filled: Filled, damaged: Callable[..., MemoryStore]
) -> None:
    (pack,) = packs_of(filled, "two", "latest")
    store = damaged({pack: flipped(filled.objects[pack], 8 * 64 + 3)})
    assert findings(verify(store)) == {}
    found = findings(verify(store, deep=True))
    assert list(found) == [pack]
    assert (found[pack].names, found[pack].files) == (["two:latest"], [("two:latest", b"other")])


@pytest.mark.parametrize("deep", [False, True])
def test_a_missing_manifest_names_its_tags(filled: Filled, damaged: Callable[..., MemoryStore], deep: bool) -> None:
    key = manifest_of(filled, "one:1.0.0")
    found = findings(verify(damaged({key: None}), deep=deep))
    assert list(found) == [key]
    assert (found[key].missing, sorted(found[key].names)) == (True, ["one:1.0.0", "one:latest"])


def test_every_fault_is_found_not_the_first_alone(filled: Filled, damaged: Callable[..., MemoryStore]) -> None:
    (pack,) = packs_of(filled, "one", "1.0.0")
    manifest, index, head = manifest_of(filled, "one:2.0.0"), keys(filled, "index/")[0], dataset_key("two")
    changes = {pack: None, manifest: b"", index: filled.objects[index][:-1], head: b"{}"}
    found = findings(verify(damaged(changes), deep=True))
    assert set(found) == set(changes)
    assert sorted(found[pack].names) == ["one:1.0.0", "one:latest"]  # what 2.0.0 needs cannot be told any more
    assert found[head].names == ["two"]
    assert "delete it" in found[index].advice


def test_a_missing_record_is_found_where_there_are_datasets(
    filled: Filled, damaged: Callable[..., MemoryStore]
) -> None:
    assert findings(verify(damaged({ROOT_KEY: None})))[ROOT_KEY].missing
    assert not findings(verify(damaged({ROOT_KEY: b"\0"})))[ROOT_KEY].missing
    with pytest.raises(StoreMissing):
        verify(MemoryStore())


def test_a_state_that_is_checked_alone_tells_of_its_own_faults(
    filled: Filled, damaged: Callable[..., MemoryStore]
) -> None:
    (other,) = packs_of(filled, "two", "latest")
    store = damaged({other: None})
    catalogue = Catalogue(store, open_store(store))
    assert findings(verify(store, state=catalogue.resolve("one:1.0.0"), deep=True)) == {}
    (found,) = findings(verify(store, state=catalogue.resolve("two"))).values()
    assert found.names == ["two:latest"]


def test_a_head_that_says_another_size_or_table_of_a_state_is_the_one_at_fault(
    filled: Filled, damaged: Callable[..., MemoryStore]
) -> None:
    key = dataset_key("two")
    head = decode_head("two", filled.objects[key])
    content = head.history[0].content
    assert content is not None
    size = f'"size":{content.size}'
    for word, other in ((content.root, content.root[::-1]), (size, f'"size":{content.size + 1}')):
        data = without_sum(encode_head(head).replace(word.encode(), other.encode()))
        found = findings(verify(damaged({key: data})))
        assert list(found) == [key]
        assert "two:latest" in found[key].names


def test_a_pack_whose_footer_is_another_ones_is_found(filled: Filled, damaged: Callable[..., MemoryStore]) -> None:
    (pack,) = packs_of(filled, "two", "latest")
    data, _ = pack_of([b"something else"])
    found = findings(verify(damaged({pack: data})))
    assert found[pack].names == ["two:latest"]
    assert {path for _, path in found[pack].files} == {b"other", b"text"}


def test_a_store_that_cannot_be_reached_is_no_finding(filled: Filled) -> None:
    failing = Failing(filled.store, method="get")
    failing.calls_left = 2
    with pytest.raises(StoreUnavailable):
        verify(failing)


def test_files_of_one_fault_are_listed_up_to_a_bound_and_counted_beyond(tmp_path: Path) -> None:
    store = MemoryStore()
    create_store(store)
    (tmp_path / "d").mkdir()
    lay_out({f"f{n}".encode(): f"{n}".encode() for n in range(FILES + 7)}, tmp_path / "d")
    push(Repository.open(store), tmp_path / "d", "d", ["latest"], tmp_path / "state")
    (pack,) = (info.key for info in store.list(PACKS))
    store.delete(pack)
    (found,) = verify(store).findings.all()
    assert (len(found.files), found.more_files) == (FILES, 7)


BINARY = (PACKS, MANIFESTS, "index/")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_bit_in_a_binary_object_is_found_with_the_tags_it_touches(
    filled: Filled, damaged: Callable[..., MemoryStore], data: st.DataObject
) -> None:
    prefix = data.draw(st.sampled_from(BINARY))
    key = data.draw(st.sampled_from(keys(filled, prefix)))
    whole = filled.objects[key]
    spots = st.one_of(st.integers(0, 8 * len(whole) - 1), st.integers(0, 511), st.integers(1, 2048).map(lambda n: -n))
    bit = data.draw(spots) % (8 * len(whole))
    found = findings(verify(damaged({key: flipped(whole, bit)}), deep=True))
    assert list(found) == [key]
    touched = [
        name
        for name in ("one:1.0.0", "one:latest", "one:2.0.0", "two:latest")
        if key in (manifest_of(filled, name), *packs_of(filled, *name.split(":")))
    ]
    assert sorted(found[key].names) == sorted(touched)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_bit_in_a_head_or_the_record_is_found_or_changes_no_state(
    filled: Filled, damaged: Callable[..., MemoryStore], data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from([*keys(filled, DATASETS), ROOT_KEY]))
    bit = data.draw(st.integers(0, 8 * len(filled.objects[key]) - 1))
    store = damaged({key: flipped(filled.objects[key], bit)})
    try:
        done = verify(store, deep=True)
    except FeatureMissing:
        assert key == ROOT_KEY  # a later format: nothing in it may be believed
        return
    if done.findings:
        return
    for name in ("one", "two"):
        seen = {tag.content for tag in Repository.open(store).catalogue.tags(name)}
        assert seen == {tag.content for tag in Repository.open(filled.store).catalogue.tags(name)}


def test_optional_flags_in_a_header_are_damage_to_a_deep_check(
    filled: Filled, damaged: Callable[..., MemoryStore]
) -> None:
    (pack,) = packs_of(filled, "two", "latest")
    data = bytearray(filled.objects[pack])
    assert data[:64] == header(PACK_MAGIC)
    data[12] = 1
    assert list(findings(verify(damaged({pack: bytes(data)}), deep=True))) == [pack]


@pytest.mark.parametrize("digest", ["sha256", "md5"])
def test_a_file_whose_digest_was_never_right_is_found_by_deep(digest: str) -> None:
    store = MemoryStore()
    create_store(store)
    (block,) = stored_pack(store, [b"content"])
    content = content_of(b"content")
    content.extents = [(0, block)]
    setattr(content, digest, bytes(len(getattr(content, digest))))
    top = item_of({})
    top.children.append(Item(b"file", Kind.FILE, 1, size=7, content=content))
    built = build(top)
    key = manifest_key(built.id.hex())
    store.put(key, built.data)
    state = Content(built.id.hex(), built.root.hex(), 7, 1)
    Repository.open(store).catalogue.set_tags("forged", ["latest"], state)
    assert findings(verify(store)) == {}
    (found,) = verify(store, deep=True).findings.all()
    assert (found.key, found.names, found.files) == (key, ["forged:latest"], [("forged:latest", b"file")])


@pytest.mark.parametrize("prefix", [ROOT_KEY, DATASETS, MANIFESTS, PACKS, "index/"])
def test_every_kind_of_object_cut_short_anywhere_is_found(
    filled: Filled, damaged: Callable[..., MemoryStore], prefix: str
) -> None:
    for key in keys(filled, prefix):
        size = len(filled.objects[key].rstrip(b" "))  # a head may lose the spaces at its end
        for left in {0, 1, size // 2, size - 2}:
            found = findings(verify(damaged({key: filled.objects[key][:left]})))
            assert list(found) == [key]
            assert (found[key].missing, bool(found[key].reasons)) == (False, True)


def test_what_nothing_names_is_counted_and_is_no_fault(filled: Filled, damaged: Callable[..., MemoryStore]) -> None:
    data, blocks = pack_of([b"left by a push that was cut short"])
    orphan = pack_key(blocks[0].pack.hex())
    done = verify(damaged({orphan: data, dataset_key("two"): None}))
    assert findings(done) == {}
    assert (done.unnamed_manifests, done.unnamed_packs, done.datasets) == (1, 2, 1)
    found = findings(verify(damaged({orphan: data[:-1]})))
    assert "nothing that was checked needs it" in found[orphan].advice


def test_a_pack_that_nothing_needs_may_go_while_a_check_runs(
    filled: Filled, damaged: Callable[..., MemoryStore]
) -> None:
    class Listing(Wrapper):
        def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
            yield from self._inner.list(prefix, after=after)
            if prefix == PACKS:
                yield ObjectInfo(pack_key("00" * 16), 1, "", 0)

    assert findings(verify(Listing(damaged({})), deep=True)) == {}
