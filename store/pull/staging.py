"""The folder beside a destination in which a pull builds the new tree, locked so that two pulls exclude each other.

    <parent>/.aetherfs-pull-<16 hex digits of the destination's name>/
        lock                    flock'd while a pull runs
        <id>-<root>/            the tree of one state, unfinished until it is swapped in; both 64 hex digits
        <word>/                 the same of an encrypted store, 128 characters: `Veil.word` of id and root
        old                     the old tree, for a moment, where the system can't exchange two folders

Mode 0700: nobody else writes below it, so nobody can put a link in a path's way. A killed pull leaves it; the next one
takes from it what it can. One thread.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from blake3 import blake3

from store.errors import DestinationUnusable
from store.pull.exchange import exchange
from store.veil import Veil

_LOCK: Final = b"lock"
_OLD: Final = b"old"
WAIT_S: Final = 5.0  # for the lock: processes that a killed pull left finish their files first
_POLL_S: Final = 0.02
_TREE: Final = re.compile(rb"([0-9a-f]{64})-([0-9a-f]{64})")
_PURPOSE: Final = b"tree"


def resolve(dest: str) -> bytes:
    """Return the real path of a destination, with the folders above it made.

    Raises:
        DestinationUnusable: it is something that can't be swapped.
    """
    path = os.path.realpath(os.fsencode(dest))
    if os.path.ismount(path):
        raise DestinationUnusable(dest, "it is a mount point, which cannot be swapped; name a folder in it")
    if os.path.lexists(path) and not os.path.isdir(path):
        raise DestinationUnusable(dest, "it is not a folder")
    with contextlib.suppress(FileNotFoundError):
        if os.path.commonpath((os.getcwdb(), path)) == path:
            raise DestinationUnusable(
                dest, "the current folder is in it and would go on showing the old state; leave it"
            )
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except OSError as error:
        raise DestinationUnusable(dest, os.strerror(error.errno or 0)) from error
    return path


class Staging:
    """The staging folder of one destination; use `staging`."""

    def __init__(self, dest: bytes, folder: bytes, state: tuple[bytes, bytes], lock: int, veil: Veil | None) -> None:
        self.dest, self.folder = dest, folder
        self.lock = lock  # descriptor of the locked file
        self._veil = veil
        self.tree = os.path.join(
            folder,
            b"%b-%b" % (state[0].hex().encode(), state[1].hex().encode())
            if veil is None
            else veil.word(b"".join(state), _PURPOSE),
        )

    def recover(self) -> None:
        """Put back the old tree where a pull was killed between two renames."""
        old = os.path.join(self.folder, _OLD)
        if os.path.lexists(old) and not os.path.lexists(self.dest):
            os.rename(old, self.dest)

    def leftovers(self) -> list[tuple[bytes, bytes, bytes]]:
        """Return (path, manifest id, root) of the trees that pulls of other states left."""
        found = []
        for name in sorted(os.listdir(self.folder)):
            state, path = self._state(name), os.path.join(self.folder, name)
            if state is not None and path != self.tree:
                found.append((path, *state))
        return found

    def _state(self, name: bytes) -> tuple[bytes, bytes] | None:
        """Return id and root of the state whose tree has this name."""
        match = _TREE.fullmatch(name)
        if match is not None:
            return bytes.fromhex(match[1].decode()), bytes.fromhex(match[2].decode())
        state = self._veil.unword(name, _PURPOSE) if self._veil is not None else None
        return None if state is None else (state[:32], state[32:])

    def swap(self) -> bool:
        """Put the tree in the destination's place; the old one, if any, lies in this folder then.

        Returns:
            Whether that was one step. False: for a moment there was nothing at the destination.
        """
        atomic = True
        if not os.path.lexists(self.dest):
            os.rename(self.tree, self.dest)
        elif not exchange(self.tree, self.dest):
            atomic = False
            old = os.path.join(self.folder, _OLD)
            remove_tree(old)
            os.rename(self.dest, old)
            os.rename(self.tree, self.dest)
        sync(os.path.dirname(self.dest))
        sync(self.folder)
        return atomic

    def clear(self) -> None:
        """Remove every tree; only the lock stays."""
        for name in os.listdir(self.folder):
            if name != _LOCK:
                remove_tree(os.path.join(self.folder, name))

    def now_ns(self) -> int:
        """Tell the time as the file system's own stamps have it."""
        lock = os.path.join(self.folder, _LOCK)
        os.utime(lock)
        return os.lstat(lock).st_ctime_ns


@contextlib.contextmanager
def staging(dest: bytes, state: tuple[bytes, bytes], veil: Veil | None = None) -> Iterator[Staging]:
    """Open the staging folder beside a destination and hold its lock.

    Args:
        dest: as `resolve` returns it.
        state: id and root of the manifest that is pulled, 32 bytes each.
        veil: hides them in the name of the tree, where the store is encrypted.

    Raises:
        DestinationUnusable: another pull holds it, or it can't be made.
    """
    parent, name = os.path.split(dest)
    folder = os.path.join(parent, b".aetherfs-pull-" + blake3(name).hexdigest()[:16].encode())
    descriptor = _lock(dest, folder)
    try:
        place = Staging(dest, folder, state, descriptor, veil)
        place.recover()
        yield place
    finally:
        with contextlib.suppress(OSError):
            if os.listdir(folder) == [_LOCK]:
                os.unlink(os.path.join(folder, _LOCK))
                os.rmdir(folder)
        os.close(descriptor)


def _lock(dest: bytes, folder: bytes) -> int:
    shown = os.fsdecode(dest)
    path = os.path.join(folder, _LOCK)
    until = time.monotonic() + WAIT_S
    while True:  # the one who held it may remove it while we wait for it
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
            status = os.lstat(folder)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                raise DestinationUnusable(shown, f"{os.fsdecode(folder)} is in the way")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DestinationUnusable(
                shown, f"{os.fsdecode(folder)} cannot be made: {os.strerror(error.errno or 0)}"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.lstat(path).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                if time.monotonic() < until:
                    time.sleep(_POLL_S)
                    continue
                raise DestinationUnusable(shown, "another pull is writing it") from error
            raise DestinationUnusable(shown, f"it cannot be locked: {os.strerror(error.errno or 0)}") from error
        else:
            os.close(descriptor)
            continue
        os.close(descriptor)


def remove_tree(path: bytes) -> None:
    """Remove a folder and all that is in it, folders that may not be written too; nothing there is no error."""

    def again(function: Callable[..., Any], failed: Any, info: Any) -> None:
        if isinstance(info[1], FileNotFoundError):
            return
        for folder in (os.path.dirname(failed), failed):
            if os.path.isdir(folder) and not os.path.islink(folder):
                os.chmod(folder, 0o700)
        shutil.rmtree(failed) if os.path.isdir(failed) and not os.path.islink(failed) else os.unlink(failed)

    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, onerror=again)
    elif os.path.lexists(path):
        os.unlink(path)


def sync(path: bytes) -> None:
    """Make a file, or a folder's entries, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
