"""The walk: what is kept of each entry, what is listed as impossible, and in which order."""

import os
import socket
import sys
from pathlib import Path

import pytest

from store.errors import PathMissing, SourceUnusable
from store.kinds import Kind
from store.manifest.layout import EXECUTABLE
from store.manifest.tree import Tree
from store.push.source import Scan, in_reach, scan

NAMES = [b"plain", b"two words", b"\xff\xfe", "\u00e9".encode(), b"line\nbreak", b"n" * 255, b"-rf", b"..."]


def names(found: Scan) -> set[bytes]:
    """Return the names at the top."""
    return {found.tree.name(record) for record in range(*found.tree.entries(0))}


def shown(found: Scan) -> list[bytes]:
    return [file.shown for file in found.files()]


def test_every_name_is_kept_byte_for_byte(tmp_path: Path) -> None:
    for name in NAMES:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(name)
    found = scan(os.fsencode(tmp_path))
    assert names(found) == set(NAMES)
    assert shown(found) == sorted(NAMES)
    assert (found.tree.records - 1, found.tree.size) == (len(NAMES), sum(map(len, NAMES)))


def test_kind_size_bit_time_and_target_are_kept(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"#!")
    (tmp_path / "run").chmod(0o755)
    os.utime(tmp_path / "run", ns=(5, -1_500_000_001))
    (tmp_path / "group").write_bytes(b"")
    (tmp_path / "group").chmod(0o654)
    (tmp_path / "link").symlink_to("/nowhere/at all")
    (tmp_path / "empty").mkdir()
    tree = scan(os.fsencode(tmp_path)).tree
    rows = {tree.name(record): tree.row(record) for record in range(*tree.entries(0))}
    size, mtime_ns, *_, kind, flags = rows[b"run"]
    assert (kind, size, flags, mtime_ns) == (Kind.FILE, 2, EXECUTABLE, -1_500_000_001)
    assert rows[b"group"][-1] == 0
    assert (rows[b"link"][-2], bytes(tree.links)) == (Kind.LINK, b"/nowhere/at all")
    assert (rows[b"empty"][-2], rows[b"empty"][0]) == (Kind.FOLDER, 0)


def test_a_link_to_a_folder_is_a_link_and_nothing_below_it_is_walked(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"")
    (tmp_path / "d" / "up").symlink_to("..")
    found = scan(os.fsencode(tmp_path))
    assert (found.tree.records - 1, shown(found)) == (3, [b"d/f"])


def test_a_source_that_is_a_link_is_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_bytes(b"")
    (tmp_path / "link").symlink_to("real")
    assert names(scan(os.fsencode(tmp_path / "link"))) == {b"f"}


def test_one_file_is_a_folder_that_holds_it(tmp_path: Path) -> None:
    (tmp_path / "f.db").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("f.db")
    for source in ("f.db", "link"):
        found = scan(os.fsencode(tmp_path / source))
        assert (names(found), shown(found), found.tree.size) == ({b"f.db"}, [b"f.db"], 5)
        assert [file.path for file in found.files()] == [os.fsencode(tmp_path / source)]


def test_an_empty_folder_is_an_empty_dataset(tmp_path: Path) -> None:
    found = scan(os.fsencode(tmp_path))
    assert (shown(found), found.tree.records) == ([], 1)


def test_hard_links_become_files_of_their_own_and_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    os.link(tmp_path / "a", tmp_path / "b")
    found = scan(os.fsencode(tmp_path))
    assert (found.hard_links, found.tree.size, found.tree.files) == (2, 2, 2)


def test_what_cannot_be_published_is_listed_with_its_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "ok").write_bytes(b"")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "s", Path.cwd()))
        found = scan(os.fsencode(tmp_path))
    assert found.problems == [
        (b"pipe", "a named pipe cannot be published"),
        (b"s", "a socket cannot be published"),
    ]
    assert names(found) == {b"ok"}


def test_a_folder_that_vanishes_during_the_walk_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    real = os.listdir

    def listdir(path: bytes) -> list[bytes]:
        if path.endswith(b"gone"):
            os.rmdir(path)
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    assert [path for path, _ in scan(os.fsencode(tmp_path)).problems] == [b"gone"]


def test_what_is_excluded_is_left_out_with_all_below_it(tmp_path: Path) -> None:
    for path in ("a.tmp", "keep/a.tmp", "keep/b", "skip/c", "deep/skip/d", "deep/e"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    assert shown(scan(os.fsencode(tmp_path), ["*.tmp", "skip/", "deep/e"])) == [b"keep/b"]


def test_a_source_that_is_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    for path in ("nothing", "f/below"):
        with pytest.raises(PathMissing):
            scan(os.fsencode(tmp_path / path))


def test_a_source_that_cannot_be_looked_at_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    for path in ("circle", "n" * 300):
        with pytest.raises(SourceUnusable):
            scan(os.fsencode(tmp_path / path))


def test_a_very_deep_folder_is_walked_without_recursion(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 200
    deepest = os.path.join(tmp_path, "top", *["d"] * depth)
    os.makedirs(tmp_path / "top")
    made = str(tmp_path / "top")
    for _ in range(depth):
        made += "/d"
        os.mkdir(made)
    try:
        assert scan(os.fsencode(tmp_path / "top")).tree.records == depth + 1
    finally:
        os.removedirs(deepest)  # pytest's own cleaning recurses


@pytest.mark.parametrize(
    ("time_ns", "kept"),
    [(0, 0), (-5, -5), (10**20, 2**63 - 1), (-(10**20), -(2**63)), (2**63 - 1, 2**63 - 1), (2**63, 2**63 - 1)],
)
def test_times_that_no_manifest_can_hold_are_cut_to_those_it_can(time_ns: int, kept: int) -> None:
    assert in_reach(time_ns) == kept
    assert Tree(in_reach(time_ns)).records == 1


def test_files_that_may_not_be_read_are_listed_with_the_rest_before_anything_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "open").write_bytes(b"x")
    (tmp_path / "shut").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    allowed = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **options: not path.endswith(b"shut") and allowed(path, mode, **options)
    )
    found = scan(os.fsencode(tmp_path))
    assert shown(found) == [b"open"]
    assert sorted(found.problems) == [
        (b"pipe", "a named pipe cannot be published"),
        (b"shut", "not allowed to read it"),
    ]
