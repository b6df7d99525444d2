"""What docs/webdav.md has readers type: each command and each program of the clients' sections works as it stands.

Mounts are left out, since not every machine may mount, and so is SQL, which tests of `/fs/` run.
"""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from gateway.web.app import make_wsgi_app
from tests.interop.dav.clients import RCLONE, below, run
from tests.interop.dav.shown import MAPS, flat
from tests.support.relay import Relay
from tests.support.trees import MemoryTree
from tests.unit.dav.calls import call
from tests.unit.docs.pages import section

BLOCKS = re.findall(
    r"^### (.*?)$|^```(\w+)\n(.*?)^```$", section("docs/webdav.md", "Clients"), re.MULTILINE | re.DOTALL
)
MOUNTS = re.compile(r"^(rclone mount|mount|mkdir) ", re.MULTILINE)
pytestmark = pytest.mark.interop


def blocks(language: str) -> list[tuple[str, str]]:
    """Return (client, code) of each block of one language."""
    found, client = [], ""
    for heading, written_in, code in BLOCKS:
        client = heading or client
        if written_in == language and not MOUNTS.search(code):
            found.append((client, code))
    return found


def here(code: str, relay: Relay) -> str:
    """Return code that asks the gateway of the test."""
    return code.replace("127.0.0.1:8080", relay.url.removeprefix("http://"))


@pytest.mark.skipif(shutil.which("gio") is None or RCLONE is None, reason="needs gio and rclone: make apt setup")
@pytest.mark.parametrize(("client", "code"), blocks("sh"), ids=lambda value: value.split(" ")[0].split("\n")[0])
def test_commands_of_the_page_work(relay: Relay, tmp_path: Path, client: str, code: str) -> None:
    assert RCLONE is not None
    path = f"{Path(RCLONE).parent}{os.pathsep}{os.environ['PATH']}"
    session = ["dbus-run-session", "--"] if "gio " in code else []
    done = run(tmp_path, *session, "env", f"PATH={path}", "bash", "-euc", here(code, relay))
    assert done.returncode == 0, done.stderr
    # 416: curl asks what is behind the end of a download that is whole.
    assert {exchange.status for exchange in relay.exchanges} <= {200, 206, 207, 416}
    world = (tmp_path / "maps" if "rclone" in code else tmp_path) / "world.db"
    assert world.read_bytes() == flat(MAPS)[b"world.db"]


@pytest.mark.parametrize(("client", "code"), blocks("python"), ids=lambda value: value.split(" ")[0].split("\n")[0])
def test_programs_of_the_page_work(relay: Relay, tmp_path: Path, client: str, code: str) -> None:
    done = run(tmp_path, sys.executable, "-c", here(code, relay))
    assert done.returncode == 0, done.stderr
    found = below(tmp_path)
    got = found.get(b"world.db", found.get(b"maps/world.db"))
    assert got == flat(MAPS)[b"world.db"]


def test_as_many_entries_as_the_page_says_fit_into_explorers_limit() -> None:
    stated = re.search(r"about (\d+) bytes an entry: some ([\d,]+) entries", section("docs/webdav.md", "Clients"))
    assert stated is not None
    each, count = int(stated[1]), int(stated[2].replace(",", ""))
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", {b"measured %06d.tif" % number: b"x" for number in range(count)})
    headers = {"Depth": "1", "User-Agent": "Microsoft-WebDAV-MiniRedir/10.0.19045"}
    answer = call(make_wsgi_app(tree), "PROPFIND", "/webdav/geo/1.0.0", headers)
    assert 0.9 * each * count < len(answer.body) < 1_000_000


def test_the_page_has_a_section_for_each_client() -> None:
    headings = " ".join(heading for heading, _, _ in BLOCKS)
    for client in ("Finder", "Explorer", "rclone", "gio", "cadaver", "curl", "davfs2", "Cyberduck", "DuckDB"):
        assert client in headings
    assert len(blocks("sh")) >= 3
    assert {client.split(" ")[0] for client, _ in blocks("python")} == {"webdav4", "webdavclient3"}
