"""A gateway whose store fails: clients are told so, what is in memory is served on, and all is well once it is back."""

import http.client
import random
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from nfs.wire import nfs3
from nfs.wire.nfs3types import nfsstat3
from store.layout import PACKS
from tests.interop.serve.gateways import DEADLINE_S, Gateway, Place
from tests.support.nfs_client import NfsClient
from tests.support.proxy import Action, Proxy, Seen, cut, drop_request, instead, proxied
from tests.support.s3 import S3Place

pytestmark = [pytest.mark.interop, pytest.mark.slow]

ALWAYS = 1_000_000
SIZE = 3 << 20
AT = SIZE // 2  # far from both ends, so that each file's blocks come by a request of their own
FEW = 1000


class Case(NamedTuple):
    """A fault, and what becomes of it on each interface."""

    action: Action
    http: int
    nfs: nfsstat3


CASES = {
    "503": Case(instead(503, "SlowDown", Retry_After="1"), 503, nfsstat3.NFS3ERR_JUKEBOX),
    "reset": Case(drop_request, 503, nfsstat3.NFS3ERR_JUKEBOX),
    "cut": Case(cut(100), 503, nfsstat3.NFS3ERR_JUKEBOX),
    "403": Case(instead(403, "AccessDenied"), 502, nfsstat3.NFS3ERR_IO),
    "no object": Case(instead(404, "NoSuchKey"), 500, nfsstat3.NFS3ERR_IO),
}


class Bench:
    def __init__(self, gateway: Gateway, proxy: Proxy, files: dict[str, bytes]) -> None:
        self.gateway, self.proxy, self.files = gateway, proxy, files

    def get(self, name: str) -> tuple[int, bytes]:
        """Ask for a few bytes in the middle of a file."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.gateway.http).netloc, timeout=DEADLINE_S)
        path = f"/fs/ds/1.0.0/{urllib.parse.quote(name)}"
        connection.request("GET", path, headers={"Range": f"bytes={AT}-{AT + FEW - 1}"})
        answer = connection.getresponse()
        try:
            body = answer.read()
        except http.client.IncompleteRead:  # the failure came after the head was out: the only way left to tell
            body = b""
        connection.close()
        return answer.status, body

    def read(self, name: str) -> tuple[nfsstat3, bytes]:
        """Ask for the same over NFS."""
        with NfsClient(self.gateway.nfs_port) as client:
            handle = client.handle(f"/ds/1.0.0/{name}")
            result = client.call("READ", nfs3.READ3args(handle, AT, FEW))
            good = result.status is nfsstat3.NFS3_OK
            return result.status, b"".join(result.resok.data) if good else b""

    def few(self, name: str) -> bytes:
        return self.files[name][AT : AT + FEW]


@pytest.fixture
def bench(moto_place: S3Place, tmp_path: Path) -> Iterator[Bench]:
    files = {name: random.Random(name).randbytes(SIZE) for name in ("warm", "cold", "cold too")}
    (tmp_path / "data").mkdir()
    for name, content in files.items():
        (tmp_path / "data" / name).write_bytes(content)
    direct = Place(moto_place.address, tmp_path / "publisher")
    direct.run("init")
    direct.run("push", tmp_path / "data", "-t", "ds:1.0.0")
    with proxied(moto_place.server) as proxy:
        place = Place(proxy.address(moto_place.address), tmp_path / "gateway")
        with place.serve() as gateway:
            bench = Bench(gateway, proxy, files)
            assert bench.get("warm") == (206, bench.few("warm"))
            assert bench.read("warm") == (nfsstat3.NFS3_OK, bench.few("warm"))
            yield bench


def of_packs(seen: Seen) -> bool:
    return seen.method == "GET" and f"/{PACKS}" in seen.key


@pytest.mark.parametrize("name", CASES)
def test_clients_are_told_of_a_failing_store_and_served_again_once_it_is_back(bench: Bench, name: str) -> None:
    case = CASES[name]
    bench.proxy.fault(case.action, of_packs, times=ALWAYS)
    status, body = bench.get("cold")
    assert status == case.http
    assert bench.few("cold")[:20] not in body
    assert b"127.0.0.1" not in body  # where the store is, is no matter of a client's
    assert bench.read("cold too") == (case.nfs, b"")
    assert bench.proxy.spoilt
    assert bench.get("warm") == (206, bench.few("warm"))
    assert bench.read("warm") == (nfsstat3.NFS3_OK, bench.few("warm"))
    bench.proxy.heal()
    assert bench.get("cold") == (206, bench.few("cold"))
    assert bench.read("cold too") == (nfsstat3.NFS3_OK, bench.few("cold too"))
    assert bench.gateway.process.poll() is None


def test_a_store_that_is_away_altogether_leaves_the_gateway_alive_and_what_it_knows_readable(bench: Bench) -> None:
    bench.proxy.fault(drop_request, times=ALWAYS)
    until = time.monotonic() + 3.0  # longer than what a gateway knows of tags counts as fresh
    while time.monotonic() < until:
        assert bench.get("warm") == (206, bench.few("warm"))
        assert bench.read("warm") == (nfsstat3.NFS3_OK, bench.few("warm"))
        time.sleep(0.1)
    bench.proxy.heal()
    assert bench.get("cold") == (206, bench.few("cold"))
    assert bench.gateway.stop() == 0
