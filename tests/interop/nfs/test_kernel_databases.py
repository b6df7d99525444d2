"""Embedded databases are opened and queried on a mount: SQLite, LMDB and DuckDB, each by its own program."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import duckdb_cli

from tests.interop.serve.gateways import Place
from tests.support.kernel_client import MARKS, guest, told

pytestmark = MARKS

ROWS = 50_000
DUCKDB: Path = Path(duckdb_cli.__file__).parent / "duckdb"
LIMIT_S = 120


def make_databases(folder: Path) -> None:
    """Write the same rows, number and its square, as a database of each kind and as Parquet."""
    with closing(sqlite3.connect(folder / "squares.sqlite")) as database, database:
        database.execute("CREATE TABLE squares (number INTEGER PRIMARY KEY, square INTEGER)")
        database.executemany("INSERT INTO squares VALUES (?, ?)", [(n, n * n) for n in range(ROWS)])
    pairs = "".join(f" {f'{n:08}'.encode().hex()}\n {str(n * n).encode().hex()}\n" for n in range(ROWS))
    dump = f"VERSION=3\nformat=bytevalue\ntype=btree\nmapsize=67108864\nHEADER=END\n{pairs}DATA=END\n"
    (folder / "squares.lmdb").mkdir()
    subprocess.run(["mdb_load", folder / "squares.lmdb"], input=dump.encode(), check=True, timeout=LIMIT_S)
    (folder / "squares.lmdb" / "lock.mdb").unlink()  # as a dataset is published: nobody writes it any more
    make = f"CREATE TABLE squares AS SELECT range AS number, range * range AS square FROM range({ROWS});"
    export = f"COPY squares TO '{folder}/squares.parquet' (FORMAT parquet);"
    subprocess.run([DUCKDB, folder / "squares.duckdb", "-c", make + export], check=True, timeout=LIMIT_S)


def test_databases_on_a_mount_answer_as_where_they_were_made(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "store"), tmp_path / "home")
    place.run("init")
    (tmp_path / "data").mkdir()
    make_databases(tmp_path / "data")
    place.run("push", tmp_path / "data", "-t", "squares:1.0.0", "-t", "squares:latest")
    query = "SELECT count(*), sum(square) FROM"
    script = f"""
        mount_at / /mnt; cd /mnt/squares/latest
        echo "sqlite: $(/usr/bin/sqlite3 squares.sqlite '{query} squares')"
        echo "sqlite one: $(/usr/bin/sqlite3 squares.sqlite 'SELECT square FROM squares WHERE number = 12345')"
        echo "sqlite writing: $(/usr/bin/sqlite3 squares.sqlite 'DELETE FROM squares' 2>&1 | grep -c -i 'readonly')"
        echo "lmdb: $(/usr/bin/mdb_stat squares.lmdb | grep Entries)"
        echo "lmdb rows: $(/usr/bin/mdb_dump -p squares.lmdb | grep -c '^ ')"
        echo "lmdb one: $(/usr/bin/mdb_dump -p squares.lmdb | grep -A 1 '^ 00012345' | tail -n 1)"
        echo "duckdb: $({DUCKDB} -readonly -csv -noheader squares.duckdb -c '{query} squares')"
        echo "parquet: $({DUCKDB} -csv -noheader -c "{query} 'squares.parquet'")"
        """
    programs: list[Path | str] = ["/usr/bin/sqlite3", "/usr/bin/mdb_stat", "/usr/bin/mdb_dump", DUCKDB]
    with (
        place.serve(http="off") as gateway,
        guest(tmp_path, gateway.nfs_port, script, programs=programs, memory_mib=1536) as process,
    ):
        said = told(process)
    total = sum(n * n for n in range(ROWS))
    assert said == {
        "sqlite": f"{ROWS}|{total}",
        "sqlite one": str(12345**2),
        "sqlite writing": "1",
        "lmdb": f"  Entries: {ROWS}",
        "lmdb rows": str(2 * ROWS),
        "lmdb one": f" {12345**2}",
        "duckdb": f"{ROWS},{total}",
        "parquet": f"{ROWS},{total}",
    }
