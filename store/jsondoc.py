"""JSON objects of the store: bounded when read, canonical when written, unknown fields kept.

Canonical: UTF-8, keys sorted, no spaces. A field that a later version added survives a rewrite by this one, because
`Fields.rest` hands back whatever was not asked for.

Each document carries `sum`: the first 16 bytes of the BLAKE3 of its own bytes, with zeros where the sum's digits stand
and without spaces behind the end. So a flipped bit in a tag's name is damage and not another tag.

Pure functions and values; a `Fields` belongs to one thread. docs/format.md, JSON objects.
"""

import json
import math
import re
from typing import Any, Final, NoReturn

from blake3 import blake3

from store.errors import ObjectCorrupt

INTEGER_LIMIT: Final = 2**63 - 1
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*")
_SUM: Final = "sum"
_NO_SUM: Final = "0" * 32


def encode(value: dict[str, Any]) -> bytes:
    """Write a document canonically, with its sum. A lone surrogate (never valid UTF-8) becomes `?`."""
    return canonical({**value, _SUM: _digits(canonical({**value, _SUM: _NO_SUM})).decode()})


def canonical(value: dict[str, Any]) -> bytes:
    """Write an object in its one form: keys sorted, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def decode(key: str, data: bytes, *, limit: int) -> "Fields":
    """Read a document of at most `limit` bytes; `key` is for messages.

    Raises:
        ObjectCorrupt: too long, not UTF-8, not JSON, not an object, or not what its sum says. Other programs may leave
            the sum out.
    """
    if len(data) > limit:
        raise ObjectCorrupt(key, f"{len(data)} bytes of JSON, at most {limit} are expected")
    try:
        value = json.loads(data, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ObjectCorrupt(key, f"not JSON: {str(error)[:100]}") from error
    if isinstance(value, dict) and (told := value.pop(_SUM, None)) is not None:
        digits = str(told).encode("utf-8", "replace")
        if len(digits) != len(_NO_SUM) or _digits(data.replace(digits, _NO_SUM.encode(), 1)) != digits:
            raise ObjectCorrupt(key, "its content does not match its sum")
    return Fields(key, value, "document")


def _digits(data: bytes) -> bytes:
    return blake3(data.rstrip(b" ")).hexdigest(length=16).encode()


class Fields:
    """Typed access to one JSON object. Every getter raises `ObjectCorrupt` when the field is not what it must be."""

    def __init__(self, key: str, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise ObjectCorrupt(key, f"{where} is {type(value).__name__}, expected an object")
        self._key, self._where = key, where
        self._left: dict[str, Any] = dict(value)

    def take(self, name: str) -> Any:
        """Return a field as it is and mark it as known; `None` when absent."""
        return self._left.pop(name, None)

    def text(self, name: str, *, limit: int = 4096, default: str | None = None) -> str:
        """Return a string of at most `limit` characters."""
        value = self.take(name)
        value = default if value is None else value
        if not isinstance(value, str) or len(value) > limit:
            self.fail(name, f"text of at most {limit} characters", value)
        return value

    def integer(self, name: str, *, default: int | None = None, limit: int = INTEGER_LIMIT) -> int:
        """Return an integer from 0 to `limit`."""
        value = self.take(name)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= limit:
            self.fail(name, f"an integer from 0 to {limit}", value)
        return value

    def hex(self, name: str, *, size: int, optional: bool = False) -> str:
        """Return lower-case hex of `size` bytes; with `optional`, also the empty string."""
        value = self.take(name)
        value = "" if value is None and optional else value
        if optional and value == "":
            return ""
        if not isinstance(value, str) or len(value) != 2 * size or not _HEX.fullmatch(value):
            self.fail(name, f"{2 * size} hex digits", value)
        return value

    def array(self, name: str) -> list[Any]:
        """Return an array; empty when absent."""
        value = self.take(name)
        if value is None:
            return []
        if not isinstance(value, list):
            self.fail(name, "an array", value)
        return value

    def fields(self, name: str) -> "Fields":
        """Return an object's fields; none when absent."""
        value = self.take(name)
        return self.inner(name, {} if value is None else value)

    def inner(self, name: str, value: object) -> "Fields":
        """Return the fields of an object that was taken already."""
        return Fields(self._key, value, f"{self._where}.{name}")

    def objects(self, name: str) -> "list[Fields]":
        """Return the fields of each object of an array."""
        return [Fields(self._key, item, f"{self._where}.{name}[{i}]") for i, item in enumerate(self.array(name))]

    def names(self) -> list[str]:
        """Return the names of the fields not yet taken."""
        return [*self._left]

    def rest(self) -> dict[str, Any]:
        """Return the fields that nobody asked for, to be written back."""
        return dict(self._left)

    def fail(self, name: str, expected: str, got: object) -> NoReturn:
        """Raise `ObjectCorrupt` for one field."""
        raise ObjectCorrupt(self._key, f"{self._where}.{name} is {repr(got)[:60]}, expected {expected}")


def operations(fields: Fields) -> tuple[tuple[int, str], ...]:
    """Take the last operations of a compare-and-set object: pairs of seq and operation id."""
    pairs: list[tuple[int, str]] = []
    for pair in fields.array("operations"):
        match pair:
            case [int(seq), str(operation)] if len(operation) <= 64:
                pairs.append((seq, operation))
            case _:
                fields.fail("operations", "pairs of seq and operation id", pair)
    return tuple(pairs)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is too large a number")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
