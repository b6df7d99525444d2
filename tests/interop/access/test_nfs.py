"""The matrix's columns of NFS: by the rule of an address, and by a token in the path of the mount."""

import itertools

import pytest

from nfs.wire import nfs3
from nfs.wire.mount3 import mountstat3
from nfs.wire.nfs3types import diropargs3, nfsstat3
from tests.interop.access import table
from tests.interop.access.table import ABSENT, DATASETS, NFS_PRINCIPALS, Who
from tests.interop.access.world import CONTENT, Gateway, World
from tests.support.nfs_client import NfsClient, ok

pytestmark = [pytest.mark.interop, pytest.mark.slow]
CONNECTIONS = 4  # so that both workers have their turn
BY_RULE = [who for who in NFS_PRINCIPALS if who.way == table.NFS_RULE]


class Mounted:
    """A connection of somebody's, and how they spell paths of mounts."""

    def __init__(self, world: World, gateway: Gateway, who: Who) -> None:
        by_rule = who.way == table.NFS_RULE
        self.client = NfsClient(gateway.nfs_port, address=who.name if by_rule else "127.0.0.1")
        self._prefix = "" if by_rule else f"/@token/{world.tokens[who.name]}"

    def mount(self, path: str) -> tuple[mountstat3, bytes]:
        """Mount a path; return the status, and a handle where there is one."""
        got = self.client.mount("MNT", f"{self._prefix}{path}".encode())
        return got.fhs_status, got.mountinfo.fhandle if got.fhs_status is mountstat3.MNT3_OK else b""

    def lookup(self, folder: bytes, path: str) -> tuple[nfsstat3, bytes]:
        """Look the names of a path up until one is missing."""
        status, fh = nfsstat3.NFS3_OK, folder
        for name in path.split("/"):
            got = self.client.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(fh, name.encode())))
            status = got.status
            if status is not nfsstat3.NFS3_OK:
                return status, b""
            fh = got.resok.object
        return status, fh

    def names(self, folder: bytes) -> list[str]:
        """List a folder."""
        page = ok(self.client.call("READDIRPLUS", nfs3.READDIRPLUS3args(folder, 0, bytes(8), 65536, 65536)))
        return sorted(entry.name.decode() for entry in page.entries if entry.name not in (b".", b".."))


@pytest.mark.parametrize("who", NFS_PRINCIPALS, ids=lambda who: who.id)
def test_mounts_show_what_the_table_says(matrix: World, who: Who) -> None:
    for gateway, _ in itertools.product(matrix.gateways, range(CONNECTIONS)):
        shown = Mounted(matrix, gateway, who)
        with shown.client:
            status, root = shown.mount("/")
            if not who.good:
                assert status is mountstat3.MNT3ERR_ACCES
                assert {shown.mount(f"/{dataset}")[0] for dataset in (*DATASETS, "none")} == {status}
                continue
            scopes = table.scopes(who)
            for scope, names in scopes.items():
                assert shown.names(shown.lookup(root, scope)[1] if scope else root) == names
            for dataset in (*DATASETS, *ABSENT.values()):
                there = dataset in who.reads
                for path in (
                    f"{dataset}/1.0.0/a.txt",
                    f"{dataset}/{matrix.states.get(dataset, 'b3-' + '0' * 64)}/a.txt",
                ):
                    found, fh = shown.lookup(root, path)
                    assert found is (nfsstat3.NFS3_OK if there else nfsstat3.NFS3ERR_NOENT), path
                    if there:
                        assert shown.client.read(fh, 0, len(CONTENT))[0] == CONTENT
                for path in (f"/{dataset}", f"/{dataset}/1.0.0", f"/{dataset}/1.0.0/a.txt/"):
                    status, _fh = shown.mount(path)
                    fine = mountstat3.MNT3ERR_NOTDIR if "a.txt" in path else mountstat3.MNT3_OK
                    assert status is (fine if there else mountstat3.MNT3ERR_NOENT), path


@pytest.mark.parametrize("who", [who for who in NFS_PRINCIPALS if who.good], ids=lambda who: who.id)
def test_what_is_hidden_is_answered_as_what_is_absent(matrix: World, who: Who) -> None:
    """Whole replies are compared: a folder's attributes come with a name that is missing too."""
    calls = ("{}", "{}/1.0.0", "{}/..", "../{}", "{}.", "{}/b3-")
    for gateway, _ in itertools.product(matrix.gateways, range(2)):
        shown = Mounted(matrix, gateway, who)
        with shown.client:
            root = shown.mount("/")[1]
            for hidden, absent in ABSENT.items():
                if hidden in who.reads:
                    continue
                scope, _, name = hidden.rpartition("/")
                found, folder = shown.lookup(root, scope) if scope else (nfsstat3.NFS3_OK, root)
                if found is nfsstat3.NFS3_OK:
                    one, other = (
                        shown.client.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(folder, text.encode())))
                        for text in (name, absent.rpartition("/")[2])
                    )
                    assert one == other
                    assert one.status is nfsstat3.NFS3ERR_NOENT
                else:
                    assert found is shown.lookup(root, absent.partition("/")[0])[0] is nfsstat3.NFS3ERR_NOENT
                for call in calls:
                    assert shown.mount("/" + call.format(hidden)) == shown.mount("/" + call.format(absent))


def test_a_handle_of_one_rule_is_of_no_use_to_who_comes_by_another(matrix: World) -> None:
    owner = next(who for who in BY_RULE if who.id == "cora-by-rule")
    for gateway in matrix.gateways:
        first = Mounted(matrix, gateway, owner)
        with first.client:
            root = first.mount("/")[1]
            handles = [first.lookup(root, f"{path}")[1] for path in ("public", "secret", "secret/1.0.0/a.txt")]
            assert all(handles)
        for who in BY_RULE:
            if who is owner:
                continue
            shown = Mounted(matrix, gateway, who)
            with shown.client:
                for fh in handles:
                    got = shown.client.call("GETATTR", nfs3.GETATTR3args(fh))
                    assert got.status is nfsstat3.NFS3ERR_ACCES


def test_lists_of_exports_and_mounts_show_no_token_and_nothing_hidden(matrix: World) -> None:
    for gateway, who in itertools.product(matrix.gateways, BY_RULE):
        token = Mounted(matrix, gateway, next(who for who in NFS_PRINCIPALS if who.id == "mount"))
        cora = Mounted(matrix, gateway, next(who for who in NFS_PRINCIPALS if who.id == "cora-by-rule"))
        with token.client, cora.client:
            for mounted in (token, cora):
                assert mounted.mount("/secret")[0] is mountstat3.MNT3_OK
            for _ in range(CONNECTIONS):
                with Mounted(matrix, gateway, who).client as client:
                    mounts, exports = client.mount("DUMP"), client.mount("EXPORT")
                    assert not any(secret in repr([mounts, exports]) for secret in matrix.secrets)
                    paths = [mount.ml_directory for mount in mounts if mount.ml_hostname != who.name.encode()]
                    paths += [export.ex_dir for export in exports]
                    for dataset in DATASETS:
                        assert dataset in who.reads or not any(dataset.encode() in path for path in paths)
                    if who.good:
                        readable = {f"/{dataset}".encode() for dataset in who.reads}
                        assert readable | {b"/"} == {export.ex_dir for export in exports}
