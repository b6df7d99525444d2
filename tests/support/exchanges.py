"""Recordings of what HTTP clients and a gateway say to each other, as text that people can read and compare.

    # a note, belongs to the request below it
    > GET /webdav/geo/1.0.0/a.txt HTTP/1.1
    > Host: gateway
    >
    < HTTP/1.1 200 OK
    < Content-Length: 6
    <
    < hello
    <

`>` is the client, `<` the gateway. Lines of a head end in CR LF, those of a body in LF, and the last one in nothing: a
body that ends in LF ends here in an empty line. `>+` and `<+` go on with the line above. Bytes that are no text stand
`\\xNN`. A gateway is always called `gateway`. In answers `Date` is `*`. Bodies that came in chunks or compressed stand
as what they hold, since where a chunk ends and how zlib packs is nobody's promise.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from tests.support.relay import answer_body, fields, read_head

HOST: Final = b"gateway"
_LONG: Final = 120  # characters; longer lines are broken where something begins in a multistatus
_BEFORE: Final = re.compile(r"(?=<D:(?:response|propstat)\b)")


class Recorded(NamedTuple):
    """One request and its answer, normalised."""

    notes: tuple[str, ...]
    request: bytes
    answer: bytes


def read(path: Path) -> tuple[str, list[Recorded]]:
    """Read a recording: its title (the lines above the first empty one), and its exchanges.

    An exchange that was written by hand may have no answer yet.
    """
    title, *blocks = path.read_text(encoding="utf-8").rstrip("\n").split("\n\n")
    return title + "\n", [_block(block.split("\n")) for block in blocks]


def write(path: Path, title: str, exchanges: Iterable[Recorded]) -> None:
    """Write a recording."""
    with path.open("w", encoding="utf-8") as out:
        out.write(title)
        for exchange in exchanges:
            out.write("\n")
            out.writelines(f"# {note}\n" for note in exchange.notes)
            out.writelines(_lines(">", exchange.request))
            if exchange.answer:
                out.writelines(_lines("<", exchange.answer))


def anonymous(request: bytes, address: str) -> bytes:
    """Return a request in which the gateway's address is replaced by its name."""
    return request.replace(address.encode("ascii"), HOST)


def take_answer(stream: BinaryIO, method: str) -> bytes:
    """Read one whole answer from a connection, and normalise it."""
    head = read_head(stream)
    return normal(head + b"".join(answer_body(stream, head, method)), method)


def normal(answer: bytes, method: str) -> bytes:
    """Return an answer without what differs from one time to the next."""
    head, end, body = answer.partition(b"\r\n\r\n")
    named = fields(head)
    if "chunked" in named.get("transfer-encoding", "") and method != "HEAD":
        body = b"".join(_unchunked(BytesIO(body)))
    if named.get("content-encoding") == "gzip":
        body = zlib.decompress(body, 16 + zlib.MAX_WBITS) if body else body
        head = re.sub(rb"(?i)(\r\nContent-Length): \d+", rb"\1: *", head)
    return re.sub(rb"\r\nDate: [^\r]*", b"\r\nDate: *", head) + end + body


def _unchunked(stream: BinaryIO) -> Iterator[bytes]:
    while size := int(stream.readline().partition(b";")[0], 16):
        yield stream.read(size)
        stream.readline()


def _block(lines: list[str]) -> Recorded:
    notes: list[str] = []
    said: dict[str, list[str]] = {">": [], "<": []}
    for line in lines:
        sign, mark, text = line[0], line[1:2], line[2:]
        if sign == "#":
            notes.append(text)
        elif mark == "+":
            said[sign][-1] += text
        else:
            said[sign].append(text)
    return Recorded(tuple(notes), _joined(said[">"]), _joined(said["<"]) if said["<"] else b"")


def _joined(lines: list[str]) -> bytes:
    at = lines.index("")
    head = b"".join(_bytes(line) + b"\r\n" for line in lines[: at + 1])
    return head + b"\n".join(_bytes(line) for line in lines[at + 1 :])


def _lines(sign: str, message: bytes) -> Iterator[str]:
    head, _, body = message.partition(b"\r\n\r\n")
    for line in [*head.split(b"\r\n"), b"", *(body.split(b"\n") if body else [])]:
        text = _text(line)
        first, *rest = [part for part in _BEFORE.split(text) if part] if len(text) > _LONG else [text]
        yield f"{sign} {first}".rstrip(" ") + "\n"
        yield from (f"{sign}+{part}\n" for part in rest)


def _text(line: bytes) -> str:
    text = line.replace(b"\\", b"\\x5c").decode("utf-8", "backslashreplace")
    text = re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", text)
    return text[:-1] + "\\x20" if text.endswith(" ") else text


def _bytes(text: str) -> bytes:
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), text.encode("utf-8"))
