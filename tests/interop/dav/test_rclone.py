"""rclone's WebDAV client: it copies every byte, compares by MD5 without a download, and moves nothing twice."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.conformance.tree_cases import HARD_NAMES, SAMPLE
from tests.interop.dav.clients import below, needs_rclone, rclone
from tests.interop.dav.shown import GEO, GEO_NEXT, NUMBERS, seen
from tests.support.relay import Relay
from tests.support.trees import EPOCH_NS, Contents

pytestmark = [pytest.mark.interop, needs_rclone]


@pytest.mark.parametrize("vendor", ["owncloud", "other"])
@pytest.mark.parametrize(("state", "contents"), [("geo/1.0.0", GEO), ("@scope/roads/latest", SAMPLE)])
def test_rclone_copies_every_name_and_byte(
    relay: Relay, tmp_path: Path, vendor: str, state: str, contents: Contents
) -> None:
    out = tmp_path / "out"
    done = rclone(tmp_path, relay.url, "copy", f":webdav:/{state}", out, vendor=vendor)
    assert done.returncode == 0, done.stderr
    assert below(out) == seen(contents)
    checked = rclone(tmp_path, relay.url, "check", "--download", f":webdav:/{state}", out, vendor=vendor)
    assert checked.returncode == 0, checked.stderr
    assert {exchange.status for exchange in relay.exchanges} == {200, 207}


def test_rclone_checks_by_md5_without_a_download(relay: Relay, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert rclone(tmp_path, relay.url, "copy", ":webdav:/geo/1.0.0", out).returncode == 0
    relay.exchanges.clear()
    checked = rclone(tmp_path, relay.url, "check", ":webdav:/geo/1.0.0", out)
    assert checked.returncode == 0, checked.stderr
    assert f"{len(seen(GEO))} matching files".encode() in checked.stderr
    assert b"hashes could not be checked" not in checked.stderr
    assert {exchange.method for exchange in relay.exchanges} == {"PROPFIND"}


def test_rclone_lists_md5_sums_without_a_download(relay: Relay, tmp_path: Path) -> None:
    done = rclone(tmp_path, relay.url, "md5sum", ":webdav:/geo/1.0.0/names")
    assert done.returncode == 0, done.stderr
    sums = sorted(line.split(b" ")[0].decode() for line in done.stdout.splitlines())
    assert sums == sorted(hashlib.md5(name).hexdigest() for name in HARD_NAMES)
    assert {exchange.method for exchange in relay.exchanges} == {"PROPFIND"}


def test_rclone_finds_by_md5_a_file_that_differs_in_nothing_else(relay: Relay, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert rclone(tmp_path, relay.url, "copy", ":webdav:/geo/1.0.0/sub", out).returncode == 0
    (out / "deep" / "leaf").write_bytes(b"lead")
    checked = rclone(tmp_path, relay.url, "check", ":webdav:/geo/1.0.0/sub", out)
    assert checked.returncode == 1
    assert b"1 differences found" in checked.stderr


@pytest.mark.parametrize("compare", [[], ["--checksum"]])
def test_the_second_sync_moves_nothing_and_one_to_the_next_version_what_changed(
    relay: Relay, tmp_path: Path, compare: list[str]
) -> None:
    out = tmp_path / "out"
    assert rclone(tmp_path, relay.url, "sync", *compare, ":webdav:/geo/1.0.0", out).returncode == 0
    relay.exchanges.clear()
    again = rclone(tmp_path, relay.url, "sync", "-v", *compare, ":webdav:/geo/1.0.0", out)
    assert again.returncode == 0, again.stderr
    assert b"Copied" not in again.stderr
    assert {exchange.method for exchange in relay.exchanges} == {"PROPFIND"}
    assert rclone(tmp_path, relay.url, "sync", *compare, ":webdav:/geo/1.1.0", out).returncode == 0
    # `link` leads to a.txt, and so it changed as well.
    assert sorted(relay.asked("GET")) == [f"/webdav/geo/1.1.0/{name}" for name in ("a.txt", "link", "new")]
    assert below(out) == seen(GEO_NEXT) | {b"link": b"hello again\n"}


def test_rclone_keeps_times_to_the_second(relay: Relay, tmp_path: Path) -> None:
    assert rclone(tmp_path, relay.url, "copy", ":webdav:/geo/1.0.0/run.sh", tmp_path / "out").returncode == 0
    assert (tmp_path / "out" / "run.sh").stat().st_mtime == 1_234_567_890


def test_cat_reads_no_more_than_was_asked_for(relay: Relay, tmp_path: Path) -> None:
    def cat(*arguments: str) -> bytes:
        done = rclone(tmp_path, relay.url, "cat", *arguments, ":webdav:/geo/1.0.0/numbers")
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert cat("--offset", "400000", "--count", "24") == b"0050000\n0050001\n0050002\n"
    assert cat("--offset", str(len(NUMBERS) - 8)) == b"0099999\n"
    assert cat("--tail", "16") == b"0099998\n0099999\n"
    assert cat("--head", "8") == b"0000000\n"
    asked = [exchange for exchange in relay.exchanges if exchange.method == "GET"]
    assert [exchange.field("range") for exchange in asked] == [
        "bytes=400000-400023",
        f"bytes={len(NUMBERS) - 8}-{len(NUMBERS) - 1}",
        f"bytes={len(NUMBERS) - 16}-{len(NUMBERS) - 1}",
        "bytes=0-7",
    ]
    assert {exchange.status for exchange in asked} == {206}


def test_lsjson_shows_sizes_times_types_and_hashes(relay: Relay, tmp_path: Path) -> None:
    done = rclone(tmp_path, relay.url, "lsjson", "--hash", ":webdav:/geo/1.0.0")
    assert done.returncode == 0, done.stderr
    rows = {row["Name"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {name.decode() for name in GEO}
    assert rows["a.txt"]["Size"] == 6
    assert rows["a.txt"]["Hashes"] == {"md5": "b1946ac92492d2347c6235b4d2611184"}
    assert rows["a.txt"]["ModTime"] == "2023-11-14T22:13:20Z"
    assert EPOCH_NS == 1_700_000_000_000_000_000
    assert rows["sub"]["IsDir"]
    assert not rows["link"]["IsDir"]


def test_names_of_every_kind_come_out_and_go_in_again(relay: Relay, tmp_path: Path) -> None:
    done = rclone(tmp_path, relay.url, "lsf", ":webdav:/geo/1.0.0/names")
    assert done.returncode == 0, done.stderr
    # rclone shows a line break as the picture of one.
    names = {name: name.replace("\u240a".encode(), b"\n") for name in done.stdout.splitlines()}
    assert sorted(names.values()) == sorted(HARD_NAMES)
    for shown, name in names.items():
        read = rclone(tmp_path, relay.url, "cat", os.fsdecode(b":webdav:/geo/1.0.0/names/" + shown))
        assert read.stdout == name, read.stderr


def test_rclone_walks_from_the_top_through_datasets_and_tags(relay: Relay, tmp_path: Path) -> None:
    done = rclone(tmp_path, relay.url, "lsf", "--dirs-only", "--max-depth", "2", "-R", ":webdav:")
    assert done.returncode == 0, done.stderr
    shown = set(done.stdout.decode().split())
    assert shown == {
        "@scope/",
        "@scope/roads/",
        "geo/",
        "geo/1.0.0/",
        "geo/1.1.0/",
        "litmus/",
        "litmus/1.0.0/",
        "maps/",
        "maps/1.0.0/",
    }


@pytest.mark.parametrize("what", ["copy", "move"])
def test_rclone_is_refused_with_the_reason_when_it_writes(relay: Relay, tmp_path: Path, what: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "new").write_bytes(b"x")
    done = rclone(tmp_path, relay.url, what, tmp_path / "in", ":webdav:/geo/1.0.0")
    assert done.returncode != 0
    assert b"403" in done.stderr
    assert b"read-only" in done.stderr
    assert (tmp_path / "in" / "new").exists()


def test_rclone_cannot_delete(relay: Relay, tmp_path: Path) -> None:
    done = rclone(tmp_path, relay.url, "purge", ":webdav:/geo/1.0.0/sub")
    assert done.returncode != 0
    assert b"403" in done.stderr
    assert rclone(tmp_path, relay.url, "cat", ":webdav:/geo/1.0.0/sub/deep/leaf").stdout == b"leaf"
