"""The programs that are compared, behind one shape: make a repository, put a folder in, get it out.

Each keeps all it writes below one folder of its own, so that nothing of the user's is read or changed.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Protocol

from bench.child import Run, run

SYSTEM = ("PATH", "HOME", "LANG", "TMPDIR")


class Tool(Protocol):
    """One program, with one repository."""

    name: str
    place: Path  # holds all that it writes

    def init(self) -> None:
        """Make the repository."""
        ...

    def push(self, folder: Path, version: str) -> tuple[Run, dict[str, int]]:
        """Put a folder in as `version`; return what it took and what the program says of it.

        That is `files`, and with ours `puts`.
        """
        ...

    def pull(self, version: str, dest: Path) -> Run:
        """Get it out into a new folder."""
        ...

    def stored(self) -> int:
        """Return the bytes that the repository holds; -1 where it is no folder."""
        ...


class Ours:
    """AetherFS as it is installed beside the running interpreter."""

    name = "ours"

    def __init__(self, place: Path, *, address: str = "", env: dict[str, str] | None = None) -> None:
        """Prepare; `address` is an S3 store's, else a folder below `place` is used."""
        self.place, self.address = place, address or str(place / "store")
        self.program = str(Path(sys.executable).parent / "aetherfs")
        self.env = _environment(place) | {"AETHERFS_STORE": self.address} | (env or {})

    def init(self) -> None:
        """See `Tool`."""
        self.place.mkdir(parents=True)
        run([self.program, "init"], env=self.env)

    def push(self, folder: Path, version: str) -> tuple[Run, dict[str, int]]:
        """See `Tool`."""
        done = run([self.program, "push", "--quiet", "--json", str(folder), "-t", f"data:{version}"], env=self.env)
        said = json.loads(done.out)
        return done, {"puts": said["puts"], "files": said["files"], "stored": said["stored_bytes"]}

    def pull(self, version: str, dest: Path) -> Run:
        """See `Tool`."""
        return run([self.program, "pull", "--quiet", f"data:{version}", str(dest)], env=self.env)

    def stored(self) -> int:
        """See `Tool`."""
        return size_of(self.place / "store")

    def manifest_size(self) -> int:
        """Return the bytes of all manifests."""
        return size_of(self.place / "store" / "manifests")


class Restic:
    """restic, with its own defaults (repository version 2, compression auto)."""

    name = "restic"

    def __init__(self, place: Path, *, address: str = "", env: dict[str, str] | None = None) -> None:
        """Prepare; `address` is an S3 repository's, else a folder below `place` is used."""
        self.place, self.address = place, address or str(place / "repo")
        self.env = _environment(place) | {
            "RESTIC_REPOSITORY": self.address,
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_CACHE_DIR": str(place / "cache"),
            **(env or {}),
        }

    def init(self) -> None:
        """See `Tool`."""
        self.place.mkdir(parents=True)
        run(["restic", "init", "--quiet"], env=self.env)

    def push(self, folder: Path, version: str) -> tuple[Run, dict[str, int]]:
        """See `Tool`."""
        done = run(["restic", "backup", "--json", "--tag", version, "."], env=self.env, cwd=folder)
        said = json.loads(done.out.strip().splitlines()[-1])
        return done, {"files": said["total_files_processed"]}

    def pull(self, version: str, dest: Path) -> Run:
        """See `Tool`."""
        return run(["restic", "restore", "latest", "--tag", version, "--target", str(dest)], env=self.env)

    def stored(self) -> int:
        """See `Tool`."""
        return size_of(self.place / "repo")


def versions() -> dict[str, str]:
    """Return the versions of what is compared."""
    env = {name: os.environ[name] for name in SYSTEM if name in os.environ}
    ours = run([str(Path(sys.executable).parent / "aetherfs"), "version"], env=env).out.strip()
    found = {"ours": ours, "python": sys.version.split()[0]}
    if shutil.which("restic"):
        found["restic"] = run(["restic", "version"], env=env).out.split()[1]
    return found


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(os.lstat(os.path.join(top, name)).st_size for top, _, names in os.walk(folder) for name in names)


def _environment(place: Path) -> dict[str, str]:
    env = {name: os.environ[name] for name in SYSTEM if name in os.environ}
    own = {f"XDG_{kind}_HOME": str(place / kind.lower()) for kind in ("STATE", "CACHE", "CONFIG", "DATA")}
    return env | own
