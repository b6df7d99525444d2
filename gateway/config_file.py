"""Reads a TOML file as a flat list of settings, each with its line. What the names mean is config.py's business.

`tomllib` parses but forgets lines, so they are found by a second look at the text: headers and keys only. A key that
this look does not find (written across inline tables, say) is given its section's line, or the first.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

LARGEST: Final = 1 << 20  # bytes; a configuration is a few KiB, and what is larger is some other file
_PART: Final = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_HEADER: Final = re.compile(rf"\s*\[{{1,2}}\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]{{1,2}}")
_KEY: Final = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")


class Table(dict[str, object]):
    """One table of a list of tables (`[[nfs.export]]`), with the lines of its header and of its keys; 0: not known."""

    def __init__(self, values: dict[str, object], line: int, lines: dict[str, int]) -> None:
        super().__init__(values)
        self.line, self.lines = line, lines


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
        FileEntry(name, _with_lines(name, value, lines), lines.get(name) or lines.get(name.partition(".")[0], 1))
        for name, value in _flat("", tomllib.loads(text))
    ]


def _with_lines(name: str, value: object, lines: dict[str, int]) -> object:
    """Give the tables of a list their lines; leave all else as it is."""
    if not isinstance(value, list) or not value or not all(isinstance(table, dict) for table in value):
        return value
    return [
        Table(
            table,
            lines.get(f"{name}[{index}]", 0),
            {key: lines[place] for key in table if (place := f"{name}[{index}].{key}") in lines},
        )
        for index, table in enumerate(value)
    ]


def _flat(prefix: str, values: dict[str, object]) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(f"{prefix}{key}.", value)
        elif not isinstance(value, dict):
            yield prefix + key, value


def _lines(text: str) -> Iterator[tuple[str, int]]:
    """Yield where each section and key stands; those of the n-th `[[section]]` as `section[n]`, from 0."""
    section = ""
    counts: Counter[str] = Counter()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            name = _name(header[1])
            if line.lstrip().startswith("[["):
                if not counts[name]:
                    yield name, number
                section = f"{name}[{counts[name]}]."
                counts[name] += 1
            else:
                section = f"{name}."
            yield section[:-1], number
        elif key := _KEY.match(line):
            yield section + _name(key[1]), number


def _name(written: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in written.split("."))
