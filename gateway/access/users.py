"""The file of users: read by gateways, again when it changes; changed by `aetherfs user`.

A change replaces the file whole and durably, under a lock on its folder, so that two who change it at once lose nothing
and a gateway never reads half a file. A new file is its owner's alone (mode 600); one that is there keeps its owner and
mode. Any thread.
"""

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog

from auth.htpasswd import LARGEST, HtpasswdError, Users, parse_htpasswd, with_user, without_user
from gateway.access.current import FILE_S, Current, Watch, WatchedFile
from gateway.config import ConfigError
from gateway.errors import UserMissing, UserTaken

WHAT: Final = "the file of users"

_log = structlog.stdlib.get_logger("aetherfs.access")


class UserFile:
    """The users of a gateway."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: it can't be used; the message says which line, or what to do.
        """
        if not path.exists():
            raise ConfigError(f"{WHAT} {path} does not exist: `aetherfs user add NAME --file {path}` makes it")
        file = WatchedFile(path, WHAT, limit=LARGEST)
        self._current = Current(f"{WHAT} {path}", file.read, lambda data: _parsed(path, data))
        if path.stat().st_mode & stat.S_IROTH:
            _log.warning(f"{WHAT} can be read by every user of this machine: run `chmod o-r {path}`")

    @property
    def users(self) -> Users:
        """Return the users of the moment. Never waits."""
        return self._current.value

    def refresh(self) -> bool:
        """Look whether the file was changed; see `Current.refresh`."""
        return self._current.refresh()

    def start(self) -> Watch:
        """Look every few seconds from now on, until what is returned is closed."""
        return Watch(self.refresh, FILE_S)


def read_users(path: Path) -> Users:
    """Read a file once.

    Raises:
        ConfigError: as `UserFile`.
    """
    return _parsed(path, WatchedFile(path, WHAT, limit=LARGEST).read() or b"")


def add_user(path: Path, name: str, digest: str) -> None:
    """Add a user; the file is made if there is none.

    Raises:
        UserTaken: there is one of that name.
        ConfigError: the file can't be used.
        OSError: it can't be written.
    """

    def change(data: bytes) -> bytes:
        if _parsed(path, data).get(name) is not None:
            raise UserTaken(name)
        return with_user(data, name, digest)

    _change(path, change)


def change_user(path: Path, name: str, digest: str) -> None:
    """Give a user another hash.

    Raises:
        UserMissing: there is none of that name.
        ConfigError, OSError: as `add_user`.
    """
    _change(path, lambda data: with_user(_having(path, data, name), name, digest))


def remove_user(path: Path, name: str) -> None:
    """Remove a user; errors as `change_user`."""
    _change(path, lambda data: without_user(_having(path, data, name), name))


def _having(path: Path, data: bytes, name: str) -> bytes:
    if _parsed(path, data).get(name) is None:
        raise UserMissing(name, str(path))
    return data


def _parsed(path: Path, data: bytes) -> Users:
    try:
        return parse_htpasswd(data)
    except HtpasswdError as error:
        raise ConfigError(f"{WHAT} {path}, {error}") from error


def _change(path: Path, change: Callable[[bytes], bytes]) -> None:
    real = Path(os.path.realpath(path))  # a link stays one
    with _alone(real.parent):
        data, status = b"", None
        if real.exists():
            data, status = WatchedFile(real, WHAT, limit=LARGEST).read() or b"", real.stat()
        _replace(real, change(data), status)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes, before: os.stat_result | None) -> None:
    coming = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(coming, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if before is not None:  # whoever could read it still can, such as a gateway by its group
                made = os.fstat(descriptor)
                if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
                    os.fchown(descriptor, before.st_uid, before.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
            os.fsync(descriptor)
        os.replace(coming, path)
    except BaseException:
        coming.unlink(missing_ok=True)
        raise
