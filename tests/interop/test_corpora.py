"""Several versions of one dataset, pushed in order and pulled through a folder and S3 servers: equal every time.

The corpus is made here, small, of what data sets are made of: a table that grows and is edited, a database file, a
media file that stays, many small files, names that are hard.
"""

import os
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.objects.address import open_objects
from store.objects.base import ObjectStore
from store.objects.guard import Guarded
from store.objects.local import FolderStore
from store.objects.retry import Retrying
from store.pull import pull
from store.push import push
from store.repository import Repository
from tests.support.folders import HARD_NAMES, held, new_repository
from tests.support.s3 import S3Place

VERSIONS = 3


def lay_out(folder: Path, version: int) -> None:
    """Make one version; the next has a few changes everywhere."""
    chance = random.Random(1)
    (folder / "tables" / "none yet").mkdir(parents=True)
    rows = [f"{n},{chance.random():.6f},{chance.choice('abcdef') * 5}\n" for n in range(40_000 + version * 500)]
    rows[1000] = f"1000,edited in {version}\n"
    (folder / "tables" / "rows.csv").write_text("".join(rows))
    database = sqlite3.connect(folder / "city.db")
    with database:
        database.execute("create table places (id integer primary key, name text)")
        database.executemany("insert into places values (?, ?)", ((n, f"place {n * 7919}") for n in range(20_000)))
        database.execute("update places set name = ? where id % 1000 = 3", (f"moved in {version}",))
    database.close()
    (folder / "media").write_bytes(chance.randbytes(4 << 20))
    with (folder / "image").open("wb") as file:
        file.write(chance.randbytes(300_000))
        file.truncate(16 << 20)
    for number in range(300):
        small = folder / "small" / str(number % 7) / f"{number}.txt"
        small.parent.mkdir(parents=True, exist_ok=True)
        small.write_text(f"{number} {version if number % 50 == 0 else 'same'}")
    for name in HARD_NAMES:
        with open(os.path.join(os.fsencode(folder), b"small", name), "wb") as file:
            file.write(name)
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "newest").symlink_to("tables/rows.csv" if version % 2 else "city.db")


@pytest.fixture(params=["folder", pytest.param("seaweed", marks=pytest.mark.s3), "moto"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Repository]:
    objects: ObjectStore
    if request.param == "folder":
        objects = FolderStore(tmp_path / "store", create=True)
    else:
        place: S3Place = request.getfixturevalue(f"{request.param}_place")
        objects = Guarded(Retrying(open_objects(place.address)))
    yield new_repository(objects)
    objects.close()


@pytest.mark.interop
def test_every_version_arrives_in_any_order_and_in_place(repository: Repository, tmp_path: Path) -> None:
    sources = [tmp_path / f"source {version}" for version in range(VERSIONS)]
    new = []
    for version, source in enumerate(sources):
        lay_out(source, version)
        pushed = push(repository, source, "corpus", [f"1.{version}.0", "latest"], tmp_path / "push-state")
        new.append(pushed.bytes_new)
    assert max(new[1:]) < new[0] / 4
    fetched = []
    for version in (0, 1, 2, 0, 2):
        state = repository.catalogue.resolve(f"corpus:1.{version}.0")
        pulled = pull(repository, state, tmp_path / "dest", tmp_path / "pull-state")
        fetched.append(pulled.bytes_fetched)
        assert held(tmp_path / "dest") == held(sources[version])
    assert max(fetched[1:]) < fetched[0] / 3
    assert repository.catalogue.resolve("corpus:latest").manifest == state.manifest
