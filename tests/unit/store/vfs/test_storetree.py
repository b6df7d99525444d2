"""What the tree over a store adds to the cases of every tree: restarts, damage, removal, bounds, threads."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.errors import Corrupt, ObjectCorrupt, ObjectMissing, PathMissing, StaleNode
from store.layout import change_key, dataset_key, manifest_key, name_prefix
from store.objects.memory import MemoryStore
from store.vfs.live import FRESH_S
from store.vfs.names import digest64
from store.vfs.tree import Kind, Node, Place, Space
from tests.conformance.tree_cases import SAMPLE, joined, names, walk, whole
from tests.support.staging import StoreStage
from tests.support.trees import resolve


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[StoreStage]:
    with StoreStage(MemoryStore(), tmp_path) as stage:
        yield stage


def moved(stage: StoreStage, dataset: str) -> None:
    """Let the tree notice at once what a test did to the catalogue behind its back."""
    stage.objects.put(change_key(name_prefix(dataset)), b"moved")
    stage.clock.pass_freshness()


def test_in_a_large_folder_a_name_that_is_not_found_does_not_read_them_all(
    stage: StoreStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.vfs.states.TABLED", 300)
    composed, decomposed = ("caf\u00e9".encode(), "cafe\u0301".encode())
    both = {"u\u0308x".encode(): b"", "\u00fcx".encode(): b""}
    files = {b"%d" % number: b"" for number in range(300)}
    stage.publish("maps", "1.0.0", {b"d": {**files, **both, decomposed: b"one"}})
    folder = resolve(stage.tree, "maps/1.0.0/d")
    found = stage.tree.lookup(folder, composed)
    monkeypatch.setattr("store.manifest.view.Manifest.entries", None)
    assert stage.tree.lookup(folder, composed) == found == stage.tree.lookup(folder, decomposed)
    for name in both:
        assert stage.tree.lookup(folder, name)
    for missing in ("\u00e9", "zz\u0301"):
        with pytest.raises(PathMissing):
            stage.tree.lookup(folder, missing.encode())


# Restarts


def test_every_node_is_found_again_by_a_gateway_that_starts_anew(stage: StoreStage) -> None:
    stage.publish("@geo/maps", "1.0.0", SAMPLE)
    stage.publish("maps", "latest", SAMPLE)
    before = walk(stage.tree, stage.tree.root())
    following = stage.tree.following(resolve(stage.tree, "maps/latest"))
    stage.reopen()
    assert [stage.tree.node(node.place) for node in before] == before
    assert stage.tree.node(following.place) == following


def test_a_node_of_a_state_that_no_tag_names_any_more_is_found_after_a_restart(stage: StoreStage) -> None:
    stage.publish("maps", "latest", {b"f": b"one"})
    old = resolve(stage.tree, "maps/latest/f")
    stage.publish("maps", "latest", {b"f": b"two"})
    stage.reopen()
    assert stage.tree.node(old.place) == old
    assert joined(stage.tree, old) == b"one"


def test_a_node_of_a_removed_tag_is_found_after_a_restart(stage: StoreStage) -> None:
    stage.publish("maps", "1.0.0", {b"f": b"one"})
    old = resolve(stage.tree, "maps/1.0.0/f")
    stage.catalogue.untag("maps", "1.0.0")
    stage.clock.pass_freshness()
    stage.reopen()
    assert stage.tree.node(old.place) == old


def test_two_gateways_give_the_same_nodes(stage: StoreStage) -> None:
    stage.publish("maps", "1.0.0", SAMPLE)
    other = stage.opened()
    try:
        assert walk(other, other.node(other.root().place)) == walk(stage.tree, stage.tree.root())
    finally:
        other.close()


# Warm


def test_nothing_of_folders_that_change_is_warm_once_it_is_not_fresh(stage: StoreStage) -> None:
    stage.publish("@geo/maps", "latest", SAMPLE)
    folders = [resolve(stage.tree, path) for path in ("@geo", "@geo/maps")]
    walk(stage.tree, stage.tree.root())
    state = resolve(stage.tree, "@geo/maps/latest")
    stage.clock.pass_freshness()
    for folder in (stage.tree.root(), *folders):
        assert stage.tree.children_warm(folder) is None
        assert stage.tree.parent_warm(folder) is None
    assert stage.tree.parent_warm(state) is None


def test_a_listing_of_tags_is_not_warm_while_one_state_is_not_open(stage: StoreStage) -> None:
    stage.publish("maps", "1.0.0", SAMPLE)
    stage.publish("maps", "2.0.0", {b"other": b"o"})
    stage.reopen()
    dataset = resolve(stage.tree, "maps")
    resolve(stage.tree, "maps/1.0.0")
    assert stage.tree.children_warm(dataset) is None
    resolve(stage.tree, "maps/2.0.0")
    assert stage.tree.children_warm(dataset) == stage.tree.children(dataset)


# Places that lead nowhere


@pytest.mark.parametrize("space", [Space.SCOPE, Space.DATASET, Space.STATE, Space.FOLLOWING])
@pytest.mark.parametrize("dataset", [0, 1, digest64("maps"), digest64("@geo")])
@pytest.mark.parametrize("tag", [0, 1, 77])
def test_no_place_raises_anything_but_stale_node(stage: StoreStage, space: Space, dataset: int, tag: int) -> None:
    stage.publish("@geo/maps", "latest", SAMPLE)
    stage.publish("maps", "1.0.0", SAMPLE)
    for record in (0, 1, 10**6, 2**48 - 1):
        place = Place(space, dataset, tag, bytes(16), record)
        try:
            node = stage.tree.node(place)
        except StaleNode:
            with contextlib.suppress(StaleNode):
                assert stage.tree.node_warm(place) is None
            continue
        assert node.place.dataset == dataset


@pytest.mark.parametrize("record", [23, 24, 2**48 - 1])
def test_a_record_past_the_end_of_a_state_is_stale_warm_and_cold(stage: StoreStage, record: int) -> None:
    stage.publish("maps", "1.0.0", {b"a": b""})
    place = resolve(stage.tree, "maps/1.0.0").place._replace(record=record)
    with pytest.raises(StaleNode):
        stage.tree.node(place)
    with pytest.raises(StaleNode):
        stage.tree.node_warm(place)


def test_a_dataset_that_was_removed_is_stale_and_missing(stage: StoreStage) -> None:
    stage.publish("maps", "latest", {b"f": b"one"})
    stage.publish("other", "latest", {})
    dataset, root = resolve(stage.tree, "maps"), stage.tree.following(resolve(stage.tree, "maps/latest"))
    stage.catalogue.delete("maps")
    stage.clock.pass_freshness()
    for gone in (dataset, root):
        with pytest.raises(StaleNode):
            stage.tree.node(gone.place)
        with pytest.raises(StaleNode):
            stage.tree.children(gone)
        with pytest.raises(StaleNode):
            stage.tree.lookup(gone, b"latest")
    with pytest.raises(PathMissing):
        resolve(stage.tree, "maps")
    assert names(whole(stage.tree, stage.tree.root())) == [b"other"]


# States by digest


@pytest.mark.parametrize("digits", [12, 13, 32, 63, 64])
def test_a_state_is_found_by_any_number_of_digits_from_12(stage: StoreStage, digits: int) -> None:
    id = stage.publish("maps", "1.0.0", {b"f": b"one"})
    by_id = resolve(stage.tree, f"maps/b3-{id.hex()[:digits]}")
    assert (by_id.place.manifest, by_id.place.tag) == (id[:16], 0)
    assert joined(stage.tree, stage.tree.lookup(by_id, b"f")) == b"one"


@pytest.mark.parametrize(
    "name", ["b3-", "b3-0123", "b3-" + "0" * 64, "b3-" + "g" * 12, "b3-" + "0" * 65, "b3-..", "B3-"]
)
def test_digits_that_name_no_state_are_missing(stage: StoreStage, name: str) -> None:
    stage.publish("maps", "1.0.0", {})
    with pytest.raises(PathMissing):
        resolve(stage.tree, f"maps/{name}")


def test_a_state_of_another_dataset_is_not_found_by_its_digest(stage: StoreStage) -> None:
    id = stage.publish("maps", "1.0.0", {b"f": b"one"})
    stage.publish("other", "1.0.0", {b"f": b"two"})
    with pytest.raises(PathMissing):
        resolve(stage.tree, f"other/b3-{id.hex()}")


def test_a_state_that_a_channel_left_is_still_found_by_its_digest(stage: StoreStage) -> None:
    id = stage.publish("maps", "latest", {b"f": b"one"})
    stage.publish("maps", "latest", {b"f": b"two"})
    assert joined(stage.tree, resolve(stage.tree, f"maps/b3-{id.hex()[:12]}/f")) == b"one"


# Names


@pytest.mark.parametrize(
    "name", [b"", b"/", b"a/b", b"\0", b"\xff", b".", b"..", b"@", b"@geo/maps", b"x" * 300, "é".encode()]
)
def test_odd_names_are_missing_in_every_kind_of_folder(stage: StoreStage, name: bytes) -> None:
    stage.publish("@geo/maps", "1.0.0", SAMPLE)
    for path in ("", "@geo", "@geo/maps", "@geo/maps/1.0.0"):
        with pytest.raises(PathMissing):
            stage.tree.lookup(resolve(stage.tree, path), name)


# Listings


@pytest.mark.slow
def test_ten_thousand_entries_come_once_each_whatever_the_page(stage: StoreStage) -> None:
    wanted = [b"%05d" % n for n in range(10_000)]
    stage.publish("maps", "1.0.0", {name: b"" for name in wanted})
    folder = resolve(stage.tree, "maps/1.0.0")
    for page in (997, 4096, 10_000, 20_000):
        assert names(whole(stage.tree, folder, page=page)) == wanted


def test_a_listing_never_has_an_empty_page_before_its_end(stage: StoreStage) -> None:
    stage.publish("aaa", "1.0.0", {})
    for number in range(5):
        stage.publish(f"set{number}", "1.0.0", {})
    root = stage.tree.root()
    shown = names(whole(stage.tree, root))
    stage.clock.now_s += 1.1 * FRESH_S
    stage.tree.node(root.place)  # learns the names again, but of no dataset's tags
    for name in shown[:3]:  # removed between the listing of names and the look at each
        stage.catalogue.delete(name.decode())
    stage.clock.now_s += 0.2 * FRESH_S
    page = stage.tree.children(root, limit=2)
    assert names(page) == shown[3:4]
    assert names(stage.tree.children(root, after=page.entries[-1].cookie, limit=2)) == shown[4:6]


def test_stray_objects_among_the_heads_are_not_shown_and_do_no_harm(stage: StoreStage) -> None:
    stage.publish("maps", "1.0.0", {})
    for stray in ("UPPER", "a b".replace(" ", "+"), "@geo", "x" * 65, "@token/x", "maps~"):
        stage.objects.put(dataset_key(stray), b"{}")
    stage.objects.put("changes/not-hex", b"x")
    stage.objects.put("changes/ab/cd", b"x")
    stage.reopen()
    assert names(whole(stage.tree, stage.tree.root())) == [b"maps"]
    stage.objects.put("changes/not-hex", b"y")
    stage.clock.pass_freshness()
    assert names(whole(stage.tree, stage.tree.root())) == [b"maps"]


# Damage


def test_a_damaged_head_does_not_hide_the_other_datasets(stage: StoreStage) -> None:
    stage.publish("good", "1.0.0", {})
    stage.publish("bad", "1.0.0", {})
    stage.objects.put(dataset_key("bad"), b"{} ")
    moved(stage, "bad")
    stage.objects.put(dataset_key("bad"), b"{}  ")  # an even number of bytes: not removed
    moved(stage, "bad")
    stage.reopen()
    listing = whole(stage.tree, stage.tree.root())
    assert sorted(names(listing)) == [b"bad", b"good"]
    bad = next(entry.node for entry in listing.entries if entry.name == b"bad")
    with pytest.raises(ObjectCorrupt):
        stage.tree.children(bad)


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_a_damaged_state_does_not_hide_the_other_tags(stage: StoreStage, harm: str) -> None:
    stage.publish("maps", "1.0.0", {b"f": b"one"})
    id = stage.publish("maps", "2.0.0", {b"f": b"two"})
    good = resolve(stage.tree, "maps/2.0.0")
    key = manifest_key(id.hex())
    if harm == "missing":
        stage.objects.delete(key)
    else:
        data = bytearray(stage.objects.get(key))
        data[-100] ^= 1
        stage.objects.put(key, data)
    stage.reopen()
    listing = whole(stage.tree, resolve(stage.tree, "maps"))
    assert names(listing) == [b"1.0.0", b"2.0.0"]
    bad = listing.entries[1].node
    assert (bad.kind, bad.place, bad.fileid) == (Kind.FOLDER, good.place, good.fileid)
    with pytest.raises((Corrupt, ObjectMissing)):
        stage.tree.children(bad)


def test_a_block_damaged_in_the_store_is_refused_and_never_served(stage: StoreStage) -> None:
    stage.publish("maps", "1.0.0", {b"f": bytes(range(256)) * 40})
    (pack,) = [info.key for info in stage.objects.list("packs/")]
    data = bytearray(stage.objects.get(pack))
    data[70] ^= 4
    stage.objects.put(pack, data)
    file = resolve(stage.tree, "maps/1.0.0/f")
    for _ in range(2):
        with pytest.raises(Corrupt):
            stage.tree.read(file, 0, 10)
        assert stage.tree.read_warm(file, 0, 10) is None


# Threads


def test_closing_leaves_no_thread_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with StoreStage(MemoryStore(), tmp_path) as stage:
        stage.publish("maps", "1.0.0", SAMPLE)
        for node in walk(stage.tree, stage.tree.root()):
            if node.kind is Kind.FILE:
                joined(stage.tree, node)
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive(), thread.name


def test_a_read_by_many_threads_at_once_asks_the_store_once(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4000
    objects = CountingStore()
    with StoreStage(objects, tmp_path) as stage:
        stage.publish("maps", "1.0.0", {b"f": data})
        file = resolve(stage.tree, "maps/1.0.0/f")
        objects.packs.clear()
        barrier = threading.Barrier(8)
        found: list[bytes] = []

        def reader(node: Node) -> None:
            barrier.wait(60)
            found.append(b"".join(stage.tree.read(node, 0, len(data))))

        threads = [threading.Thread(target=reader, args=(file,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == [data] * 8
        assert len(objects.packs) == len(set(objects.packs)) == 1


class CountingStore(MemoryStore):
    """Notes each read of a pack."""

    def __init__(self) -> None:
        super().__init__()
        self.packs: list[tuple[str, int]] = []

    def get(self, key: str, *, offset: int = 0, size: int | None = None) -> bytes:
        if key.startswith("packs/"):
            self.packs.append((key, offset))
        return super().get(key, offset=offset, size=size)
