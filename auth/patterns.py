"""Patterns of dataset names: `*` stands for any characters, a scope's slash among them, `?` for any one.

Users choose patterns too (what a token is for), so matching takes time in proportion to pattern and name, whatever the
pattern: each stretch between two stars is looked for once, from where the one before it ended, and never again.

Any thread; pure.
"""

import functools
import re
from typing import Final

EVERYTHING: Final = "*"
LONGEST: Final = 256  # characters
_ALLOWED: Final = re.compile(r"@?[a-z0-9*?][a-z0-9._*?-]*(/[a-z0-9*?][a-z0-9._*?-]*)?", re.ASCII)
_EASY: Final = re.compile(
    r"(@[a-z0-9][a-z0-9._-]{0,63}/)?([a-z0-9][a-z0-9._-]{0,63}|[a-z0-9][a-z0-9._-]{0,62}\*|\*)", re.ASCII
)
_PART: Final = 64  # characters of a part of a name
_RESERVED: Final = ("@token/", "@me/")  # no dataset's name begins so


def check_pattern(pattern: str) -> None:
    """Check that a pattern could be one of dataset names.

    Raises:
        ValueError: it has characters that no dataset's name has, or is too long; the message says which pattern.
    """
    if len(pattern) > LONGEST or not _ALLOWED.fullmatch(pattern):
        raise ValueError(f"{pattern[:80]!r} is not a pattern of dataset names such as 'maps', '@geo/*' or '*'")


@functools.lru_cache(maxsize=16_384)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern as an expression that fits whole names."""
    first, *others = ("".join("." if c == "?" else re.escape(c) for c in part) for part in re.split(r"\*+", pattern))
    if not others:
        return re.compile(first, re.DOTALL)
    *between, last = others
    # An atomic group keeps the first place that fits: a later one could not help what follows.
    return re.compile(first + "".join(f"(?>.*?{part})" for part in between) + f".*{last}", re.DOTALL)


def fits(pattern: str, dataset: str) -> bool:
    """Tell whether a pattern fits a dataset's name."""
    if pattern in (dataset, EVERYTHING):
        return True
    return is_wild(pattern) and compiled(pattern).fullmatch(dataset) is not None


def may_begin(pattern: str, beginning: str) -> bool:
    """Tell whether a pattern may fit a name that begins so and goes on."""
    if len(beginning) > 2 * _PART + 2:
        return False  # no name is so long
    places = _at_once(pattern, {0})
    for character in beginning:
        going = {at for at in places if at < len(pattern) and pattern[at] in ("*", "?", character)}
        places = _at_once(pattern, {at if pattern[at] == "*" else at + 1 for at in going})
    return any(at < len(pattern) for at in places)


def _at_once(pattern: str, places: set[int]) -> set[int]:
    """Add the places behind stars that stand for nothing."""
    found = set(places)
    for at in places:
        while pattern[at : at + 1] == "*":
            at += 1
            found.add(at)
    return found


def is_wild(pattern: str) -> bool:
    """Tell whether a pattern stands for more than one name."""
    return "*" in pattern or "?" in pattern


def can_fit(pattern: str) -> bool:
    """Tell whether there is any name of a dataset that a pattern fits: `public/*` fits none, for it lacks an `@`.

    Names are `part` or `@part/part`, a part being `[a-z0-9][a-z0-9._-]{0,63}`. All names that the pattern can spell are
    spelt at once: a place in it together with how far a name has got.
    """
    if pattern.startswith(_RESERVED):
        return False
    if _EASY.fullmatch(pattern):
        return True
    seen = {(0, "", 0)}  # place in the pattern; "": at the beginning, "@", "s": in the scope, "/", "n": in the name
    todo = [*seen]
    while todo:
        at, phase, length = todo.pop()
        if at == len(pattern):
            if phase == "n":
                return True
            continue
        wild = pattern[at] in "*?"
        coming = [(at + 1, phase, length)] if pattern[at] == "*" else []
        for kind in "@/a." if wild else _kind(pattern[at]):
            after = _after(phase, length, kind)
            if after is not None:
                coming.append((at if pattern[at] == "*" else at + 1, *after))
        new = [state for state in coming if state not in seen]
        seen.update(new)
        todo += new
    return False


def _kind(character: str) -> str:
    """Return what stands for a character of a name: a letter or digit is `a`, what may not begin a part is a dot."""
    if character in "@/":
        return character
    return "." if character in "._-" else "a"


def _after(phase: str, length: int, kind: str) -> tuple[str, int] | None:
    """Return how far a name has got behind one more character; `None`: no name goes on so."""
    if kind == "@":
        return ("@", 0) if phase == "" else None
    if kind == "/":
        return ("/", 0) if phase == "s" else None
    if phase in ("s", "n"):
        return (phase, length + 1) if length < _PART else None
    if kind == ".":
        return None
    return ("s", 1) if phase == "@" else ("n", 1)
