"""Reads a TOML file as a flat list of settings, each with its line. What the names mean is config.py's business.

`tomllib` parses but forgets lines, so they are found by a second look at the text: headers and keys only. A key that
this look does not find (written across inline tables, say) is given its section's line, or the first.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

LARGEST: Final = 1 << 20  # bytes; a configuration is a few KiB, and what is larger is some other file
_PART: Final = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_HEADER: Final = re.compile(rf"\s*\[{{1,2}}\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]{{1,2}}")
_KEY: Final = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")


class FileEntry(NamedTuple):
    """One setting as it was written."""

    name: str  # the path of keys, joined by dots
    value: object
    line: int  # from 1


def read_config_file(file: Path) -> list[FileEntry]:
    """Return all settings of a file, in its order.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not TOML (the message names the line), or too large.
    """
    with file.open("rb") as opened:
        data = opened.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"larger than {LARGEST} bytes: not a configuration")
    text = data.decode("utf-8")
    lines = dict(_lines(text))
    return [
        FileEntry(name, value, lines.get(name) or lines.get(name.partition(".")[0], 1))
        for name, value in _flat("", tomllib.loads(text))
    ]


def _flat(prefix: str, values: dict[str, object]) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(f"{prefix}{key}.", value)
        elif not isinstance(value, dict):
            yield prefix + key, value


def _lines(text: str) -> Iterator[tuple[str, int]]:
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section = _name(header[1]) + "."
            yield section[:-1], number
        elif key := _KEY.match(line):
            yield section + _name(key[1]), number


def _name(written: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in written.split("."))
