"""JSON from outside, of which no two readers could take different things: an object, no name twice, numbers alone.

Any thread; pure.
"""

import json
from typing import Any, NoReturn


def parse_json(data: bytes) -> dict[str, Any]:
    """Read a JSON object in which no name stands twice and every number is one.

    Raises:
        ValueError: it is not that.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name stands twice")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
