"""What every `FileTree` must do, written once. A suite derives from `TreeCases` and gives a `stage` fixture.

The stage is one tree with a way to publish into it; it starts empty. The cases know nothing of how the tree is made.
"""

from typing import Protocol

import pytest

from store.errors import IsAFolder, NotAFolder, NotALink, PathMissing, StaleNode
from store.vfs.tree import FileTree, Kind, Listing, Node, Place, Space
from tests.support.trees import Contents, File, Link, resolve

HARD_NAMES = [
    b"plain",
    b"with space",
    b"quote'\"",
    b"#%?&;=+",
    "\N{SNOWMAN}\N{GRINNING FACE}".encode(),
    "\u00e9t\u00e9".encode(),
    b"\xff\xfe not utf-8",
    b"line\nbreak",
    b"n" * 255,
    b"..almost",
    b"-rf",
]
BIG = bytes(range(256)) * 1000
SAMPLE: Contents = {
    b"a.txt": b"hello\n",
    b"big.bin": BIG,
    b"empty": b"",
    b"run.sh": File(b"#!/bin/sh\n", executable=True, mtime_ns=1_234_567_890_123_456_789),
    b"old": File(b"o", mtime_ns=-1_500_000_000),
    b"link": Link(b"a.txt"),
    b"sub": {b"deep": {b"leaf": b"leaf"}, b"empty": {}},
    b"names": {name: name for name in HARD_NAMES},
}


class Stage(Protocol):
    """A tree under test and the means to change what it shows."""

    @property
    def tree(self) -> FileTree: ...

    def publish(self, dataset: str, tag: str, contents: Contents) -> bytes:
        """Publish a state under a tag, new or (a channel) moved; return its whole id. The tree shows it at once."""
        ...


def walk(tree: FileTree, folder: Node) -> list[Node]:
    """Return every node below a folder, the folder first."""
    found = [folder]
    for node in found:
        if node.kind is Kind.FOLDER:
            found.extend(entry.node for entry in whole(tree, node).entries)
    return found


def whole(tree: FileTree, folder: Node, *, page: int = 1024) -> Listing:
    """List a folder page by page, as a client does."""
    listing = tree.children(folder, limit=page)
    entries = list(listing.entries)
    while not listing.eof:
        listing = tree.children(folder, after=entries[-1].cookie, limit=page, verifier=listing.verifier)
        entries.extend(listing.entries)
    return Listing(entries, True, listing.verifier)


def names(listing: Listing) -> list[bytes]:
    return [entry.name for entry in listing.entries]


class TreeCases:
    """Derive, and give a fixture `stage`."""

    # Shape

    def test_an_empty_store_has_an_empty_changing_root(self, stage: Stage) -> None:
        root = stage.tree.root()
        assert (root.kind, root.place.space, root.changing) == (Kind.FOLDER, Space.ROOT, True)
        assert whole(stage.tree, root).entries == []
        assert stage.tree.fsid != 0

    def test_root_lists_datasets_and_scopes(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        stage.publish("@geo/cities", "1.0.0", SAMPLE)
        stage.publish("@geo/roads", "1.0.0", SAMPLE)
        assert sorted(names(whole(stage.tree, stage.tree.root()))) == [b"@geo", b"maps"]
        assert sorted(names(whole(stage.tree, resolve(stage.tree, "@geo")))) == [b"cities", b"roads"]
        assert resolve(stage.tree, "@geo").place.space is Space.SCOPE
        assert resolve(stage.tree, "@geo/roads").place.space is Space.DATASET

    def test_a_dataset_lists_its_tags_in_order_of_creation(self, stage: Stage) -> None:
        for tag in ("2.0.0", "1.0.0", "latest"):
            stage.publish("maps", tag, {b"tag": tag.encode()})
        listing = whole(stage.tree, resolve(stage.tree, "maps"))
        assert names(listing) == [b"2.0.0", b"1.0.0", b"latest"]
        assert [e.cookie for e in listing.entries] == sorted({e.cookie for e in listing.entries})

    def test_a_state_is_found_by_its_id_though_not_listed(self, stage: Stage) -> None:
        manifest = stage.publish("maps", "1.0.0", SAMPLE)
        by_id = resolve(stage.tree, f"maps/b3-{manifest.hex()[:12]}")
        by_tag = resolve(stage.tree, "maps/1.0.0")
        assert by_id.place.manifest == by_tag.place.manifest == manifest[:16]
        assert names(whole(stage.tree, resolve(stage.tree, "maps"))) == [b"1.0.0"]

    def test_listing_a_state_gives_each_name_once_sorted_by_bytes(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        folder = resolve(stage.tree, "maps/1.0.0/names")
        assert names(whole(stage.tree, folder)) == sorted(HARD_NAMES)

    @pytest.mark.parametrize("page", [1, 2, 3, 7, 1000])
    def test_pages_of_any_size_join_to_the_whole_listing(self, stage: Stage, page: int) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        for path in ("", "maps", "maps/1.0.0", "maps/1.0.0/names", "maps/1.0.0/sub/empty"):
            folder = resolve(stage.tree, path)
            assert whole(stage.tree, folder, page=page).entries == whole(stage.tree, folder).entries
            assert stage.tree.children(folder, limit=page, passing=True) == stage.tree.children(folder, limit=page)

    def test_after_the_last_entry_a_page_is_empty_and_at_the_end(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        folder = resolve(stage.tree, "maps/1.0.0")
        last = whole(stage.tree, folder).entries[-1].cookie
        listing = stage.tree.children(folder, after=last)
        assert (list(listing.entries), listing.eof) == ([], True)

    def test_cookies_and_positions_agree_in_a_state(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        listing = whole(stage.tree, resolve(stage.tree, "maps/1.0.0"))
        assert [e.cookie for e in listing.entries] == list(range(1, len(SAMPLE) + 1))

    # Nodes

    def test_attributes_are_those_published(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        script = resolve(stage.tree, "maps/1.0.0/run.sh")
        assert script.kind is Kind.FILE
        assert (script.size, script.executable, script.mtime_ns) == (10, True, 1_234_567_890_123_456_789)
        assert resolve(stage.tree, "maps/1.0.0/old").mtime_ns == -1_500_000_000
        link = resolve(stage.tree, "maps/1.0.0/link")
        assert (link.kind, link.size, stage.tree.readlink(link)) == (Kind.LINK, 5, b"a.txt")
        assert not resolve(stage.tree, "maps/1.0.0").changing

    def test_listed_nodes_equal_looked_up_nodes_and_refound_nodes(self, stage: Stage) -> None:
        stage.publish("@geo/maps", "1.0.0", SAMPLE)
        tree = stage.tree
        for folder in [n for n in walk(tree, tree.root()) if n.kind is Kind.FOLDER]:
            for entry in whole(tree, folder).entries:
                assert tree.lookup(folder, entry.name) == entry.node
                assert tree.node(entry.node.place) == entry.node

    def test_fileids_of_two_tags_and_two_states_never_meet(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        stage.publish("maps", "1.0.1", SAMPLE)
        stage.publish("maps", "2.0.0", {**SAMPLE, b"new": b"n"})
        nodes = walk(stage.tree, stage.tree.root())
        assert len({n.fileid for n in nodes}) == len(nodes)
        assert all(0 < n.fileid < 2**64 for n in nodes)

    def test_places_fit_their_widths(self, stage: Stage) -> None:
        stage.publish("@geo/maps", "1.0.0", SAMPLE)
        for node in walk(stage.tree, stage.tree.root()):
            place = node.place
            assert 0 <= place.dataset < 2**64
            assert 0 <= place.tag < 2**32
            assert 0 <= place.record < 2**48
            assert len(place.manifest) == 16

    def test_parents_lead_to_the_root(self, stage: Stage) -> None:
        stage.publish("@geo/maps", "1.0.0", SAMPLE)
        tree = stage.tree
        for folder in [n for n in walk(tree, tree.root()) if n.kind is Kind.FOLDER]:
            for entry in whole(tree, folder).entries:
                assert tree.parent(entry.node).place == folder.place
        assert tree.parent(tree.root()).place == tree.root().place

    # Refusals

    @pytest.mark.parametrize("path", ["nothing", "maps/nothing", "maps/1.0.0/nothing", "maps/1.0.0/sub/nothing"])
    def test_absent_names_are_missing(self, stage: Stage, path: str) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        folder, _, name = path.rpartition("/")
        with pytest.raises(PathMissing):
            stage.tree.lookup(resolve(stage.tree, folder), name.encode())
        with pytest.raises(PathMissing):
            resolve(stage.tree, path)

    def test_files_are_no_folders_and_folders_no_files_nor_links(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        file, folder = resolve(stage.tree, "maps/1.0.0/a.txt"), resolve(stage.tree, "maps/1.0.0/sub")
        with pytest.raises(NotAFolder):
            stage.tree.lookup(file, b"x")
        with pytest.raises(NotAFolder):
            stage.tree.children(file)
        with pytest.raises(IsAFolder):
            stage.tree.read(folder, 0, 1)
        with pytest.raises(NotALink):
            stage.tree.readlink(file)

    def test_places_of_no_dataset_and_no_state_are_stale(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        there = resolve(stage.tree, "maps/1.0.0/a.txt").place
        for place in (
            there._replace(dataset=there.dataset ^ 1),
            there._replace(manifest=bytes(16)),
            Place(Space.DATASET, there.dataset ^ 1, 0, bytes(16), 0),
        ):
            with pytest.raises(StaleNode):
                stage.tree.node(place)

    def test_canonically_equivalent_names_are_found_exact_bytes_first(self, stage: Stage) -> None:
        composed, decomposed = "\u00e9".encode(), "e\u0301".encode()
        stage.publish("maps", "1.0.0", {composed: b"c"})
        stage.publish("maps", "2.0.0", {composed: b"c", decomposed: b"d"})
        tree = stage.tree
        one, both = resolve(tree, "maps/1.0.0"), resolve(tree, "maps/2.0.0")
        assert tree.lookup(one, decomposed) == tree.lookup(one, composed)
        assert joined(tree, tree.lookup(both, decomposed)) == b"d"
        assert joined(tree, tree.lookup(both, composed)) == b"c"

    # Content

    @pytest.mark.parametrize(
        ("offset", "size"),
        [(0, 0), (0, 1), (0, len(BIG)), (0, len(BIG) + 1), (65_535, 2), (len(BIG) - 1, 1), (len(BIG), 1), (2**40, 9)],
    )
    def test_a_read_is_a_slice_of_the_file(self, stage: Stage, offset: int, size: int) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        file = resolve(stage.tree, "maps/1.0.0/big.bin")
        assert b"".join(stage.tree.read(file, offset, size)) == BIG[offset : offset + size]

    def test_what_was_read_once_is_warm(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        tree = stage.tree
        file, folder = resolve(tree, "maps/1.0.0/big.bin"), resolve(tree, "maps/1.0.0")
        read, listed = b"".join(tree.read(file, 10, 1000)), tree.children(folder)
        assert b"".join(tree.read_warm(file, 10, 1000) or []) == read
        assert tree.children_warm(folder) == listed
        assert tree.lookup_warm(folder, b"big.bin") == file
        assert tree.node_warm(file.place) == file

    def test_a_link_that_was_listed_is_read_from_memory(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        link = resolve(stage.tree, "maps/1.0.0/link")
        assert stage.tree.readlink(link) == b"a.txt"
        assert stage.tree.readlink_warm(link) == b"a.txt"
        with pytest.raises(NotALink):
            stage.tree.readlink_warm(resolve(stage.tree, "maps/1.0.0/a.txt"))

    def test_what_was_looked_up_is_found_warm(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        stage.publish("maps", "latest", SAMPLE)
        stage.publish("@geo/roads", "1.0.0", SAMPLE)
        state = resolve(stage.tree, "maps/1.0.0").place.manifest.hex()
        for path in ("maps/1.0.0/big.bin", "maps/latest/big.bin", f"maps/b3-{state}/big.bin", "@geo/roads/1.0.0/a.txt"):
            found = resolve(stage.tree, path)
            node: Node | None = stage.tree.root()
            for name in path.split("/"):
                assert node is not None
                node = stage.tree.lookup_warm(node, name.encode())
            assert node == found
            digests = stage.tree.digests(found)
            assert stage.tree.digests_warm(found) == digests
        for path in ("maps/1.0.0", "maps/latest", "maps"):
            node = resolve(stage.tree, path)
            following = stage.tree.following(node)
            assert stage.tree.following_warm(node) == following

    def test_parents_of_what_was_met_are_warm(self, stage: Stage) -> None:
        stage.publish("@geo/maps", "1.0.0", SAMPLE)
        stage.publish("maps", "latest", SAMPLE)
        tree = stage.tree
        nodes = walk(tree, tree.node(tree.root().place))
        nodes.append(tree.following(resolve(tree, "maps/latest")))
        assert len(nodes) > 10
        for node in nodes:
            assert tree.parent_warm(node) == tree.parent(node)

    def test_folders_that_change_are_listed_from_memory_while_they_are_fresh(self, stage: Stage) -> None:
        for tag in ("1.0.0", "2.0.0", "latest"):
            stage.publish("@geo/maps", tag, SAMPLE)
        stage.publish("maps", "latest", SAMPLE)
        tree = stage.tree
        root = tree.root()
        assert len(walk(tree, root)) > 20
        for folder in (root, resolve(tree, "@geo"), resolve(tree, "@geo/maps"), resolve(tree, "maps")):
            for after, limit in ((0, 1024), (0, 1), (tree.children(folder, limit=1).entries[0].cookie, 1024)):
                listed = tree.children(folder, after=after, limit=limit)
                warm = tree.children_warm(folder, after=after, limit=limit)
                assert warm is not None
                assert (list(warm.entries), warm.eof) == (list(listed.entries), listed.eof)

    def test_digests_of_many_files_are_those_of_each_in_their_order(self, stage: Stage) -> None:
        contents: Contents = {b"%03d" % i: {b"x": b"%d" % i} if i % 7 == 0 else b"%d" % i for i in range(200)}
        stage.publish("maps", "1.0.0", {**contents, b"z": SAMPLE})
        stage.publish("maps", "2.0.0", {b"other": b"other"})
        tree = stage.tree
        files = [node for node in walk(tree, resolve(tree, "maps/1.0.0")) if node.kind is Kind.FILE]
        other = resolve(tree, "maps/2.0.0/other")
        for some in ([], files, files[::-1], files[:1] + files[-1:], [*files[:3], other, *files[3:9], files[0]]):
            assert tree.digests_of(some) == [tree.digests(file) for file in some]
            assert tree.digests_of(some, passing=True) == tree.digests_of(some)
        for folder in (resolve(tree, "maps/1.0.0"), resolve(tree, "maps")):
            with pytest.raises(IsAFolder):
                tree.digests_of([other, folder])

    def test_usage_counts_the_files_of_a_state(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", {b"a": b"12345", b"d": {b"b": b"678", b"e": b""}})
        usage = stage.tree.usage(resolve(stage.tree, "maps/1.0.0/d"))
        assert usage == (8, 3)

    # What changes

    def test_a_publish_grows_the_times_of_the_folders_above(self, stage: Stage) -> None:
        stage.publish("maps", "latest", SAMPLE)
        before = resolve(stage.tree, "maps")
        stage.publish("maps", "latest", {b"new": b"n"})
        after = resolve(stage.tree, "maps")
        assert after.fileid == before.fileid
        assert after.mtime_ns > before.mtime_ns
        assert after.ctime_ns > before.ctime_ns

    def test_a_new_dataset_grows_the_times_of_the_root(self, stage: Stage) -> None:
        stage.publish("maps", "latest", SAMPLE)
        root = stage.tree.root().place
        before = stage.tree.node(root)
        stage.publish("other", "latest", SAMPLE)
        assert stage.tree.node(root).mtime_ns > before.mtime_ns

    def test_a_channels_folder_keeps_the_state_it_was_looked_up_with(self, stage: Stage) -> None:
        stage.publish("maps", "latest", {b"f": b"one"})
        bound = resolve(stage.tree, "maps/latest")
        stage.publish("maps", "latest", {b"f": b"two"})
        assert joined(stage.tree, stage.tree.lookup(stage.tree.node(bound.place), b"f")) == b"one"
        again = resolve(stage.tree, "maps/latest")
        assert joined(stage.tree, stage.tree.lookup(again, b"f")) == b"two"
        assert again.fileid != bound.fileid

    def test_a_following_root_keeps_its_identity_and_shows_the_state_of_the_moment(self, stage: Stage) -> None:
        tree = stage.tree
        stage.publish("maps", "latest", {b"f": b"one"})
        root = tree.following(resolve(tree, "maps/latest"))
        assert (root.place.space, root.changing) == (Space.FOLLOWING, True)
        assert joined(tree, tree.lookup(root, b"f")) == b"one"
        stage.publish("maps", "latest", {b"f": b"two", b"g": b""})
        moved = tree.node(root.place)
        assert (moved.place, moved.fileid) == (root.place, root.fileid)
        assert moved.mtime_ns > root.mtime_ns
        assert joined(tree, tree.lookup(moved, b"f")) == b"two"
        assert names(whole(tree, moved)) == [b"f", b"g"]
        assert tree.parent(moved) == resolve(tree, "maps")

    def test_a_following_listing_goes_on_in_the_state_it_began_in(self, stage: Stage) -> None:
        tree = stage.tree
        stage.publish("maps", "latest", {b"a": b"", b"b": b"", b"c": b""})
        root = tree.following(resolve(tree, "maps/latest"))
        first = tree.children(root, limit=1)
        stage.publish("maps", "latest", {b"x": b"", b"y": b"", b"z": b""})
        rest = tree.children(root, after=first.entries[-1].cookie, verifier=first.verifier)
        assert names(first) + names(rest) == [b"a", b"b", b"c"]
        assert names(tree.children(root)) == [b"x", b"y", b"z"]

    def test_versions_files_and_catalogue_folders_do_not_follow(self, stage: Stage) -> None:
        stage.publish("maps", "1.0.0", SAMPLE)
        stage.publish("maps", "latest", SAMPLE)
        for path in ("", "maps", "maps/1.0.0", "maps/latest/sub", "maps/latest/a.txt"):
            node = resolve(stage.tree, path)
            assert stage.tree.following(node) == node

    def test_a_publish_between_two_pages_repeats_and_loses_nothing(self, stage: Stage) -> None:
        old = [f"set{i}" for i in range(20)]
        for name in old:
            stage.publish(name, "1.0.0", {})
        tree = stage.tree
        first = tree.children(tree.root(), limit=10)
        for i in range(20):
            stage.publish(f"new{i}", "1.0.0", {})
        rest = tree.children(tree.root(), after=first.entries[-1].cookie, verifier=first.verifier)
        seen = names(first) + names(rest)
        assert len(seen) == len(set(seen))
        assert {name.encode() for name in old} <= set(seen)


def joined(tree: FileTree, file: Node) -> bytes:
    """Read a whole file."""
    return b"".join(tree.read(file, 0, file.size))
