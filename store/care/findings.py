"""What a check of a store found: faults by object, what each touches, and what to do about it.

Any thread may add. What is kept grows only with the damage found, and is bounded: `MOST` objects, each with its first
reasons, names and files; the rest is counted.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from store.layout import DATASETS, MANIFESTS, PACKS, ROOT_KEY

MOST: Final = 10_000  # objects with faults that are described; more are only counted
REASONS: Final = 5  # of one object
NAMES: Final = 50  # tags and states of one object
FILES: Final = 20  # of one object

ObjectKind = Literal["root", "head", "history", "manifest", "pack", "index", "object"]

_RESTORE: Final = "bring it back from a copy of the store (an earlier version of the object, a replica, a backup)"
_UNUSED: Final = "nothing that was checked needs it; it may stay as it is, or be brought back from a copy of the store"
_PUSH: Final = (
    "push the same files to the same tag again, with the times they had (as `cp -p` or a pull leaves them): where the "
    "id comes out the same, that writes it anew; or bring it back from a copy of the store; until then move channels "
    "to a sound state"
)
_ADVICE: Final[dict[ObjectKind, str]] = {
    "root": f"{_RESTORE}; `aetherfs init` would make another store of it",
    "head": f"{_RESTORE}; without it the dataset's tags are unknown, its files are still there",
    "history": f"{_RESTORE}; until then the tags or the history in it cannot be used",
    "manifest": f"{_RESTORE}; until then take the tags away with `aetherfs untag`, or move channels to a sound state",
    "pack": f"{_RESTORE}; until then take the tags away with `aetherfs untag`, or move channels to a sound state; "
    "pushing the same files again does not replace it, as their blocks count as known",
    "index": "delete it: it only saves uploads, and the next pushes write new ones",
    "object": _RESTORE,
}


@dataclass(slots=True)
class Finding:
    """What is wrong with one object."""

    key: str
    missing: bool  # else damaged
    reasons: list[str] = field(default_factory=list)  # the first ones
    more_reasons: int = 0
    names: list[str] = field(default_factory=list)  # `dataset:tag`, or `dataset@b3-HEX`: the first ones
    more_names: int = 0
    files: list[tuple[str, bytes]] = field(default_factory=list)  # (name, path): the first ones
    more_files: int = 0

    @property
    def kind(self) -> ObjectKind:
        """Say what the object is."""
        return kind_of_object(self.key)

    @property
    def advice(self) -> str:
        """Say what to do next."""
        if self.kind == "pack" and not self.names:
            return _UNUSED
        if self.kind == "manifest" and self.missing:
            return _PUSH
        return _ADVICE[self.kind]


class Findings:
    """All faults of one check."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}
        self._lock = threading.Lock()
        self.beyond = 0  # faults of objects that are not described

    def __len__(self) -> int:
        return len(self._found)

    def add(self, key: str, why: str, *, missing: bool = False, names: Sequence[str] = ()) -> None:
        """Note one fault of an object."""
        with self._lock:
            finding = self._finding(key, missing=missing)
            if finding is None:
                self.beyond += 1
                return
            if why not in finding.reasons:
                if len(finding.reasons) < REASONS:
                    finding.reasons.append(why)
                else:
                    finding.more_reasons += 1
            self._name(finding, names)

    def touch(self, key: str, names: Sequence[str], path: bytes | None = None) -> None:
        """Note that a state, or a file of it, needs an object that has a fault."""
        with self._lock:
            finding = self._found.get(key)
            if finding is None:
                return
            self._name(finding, names)
            if path is not None:
                if len(finding.files) < FILES:
                    finding.files.append((names[0] if names else "", path))
                else:
                    finding.more_files += 1

    def all(self) -> list[Finding]:
        """Return the faults, those of the most basic objects first."""
        order: list[ObjectKind] = ["root", "head", "history", "manifest", "pack", "index", "object"]
        with self._lock:
            return sorted(self._found.values(), key=lambda finding: (order.index(finding.kind), finding.key))

    def _finding(self, key: str, *, missing: bool) -> Finding | None:
        finding = self._found.get(key)
        if finding is None and len(self._found) < MOST:
            finding = self._found[key] = Finding(key, missing)
        return finding

    def _name(self, finding: Finding, names: Sequence[str]) -> None:
        for name in names:
            if name not in finding.names:
                if len(finding.names) < NAMES:
                    finding.names.append(name)
                else:
                    finding.more_names += 1


def kind_of_object(key: str) -> ObjectKind:
    """Say what lies at a key."""
    kinds: dict[str, ObjectKind] = {DATASETS: "head", "history/": "history", MANIFESTS: "manifest", PACKS: "pack"}
    kinds["index/"] = "index"
    if key == ROOT_KEY:
        return "root"
    return next((kind for prefix, kind in kinds.items() if key.startswith(prefix)), "object")
