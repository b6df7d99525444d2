"""The Linux kernel's client reads what a gateway serves out of a real store, by every way of mounting and listing."""

import os
import random
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.interop.serve.gateways import NAMES, Gateway, Place
from tests.support.kernel_client import MARKS, guest, probe, told

pytestmark = MARKS

MIB: Final = 1 << 20
SIZES: Final = (0, 1, 4095, 4096, 4097, MIB - 1, MIB, MIB + 1, 3 * MIB + 5)
MANY: Final = 100_000
SPARSE: Final = 5 << 30
ISLANDS: Final = (
    0,
    (1 << 30) - 7,
    (4 << 30) - 100,
    (4 << 30) + 12345,
    SPARSE - 70_000,
)  # where data lies, 70,000 bytes
EVERY: Final = 37 * MIB + 4096


class Served(NamedTuple):
    """What a gateway shows, and where it came from."""

    gateway: Gateway
    source: Path
    probe: Path


def write_files(folder: Path) -> None:
    """Write files of hard sizes, names, times and modes, links, and folders within folders."""
    chance = random.Random(1)
    for size in SIZES:
        (folder / f"size-{size}").write_bytes(chance.randbytes(size))
    deep = folder / "sub" / "deep" / "deeper"
    deep.mkdir(parents=True)
    for name in NAMES:
        Path(os.fsdecode(os.path.join(os.fsencode(deep), name))).write_bytes(name * 3)
    (folder / "empty").mkdir()
    (folder / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("sub/deep/deeper/plain.txt")
    (folder / "dangling").symlink_to("nowhere")
    os.utime(folder / "size-1", ns=(10**9, 1_234_567_890_123_456_789))


def write_sparse(file: Path) -> None:
    """Write a file that is mostly holes."""
    chance = random.Random(2)
    with file.open("wb") as opened:
        opened.truncate(SPARSE)
        for at in ISLANDS:
            opened.seek(at)
            opened.write(chance.randbytes(70_000))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("kernel")
    place = Place(str(folder / "store"), folder / "home")
    place.run("init")
    source, many, sparse = folder / "source", folder / "many", folder / "sparse"
    for one in (source, many, sparse):
        one.mkdir()
    write_files(source)
    place.run("push", source, "-t", "maps:1.0.0", "-t", "maps:latest")
    place.run("push", source / "sub", "-t", "@geo/roads:2.0.0")
    for number in range(MANY):
        (many / f"file-{number:06}").touch()
    place.run("push", many, "-t", "many:1.0.0")
    shutil.rmtree(many)
    write_sparse(sparse / "sparse")
    place.run("push", sparse, "-t", "sparse:1.0.0")
    with place.serve(http="off") as gateway:
        yield Served(gateway, source, probe(folder))


def test_every_mount_reads_what_was_published_at_every_size_of_reads(served: Served, tmp_path: Path) -> None:
    script = f"""
        SOURCE={served.source}
        sums() {{
            (cd "$1"; find . -print0 | sort -z | tr '\\0' '~'; find . -type f -print0 | sort -z | xargs -0 sha256sum)
        }}
        sums $SOURCE > /tmp/right
        same() {{ sums "$1" > /tmp/seen; cmp /tmp/right /tmp/seen; }}

        mount_at / /mnt ",rsize=1048576"
        same /mnt/maps/1.0.0; same /mnt/maps/latest
        echo "rsize: $(grep -o 'rsize=[0-9]*' /proc/mounts)"
        ls -laR /mnt/maps > /tmp/long
        echo "long: $(grep -c size-4096 /tmp/long)"
        [ "$(cat /mnt/maps/1.0.0/link)" = "$(cat $SOURCE/link)" ]
        [ "$(readlink /mnt/maps/1.0.0/dangling)" = nowhere ]
        echo "ran: $(/mnt/maps/1.0.0/run.sh)"
        echo "stat: $(stat -c '%a %s %Y %h' /mnt/maps/1.0.0/size-1)"
        echo "refused: $(touch /mnt/maps/1.0.0/new 2>&1 | grep -c 'Read-only file system')"
        mkdir /tmp/copy; cp -a /mnt/maps/1.0.0/. /tmp/copy; same /tmp/copy
        echo "copied: $(stat -c '%a %Y' /tmp/copy/size-1) $(readlink /tmp/copy/link) $(stat -c %a /tmp/copy/run.sh)"
        mkdir /tmp/unpacked; tar -C /mnt/maps/1.0.0 -cf - . | tar -C /tmp/unpacked -xf -; same /tmp/unpacked
        $PROBE mmap /mnt/maps/1.0.0/size-{SIZES[-1]} | cmp - $SOURCE/size-{SIZES[-1]}
        echo 3 > /proc/sys/vm/drop_caches
        for i in 1 2 3 4 5 6 7 8; do
            (cmp /mnt/maps/1.0.0/size-{SIZES[-1]} $SOURCE/size-{SIZES[-1]} && echo same > /tmp/reader-$i) &
        done
        wait
        echo "readers: $(cat /tmp/reader-* | grep -c same)"
        mount -o remount,ro /mnt; same /mnt/maps/1.0.0
        cd /mnt/maps/1.0.0; mount -o remount,ro /mnt; cat size-1 > /dev/null; cd /
        umount /mnt; mount_at / /mnt; same /mnt/maps/1.0.0; umount /mnt

        mount_at /maps /mnt; same /mnt/1.0.0; umount /mnt
        mount_at /maps/1.0.0 /mnt; same /mnt; umount /mnt
        mount_at /maps/latest /mnt; same /mnt; umount /mnt
        mount_at /@geo/roads/2.0.0 /mnt; [ -e /mnt/deep/deeper/plain.txt ]; umount /mnt
        mount_at /maps/1.0.0/sub/deep /mnt; sums $SOURCE/sub/deep > /tmp/right; same /mnt
        echo "outside: $(ls -a /mnt/.. | grep -c mnt) $(ls /mnt/../maps 2>&1 | grep -c 'No such file')"
        umount /mnt
        sums $SOURCE > /tmp/right

        for rsize in 4096 32768 131072; do
            for plus in "" ,nordirplus; do
                mount_at /maps/1.0.0 /mnt ,rsize=$rsize$plus; same /mnt; ls -laR /mnt > /dev/null; umount /mnt
                echo "$rsize$plus: same"
            done
        done
        echo "end: reached"
        """
    with guest(tmp_path, served.gateway.nfs_port, script, programs=[served.probe], folders=[served.source]) as process:
        said = told(process)
    mtime_s = 1_234_567_890
    assert said == {
        "rsize": "rsize=1048576",
        "long": "2",
        "ran": "ran",
        "stat": f"444 1 {mtime_s} 1",
        "refused": "1",
        "copied": f"444 {mtime_s} sub/deep/deeper/plain.txt 555",
        "readers": "8",
        "outside": "1 1",
        **{f"{rsize}{plus}": "same" for rsize in (4096, 32768, 131072) for plus in ("", ",nordirplus")},
        "end": "reached",
    }


def test_large_folders_are_listed_whole_and_large_files_read_right_beyond_4_gib(served: Served, tmp_path: Path) -> None:
    script = f"""
        for plus in plus noplus; do
            [ $plus = plus ] && mount_at / /mnt || mount_at / /mnt ,nordirplus
            echo "$plus: $($PROBE list /mnt/many/1.0.0)"
            umount /mnt
        done
        mount_at /sparse/1.0.0 /mnt
        echo "size: $(stat -c %s /mnt/sparse)"
        for at in {" ".join(str(max(0, at - 1000)) for at in ISLANDS)}; do
            echo "$at: $($PROBE part /mnt/sparse $at 72000 | sha256sum)"
        done
        echo "stride: $($PROBE stride /mnt/sparse {EVERY})"
        """
    with guest(tmp_path, served.gateway.nfs_port, script, programs=[served.probe]) as process:
        said = told(process)
    listed = f"{MANY + 2} {sum(map(fnv, [b'.', b'..', *(b'file-%06d' % n for n in range(MANY))])) % (1 << 64):016x}"
    assert (said.pop("plus"), said.pop("noplus"), said.pop("size")) == (listed, listed, str(SPARSE))
    file = served.source.parent / "sparse" / "sparse"
    with file.open("rb") as opened:
        strided = FNV
        for at in range(0, SPARSE, EVERY):
            opened.seek(at)
            strided = fnv(opened.read(4096), strided)
        assert said.pop("stride") == f"{strided:016x}"
        for at in (max(0, at - 1000) for at in ISLANDS):
            opened.seek(at)
            assert said.pop(str(at)) == f"{sha256(opened.read(72_000)).hexdigest()}  -"
    assert said == {}


FNV: Final = 0xCBF29CE484222325


def fnv(data: bytes, start: int = FNV) -> int:
    """Return FNV-1a, as nfs-probe computes it."""
    found = start
    for byte in data:
        found = (found ^ byte) * 0x100000001B3 % (1 << 64)
    return found
