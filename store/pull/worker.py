"""A process that makes small files for a pull: takes blocks as they are stored, verifies, decodes and writes them.

Started by `store.pull.workers` with a socket as its standard input. It answers each job with what it made, or with the
error that ended it, and ends when the socket does, which the death of the pull is too. One thread. Imports little, so
that it starts soon.
"""

import gc
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple

from store.blocks import decode_block
from store.errors import BlockCorrupt
from store.pack import Block
from store.pull.places import LastFile, Made, Place, write

_SOCKET: Final = 0


class Job(NamedTuple):
    """Blocks of one pack; what is stored of them follows as bytes."""

    source: str  # key of the pack
    start: int  # offset in the pack of the bytes that follow
    blocks: list[tuple[Any, ...]]  # fields of `Block`
    places: list[list[Place]]  # of each block
    id_key: bytes | None


class Failed(NamedTuple):
    """An error, so that it can be raised anew in another process."""

    kind: type[Exception]
    details: tuple[Any, ...]

    def raised(self) -> Exception:
        """Return the error."""
        if self.kind is BlockCorrupt:
            expected, source, why = self.details
            return BlockCorrupt(expected=expected, source=source, why=why)
        return self.kind(*self.details)


def do(job: Job, data: memoryview) -> list[list[Made]]:
    """Write the blocks of one job; return of each what it made.

    Raises:
        BlockCorrupt: a block is not what its name says.  OSError: something can't be written.
    """
    made = []
    with LastFile() as last:
        for fields, places in zip(job.blocks, job.places, strict=True):
            block = Block(*fields)
            at = block.offset - job.start
            chunk = decode_block(block, data[at : at + block.stored], job.source, job.id_key)
            made.append(write(places, chunk, last))
    return made


def main() -> None:
    """Serve jobs until there are no more."""
    gc.disable()  # what a job makes holds no cycles, and looking for them takes a tenth of the time
    line = Connection(_SOCKET)
    while True:
        try:
            job = line.recv()
            data = memoryview(line.recv_bytes())
        except (EOFError, OSError):
            return
        answer: list[list[Made]] | Failed
        try:
            answer = do(job, data)
        except BlockCorrupt as error:
            answer = Failed(BlockCorrupt, (error.expected, error.source, error.why))
        except OSError as error:
            answer = Failed(OSError, (error.errno, error.strerror, error.filename))
        except Exception as error:  # whatever it is, the pull has to hear of it
            answer = Failed(RuntimeError, (f"{type(error).__name__}: {error}",))
        try:
            line.send(answer)
        except OSError:
            return
