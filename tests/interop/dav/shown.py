"""What the gateway of these tests shows, and how WebDAV's clients must see it."""

from collections.abc import Mapping
from typing import Final

from tests.conformance.tree_cases import SAMPLE
from tests.support.trees import Contents, File

NUMBERS: Final = b"".join(b"%07d\n" % number for number in range(100_000))  # line N begins at byte 8 N
GEO: Final[Contents] = {
    **SAMPLE,
    b"numbers": NUMBERS,
    "caf\u00e9".encode(): b"composed",
    b"page.html": b"<p>hello</p>\n",
}
GEO_NEXT: Final[Contents] = {**GEO, b"a.txt": b"hello again\n", b"new": b"new\n"}  # version 1.1.0

# What litmus would write before it reads it: with this in place, its readings can be judged on a read-only tree.
LITMUS_TEXT: Final = b"This is\na test file.\nfor litmus\ntesting.\n"
LITMUS: Final[Contents] = {
    b"litmus": {
        b"res": LITMUS_TEXT,
        b"res-\xe2\x82\xac": LITMUS_TEXT,
        b"prop": b"This\nis\na\ntest\nfile\ncalled\nfoo\n\n",
    }
}
# What docs/webdav.md takes for its examples.
MAPS: Final[Contents] = {b"world.db": NUMBERS[:80_000], b"legend": {b"colours.txt": b"blue: water\n"}}
PUBLISHED: Final[Mapping[str, Contents]] = {
    "geo:1.0.0": GEO,
    "geo:1.1.0": GEO_NEXT,
    "@scope/roads:latest": SAMPLE,
    "litmus:1.0.0": LITMUS,
    "maps:1.0.0": MAPS,
}


def flat(contents: Contents, above: bytes = b"") -> dict[bytes, bytes]:
    """Return path -> content of every file below, without links."""
    found: dict[bytes, bytes] = {}
    for name, value in contents.items():
        if isinstance(value, Mapping):
            found |= flat(value, above + name + b"/")
        elif isinstance(value, File):
            found[above + name] = value.data
        elif isinstance(value, bytes):
            found[above + name] = value
    return found


def seen(contents: Contents) -> dict[bytes, bytes]:
    """Return what a client sees of a state with the sample's link: links to files show as the files."""
    return flat(contents) | {b"link": b"hello\n"}
