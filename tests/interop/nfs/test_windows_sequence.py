"""What Windows' "Client for NFS" needs of a gateway, asked in the order that is known of it, by our own codecs.

It takes no port, so it asks the portmapper, by UDP and by TCP; it mounts an export that has a name; it lists by READDIR
before READDIRPLUS, up to an explicit end; it locks and shares by NLM. Whether it asks just this was not seen here.
"""

import dataclasses
from collections.abc import Iterator

import pytest

from nfs.wire import nfs3
from nfs.wire.mount3 import MOUNT_PROGRAM, MOUNT_V3, exportnode
from nfs.wire.nfs3types import NFS_PROGRAM, NFS_V3, diropargs3
from nfs.wire.nlm4 import NLM_PROGRAM, NLM_V4, fsh4_access, fsh4_mode, nlm4_stats, nlm4_unlockargs
from nfs.wire.portmap import IPPROTO_TCP, IPPROTO_UDP, mapping
from tests.interop.serve.gateways import Gateway, Place
from tests.support.lock_client import COOKIE, LockClient, lock
from tests.support.nfs_client import ok
from tests.support.portmap_client import PortmapClient

pytestmark = pytest.mark.interop

NAMES = {f"file-{number:03}".encode() for number in range(400)}
DOTS = {b".", b".."}


@dataclasses.dataclass
class Running:
    """A gateway and the port of its portmapper."""

    gateway: Gateway
    portmap_port: int


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("windows")
    place = Place(str(folder / "store"), folder / "home")
    place.environment["AETHERFS_NFS_PORTMAP_PORT"] = "0"
    place.run("init")
    (folder / "data").mkdir()
    for name in NAMES:
        (folder / "data" / name.decode()).write_bytes(name)
    place.run("push", folder / "data", "-t", "maps:1.0.0")
    with place.serve("--portmap", http="off") as gateway:
        yield Running(gateway, int(gateway.ready.rpartition(":")[2]))
        assert gateway.stop() == 0


def test_ports_are_found_by_udp_and_by_tcp_and_what_is_not_there_has_none(running: Running) -> None:
    for udp in (True, False):
        with PortmapClient(running.portmap_port, udp=udp) as portmap:
            for program, version in ((MOUNT_PROGRAM, MOUNT_V3), (NFS_PROGRAM, NFS_V3), (NLM_PROGRAM, NLM_V4)):
                found = portmap.call(2, "GETPORT", mapping(program, version, IPPROTO_TCP, 0))
                assert found == running.gateway.nfs_port
                assert portmap.call(2, "GETPORT", mapping(program, version, IPPROTO_UDP, 0)) == 0
            assert portmap.call(2, "GETPORT", mapping(MOUNT_PROGRAM, 1, IPPROTO_TCP, 0)) == 0


def test_a_named_export_is_listed_mounted_read_and_locked(running: Running) -> None:
    with LockClient(running.gateway.nfs_port) as client:
        assert exportnode(b"/maps", []) in client.mount("EXPORT")
        client.mount("NULL")
        root = client.mount("MNT", b"/maps").mountinfo.fhandle
        client.call("NULL")
        for name in ("FSINFO", "FSSTAT", "PATHCONF"):
            ok(client.call(name, nfs3.FSROOT3args(root)))
        folder = ok(client.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(root, b"1.0.0")))).object
        ok(client.call("ACCESS", nfs3.ACCESS3args(folder, 0x3F)))
        assert listed(client, folder, plus=False) == listed(client, folder, plus=True) == NAMES | DOTS

        fh = ok(client.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(folder, b"file-007")))).object
        assert client.share(fh, fsh4_mode.fsm_DW, fsh4_access.fsa_R) is nlm4_stats.NLM4_GRANTED
        assert client.lock(fh, l_len=8) is nlm4_stats.NLM4_GRANTED
        assert client.read(fh, 0, 4096) == (b"file-007", True)
        assert client.lock(fh, l_len=8, exclusive=True) is nlm4_stats.NLM4_ROFS
        unlocked = client.lock_call("UNLOCK", nlm4_unlockargs(COOKIE, lock(fh, l_len=8)))
        assert unlocked.stat is nlm4_stats.NLM4_GRANTED
        assert client.share(fh, fsh4_mode.fsm_DW, fsh4_access.fsa_R, "UNSHARE") is nlm4_stats.NLM4_GRANTED
        client.mount("UMNT", b"/maps")


def listed(client: LockClient, folder: bytes, *, plus: bool) -> set[bytes]:
    """List a folder in pages; each entry comes once, and the end is said."""
    names: list[bytes] = []
    cookie, verifier, eof = 0, bytes(8), False
    while not eof:
        if plus:
            page = ok(client.call("READDIRPLUS", nfs3.READDIRPLUS3args(folder, cookie, verifier, 1024, 8192)))
        else:
            page = ok(client.call("READDIR", nfs3.READDIR3args(folder, cookie, verifier, 1024)))
        names += [entry.name for entry in page.entries]
        assert page.entries or page.eof
        cookie, verifier, eof = page.entries[-1].cookie, page.cookieverf, page.eof
    assert len(names) == len(set(names))
    return set(names)
