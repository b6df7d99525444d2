"""A folder with everything in it that a manifest can keep, and a look at it to compare with."""

import os
import stat
from pathlib import Path
from random import Random

from tests.conformance.format.states import FILE, FOLDER, LINK, Entry

NAMES = (
    *(b"plain.txt", b"with space", b"-dash", b"quote'\"`", b"#hash%25?q&a=b;c", b"back\\slash", b"line\nbreak"),
    *("e\u0301 decomposed".encode(), "\u00e9 composed".encode(), "\U0001f40b\u200d\u2b1b.bin".encode()),
    *(b"\xff\xfe invalid", b"\x01\x7f control", b"CASE", b"case", b"...", b".hidden", b"n" * 255),
)


def make(folder: Path, seed: int = 1) -> None:
    """Fill a folder that is not there yet."""
    random = Random(seed)
    base = os.fsencode(folder)
    for path in (b"", b"/names", b"/empty", b"/a", b"/a/b", b"/a/b/c", b"/zz"):
        os.mkdir(base + path)
    for number, name in enumerate(NAMES):
        _write(base + b"/names/" + name, b"%d of many" % number)
    _write(base + b"/empty file", b"")
    _write(base + b"/one byte", b"1")
    _write(base + b"/a/b/c/large", random.randbytes(1_500_000))
    _write(base + b"/a/b/c/same", random.randbytes(300_000))
    _write(base + b"/a/same again", Path(os.fsdecode(base + b"/a/b/c/same")).read_bytes())
    _write(base + b"/a/text", b"".join(b"line %d of a file that compresses well\n" % i for i in range(20_000)))
    _write(base + b"/zeros", bytes(700_000))
    _write(base + b"/a/script", b"#!/bin/sh\n")
    os.chmod(base + b"/a/script", 0o755)
    with open(base + b"/a/sparse", "wb") as file:
        file.write(b"begin")
        file.seek(3_000_000)
        file.write(random.randbytes(100_000))
        file.truncate(5_000_000)
    os.symlink(b"../a/b/c/large", base + b"/a/link")
    os.symlink(b"nowhere/\xff", base + b"/zz/dangling")
    os.symlink(b".", base + b"/zz/self")
    for path, mtime_ns in (
        (b"/one byte", -1), (b"/empty file", -1_234_567_890_123_456_789), (b"/a/text", 1_700_000_000_123_456_789),
        (b"/empty", 1), (b"/zz", 4_000_000_000_000_000_001), (b"", 1_600_000_000_000_000_007),
    ):  # fmt: skip
        os.utime(base + path, ns=(mtime_ns, mtime_ns))


def look(folder: Path) -> dict[bytes, Entry]:
    """Return a folder as a reader of the store should see it, but for `extents`."""
    base = os.fsencode(folder)
    found = {b"": _entry(base)}
    for parent, folders, files in os.walk(base):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            found[os.path.relpath(path, base)] = _entry(path)
    return found


def _entry(path: bytes) -> Entry:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return Entry(LINK, status.st_mtime_ns, False, os.readlink(path), ())
    if stat.S_ISDIR(status.st_mode):
        return Entry(FOLDER, status.st_mtime_ns, False, b"", ())
    with open(path, "rb") as file:
        return Entry(FILE, status.st_mtime_ns, bool(status.st_mode & stat.S_IXUSR), file.read(), ())


def _write(path: bytes, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
