"""Any path to MOUNT and any handle, rightly made or not, from any address: what the model says, and no token told."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auth.principal import user
from gateway.access.nfs_grants import grant_of_rule, grant_of_token
from nfs.fhandle import NO_GRANT, FileHandles
from nfs.handlers.mount import token_in
from nfs.wire import nfs3
from nfs.wire.mount3 import mountstat3
from nfs.wire.nfs3types import nfsstat3
from store.vfs.tree import Place
from tests.support.nfs_client import KEY, NfsClient, serving
from tests.support.trees import resolve
from tests.unit.nfs.test_access import ANYBODY, LAB, STRANGER, World, mounted

DATASETS = ("maps", "secret", "open", "@lab/x")
MAY = {LAB: {"maps", "@lab/x", "open"}, ANYBODY: {"open"}, STRANGER: set[str]()}
OWN = {LAB: grant_of_rule(user("lab"), bytes(32)), ANYBODY: NO_GRANT, STRANGER: None}
PARTS = st.one_of(
    st.sampled_from(
        [b"maps", b"open", b"secret", b"@lab", b"x", b"1.0.0", b"..", b".", b"", b"@token", b"TOKEN", b"sub"]
    ),
    st.binary(max_size=12).filter(lambda part: b"/" not in part),
)


class Site(NamedTuple):
    """A server, and what was made for it."""

    port: int
    token: str
    places: dict[str, list[Place]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    work: Path = tmp_path_factory.mktemp("fuzz")
    world = World(work)
    with contextlib.closing(world.stage), serving(world.stage.tree, grants=world.grants()) as (_, port):
        token = world.token("ci", "read:maps")
        paths = {name: [name, f"{name}/1.0.0", f"{name}/1.0.0/who", f"{name}/1.0.0/sub/deep"] for name in DATASETS}
        places = {name: [resolve(world.stage.tree, path).place for path in found] for name, found in paths.items()}
        with NfsClient(port) as client:  # so that the gateway has met the token
            assert isinstance(mounted(client, f"/@token/{token}"), bytes)
        yield Site(port, token, places)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PARTS, max_size=6), st.sampled_from([LAB, STRANGER]))
def test_any_path_is_mounted_or_refused_and_what_is_hidden_never(site: Site, parts: list[bytes], address: str) -> None:
    named = [part.replace(b"TOKEN", site.token.encode()) for part in parts]
    with NfsClient(site.port, address=address) as client:
        result = client.mount("MNT", b"/".join(named))
    given_so = [part for part in named if part not in (b"", b".")]
    by_token = given_so[:2] == [b"@token", site.token.encode()]
    seen = given_so[2:] if by_token else given_so
    if result.fhs_status is mountstat3.MNT3_OK:
        assert by_token or address == LAB
        assert not seen or seen[0] in ((b"maps",) if by_token else (b"maps", b"open", b"@lab"))
        assert b".." not in seen
    else:
        assert result.fhs_status.name[8:] in ("NOENT", "ACCES", "NOTDIR", "NAMETOOLONG")


@given(
    st.sampled_from(DATASETS),
    st.integers(0, 3),
    st.sampled_from(["own", "lab", "none", "token", "other"]),
    st.sampled_from([LAB, ANYBODY, STRANGER]),
    st.integers(0, (1 << 48) - 1),
)
def test_a_rightly_made_handle_shows_what_its_grant_shows_to_whom_it_is_due(
    site: Site, dataset: str, which: int, kind: str, address: str, export: int
) -> None:
    """As who has read the secret of handles out of the bucket could make them: no rule is passed by that."""
    token = grant_of_token(site.token[5:15])
    grants = {
        "lab": grant_of_rule(user("lab"), bytes(32)),
        "none": NO_GRANT,
        "token": token,
        "other": grant_of_token("a" * 10),
    }
    grant = (OWN[address] or NO_GRANT) if kind == "own" else grants[kind]
    fh = FileHandles(KEY).encode(site.places[dataset][which], export=export, grant=grant)
    if grant == token:
        wanted = nfsstat3.NFS3_OK if dataset == "maps" else nfsstat3.NFS3ERR_ACCES
    elif grant != OWN[address]:
        wanted = nfsstat3.NFS3ERR_ACCES
    else:
        wanted = nfsstat3.NFS3_OK if dataset in MAY[address] else nfsstat3.NFS3ERR_ACCES
    with NfsClient(site.port, address=address) as client:
        for _ in range(2):
            assert client.call("GETATTR", nfs3.GETATTR3args(fh)).status is wanted


@given(st.lists(PARTS | st.just(b"aefs_aaaaaaaaaa_" + b"b" * 40), max_size=7))
def test_no_token_is_left_in_the_path_that_is_walked(parts: list[bytes]) -> None:
    token, below = token_in(b"/".join(parts))
    real = [part for part in parts if part not in (b"", b".")]
    if real[:1] == [b"@token"]:
        assert token == b"".join(real[1:2]).decode("ascii", "replace")
        assert below == b"".join(b"/" + part for part in real[2:])
    else:
        assert (token, below) == (None, b"/".join(parts))
