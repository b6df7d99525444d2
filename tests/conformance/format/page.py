"""The tables of docs/format.md as values, so that tests can hold them against the code. Pure functions."""

import re
import struct
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[3] / "docs" / "format.md"
_LETTERS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i64": "q"}
_BYTES = re.compile(r"bytes\[(\d+)\]")


class Table(NamedTuple):
    heading: str  # of the section that it stands in
    above: str  # the last paragraph before it
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(text: str) -> list[Table]:
    """Return all tables of a Markdown page, in order."""
    found: list[Table] = []
    heading = above = ""
    inside = ended = False
    for line in text.splitlines():
        if not line.startswith("|"):
            inside = False
            heading = line.lstrip("# ") if line.startswith("#") else heading
            if line:
                above = line if ended else f"{above} {line}"
            ended = not line
            continue
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if not inside:
            found.append(Table(heading, above, cells, []))
        elif set("".join(cells)) - {"-"}:
            found[-1].rows.append(cells)
        inside = True
    return found


def layouts(text: str) -> dict[str, struct.Struct]:
    """Return the binary structures that the page describes, by the name of their `struct` in the code.

    Raises:
        AssertionError: a row does not begin where the one before ends.
    """
    found = {}
    for table in tables(text):
        if table.columns[:3] != ("offset", "size", "type"):
            continue
        letters = ["<"]
        end = 0
        for offset, size, type_, *_ in table.rows:
            assert int(offset) == end, f"{table.above}: {offset} follows {end}"
            raw = _BYTES.fullmatch(type_)
            letters.append(f"{raw[1]}s" if raw else _LETTERS[type_])
            assert struct.calcsize("<" + letters[-1]) == int(size), f"{table.above}: {type_} of {size} bytes"
            end += int(size)
        name = re.search(r"`(store\.[\w.]+)`", table.above)
        assert name is not None, f"{table.above}: no name of a struct"
        found[name[1]] = struct.Struct("".join(letters))
    return found


def fields(text: str) -> list[tuple[str, set[str]]]:
    """Return the tables of JSON fields: heading, and the names of the fields."""
    return [
        (table.heading, {row[0].strip("`") for row in table.rows})
        for table in tables(text)
        if table.columns == ("field", "type", "meaning")
    ]
