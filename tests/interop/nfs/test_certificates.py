"""By certificate, by rule and by token on a whole gateway that requires TLS: who sees what, on every worker."""

import itertools
from collections.abc import Iterator

import pytest

from nfs.wire import nfs3
from nfs.wire.mount3 import mountstat3
from nfs.wire.nfs3types import NFS_PROGRAM, NFS_V3, diropargs3, nfsstat3
from nfs.wire.nlm4 import NLM_PROGRAM, NLM_V4
from nfs.wire.rpc import auth_stat, encode_call
from tests.interop.serve.gateways import Gateway
from tests.interop.serve.gateways import Place as Site
from tests.support.authority import Authority
from tests.support.nfs_client import NfsClient, ok
from tests.support.tls_client import Place, TlsClient

pytestmark = [pytest.mark.interop, pytest.mark.slow]
DATASETS = ("open", "maps", "secret", "@geo/roads")
POLICY = """
[[rule]]
allow = ["read"]
to = ["anonymous"]
on = ["open"]
[[rule]]
allow = ["read"]
to = ["user:ada"]
on = ["secret", "@geo/*"]
[[rule]]
allow = ["read"]
to = ["user:lab"]
on = ["maps"]
"""
RULES = '[{from = ["127.0.0.2"], principal = "user:lab", uid = 7}, {from = ["127.0.0.1"]}]'
ANYBODY, LAB, STRANGER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
WORKERS = 2
CONNECTIONS = 3 * WORKERS  # so that each worker has its turn
# address, certificate -> what is read
SEEN: dict[tuple[str, str], set[str]] = {
    **{(address, "ada"): {"open", "secret", "@geo/roads"} for address in (ANYBODY, LAB, STRANGER)},
    **{(address, "eve"): {"open"} for address in (ANYBODY, LAB, STRANGER)},  # known, and named by no rule
    (ANYBODY, ""): {"open"},
    (LAB, ""): {"open", "maps"},
    (STRANGER, ""): set(),
}


class World:
    """A gateway, certificates, and a token."""

    def __init__(self, gateway: Gateway, place: Place, clients: Authority, token: str) -> None:
        self.gateway, self.place, self.token = gateway, place, token
        self._people = {
            name: clients.issue(name, addresses=(), emails=[f"{name}@example.org"], client=True)
            for name in ("ada", "eve", "mallory")
        }

    def client(self, address: str, who: str = "") -> TlsClient:
        """Go over to TLS, with somebody's certificate or none."""
        context = self.place.trusting(self._people[who] if who else None)
        return TlsClient(self.gateway.nfs_port, address=address).secure(context)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    above = tmp_path_factory.mktemp("ways")
    site, clients = Site(str(above / "store"), above / "home"), Authority("clients")
    site.run("init")
    for name in DATASETS:
        folder = above / name.strip("@").replace("/", "-")
        folder.mkdir()
        (folder / "who").write_text(name)
        site.run("push", folder, "-t", f"{name}:1.0.0")
    (above / "tls").mkdir()
    place = Place(above / "tls", client_ca=clients.pem)
    (above / "policy.toml").write_text(POLICY)
    (above / "certificates").write_text("email:ada@example.org ada\nemail:eve@example.org eve\n")
    site.environment |= {
        "AETHERFS_AUTH_POLICY": str(above / "policy.toml"),
        "AETHERFS_AUTH_CERTIFICATES": str(above / "certificates"),
        "AETHERFS_NFS_TLS": "require",
        "AETHERFS_NFS_TLS_CERT": str(place.cert),
        "AETHERFS_NFS_TLS_KEY": str(place.key),
        "AETHERFS_NFS_CLIENT_CA": str(place.client_ca),
        "AETHERFS_NFS_EXPORT": RULES,
    }
    token: str = site.run("token", "create", "job", "--nfs", "--allow", "read:maps")["token"]
    with site.serve("--workers", str(WORKERS), http="off") as gateway:
        yield World(gateway, place, clients, token)


def mounted(client: NfsClient, path: str) -> bytes:
    """Mount a path; return its handle, empty if it is refused."""
    got = client.mount("MNT", path.encode())
    return bytes(got.mountinfo.fhandle) if got.fhs_status is mountstat3.MNT3_OK else b""


def read(client: NfsClient, top: bytes, dataset: str) -> str:
    """Return what a dataset's file holds, or why it is not shown."""
    fh = top
    for name in (*dataset.split("/"), "1.0.0", "who"):
        got = client.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(fh, name.encode())))
        if got.status is not nfsstat3.NFS3_OK:
            return str(got.status.name)
        fh = ok(got).object
    return client.read(fh, 0, 100)[0].decode()


@pytest.mark.parametrize(("address", "who"), SEEN)
def test_each_sees_what_its_certificate_or_else_its_address_may(world: World, address: str, who: str) -> None:
    for _ in range(CONNECTIONS):
        with world.client(address, who) as client, NfsClient(world.gateway.nfs_port, address=address) as clear:
            for top in (mounted(client, "/"), mounted(clear, "/")):  # as Linux does: MNT in the clear, the rest by TLS
                shown = {dataset: read(client, top, dataset) for dataset in DATASETS}
                assert shown == {name: name if name in SEEN[address, who] else "NFS3ERR_NOENT" for name in DATASETS}
            exported = {entry.ex_dir.decode() for entry in client.mount("EXPORT")}
            assert exported == {"/", *(f"/{name}" for name in SEEN[address, who])}
            assert {name for name in DATASETS if mounted(client, f"/{name}")} == SEEN[address, who]


def test_a_certificate_of_nobody_is_refused_whatever_its_address(world: World) -> None:
    for address, _ in itertools.product((ANYBODY, LAB, STRANGER), range(CONNECTIONS)):
        with world.client(address, "mallory") as client, NfsClient(world.gateway.nfs_port, address=address) as clear:
            assert mounted(client, "/") == mounted(client, "/open") == b""
            got = client.call("GETATTR", nfs3.GETATTR3args(mounted(clear, "/")))
            assert got.status is nfsstat3.NFS3ERR_ACCES


@pytest.mark.parametrize("who", ["", "ada", "mallory"])
def test_a_token_shows_what_it_was_made_for_beside_any_certificate(world: World, who: str) -> None:
    for _ in range(CONNECTIONS):
        with world.client(STRANGER, who) as client:
            top = mounted(client, f"/@token/{world.token}")
            assert {name for name in DATASETS if read(client, top, name) == name} == {"maps"}


def test_in_the_clear_handles_of_every_way_are_too_weak_for_files_and_locks(world: World) -> None:
    with world.client(LAB, "ada") as ada, NfsClient(world.gateway.nfs_port, address=LAB) as clear:
        for fh in (mounted(ada, "/"), mounted(clear, "/"), mounted(clear, f"/@token/{world.token}")):
            assert ada.call("GETATTR", nfs3.GETATTR3args(fh)).status is nfsstat3.NFS3_OK
            clear.send(encode_call(5, NFS_PROGRAM, NFS_V3, 1, len(fh).to_bytes(4, "big") + fh))
            assert clear.receive()[-4:] == auth_stat.AUTH_TOOWEAK.to_bytes(4, "big")
            clear.send(encode_call(6, NLM_PROGRAM, NLM_V4, 1, fh))
            assert clear.receive()[-4:] == auth_stat.AUTH_TOOWEAK.to_bytes(4, "big")
