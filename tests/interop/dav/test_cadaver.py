"""cadaver (neon), the oldest WebDAV client still in use."""

import shutil
from pathlib import Path

import pytest

from tests.conformance.tree_cases import BIG
from tests.interop.dav.clients import run
from tests.support.relay import Relay

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("cadaver") is None, reason="needs cadaver: apt-get install cadaver"),
]


def cadaver(home: Path, url: str, *commands: str) -> str:
    """Run commands in one session and return what is said."""
    done = run(home, "cadaver", url, said="".join(f"{line}\n" for line in (*commands, "quit")))
    return done.stdout.decode("utf-8", "replace")


def test_cadaver_lists_enters_and_reads(relay: Relay, tmp_path: Path) -> None:
    said = cadaver(
        tmp_path, f"{relay.url}/webdav/", "ls", "cd geo/1.0.0", "ls", "get big.bin", "cat a.txt", "cd names", "ls"
    )
    assert "Coll:   geo" in said
    assert "Coll:   @scope" in said
    assert "Coll:   sub" in said
    assert "a.txt" in said
    assert "hello\n" in said
    assert "with space" in said
    assert (tmp_path / "big.bin").read_bytes() == BIG


@pytest.mark.parametrize("scope", ["@scope", "%40scope"])
def test_cadaver_enters_a_scope_however_it_is_spelt(relay: Relay, tmp_path: Path, scope: str) -> None:
    said = cadaver(tmp_path, f"{relay.url}/webdav/", "cd @scope", "ls", "cd roads/latest", "cat a.txt")
    assert "Coll:   roads" in said
    assert "hello\n" in said
    assert "a.txt" in cadaver(tmp_path, f"{relay.url}/webdav/{scope}/roads/latest/", "ls")


def test_cadaver_reads_properties(relay: Relay, tmp_path: Path) -> None:
    said = cadaver(tmp_path, f"{relay.url}/webdav/geo/1.0.0/", "propnames a.txt", "propget a.txt", "discover a.txt")
    assert "getetag" in said
    assert "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03" in said
    assert "getcontentlength = 6" in said


def test_every_change_by_cadaver_is_refused(relay: Relay, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    changes = ("put new", "mkcol new", "rm a.txt", "rmcol sub", "mv a.txt b.txt", "cp a.txt b.txt", "lock a.txt")
    said = cadaver(tmp_path, f"{relay.url}/webdav/geo/1.0.0/", *changes, "propset a.txt colour red", "cat a.txt")
    writing = [(x.method, x.status) for x in relay.exchanges if x.method not in ("OPTIONS", "PROPFIND", "GET", "HEAD")]
    assert [pair for pair in writing if pair[0] != "PROPPATCH"] == [
        *(("PUT", 403), ("MKCOL", 403), ("DELETE", 403), ("DELETE", 403), ("MOVE", 403), ("COPY", 403)),
        ("LOCK", 405),
    ]
    assert [status for method, status in writing if method == "PROPPATCH"] == [207]
    assert said.count("403 Forbidden") >= 6
    assert "hello\n" in said
