"""Files of users and hashes of their passwords, as Apache's htpasswd writes them.

    # a comment
    ada:$argon2id$v=19$m=65536,t=3,p=4$...
    bob:$2y$12$...

UTF-8, a line each; blank lines and those that begin with `#` are passed over. Whatever a reader could take in two ways
is refused with its line: a name twice, another colon, white space around a name, a kind of hash that is not known. A
file is good as a whole or not at all. There are no groups: rules name users. Pure; values are immutable; any thread.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from auth.hashes import check_hash
from auth.principal import LONGEST_NAME as LONGEST_NAME

LARGEST: Final = 4 << 20  # bytes: some 30,000 users


class HtpasswdError(ValueError):
    """A file of users cannot be used. The message is finished and names the line, but no hash."""


class Users:
    """Users and their hashes, as one file had them."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        """Take name -> hash."""
        self._hashes = dict(hashes)
        self._all = tuple(self._hashes.values())
        self._secret = hashlib.blake2b("\n".join(self._all).encode(), digest_size=32).digest()

    @property
    def names(self) -> tuple[str, ...]:
        """Return all names, in the order of the file."""
        return tuple(self._hashes)

    def get(self, name: str) -> str | None:
        """Return a user's hash, `None` if there is no such user."""
        return self._hashes.get(name)

    def decoy(self, name: str) -> str | None:
        """Return a hash to hold the password of an unknown user against, so that it takes as long as a known one's.

        It is that of some user; always the same for one name and file, in every process, so that a file with several
        kinds of hash tells nothing by a name that is now dear and now cheap. `None`: there are no users.
        """
        if not self._all:
            return None
        drawn = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), key=self._secret, digest_size=8).digest()
        return self._all[int.from_bytes(drawn, "big") % len(self._all)]


class _Line(NamedTuple):
    raw: bytes  # with its end
    name: str  # empty: a comment, or blank
    digest: str


def check_name(name: str) -> None:
    """Check that a user can have this name.

    Raises:
        ValueError: it is empty, too long, or no client or file could write it; the message says which.
    """
    if not name or len(name) > LONGEST_NAME:
        raise ValueError(f"a user's name has 1 to {LONGEST_NAME} characters")
    if ":" in name:
        raise ValueError(f"a user's name has no colon: {name[:80]!r}")
    if not name.isprintable():
        raise ValueError(f"a user's name has no control or invisible characters: {name[:80]!r}")
    if name != name.strip() or name.startswith("#"):
        raise ValueError(f"a user's name begins with no # and has no space around it: {name[:80]!r}")


def parse_htpasswd(data: bytes) -> Users:
    """Read a file.

    Raises:
        HtpasswdError: it cannot be used.
    """
    return Users({line.name: line.digest for line in _lines(data) if line.name})


def with_user(data: bytes, name: str, digest: str) -> bytes:
    """Return a file in which a user has this hash: in the place of the old one, or at the end. The rest stays as it is.

    Raises:
        HtpasswdError: the file cannot be used.  ValueError: the name or hash cannot.
    """
    check_name(name)
    check_hash(digest)
    lines = list(_lines(data))
    new = f"{name}:{digest}".encode()
    if not any(line.name == name for line in lines):
        return data + (b"\n" if data and not data.endswith(b"\n") else b"") + new + b"\n"
    return b"".join(new + _end(line.raw) if line.name == name else line.raw for line in lines)


def without_user(data: bytes, name: str) -> bytes:
    """Return a file without a user's line; the same file if there is none.

    Raises:
        HtpasswdError: the file cannot be used.
    """
    return b"".join(line.raw for line in _lines(data) if line.name != name or not name)


def _lines(data: bytes) -> Iterator[_Line]:
    if len(data) > LARGEST:
        raise HtpasswdError(f"line 1: larger than {LARGEST} bytes: not a file of users")
    names: dict[str, int] = {}
    for number, raw in enumerate(data.splitlines(keepends=True), 1):  # of bytes: \n, \r\n and \r alone end lines
        try:
            text = raw.rstrip(b"\r\n").decode("utf-8-sig" if number == 1 else "utf-8")  # some editors begin a file so
        except UnicodeDecodeError as error:
            raise HtpasswdError(f"line {number}: not UTF-8") from error
        if not text.strip() or text.startswith("#"):
            yield _Line(raw, "", "")
            continue
        name, colon, digest = text.partition(":")
        try:
            if not colon:
                raise ValueError("no colon: a line is NAME:HASH")
            check_name(name)
            if ":" in digest:
                raise ValueError("a second colon: a line is NAME:HASH")
            check_hash(digest)
            if name in names:
                raise ValueError(f"{name!r} stands in line {names[name]} already")
        except ValueError as error:
            raise HtpasswdError(f"line {number}: {error}") from error
        names[name] = number
        yield _Line(raw, name, digest)


def _end(raw: bytes) -> bytes:
    return raw[len(raw.rstrip(b"\r\n")) :]
