"""What a push has done that nothing names yet, kept in a local file so that the next push of the same folder can go on.

One line each, appended: `parent TAG HEX` (`-` for none) when the push first starts, and a pack's id once the store
has confirmed the pack. A line cut short is passed over; the next push reads the footers of the packs, and never
trusts this file's word alone. Of an encrypted store each line is sealed for itself. Appending is safe from any thread.
"""

import contextlib
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from store.digest import PACK_ID_SIZE, PackId
from store.veil import Veil


class Journal:
    """The journal of one (store, source folder, dataset); with no path, nothing is kept."""

    def __init__(self, path: Path | None, veil: Veil | None = None) -> None:
        self._path, self._veil = path, veil
        self._lock = threading.Lock()
        self._cut_short = False  # the last line has no end: what is appended begins a new one
        self._lines = self._read()

    def _read(self) -> list[list[str]]:
        if self._path is None:
            return []
        try:
            text = self._path.read_text(encoding="ascii", errors="replace")
        except OSError:
            return []
        self._cut_short = not text.endswith("\n") and bool(text)
        return [self._plain(line).split() for line in text.splitlines()]

    def _plain(self, line: str) -> str:
        return line if self._veil is None else self._veil.unline(line, self._purpose()) or ""

    def _sealed(self, line: str) -> str:
        return line if self._veil is None or not line else self._veil.line(line, self._purpose())

    def _purpose(self) -> bytes:
        """Return what a line stands in, so that it says nothing in the journal of another push."""
        return b"journal " + self._path.name.encode() if self._path is not None else b""

    def packs(self) -> list[PackId]:
        """Return the packs that an earlier push wrote and did not publish."""
        found = []
        for line in self._lines:
            with contextlib.suppress(ValueError, IndexError):
                if len(line) == 1 and len(pack := bytes.fromhex(line[0])) == PACK_ID_SIZE:
                    found.append(PackId(pack))
        return found

    def parents(self, channels: Iterable[str]) -> dict[str, str]:
        """Return what each channel named (hex, or empty) when the unfinished push first started."""
        kept = {line[1]: line[2] for line in self._lines if len(line) == 3 and line[0] == "parent" and _whole(line[2])}
        return {tag: "" if kept[tag] == "-" else kept[tag] for tag in channels if tag in kept}

    def begin(self, parents: Mapping[str, str]) -> None:
        """Note what the channels name as the push starts; those noted before stay as they are."""
        before = self.parents(parents)
        self._append([f"parent {tag} {manifest or '-'}" for tag, manifest in parents.items() if tag not in before])

    def pack(self, pack: PackId) -> None:
        """Note a pack that the store has confirmed."""
        self._append([pack.hex()])

    def forget_parents(self) -> None:
        """Keep the packs alone: after a conflict, the next push starts from the channels as they are then."""
        packs = self.packs()
        self.end()
        self._append([pack.hex() for pack in packs])

    def end(self) -> None:
        """Everything is published: nothing has to be remembered."""
        self._lines = []
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _append(self, lines: list[str]) -> None:
        if self._path is None or not lines:
            return
        with self._lock, contextlib.suppress(OSError):  # a state directory that can't be written costs only a resume
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="ascii") as file:
                file.writelines(f"{self._sealed(line)}\n" for line in (["", *lines] if self._cut_short else lines))
            self._cut_short = False
            self._lines += [line.split() for line in lines]


def _whole(parent: str) -> bool:
    return parent == "-" or re.fullmatch("[0-9a-f]{64}", parent) is not None
