"""Counts up one object by conditional writes: a program, started several times at once by a test.

python -m tests.conformance.objects.counting ADDRESS KEY TIMES
"""

import sys

from store.errors import ObjectMissing, PreconditionFailed
from store.objects.address import open_objects


def main(address: str, key: str, times: int) -> None:
    store = open_objects(address)
    while times:
        try:
            held = store.fetch(key)
        except ObjectMissing:
            held = None
        value, etag = (int(held.data), held.etag) if held else (0, None)
        try:
            store.put_if(key, str(value + 1).encode(), match=etag)
        except PreconditionFailed:
            continue
        times -= 1
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
