"""Patterns of dataset names: `*` stands for any characters, a scope's slash among them, `?` for one.

Any thread; pure.
"""

import functools
import re
from typing import Final

EVERYTHING: Final = "*"
_ALLOWED: Final = re.compile(r"@?[a-z0-9*?][a-z0-9._*?-]*(/[a-z0-9*?][a-z0-9._*?-]*)?|@[*?]?", re.ASCII)
LONGEST: Final = 256  # characters


def check_pattern(pattern: str) -> None:
    """Check that a pattern could be one of dataset names.

    Raises:
        ValueError: it has characters that no dataset's name has, or is too long; the message says which pattern.
    """
    if len(pattern) > LONGEST or not _ALLOWED.fullmatch(pattern):
        raise ValueError(f"{pattern[:80]!r} is not a pattern of dataset names such as 'maps', '@geo/*' or '*'")


@functools.lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern as an expression that fits whole names."""
    # Runs of stars are one: several beside each other would be tried in every way there is.
    parts = re.split(r"(\*+|\?)", pattern)
    return re.compile("".join(_part(part) for part in parts), re.DOTALL)


def _part(part: str) -> str:
    if part.startswith("*"):
        return ".*"
    return "." if part == "?" else re.escape(part)


def fits(pattern: str, dataset: str) -> bool:
    """Tell whether a pattern fits a dataset's name."""
    return pattern == dataset or compiled(pattern).fullmatch(dataset) is not None
