"""Cuts a run of bytes as docs/format.md, Chunks, says; slow on purpose: one step a byte. Pure."""

import hashlib

MIN, AVG, MAX = 16384, 65536, 262144
SMALL_MASK, LARGE_MASK = 0x0000D90703537000, 0x0000D90F03530000
GEAR = [int.from_bytes(hashlib.md5(bytes([b]) * 64).digest()[:8], "big") for b in range(256)]


def cut(run: bytes, seed: int = 0) -> list[int]:
    """Return the lengths of a run's chunks."""
    gear = [number ^ seed for number in GEAR]
    lengths = []
    if len(run) <= MAX:
        return [len(run)] if run else []
    while run:
        lengths.append(_first(run, gear))
        run = run[lengths[-1] :]
    return lengths


def _first(p: bytes, gear: list[int]) -> int:
    n = len(p)
    if n <= MIN:
        return n
    end = min(n, MAX)
    centre = min(AVG, end) & ~1
    h = 0
    for i in range(MIN, end & ~1):
        h = (2 * h + gear[p[i]]) % 2**64
        if not h & (SMALL_MASK if i < centre else LARGE_MASK):
            return i
    return end
