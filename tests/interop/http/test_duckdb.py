"""DuckDB, by its httpfs extension, on files behind a running server: Parquet read and SQLite attached in place."""

import sqlite3
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dav.reply import Environ, StartResponse
from gateway.web.app import make_fast_lane, make_wsgi_app
from tests.interop.http.serving import Serving, serving
from tests.support.trees import MemoryTree

pytestmark = pytest.mark.interop

ROWS = 200_000
Asked = list[tuple[str, str, str | None, str]]  # method, target, Range, status


def parquet(path: Path, step: int) -> bytes:
    duckdb.execute(
        f"copy (select range as i, range * {step} as j, md5(range::text) as m from range({ROWS})) to '{path}' "
        "(format parquet, row_group_size 20000)"
    )
    return path.read_bytes()


def sqlite_db(path: Path) -> bytes:
    with sqlite3.connect(path) as db:
        db.execute("create table t (i integer primary key, m text)")
        db.executemany("insert into t values (?, ?)", ((i, str(i) * 10) for i in range(20_000)))
    db.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, bytes]:
    folder = tmp_path_factory.mktemp("files")
    return {
        b"t.parquet": parquet(folder / "a", 2),
        b"next.parquet": parquet(folder / "b", 3),
        b"t.sqlite": sqlite_db(folder / "c"),
    }


@pytest.fixture
def tree(files: dict[bytes, bytes]) -> MemoryTree:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", files)
    tree.publish("geo", "latest", files)
    return tree


@pytest.fixture
def asked() -> Asked:
    return []


@pytest.fixture
def running(tree: MemoryTree, asked: Asked) -> Iterator[Serving]:
    app = make_wsgi_app(tree)

    def noted(environ: Environ, start: StartResponse) -> Any:
        def begin(status: str, headers: list[tuple[str, str]]) -> object:
            asked.append((environ["REQUEST_METHOD"], environ["REQUEST_URI"], environ.get("HTTP_RANGE"), status[:3]))
            return start(status, headers)

        return app(environ, begin)

    with serving(noted) as running:
        yield running


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """Open a database in memory with the extensions that PyPI carries."""
    connection = duckdb.connect(config={"extension_directory": str(folder)})
    for name in ("httpfs", "sqlite_scanner"):
        found = Path(import_module(f"duckdb_extension_{name}").__path__[0])
        connection.execute(f"load '{found / 'extensions' / f'v{duckdb.__version__}' / name}.duckdb_extension'")
    return connection


def one(connection: duckdb.DuckDBPyConnection, query: str) -> object:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_parquet_is_read_by_ranges(running: Serving, asked: Asked, files: dict[bytes, bytes], tmp_path: Path) -> None:
    with connect(tmp_path) as db:
        url = f"{running.url}/fs/geo/1.0.0/t.parquet"
        assert one(db, f"select sum(j) from '{url}'") == ROWS * (ROWS - 1)
        asked.clear()
        assert one(db, f"select m from '{url}' where i = 77777") is not None
    assert {status for *_, status in asked} <= {"200", "206"}
    gets = [wanted for method, _, wanted, _ in asked if method == "GET"]
    assert all(gets), "it fetched the file whole"
    spans = [wanted.removeprefix("bytes=").split("-") for wanted in gets if wanted]
    moved = sum(int(last) - int(first) + 1 for first, last in spans)
    assert moved < len(files[b"t.parquet"]) / 4


def test_sqlite_is_attached_in_place(running: Serving, asked: Asked, tmp_path: Path) -> None:
    with connect(tmp_path) as db:
        db.execute(f"attach '{running.url}/fs/geo/1.0.0/t.sqlite' as q (type sqlite, read_only)")
        assert one(db, "select count(*) from q.t") == 20_000
        assert one(db, "select m from q.t where i = 4711") == "4711" * 10
    assert all(wanted for method, target, wanted, _ in asked if method == "GET" and target.endswith("t.sqlite"))


def test_a_channel_shows_the_new_state_and_its_fixed_url_the_old_one(
    running: Serving, tree: MemoryTree, files: dict[bytes, bytes], tmp_path: Path
) -> None:
    moving, fixed = (f"{running.url}/fs/geo/{tag}/t.parquet" for tag in ("latest", "1.0.0"))
    with connect(tmp_path) as db:
        assert one(db, f"select max(j) from '{moving}'") == 2 * (ROWS - 1)
        tree.publish("geo", "latest", {**files, b"t.parquet": files[b"next.parquet"]})
        assert one(db, f"select max(j) from '{moving}'") == 3 * (ROWS - 1)
        assert one(db, f"select max(j) from '{fixed}'") == 2 * (ROWS - 1)


def test_several_files_are_one_table_through_the_quick_way_as_well(tree: MemoryTree, tmp_path: Path) -> None:
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running, connect(tmp_path) as db:
        top = f"{running.url}/fs/geo/1.0.0"
        for _ in range(2):  # the second time from what was kept
            found = one(
                db, f"select count(*) from read_parquet(['{top}/t.parquet', '{top}/next.parquet']) where j % 6 = 0"
            )
            assert found == sum(2 * i % 6 == 0 for i in range(ROWS)) + sum(3 * i % 6 == 0 for i in range(ROWS))
