"""The grammar of object keys and ranges, checked by every object store alike. Pure functions, usable from any thread.

A key is 1 to 900 printable ASCII characters (S3 allows 1,024 bytes, of which an address's prefix takes some): parts
joined by `/`, none of them empty, `.` or `..`. The first part never begins with `.`: such names belong to the folder
store's own files. Checked on the way in, no key can lead out of a store's folder or prefix.
"""

import re
from typing import Final

from store.errors import BadName

MAX_KEY: Final = 900
_TEXT: Final = re.compile(r"[!-~]*")  # printable ASCII without the space


def check_key(key: str) -> str:
    """Return `key` if it is a key.

    Raises:
        BadName: it is none.
    """
    if not key:
        raise BadName(key, "an object's key is never empty")
    _check(key, key.split("/"))
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` if keys may begin with it: empty, or the beginning of a key, perhaps up to a `/`.

    Raises:
        BadName: no key begins so.
    """
    *parts, last = prefix.split("/")
    _check(prefix, [*parts, last] if last else parts)
    return prefix


def check_range(key: str, offset: int, size: int | None) -> None:
    """Accept a range of bytes to read: `offset` from 0, `size` from 0, or `None` for all up to the end.

    Raises:
        BadName: a negative number, which would mean something else to each kind of store.
    """
    if offset < 0 or (size is not None and size < 0):
        raise BadName(key, f"no range of an object begins at {offset} with {size} bytes")


def _check(text: str, parts: list[str]) -> None:
    if len(text) > MAX_KEY:
        raise BadName(f"{text[:40]}...", f"an object's key of {len(text)} characters; the most is {MAX_KEY}")
    if not _TEXT.fullmatch(text):
        raise BadName(text, "an object's key has printable ASCII characters only")
    if any(part in ("", ".", "..") for part in parts):
        raise BadName(text, "an object's key has no empty, `.` or `..` part")
    if text.startswith("."):
        raise BadName(text, "no object's key begins with a dot")
