"""Who is asked for what: rules, tokens and policy over the wire, and what attackers try with handles and paths.

Everything is real but the clocks: a store, its tokens, a policy that changes, a server with its caches.
"""

import json
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from auth.policy import Policy, parse_policy
from auth.principal import user
from auth.throttle import Throttle
from auth.tokens import DIGITS, parse_rules
from gateway.access.audit import Audit
from gateway.access.nfs_grants import NfsGrants, grant_of_token
from gateway.access.token_records import FRESH_S
from gateway.access.tokens import Tokens
from gateway.access.trees import Trees
from gateway.export_rules import ExportRule
from nfs.access import Access, Exports
from nfs.export import Export
from nfs.fhandle import GRANT_AT, GRANT_END, HANDLE_BYTES
from nfs.grants import GrantRefused, Peer, Share
from nfs.handlers.mount import token_in
from nfs.view import BlockingView
from nfs.wire import nfs3
from nfs.wire.mount3 import mountbody, mountstat3
from nfs.wire.nfs3types import diropargs3, nfsstat3
from nfs.wire.nlm4 import nlm4_stats
from nfs.wire.rpc import authsys_parms
from store.errors import StaleNode
from store.objects.memory import MemoryStore
from tests.conformance.tree_cases import BIG, SAMPLE
from tests.support.lock_client import LockClient
from tests.support.nfs_client import KEY, USER, NfsClient, ok, serving
from tests.support.staging import Clock, StoreStage
from tests.support.trees import resolve

LAB, ANYBODY, STRANGER, OTHER = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
RULES = (
    ExportRule((f"{LAB}/32",), "user:lab", 1000, 1001, ("chemists",)),
    ExportRule((f"{ANYBODY}/32", "127.0.0.1/32"), uid=5, gid=6),
)
POLICY = """
[[rule]]
allow = ["read"]
to = ["user:lab"]
on = ["maps", "@lab/*"]
[[rule]]
allow = ["read"]
to = ["anonymous"]
on = ["open"]
"""
OK, ACCES, BADHANDLE = nfsstat3.NFS3_OK, nfsstat3.NFS3ERR_ACCES, nfsstat3.NFS3ERR_BADHANDLE


class Source:
    """A policy that a test changes."""

    def __init__(self, text: str) -> None:
        self.policy: Policy = parse_policy(text)
        self.generation = 1

    def change(self, text: str) -> None:
        self.policy = parse_policy(text)
        self.generation += 1


class World:
    """A store with three datasets, and what decides who sees them."""

    def __init__(self, work: Path) -> None:
        self.stage = StoreStage(MemoryStore(), work)
        for name in ("maps", "secret", "open", "@lab/x"):
            self.stage.publish(name, "1.0.0", {**SAMPLE, b"who": name.encode()})
        self.policies, self.clock, self.throttled = Source(POLICY), Clock(), Clock()
        self.later_ns = 0
        now_ns = self.stage.objects.now_ns
        self.tokens = Tokens(self.stage.objects, clock=self.clock, now_ns=lambda: now_ns() + self.later_ns)
        self.audited = work / "audit.log"

    def grants(self, **more: Any) -> NfsGrants:
        return NfsGrants(
            RULES,
            Trees(self.stage.tree, self.policies),
            generation=lambda: self.policies.generation,
            tokens=self.tokens,
            throttle=Throttle(clock=self.throttled),
            audit=Audit(str(self.audited), reads=True),
            **more,
        )

    def token(self, name: str = "ci", rule: str = "read:maps", **more: Any) -> str:
        kind = "nfs" if more.get("nfs", True) else "http"
        text, _ = self.tokens.create(name, parse_rules([rule], kind=kind), **{"nfs": True, **more})
        return str(text)

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audited.read_text().splitlines()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.stage.close()


@pytest.fixture
def port(world: World) -> Iterator[int]:
    with serving(world.stage.tree, grants=world.grants()) as (_, port):
        yield port


def mounted(client: NfsClient, path: str) -> bytes | mountstat3:
    """Mount a path; return its handle, or why not."""
    result = client.mount("MNT", path.encode())
    if result.fhs_status is not mountstat3.MNT3_OK:
        status: mountstat3 = result.fhs_status
        return status
    fh: bytes = result.mountinfo.fhandle
    return fh


def root(client: NfsClient, path: str) -> bytes:
    fh = mounted(client, path)
    assert isinstance(fh, bytes), fh
    return fh


def found(client: NfsClient, fh: bytes, *names: bytes) -> bytes:
    for name in names:
        fh = ok(client.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(fh, name)))).object
    return fh


def listed(client: NfsClient, fh: bytes) -> list[bytes]:
    page = ok(client.call("READDIRPLUS", nfs3.READDIRPLUS3args(fh, 0, bytes(8), 65536, 65536)))
    return [entry.name for entry in page.entries if entry.name not in (b".", b"..")]


ASKED: dict[str, Callable[[bytes], Any]] = {
    "GETATTR": nfs3.GETATTR3args,
    "LOOKUP": lambda fh: nfs3.LOOKUP3args(diropargs3(fh, b"x")),
    "ACCESS": lambda fh: nfs3.ACCESS3args(fh, 63),
    "READLINK": nfs3.READLINK3args,
    "READ": lambda fh: nfs3.READ3args(fh, 0, 4096),
    "READDIR": lambda fh: nfs3.READDIR3args(fh, 0, bytes(8), 4096),
    "READDIRPLUS": lambda fh: nfs3.READDIRPLUS3args(fh, 0, bytes(8), 4096, 4096),
    "FSSTAT": nfs3.FSROOT3args,
    "FSINFO": nfs3.FSROOT3args,
    "PATHCONF": nfs3.FSROOT3args,
    "REMOVE": lambda fh: nfs3.REMOVE3args(diropargs3(fh, b"x")),
    "COMMIT": lambda fh: nfs3.COMMIT3args(fh, 0, 0),
}


def statuses(client: NfsClient, fh: bytes) -> dict[str, nfsstat3]:
    return {name: client.call(name, args(fh)).status for name, args in ASKED.items()}


def all_warm(client: NfsClient, *handles: bytes) -> None:
    """Have everything about handles remembered: what is asked a second time is answered the short way."""
    for fh in handles:
        assert statuses(client, fh) == statuses(client, fh)


# Rules


def test_a_rule_says_what_is_seen_and_whose_it_is(port: int) -> None:
    with NfsClient(port, address=LAB) as lab, NfsClient(port, address=ANYBODY) as anybody:
        assert listed(lab, root(lab, "/")) == sorted([b"maps", b"@lab", b"open"], key=listed(lab, root(lab, "/")).index)
        assert set(listed(lab, root(lab, "/"))) == {b"maps", b"@lab", b"open"}
        assert listed(anybody, root(anybody, "/")) == [b"open"]
        assert mounted(anybody, "/maps") is mounted(anybody, "/nothing") is mountstat3.MNT3ERR_NOENT
        file = found(lab, root(lab, "/maps/1.0.0"), b"a.txt")
        assert (lab.attributes(file).uid, lab.attributes(file).gid) == (1000, 1001)
        assert lab.read(file, 0, 100) == (b"hello\n", True)
        public = root(anybody, "/open/1.0.0")
        assert (anybody.attributes(public).uid, anybody.attributes(public).gid) == (5, 6)


def test_a_rules_user_is_in_the_groups_that_the_rule_names(world: World, port: int) -> None:
    with NfsClient(port, address=LAB) as lab, NfsClient(port, address=ANYBODY) as anybody:
        world.policies.change(f'{POLICY}[[rule]]\nallow = ["read"]\nto = ["group:chemists"]\non = ["secret"]\n')
        assert sorted(listed(lab, root(lab, "/"))) == [b"@lab", b"maps", b"open", b"secret"]
        assert listed(anybody, root(anybody, "/")) == [b"open"]
        world.policies.change(f'{POLICY}[[rule]]\ndeny = ["read"]\nto = ["group:chemists"]\non = ["maps"]\n')
        assert sorted(listed(lab, root(lab, "/"))) == [b"@lab", b"open"]


def test_an_address_without_a_rule_gets_nothing_but_what_tells_nothing(port: int, world: World) -> None:
    with NfsClient(port, address=ANYBODY) as anybody, NfsClient(port, address=STRANGER) as stranger:
        stolen = [root(anybody, "/"), found(anybody, root(anybody, "/open/1.0.0"), b"a.txt")]
        all_warm(anybody, *stolen)
        for path in ("/", "/open", "/open/1.0.0", "/secret", "/nothing", "/@lab"):
            assert mounted(stranger, path) is mountstat3.MNT3ERR_ACCES
        for fh in stolen:
            assert set(statuses(stranger, fh).values()) == {ACCES}
        assert stranger.mount("EXPORT") == []
        assert [entry.ex_dir for entry in anybody.mount("EXPORT")] == [b"/", b"/open"]
        stranger.call("NULL")
    assert [line["address"] for line in world.audit() if line["outcome"] == "refused"] == [STRANGER]


@pytest.mark.parametrize("said", [USER, authsys_parms(0, b"root", 0, 0, (0, 1, 1000)), None])
def test_what_a_client_says_of_its_user_counts_for_nothing(port: int, said: authsys_parms | None) -> None:
    with NfsClient(port, address=LAB) as lab, NfsClient(port, address=ANYBODY, user=said) as client:
        theirs = [root(lab, "/maps/1.0.0"), found(lab, root(lab, "/"), b"maps", b"1.0.0", b"who")]
        all_warm(lab, *theirs)
        assert listed(client, root(client, "/")) == [b"open"]
        for fh in theirs:
            assert set(statuses(client, fh).values()) == {ACCES}
        assert client.attributes(root(client, "/open")).uid == 5


def test_a_handle_of_one_rule_is_refused_under_another(port: int) -> None:
    with NfsClient(port, address=LAB) as lab, NfsClient(port, address=ANYBODY) as anybody:
        shared = [root(lab, "/open/1.0.0"), found(lab, root(lab, "/open/1.0.0"), b"big.bin"), root(lab, "/")]
        theirs = [root(anybody, "/open/1.0.0"), root(anybody, "/")]
        all_warm(lab, *shared)
        all_warm(anybody, *theirs)
        for fh in shared:  # though both may read it
            assert set(statuses(anybody, fh).values()) == {ACCES}
        for fh in theirs:
            assert set(statuses(lab, fh).values()) == {ACCES}
        assert statuses(lab, shared[1])["READ"] is OK


# Policy


def test_a_policy_that_changes_acts_on_what_is_mounted_and_warm(port: int, world: World) -> None:
    with NfsClient(port, address=LAB) as lab:
        handles = [root(lab, "/maps/1.0.0"), found(lab, root(lab, "/maps/1.0.0"), b"big.bin"), root(lab, "/maps")]
        handles += [root(lab, "/@lab"), root(lab, "/@lab/x")]
        everything = root(lab, "/")
        all_warm(lab, *handles)
        before = lab.attributes(everything)
        world.policies.change(POLICY.replace('"maps", "@lab/*"', '"secret"'))
        for fh in handles:
            assert set(statuses(lab, fh).values()) == {ACCES}
        for path in ("/maps", "/maps/1.0.0", "/@lab", "/@lab/x"):  # by name they are as if they were not there
            assert mounted(lab, path) is mountstat3.MNT3ERR_NOENT
        assert set(listed(lab, everything)) == {b"secret", b"open"}
        assert lab.attributes(everything) != before
        world.policies.change(POLICY)
        for fh in handles:
            assert statuses(lab, fh)["GETATTR"] is OK
        assert lab.read(handles[1], 0, 1 << 20) == (BIG, True)


def test_a_reader_is_stopped_in_the_middle_of_a_file(port: int, world: World) -> None:
    with NfsClient(port, address=LAB) as lab:
        file = found(lab, root(lab, "/maps/1.0.0"), b"big.bin")
        for offset in range(0, 100_000, 1000):
            assert lab.read(file, offset, 1000)[0] == BIG[offset : offset + 1000]
        world.policies.change("")
        assert lab.call("READ", nfs3.READ3args(file, 100_000, 1000)).status is ACCES


# Tokens


def test_a_token_in_the_path_shows_what_it_was_made_for(port: int, world: World) -> None:
    token = world.token(rule="read:maps")
    with NfsClient(port, address=STRANGER) as client, NfsClient(port, address=OTHER) as elsewhere:
        state = root(client, f"/@token/{token}/maps/1.0.0")
        file = found(client, state, b"who")
        assert client.read(file, 0, 100) == (b"maps", True)
        assert state[GRANT_AT:GRANT_END] == file[GRANT_AT:GRANT_END] == grant_of_token(token[5:15])
        assert listed(client, root(client, f"/@token/{token}")) == [b"maps"]
        assert listed(client, root(client, f"//@token//{token}//")) == [b"maps"]
        for path in ("secret", "open", "nothing", "maps/9.9.9", "maps/1.0.0/a.txt/x"):
            assert mounted(client, f"/@token/{token}/{path}") in (mountstat3.MNT3ERR_NOENT, mountstat3.MNT3ERR_NOTDIR)
        assert elsewhere.read(file, 0, 100) == (b"maps", True)  # as after a change of network
        with serving(world.stage.tree, grants=world.grants()) as (_, other), NfsClient(other, address=LAB) as lab:
            assert lab.read(file, 0, 100) == (b"maps", True)  # another gateway, which has not seen the token
            assert lab.attributes(file).uid == 1000  # the owner is the rule's of the address


def test_a_token_shows_no_more_than_its_owner_may_see(port: int, world: World) -> None:
    token = world.token(rule="read:*", owner=user("lab"))
    with NfsClient(port, address=STRANGER) as client:
        top = root(client, f"/@token/{token}")
        assert set(listed(client, top)) == {b"maps", b"@lab", b"open"}
        file = found(client, top, b"maps", b"1.0.0", b"a.txt")
        all_warm(client, file)
        world.policies.change("")
        assert set(statuses(client, file).values()) == {ACCES}


@pytest.mark.parametrize(
    "change", ["", "x", "aefs_", "aefs_aaaaaaaaaa_" + "a" * 40, "{}x", "{}/../..", "{upper}", "\xff"]
)
def test_what_is_no_token_is_refused_alike(port: int, world: World, change: str) -> None:
    token = world.token()
    path = f"/@token/{change.format(token, upper=token.upper())}"
    with NfsClient(port, address=STRANGER) as client:
        refused = mountstat3.MNT3ERR_NOENT if "/.." in change else mountstat3.MNT3ERR_ACCES
        assert mounted(client, path) is refused
        assert mounted(client, path + "/maps") is refused
    with NfsClient(port, address=LAB) as lab:  # not even by who sees everything there is
        assert mounted(lab, "/@token") is mountstat3.MNT3ERR_ACCES


def test_tokens_of_the_other_kind_expired_and_revoked_ones_are_refused(port: int, world: World) -> None:
    http, revoked, short = world.token("web", nfs=False), world.token("gone"), world.token("short", lives_s=3600)
    world.tokens.revoke("gone")
    with NfsClient(port, address=STRANGER) as client:
        for token in (http, revoked):
            assert mounted(client, f"/@token/{token}/maps") is mountstat3.MNT3ERR_ACCES
        state = root(client, f"/@token/{short}/maps/1.0.0")
        all_warm(client, state)
        world.later_ns = 3600 * 10**9
        assert mounted(client, f"/@token/{short}/maps") is mountstat3.MNT3ERR_ACCES
        wait_until(lambda: set(statuses(client, state).values()) == {ACCES}, limit_s=60)
    assert {line["why"] for line in world.audit() if line["outcome"] == "refused"} == {
        "token:web is for http alone",
        "token:gone is revoked",
        "token:short is expired",
    }


def test_revocation_bites_on_what_is_mounted_and_warm_on_every_gateway(world: World, port: int) -> None:
    token = world.token()
    far = Tokens(world.stage.objects, clock=world.clock)  # of another gateway
    with NfsClient(port, address=STRANGER) as client:
        state = root(client, f"/@token/{token}/maps/1.0.0")
        handles = [state, found(client, state, b"big.bin"), root(client, f"/@token/{token}")]
        all_warm(client, *handles)
        far.revoke("ci")
        assert statuses(client, handles[1])["READ"] is OK  # not known here yet
        world.clock.now_s += FRESH_S + 1
        wait_until(lambda: client.call("GETATTR", nfs3.GETATTR3args(state)).status is ACCES, limit_s=60)
        for fh in handles:
            assert set(statuses(client, fh).values()) == {ACCES}
        with NfsClient(port, address=STRANGER) as again:
            assert set(statuses(again, state).values()) == {ACCES}
            assert mounted(again, f"/@token/{token}/maps") is mountstat3.MNT3ERR_ACCES


def wait_until(done: Callable[[], bool], *, limit_s: float) -> None:
    deadline_s = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_handle_of_one_token_does_not_become_one_of_another(port: int, world: World) -> None:
    maps, secret = world.token("a", "read:maps"), world.token("b", "read:secret")
    with NfsClient(port, address=STRANGER) as client, NfsClient(port, address=ANYBODY) as anybody:
        ours = root(client, f"/@token/{maps}/maps/1.0.0")
        theirs = root(client, f"/@token/{secret}/secret/1.0.0")
        public = root(anybody, "/open/1.0.0")
        all_warm(client, ours, theirs)
        for one, other in ((ours, theirs), (theirs, ours), (ours, public), (public, ours), (theirs, public)):
            swapped = one[:GRANT_AT] + other[GRANT_AT:GRANT_END] + one[GRANT_END:]
            assert set(statuses(client, swapped).values()) == {BADHANDLE}
        assert set(statuses(client, public).values()) == {ACCES}
        assert listed(client, found(client, ours, b"sub")) == listed(client, found(client, theirs, b"sub"))


# Handles


def test_forged_cut_and_lengthened_handles_are_refused(port: int, world: World) -> None:
    token = world.token()
    with NfsClient(port, address=LAB) as lab:
        for good in (root(lab, f"/@token/{token}/maps/1.0.0"), root(lab, "/maps/1.0.0"), root(lab, "/")):
            all_warm(lab, good)
            for at in range(HANDLE_BYTES):
                for bit in (1, 0x80):
                    forged = good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :]
                    assert lab.call("GETATTR", nfs3.GETATTR3args(forged)).status is BADHANDLE
            for wrong in (b"", good[:-1], good[:32], good[:8], bytes(64), b"\xff" * 64):
                assert set(statuses(lab, wrong).values()) == {BADHANDLE}
            assert lab.call("GETATTR", nfs3.GETATTR3args(good)).status is OK


def test_nothing_outside_is_reached_from_a_mount(port: int, world: World) -> None:
    token = world.token(rule="read:*")
    with NfsClient(port, address=LAB) as lab:
        for path in (f"/@token/{token}/maps/1.0.0", "/maps/1.0.0", "/maps", "/@lab/x", "/"):
            top = root(lab, path)
            assert lab.attributes(found(lab, top, b"..")).fileid == lab.attributes(top).fileid
            assert lab.attributes(found(lab, top, *[b".."] * 9)).fileid == lab.attributes(top).fileid
        for name in (b"../secret", b"..\0", b"/secret", b"", b"maps/../../secret"):
            refused = lab.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(root(lab, "/maps"), name)))
            assert refused.status in (ACCES, nfsstat3.NFS3ERR_NOENT)
        for path in (
            "/maps/..",
            "/maps/../secret",
            "/../secret",
            f"/@token/{token}/..",
            f"/@token/{token}/maps/../secret",
        ):
            assert mounted(lab, path) is mountstat3.MNT3ERR_NOENT
        inside = found(lab, root(lab, "/maps/1.0.0"), b"sub", b"deep")
        up = [found(lab, inside, *[b".."] * count) for count in (1, 2, 3, 4)]
        assert lab.attributes(up[1]).fileid == lab.attributes(up[3]).fileid


def test_a_state_of_another_dataset_is_not_found_by_its_id(port: int, world: World) -> None:
    secret = world.stage.publish("secret", "2.0.0", {b"f": b"only here"}).hex()
    with NfsClient(port, address=LAB) as lab:
        for name in (f"b3-{secret}", f"b3-{secret[:12]}"):
            assert mounted(lab, f"/maps/{name}") is mountstat3.MNT3ERR_NOENT
            answer = lab.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(root(lab, "/maps"), name.encode())))
            assert answer.status is nfsstat3.NFS3ERR_NOENT


# Guessing, and what is told


def test_guessing_is_slowed_down_for_the_address_that_guesses_alone(port: int, world: World) -> None:
    token = world.token()
    wrong = "aefs_{}_" + "b" * 40
    with NfsClient(port, address=STRANGER) as guesser, NfsClient(port, address=OTHER) as other:
        for number in range(60):
            digits = f"{number:010}".translate(str.maketrans("0189", "abcd"))
            assert mounted(guesser, f"/@token/{wrong.format(digits)}/maps") is mountstat3.MNT3ERR_ACCES
        tried = [line for line in world.audit() if line["why"].startswith("there is no token")]
        assert len(tried) == 31  # from then on nothing is looked for
        assert mounted(guesser, f"/@token/{token}/maps") is mountstat3.MNT3ERR_ACCES
        assert isinstance(mounted(other, f"/@token/{token}/maps"), bytes)
        world.throttled.now_s += 2
        assert isinstance(mounted(guesser, f"/@token/{token}/maps"), bytes)


def test_wrong_secrets_of_one_token_are_slowed_down_sooner(port: int, world: World) -> None:
    token = world.token()
    with NfsClient(port, address=STRANGER) as guesser:
        for digit in [digit for digit in DIGITS if digit != token[-1]][:9]:
            mounted(guesser, f"/@token/{token[:-1]}{digit}")
        assert len([line for line in world.audit() if line["why"].startswith("not the secret")]) == 6
        assert mounted(guesser, f"/@token/{token}/maps") is mountstat3.MNT3ERR_ACCES


def test_a_token_is_shown_nowhere(port: int, world: World) -> None:
    token = world.token("ci", "read:*")
    path = f"/@token/{token}/maps/1.0.0"
    with capture_logs() as logged, NfsClient(port) as client:
        assert isinstance(mounted(client, path), bytes)
        assert isinstance(mounted(client, f"/@token/{token}"), bytes)
        for wrong in (
            path + "/nothing",
            path + "x",
            f"/@token/{token}x/maps",
            f"/@token/{token[:-1]}{'ab'[token[-1] == 'a']}/maps",
        ):
            assert isinstance(mounted(client, wrong), mountstat3)
        world.policies.change(POLICY.replace('"open"', '"maps"'))
        seen = client.mount("DUMP")
        assert seen == [mountbody(b"127.0.0.1", b"/@token/ci/maps/1.0.0"), mountbody(b"127.0.0.1", b"/@token/ci")]
        exported = [entry.ex_dir for entry in client.mount("EXPORT")]
        client.mount("UMNT", path.encode())
        assert client.mount("DUMP") == [mountbody(b"127.0.0.1", b"/@token/ci")]
        client.mount("UMNT", b"/@token/ci")  # what is listed is no path that was mounted
        assert len(client.mount("DUMP")) == 1
        client.mount("UMNTALL")
        assert client.mount("DUMP") == []
    told = f"{logged} {seen} {exported} {world.audited.read_text()}"
    assert token[16:-1] not in told
    assert "token:ci" in world.audited.read_text()


def test_tokens_cross_no_network_in_the_clear_unless_it_is_allowed(world: World) -> None:
    token = world.token()
    far = Peer("192.0.2.7")
    with capture_logs() as logged:

        def by_path(grants: NfsGrants, peer: Peer) -> Share | None:
            return grants.by_token(token, peer)

        def by_handle(grants: NfsGrants, peer: Peer) -> Share | None:
            return grants.known(grant_of_token(token[5:15]), peer)

        for ask in (by_path, by_handle):
            with pytest.raises(GrantRefused, match=r"in the clear.* \(nfs\.tls\).* or give --insecure"):
                ask(world.grants(), far)
            with pytest.raises(GrantRefused, match="in the clear"):
                ask(world.grants(), Peer("::ffff:192.0.2.7"))
            for allowed, peer in ((True, far), (False, far._replace(secured=True)), (False, Peer("::1"))):
                share = ask(world.grants(insecure=allowed), peer)
                assert share is not None
                assert share.name == "ci"
    assert any("in the clear" in line["why"] for line in logged)


@pytest.mark.parametrize(
    ("path", "token", "below"),
    [
        (b"/maps/1.0.0", None, b"/maps/1.0.0"),
        (b"@token", "", b""),
        (b"/@token/", "", b""),
        (b"/@token/abc", "abc", b""),
        (b"//./@token//abc/./maps//1.0.0/", "abc", b"/maps/1.0.0"),
        (b"/@token/\xff/x", "\ufffd", b"/x"),
        (b"/@tokens/abc", None, b"/@tokens/abc"),
        (b"/maps/@token/abc", None, b"/maps/@token/abc"),
        (b"", None, b""),
    ],
)
def test_tokens_are_found_in_paths_however_they_are_written(path: bytes, token: str | None, below: bytes) -> None:
    assert token_in(path) == (token, below)


def test_calls_of_one_batch_are_gated_one_by_one(port: int) -> None:
    """Handles of two rules beside each other in one segment: each is answered for itself."""
    with NfsClient(port, address=LAB) as lab, NfsClient(port, address=ANYBODY) as anybody:
        theirs, ours = root(lab, "/open/1.0.0"), root(anybody, "/open/1.0.0")
        all_warm(lab, theirs)
        all_warm(anybody, ours)
        for fh in (ours, theirs) * 40:
            anybody.start("GETATTR", nfs3.GETATTR3args(fh))
        told = [struct.unpack_from(">I", anybody.receive(), 24)[0] for _ in range(80)]
        assert told == [OK, ACCES] * 40


def test_what_was_asked_under_an_old_policy_is_not_kept_under_the_new(world: World) -> None:
    grants = world.grants()
    export = Export(world.stage.tree, handle_key=KEY)
    access = Access(grants, Exports(export), Peer(LAB))
    access.refresh(0.0)
    place = resolve(world.stage.tree, "maps/1.0.0").place
    assert access.now.own is not None
    fh = export.handles.encode(place, grant=access.now.own.grant)
    view = BlockingView(access.now, b"lab")  # a call begins, and waits
    world.policies.change("")
    Access(grants, access._exports, Peer(LAB)).refresh(0.0)  # another connection learns of it
    with pytest.raises(StaleNode):
        view.node(fh)
    world.policies.change(POLICY)
    slow = BlockingView(access.now, b"lab")
    access.refresh(0.0)
    assert slow.node(fh).place == place
    assert access.now.export.kept.nodes.get(fh) is None
    assert slow.kept.nodes.get(fh) is not None


def test_dump_names_nothing_that_others_mounted_and_who_asks_may_not_see(world: World, port: int) -> None:
    token = world.token("ci", "read:secret")
    with NfsClient(port, address=LAB) as lab, NfsClient(port, address=ANYBODY) as anybody:
        for path in ("/maps", "/@lab/x/1.0.0", "/", f"/@token/{token}/secret"):
            assert isinstance(mounted(lab, path), bytes)
        assert isinstance(mounted(anybody, "/open"), bytes)
        assert {(m.ml_hostname, m.ml_directory) for m in anybody.mount("DUMP")} == {
            (LAB.encode(), b"/"), (ANYBODY.encode(), b"/open"),
        }  # fmt: skip
        seen = {m.ml_directory for m in lab.mount("DUMP")}
        assert seen == {b"/maps", b"/@lab/x/1.0.0", b"/", b"/@token/ci", b"/open"}
        with NfsClient(port, address=STRANGER) as stranger:  # whom no rule lets in
            assert stranger.mount("DUMP") == []


def test_dump_names_nothing_hidden_to_others_of_the_address_that_mounted_it(world: World, port: int) -> None:
    """Behind address translation, and on the gateway's own machine, many have one address."""
    tokens = {rule: world.token(name, f"read:{rule}") for name, rule in (("a", "secret"), ("b", "open"))}
    for address in (ANYBODY, "127.0.0.1", STRANGER):
        with NfsClient(port, address=address) as holder, NfsClient(port, address=address) as other:
            holder.mount("UMNTALL")
            for below in ("/secret", "/secret/1.0.0", ""):
                root(holder, f"/@token/{tokens['secret']}{below}")
            root(holder, f"/@token/{tokens['open']}/open")
            told = [m.ml_directory for m in other.mount("DUMP") if m.ml_hostname == address.encode()]
            assert told == [b"/@token/a", b"/@token/b" if address == STRANGER else b"/@token/b/open"]


def test_the_audit_log_tells_who_came_in_how_and_mounted_what(world: World, port: int) -> None:
    token = world.token("ci", "read:maps")
    with NfsClient(port, address=LAB) as lab, NfsClient(port, address=STRANGER) as client:
        root(lab, "/maps")
        root(client, f"/@token/{token}/maps/1.0.0")
        mounted(lab, "/nothing")
    told = [
        tuple(line.get(key) for key in ("event", "principal", "address", "way", "target")) for line in world.audit()
    ]
    assert told == [
        ("login", "user:lab", LAB, "address", None),
        ("read", "user:lab", LAB, None, "/maps"),
        ("login", "token:ci", STRANGER, "token", None),
        ("read", "token:ci", STRANGER, None, "/@token/ci/maps/1.0.0"),
    ]
    assert {line["surface"] for line in world.audit()} == {"nfs"}


def test_locks_are_granted_on_what_may_be_seen_alone(port: int) -> None:
    with LockClient(port, address=LAB) as lab, LockClient(port, address=ANYBODY) as anybody:
        file = found(lab, root(lab, "/open/1.0.0"), b"a.txt")
        assert lab.lock(file) is nlm4_stats.NLM4_GRANTED
        assert anybody.lock(file) is nlm4_stats.NLM4_FAILED
        forged = file[:40] + b"x" + file[41:]
        assert lab.lock(forged) is nlm4_stats.NLM4_STALE_FH
