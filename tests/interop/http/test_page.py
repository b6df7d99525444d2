"""What docs/http.md has readers type works as it stands."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.web.app import make_fast_lane, make_wsgi_app
from tests.interop.http.serving import serving
from tests.interop.http.test_duckdb import connect, one, parquet, sqlite_db
from tests.support.trees import MemoryTree
from tests.unit.docs.pages import text

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl"),
]

BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", text("docs/http.md"), re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
STATEMENTS = [part.strip() for kind, block in BLOCKS if kind == "sql" for part in block.split(";") if part.strip()]
WORLD = bytes(range(256)) * 100


def test_commands_of_the_page_do_what_they_say(tmp_path: Path) -> None:
    tree = MemoryTree()
    tree.publish("maps", "1.0.0", {b"world.db": WORLD, b"europe": {b"x": b"x"}})
    printed = []
    with serving(make_wsgi_app(tree), lane=make_fast_lane(tree)) as running:
        for command in COMMANDS:
            script = command.replace("http://127.0.0.1:8080", running.url).replace("curl ", "curl -qfsS --noproxy '*' ")
            assert script != command
            if "-C -" in command:
                (tmp_path / "world.db").write_bytes(WORLD[:777])
            done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, timeout=60)
            assert done.returncode == 0, (script, done.stderr)
            printed.append(done.stdout)
    assert (tmp_path / "world.db").read_bytes() == WORLD
    assert WORLD[-64:] in printed
    assert any(f"bytes 5000-5099/{len(WORLD)}".encode() in out for out in printed)
    assert (tmp_path / "maps" / "europe" / "x").read_bytes() == b"x"
    assert (tmp_path / "maps.zip").read_bytes().startswith(b"PK\3\4")


def test_statements_of_the_page_are_answered(tmp_path: Path) -> None:
    tree = MemoryTree()
    tree.publish(
        "maps", "1.0.0", {b"roads.parquet": parquet(tmp_path / "a", 2), b"world.sqlite": sqlite_db(tmp_path / "b")}
    )
    asked = [statement for statement in STATEMENTS if not statement.startswith(("INSTALL", "LOAD"))]
    with serving(make_wsgi_app(tree)) as running, connect(tmp_path / "extensions") as db:
        for statement in asked:
            db.execute(statement.replace("http://127.0.0.1:8080", running.url))
        assert one(db, "select count(*) from world.t") == 20_000
    assert len(asked) == 2
