"""A client certificate says who asks on its connection: real TLS, real certificates, one server with its caches."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.access.certificates import Certificates
from nfs.access import CHECKED_S, Access, Exports
from nfs.export import Export
from nfs.grants import Peer
from nfs.memo import Memo
from nfs.tls import Tls
from nfs.view import BlockingView
from nfs.wire.mount3 import mountstat3
from nfs.wire.rpc import authsys_parms
from store.errors import StaleNode
from tests.support.authority import Authority
from tests.support.nfs_client import KEY, NfsClient, serving
from tests.support.staging import Clock
from tests.support.tls_client import Place, TlsClient
from tests.support.trees import resolve
from tests.unit.nfs.test_access import (
    ACCES,
    ANYBODY,
    LAB,
    OK,
    POLICY,
    STRANGER,
    World,
    all_warm,
    found,
    listed,
    mounted,
    root,
    statuses,
)

ADA = """
[[rule]]
allow = ["read"]
to = ["user:ada"]
on = ["secret"]
[[rule]]
allow = ["read"]
to = ["authenticated"]
on = ["open"]
"""


class Site:
    """A server that takes certificates, and an authority that signs them."""

    def __init__(self, world: World, folder: Path, port: int, place: Place, authority: Authority) -> None:
        self.world, self.folder, self.port, self.place, self.authority = world, folder, port, place, authority

    def client(self, address: str, email: str = "") -> TlsClient:
        """Connect by TLS, with a certificate of a name or without one."""
        issued = self.authority.issue(email, addresses=(), emails=[email], client=True) if email else None
        return TlsClient(self.port, address=address).secure(self.place.trusting(issued))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "tls").mkdir()
    (tmp_path / "names").write_text("email:ada@example.org ada\nemail:eve@example.org eve\n")
    world, authority = World(tmp_path), Authority()
    world.policies.change(POLICY + ADA)
    place = Place(tmp_path / "tls", client_ca=authority.pem)
    grants = world.grants(certificates=Certificates(str(tmp_path / "names")))
    with serving(world.stage.tree, tls=Tls(place.contexts), grants=grants) as (_, port):
        yield Site(world, tmp_path, port, place, authority)
    world.stage.close()


def test_a_certificate_says_who_asks_whatever_the_address(site: Site) -> None:
    for address in (LAB, ANYBODY, STRANGER):
        with site.client(address, "ada@example.org") as ada:
            assert set(listed(ada, root(ada, "/"))) == {b"secret", b"open"}
            file = found(ada, root(ada, "/secret/1.0.0"), b"who")
            assert ada.read(file, 0, 100) == (b"secret", True)
            assert mounted(ada, "/maps") is mountstat3.MNT3ERR_NOENT


def test_without_a_certificate_tls_is_as_the_address_is(site: Site) -> None:
    with site.client(LAB) as lab, site.client(ANYBODY) as anybody:
        assert set(listed(lab, root(lab, "/"))) == {b"maps", b"@lab", b"open"}
        assert listed(anybody, root(anybody, "/")) == [b"open"]


def test_what_was_mounted_in_the_clear_is_read_by_the_certificates_user_and_by_nobody_else(site: Site) -> None:
    """As Linux does: MNT goes in the clear, all else by TLS, with the same handle."""
    for address, shown in ((ANYBODY, {b"open"}), (STRANGER, set[bytes]())):
        with NfsClient(site.port, address=address) as clear, site.client(address, "ada@example.org") as ada:
            top = root(clear, "/")
            assert set(listed(ada, top)) == {b"secret", b"open"}
            state = found(ada, top, b"secret", b"1.0.0")
            all_warm(ada, state, found(ada, state, b"who"))
            assert set(listed(clear, top)) == shown
            assert set(statuses(clear, state).values()) == {ACCES}  # though just now it was told to another
            assert set(statuses(clear, found(ada, state, b"who")).values()) == {ACCES}


def test_the_other_way_round_what_the_rule_shows_is_not_what_the_certificate_shows(site: Site) -> None:
    with NfsClient(site.port, address=LAB) as lab, site.client(LAB, "eve@example.org") as eve:
        state = root(lab, "/maps/1.0.0")
        all_warm(lab, state)
        assert set(statuses(eve, state).values()) == {ACCES}
        assert statuses(lab, state)["GETATTR"] is OK


def test_a_certificate_of_nobody_sees_nothing_not_even_what_its_address_would(site: Site) -> None:
    with site.client(LAB, "mallory@example.org") as mallory, NfsClient(site.port, address=LAB) as lab:
        assert mounted(mallory, "/") is mountstat3.MNT3ERR_ACCES
        state = root(lab, "/maps/1.0.0")
        all_warm(lab, state)
        assert set(statuses(mallory, state).values()) == {ACCES}
    refused = [line for line in site.world.audit() if line["outcome"] == "refused"]
    assert [line["address"] for line in refused] == [LAB]


def test_an_address_without_a_rule_may_mount_the_root_and_sees_nothing_in_it(site: Site) -> None:
    with NfsClient(site.port, address=STRANGER) as stranger:
        assert listed(stranger, root(stranger, "/")) == []
        for path in ("/open", "/maps", "/nothing", "/@lab"):
            assert mounted(stranger, path) is mountstat3.MNT3ERR_NOENT
        assert [entry.ex_dir for entry in stranger.mount("EXPORT")] == [b"/"]
    assert [(line["principal"], line["target"]) for line in site.world.audit()] == [("nobody", "/")]


def test_a_token_shows_what_it_shows_beside_a_certificate(site: Site) -> None:
    token = site.world.token(rule="read:maps")
    with site.client(STRANGER, "ada@example.org") as ada, NfsClient(site.port, address=STRANGER) as clear:
        top = root(clear, f"/@token/{token}")
        assert listed(ada, top) == [b"maps"]
        assert set(listed(ada, root(ada, "/"))) == {b"secret", b"open"}
        state = found(ada, top, b"maps", b"1.0.0")
        all_warm(ada, state)
        site.world.tokens.revoke("ci")
        with site.client(STRANGER, "ada@example.org") as again:
            assert set(statuses(again, state).values()) == {ACCES}


def test_a_user_that_the_file_takes_away_is_gone_from_what_is_open(site: Site) -> None:
    with site.client(ANYBODY, "ada@example.org") as ada:
        state = root(ada, "/secret/1.0.0")
        all_warm(ada, state)
        (site.folder / "names").write_text("email:ada@example.org eve\n")
        deadline_s = time.monotonic() + 60
        while set(statuses(ada, state).values()) != {ACCES}:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        assert listed(ada, root(ada, "/")) == [b"open"]


def test_a_call_that_waits_ends_as_whose_it_was_when_its_certificate_becomes_anothers(tmp_path: Path) -> None:
    """Else what one may see is remembered among what another one may."""
    (tmp_path / "names").write_text("email:ada@example.org ada\n")
    world, clock = World(tmp_path), Clock()
    world.policies.change(POLICY + ADA)
    issued = Authority().issue("x", addresses=(), emails=["ada@example.org"], client=True)
    grants = world.grants(certificates=Certificates(str(tmp_path / "names"), clock=clock))
    exports = Exports(Export(world.stage.tree, handle_key=KEY))
    peer = Peer(STRANGER, secured=True, certificate=issued.certificate.public_bytes(Encoding.DER))
    access = Access(grants, exports, peer)
    access.refresh(0.0)
    secret = exports.first.handles.encode(resolve(world.stage.tree, "secret/1.0.0").place)

    def becomes(name: str) -> None:
        (tmp_path / "names").write_text(f"email:ada@example.org {name}\n")
        clock.now_s += 2 * CHECKED_S
        access.refresh(clock.now_s)

    adas = BlockingView(access.now, b"")  # a call begins, and waits
    becomes("eve")
    eves = BlockingView(access.now, b"")
    assert adas.node(secret).fileid
    assert eves.kept.nodes.get(secret) is None
    becomes("ada")
    adas.kept.nodes = Memo(4)  # nothing is remembered
    with pytest.raises(StaleNode):
        eves.node(secret)
    assert access.now.export is adas.export
    assert eves.kept.nodes.get(secret) is None
    world.stage.close()


def test_who_says_to_be_root_within_tls_is_who_the_certificate_says(site: Site) -> None:
    issued = site.authority.issue("eve", addresses=(), emails=["eve@example.org"], client=True)
    said = authsys_parms(0, b"ada", 0, 0, (0,))
    with TlsClient(site.port, address=LAB, user=said).secure(site.place.trusting(issued)) as eve:
        assert listed(eve, root(eve, "/")) == [b"open"]
        assert mounted(eve, "/secret") is mounted(eve, "/nothing") is mountstat3.MNT3ERR_NOENT
