#!/usr/bin/env python3
"""Make the test tree that the load generators use (same seed, same bytes).

    testtree.py DIR [--seed N] [--big-mib N] [--tree-files N]

DIR/big.bin        1 GiB: 64 KiB blocks, random and repetitive in turn
DIR/dir1k/         1,000 files of 1-8 KiB
DIR/dir10k/        10,000 files of 1-8 KiB
DIR/tree/          5,000 files of 1-8 KiB in nested folders (about 25 a folder)
DIR.manifest.json  beside it: counts, sizes, checksums

A folder that is complete (its manifest is there and was made with the same
options) is left as it is.
"""

import argparse
import hashlib
import json
import os
import random
import sys
import zlib

BLOCK = 64 * 1024
MTIME = 1_700_000_000  # fixed, so that two trees are alike


def small(rng: random.Random) -> bytes:
    """1-8 KiB, first half random, second half text."""
    n = rng.randint(1024, 8192)
    half = n // 2
    line = b"%08x the same line again and again\n" % rng.getrandbits(32)
    return rng.randbytes(half) + (line * (n // len(line) + 1))[: n - half]


def put(path: str, data: bytes) -> None:
    with open(path, "wb") as f:
        f.write(data)
    os.utime(path, (MTIME, MTIME))


def flat(root: str, name: str, count: int, rng: random.Random) -> dict[str, int]:
    d = os.path.join(root, name)
    os.makedirs(d, exist_ok=True)
    size = crc = 0
    for i in range(count):
        data = small(rng)
        put(os.path.join(d, f"file-{i:05d}.dat"), data)
        size += len(data)
        crc = (crc + zlib.crc32(data)) & 0xFFFFFFFF
    os.utime(d, (MTIME, MTIME))
    return {"files": count, "bytes": size, "crc32_sum": crc}


def nested(root: str, name: str, count: int, rng: random.Random) -> dict[str, int]:
    top = os.path.join(root, name)
    size = crc = made = 0
    dirs = set()
    for i in range(count):
        leaf = i // 25
        d = os.path.join(top, f"part-{leaf // 50:02d}", f"group-{leaf // 10 % 5}", f"shard-{leaf % 10}")
        if d not in dirs:
            os.makedirs(d, exist_ok=True)
            dirs.add(d)
        data = small(rng)
        put(os.path.join(d, f"sample-{i:05d}.bin"), data)
        size += len(data)
        crc = (crc + zlib.crc32(data)) & 0xFFFFFFFF
        made += 1
    ndirs = 0
    for d, _, _ in os.walk(top, topdown=False):
        os.utime(d, (MTIME, MTIME))
        ndirs += 1
    return {"files": made, "dirs": ndirs, "bytes": size, "crc32_sum": crc}


def big(path: str, mib: int, rng: random.Random) -> dict[str, int | str]:
    text = (b"0123456789abcdef the repetitive half of the file\n" * (BLOCK // 40))[:BLOCK]
    h = hashlib.sha256()
    with open(path, "wb") as f:
        for i in range(mib * (1 << 20) // (2 * BLOCK)):
            for b in (rng.randbytes(BLOCK), (b"%016x" % i) + text[16:]):
                h.update(b)
                f.write(b)
    os.utime(path, (MTIME, MTIME))
    return {"bytes": os.path.getsize(path), "sha256": h.hexdigest()}


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("dir")
    ap.add_argument("--seed", type=int, default=20240229)
    ap.add_argument("--big-mib", type=int, default=1024)
    ap.add_argument("--tree-files", type=int, default=5000)
    a = ap.parse_args()
    make(a.dir, seed=a.seed, big_mib=a.big_mib, tree_files=a.tree_files)


def make(folder: str, *, seed: int = 20240229, big_mib: int = 1024, tree_files: int = 5000) -> None:
    root = folder.rstrip("/")
    manifest = root + ".manifest.json"
    options = {"seed": seed, "big_mib": big_mib, "tree_files": tree_files, "format": 1}
    try:
        with open(manifest) as f:
            if json.load(f)["options"] == options and os.path.isdir(root):
                print(f"{root}: already there", file=sys.stderr)
                return
    except (OSError, ValueError, KeyError):
        pass
    if os.path.isdir(root) and os.listdir(root):
        sys.exit(f"{root}: not empty, and not the tree of these options; remove it first")
    os.makedirs(root, exist_ok=True)
    m: dict[str, object] = {"options": options}
    m["big"] = big(os.path.join(root, "big.bin"), big_mib, random.Random(seed))
    m["dir1k"] = flat(root, "dir1k", 1000, random.Random(seed + 1))
    m["dir10k"] = flat(root, "dir10k", 10000, random.Random(seed + 2))
    m["tree"] = nested(root, "tree", tree_files, random.Random(seed + 3))
    with open(manifest + ".tmp", "w") as f:
        json.dump(m, f, indent=1)
        f.write("\n")
    os.replace(manifest + ".tmp", manifest)


if __name__ == "__main__":
    main()
