"""A file that several processes add whole lines to, and that may be moved away, cut or removed meanwhile (logrotate).

Lines are written by one `write` to a file that is opened for appending, so those of different processes do not mix.
What a full disk cut off is ended before the next line, whoever wrote it: no line but that one is lost. Threads: one at
a time.
"""

import contextlib
import os
import stat
from typing import Final

STDERR: Final = "-"  # as a path
_FLAGS: Final = os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


class LogFile:
    """See the module."""

    def __init__(self, path: str, mode: int) -> None:
        """Open it.

        Args:
            path: where; STDERR: standard error.
            mode: of a new file.

        Raises:
            OSError: it cannot be written.
        """
        self.path, self._mode = path, mode
        self._file = 2 if path == STDERR else self._opened()

    def add(self, lines: bytes) -> None:
        """Write lines, each with its end; in another file, where this one is no longer at the path.

        Raises:
            OSError: they, or some, could not be written.
        """
        if self.path != STDERR and not self._same():
            coming = self._opened()
            os.close(self._file)
            self._file = coming
        view = memoryview(b"\n" + lines if self._torn() else lines)
        while view:
            view = view[os.write(self._file, view) :]

    def close(self) -> None:
        """Close it. Nothing can be added any more."""
        if self.path != STDERR:
            os.close(self._file)

    def _opened(self) -> int:
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                return os.open(self.path, os.O_WRONLY | _FLAGS)  # a pipe, that somebody else reads
        try:
            return os.open(self.path, os.O_RDWR | _FLAGS, self._mode)
        except PermissionError:  # may be written, and not read
            return os.open(self.path, os.O_WRONLY | _FLAGS, self._mode)

    def _same(self) -> bool:
        """Tell whether the file at the path is the one that is open."""
        try:
            at_path, opened = os.stat(self.path), os.fstat(self._file)
        except OSError:
            return False
        return (at_path.st_dev, at_path.st_ino) == (opened.st_dev, opened.st_ino)

    def _torn(self) -> bool:
        """Tell whether the file ends within a line."""
        with contextlib.suppress(OSError):  # a pipe; or it may not be read
            size = os.fstat(self._file).st_size
            return size > 0 and os.pread(self._file, 1, size - 1) not in (b"\n", b"")
        return False
