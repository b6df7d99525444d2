"""DuckDB's httpfs with a secret: Parquet read in place, by a token and by a password."""

import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import duckdb
import pytest

from tests.interop.guarded.gateway import ADA, Guarded, basic
from tests.support.relay import Relay

pytestmark = pytest.mark.interop

ROWS = 100_000


@pytest.fixture(scope="module")
def table(guarded: Guarded, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset of one Parquet file; its address."""
    folder = tmp_path_factory.mktemp("parquet")
    duckdb.execute(f"copy (select range as i, md5(range::text) as m from range({ROWS})) to '{folder / 't.parquet'}'")
    guarded.place.run("push", folder, "-t", "maps:2.0.0")
    # A worker that knows the dataset looks for new tags every few seconds, and there are two.
    until_s, shown = time.monotonic() + 30, 0
    while shown < 12:
        found = guarded.ask("HEAD", "/fs/maps/2.0.0/t.parquet", basic("ada", ADA)).status == 200
        shown = shown + 1 if found else 0
        assert time.monotonic() < until_s
        time.sleep(0 if found else 0.2)
    return f"{guarded.url}/fs/maps/2.0.0/t.parquet"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(config={"extension_directory": str(tmp_path)})
    found = Path(import_module("duckdb_extension_httpfs").__path__[0]) / "extensions" / f"v{duckdb.__version__}"
    connection.execute(f"load '{found / 'httpfs.duckdb_extension'}'")
    yield connection
    connection.close()


def secret_of(guarded: Guarded, way: str) -> str:
    if way == "bearer":
        return f"BEARER_TOKEN '{guarded.tokens['ci']}'"
    fields = basic("ada", ADA) if way == "password" else basic("x", guarded.tokens["ci"])
    return f"EXTRA_HTTP_HEADERS MAP {{'Authorization': '{fields['Authorization']}'}}"


@pytest.mark.parametrize("way", ["bearer", "password", "token as password"])
def test_duckdb_reads_with_a_secret(
    guarded: Guarded, table: str, database: duckdb.DuckDBPyConnection, way: str
) -> None:
    database.execute(f"CREATE SECRET datasets (TYPE http, {secret_of(guarded, way)}, SCOPE '{guarded.url}')")
    assert database.execute(f"select count(*), max(i) from '{table}'").fetchone() == (ROWS, ROWS - 1)
    assert database.execute(f"select i from '{table}' where m = md5('77777')").fetchall() == [(77777,)]


def test_duckdb_is_refused_without_one(guarded: Guarded, table: str, database: duckdb.DuckDBPyConnection) -> None:
    with Relay(guarded.url) as relay:
        with pytest.raises(duckdb.Error, match="HTTP"):  # whatever the server, it names no status: "HTTP 0"
            database.execute(f"select count(*) from '{table.replace(guarded.url, relay.url)}'")
        assert {exchange.status for exchange in relay.exchanges} == {401}
