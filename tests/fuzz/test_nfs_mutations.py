"""Altered calls and replies into every decoder of NFS, MOUNT, NLM and the portmapper, by the million.

What is altered are bytes that are right: values of the codecs' own tests, and calls that real clients sent. A case is a
value or the documented error, the memory that all cases take together is bounded, and none takes long: what a length
claims is checked before anything is done about it. `make fuzz` tries 1,000,000 cases each.
"""

import itertools
import random
import resource
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from hypothesis import settings

from nfs.limits import Limits
from nfs.wire.errors import AuthRejected, GarbageArgs, NotACall, RecordRefused, RpcMismatch
from nfs.wire.record import RecordReader, marked
from nfs.wire.rpc import decode_call
from nfs.wire.xdr import Codec
from tests.wire.test_nfs_calls import CALLS
from tests.wire.test_nfs_codecs import CASES as NFS_CASES
from tests.wire.test_nlm_codecs import CASES as NLM_CASES
from tests.wire.test_portmap_codecs import CASES as PORTMAP_CASES

EXAMPLES: Final = 200  # cases for each example of hypothesis: 1,000,000 where it takes 5,000
GROWTH_KB: Final = 64 << 10
LONGEST_S: Final = 5.0  # a case that loops over what a length claims would take hours
LONGEST: Final = 2048  # bytes of a case, or of a stream
ODD_WORDS: Final = (0, 1, 2, 3, 63, 64, 65, 255, 400, 401, 1024, 65536, 69632, 69633, 2**31 - 1, 2**31, 2**32 - 1)

CODECS: Final[dict[str, tuple[Codec[Any], bytes]]] = {
    name: (codec, bytes.fromhex(right)) for name, codec, _, right in (*NFS_CASES, *NLM_CASES, *PORTMAP_CASES)
}


def cases() -> int:
    """Return how many to try of each."""
    return settings().max_examples * EXAMPLES


def altered(seeds: list[bytes], number: int, *, seed: str) -> Iterator[bytes]:
    """Yield `number` variants of right bytes, the same for the same arguments."""
    chance = random.Random(seed)
    for _ in range(number):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(6):
                case 0 if data:
                    data[at % len(data)] ^= 1 << chance.randrange(8)
                case 1:
                    del data[at:]
                case 2 if len(data) >= 4:
                    struct.pack_into(">I", data, at // 4 * 4 % (len(data) // 4 * 4), chance.choice(ODD_WORDS))
                case 3:
                    data[at:at] = chance.randbytes(chance.randint(1, 40))
                case 4:
                    other = chance.choice(seeds)
                    data[at:] = other[chance.randrange(len(other) + 1) :]
                case _:
                    data += struct.pack(">I", chance.choice(ODD_WORDS))
        yield bytes(data[:LONGEST])


def bounded(inputs: Iterator[bytes], take: Callable[[bytes], None]) -> None:
    """Try every input; none may take long, and all together no memory to speak of."""
    before_kb = 0
    for number, data in enumerate(inputs):
        began_s = time.thread_time()
        try:
            take(data)
        except Exception:
            print(f"case {number}: {data.hex()}")
            raise
        assert time.thread_time() - began_s < LONGEST_S, data.hex()
        if number == 100:
            before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < GROWTH_KB


@pytest.mark.parametrize("name", CODECS)
def test_altered_bytes_are_a_value_or_garbage(name: str) -> None:
    codec, right = CODECS[name]

    def take(data: bytes) -> None:
        try:
            _, end = codec.decode(data, 0)
        except GarbageArgs:
            return
        assert 0 <= end <= len(data)

    bounded(altered([right], cases(), seed=name), take)


def test_altered_calls_are_calls_or_are_refused() -> None:
    def take(data: bytes) -> None:
        try:
            call = decode_call(data)
        except (NotACall, RpcMismatch, AuthRejected):
            return
        assert 0 < call.args_at <= len(data)

    bounded(altered([call.record for call in CALLS], cases(), seed="calls"), take)


def test_altered_streams_give_records_within_the_limit_or_are_refused() -> None:
    chance = random.Random("streams")
    limit = Limits().record_bytes

    def take(stream: bytes) -> None:
        reader = RecordReader(limit)
        at = 0
        try:
            while at < len(stream):
                room = reader.room()
                piece = stream[at : at + chance.randint(1, 700)]
                room[: len(piece)] = piece
                assert all(len(record) <= limit for record in reader.received(len(piece)))
                at += len(piece)
        except RecordRefused:
            return

    streams = [marked(call.record) for call in CALLS[:40]]
    streams += [one + other for one, other in itertools.pairwise(streams)]
    bounded(altered(streams, cases(), seed="streams"), take)
