"""Media types by file name, and which of them a browser may show: nothing in a dataset may run script in our origin.

Threads: a table is filled once and then only read, by any; what it said of suffixes lately is kept.
"""

from functools import lru_cache
from mimetypes import MimeTypes
from typing import Final

OCTETS: Final = "application/octet-stream"

# Python's own table alone: the machine's /etc/mime.types would make gateways of one store differ.
_EXTRA: Final = {
    ".arrow": "application/vnd.apache.arrow.file",
    ".avif": "image/avif",
    ".db": "application/vnd.sqlite3",
    ".flac": "audio/flac",
    ".geojson": "application/geo+json",
    ".gpkg": "application/geopackage+sqlite3",
    ".gz": "application/gzip",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".ndjson": "application/x-ndjson",
    ".parquet": "application/vnd.apache.parquet",
    ".sqlite": "application/vnd.sqlite3",
    ".toml": "application/toml",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
    ".xhtml": "application/xhtml+xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".zst": "application/zstd",
}
# `.gz` and the like name the encoding of what lies inside. The file is served as it lies, so the outer type is its
# type.
_ENCODINGS: Final = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_ACTIVE: Final = ("html", "svg", "xml", "javascript", "ecmascript", "x-shockwave-flash")


class MediaTypes:
    """The table; made once by whoever serves files."""

    def __init__(self) -> None:
        self._types = MimeTypes()
        for suffix, kind in _EXTRA.items():
            self._types.add_type(kind, suffix)
        self._known = lru_cache(maxsize=4096)(self._of_suffix)

    def of(self, name: bytes) -> str:
        """Return the Content-Type for a file's name."""
        return self._known(name[name.rfind(b".") :] if b"." in name else b"")

    def _of_suffix(self, suffix: bytes) -> str:
        text = suffix.decode("utf-8", "replace")
        kind, encoding = self._types.guess_type("x" + text, strict=True)
        if encoding is not None:
            return _ENCODINGS.get(encoding, OCTETS)
        if kind is None:
            return OCTETS
        return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def is_active(media_type: str) -> bool:
    """Tell whether a browser might run what such a file holds."""
    return any(word in media_type for word in _ACTIVE)
