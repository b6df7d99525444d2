"""Grants are what they are of, and nothing else; what is remembered of them is bounded."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from auth.errors import Undecided
from auth.principal import ANONYMOUS, Principal, user
from auth.tokens import DIGITS, ID_LENGTH, parse_rules
from gateway.access.audit import Audit
from gateway.access.nfs_build import build_grants
from gateway.access.nfs_grants import NfsGrants, grant_of_rule, grant_of_token, is_this_machine, token_of
from gateway.access.tokens import Tokens
from gateway.app import build_tree
from gateway.board import Board
from gateway.config import ConfigError, load
from gateway.export_rules import ExportRule
from nfs.access import MOST_EXPORTS, Access, Exports
from nfs.export import Export
from nfs.fhandle import NO_GRANT
from nfs.grants import Admitted, GrantRefused, Peer
from store.errors import PathMissing, StaleNode, StoreUnavailable
from store.objects.local import FolderStore
from store.root import create_store
from store.vfs.tree import FileTree
from tests.support.staging import StoreStage
from tests.support.trees import MemoryTree

IDS = st.text(st.sampled_from(DIGITS), min_size=ID_LENGTH, max_size=ID_LENGTH)
HERE, FAR = Peer("127.0.0.1"), Peer("192.0.2.7")


@given(IDS, IDS)
def test_a_tokens_grant_is_its_id_and_no_other(one: str, other: str) -> None:
    assert token_of(grant_of_token(one)) == one
    assert len(grant_of_token(one)) == 8
    assert (grant_of_token(one) == grant_of_token(other)) == (one == other)


@given(st.text(min_size=1), st.binary(min_size=32, max_size=32), st.binary(min_size=8, max_size=8))
def test_grants_of_rules_and_of_tokens_never_meet(name: str, key: bytes, other: bytes) -> None:
    grant = grant_of_rule(user(name), key)
    assert len(grant) == 8
    assert token_of(grant) is None
    assert grant != NO_GRANT == grant_of_rule(ANONYMOUS, key)
    assert grant != grant_of_rule(user(name), bytes(31) + b"x") != grant_of_rule(user(f"{name}x"), bytes(31) + b"x")
    found = token_of(other)
    assert found is None or len(found) == ID_LENGTH


class Alone:
    """Shows one tree to everybody."""

    def __init__(self, tree: FileTree) -> None:
        self.tree = tree

    def of(self, principal: Principal) -> FileTree:
        return self.tree


class Away:
    """Tokens in a bucket that does not answer."""

    def check(self, text: str, *, nfs: bool = False) -> Principal:
        raise Undecided("the bucket is away")

    def known_grant(self, token: str) -> Principal | None:
        return None

    def check_grant(self, token: str) -> Principal:
        raise Undecided("the bucket is away")

    def close(self) -> None:
        raise AssertionError("nobody closed it")


def test_a_bucket_that_is_away_is_a_store_that_is_away_and_no_refusal() -> None:
    grants = NfsGrants((), Alone(MemoryTree()), generation=lambda: 1, tokens=Away())
    assert grants.known(grant_of_token("a" * 10), HERE) is None
    for _ in range(40):  # nobody is slowed down for it
        with pytest.raises(StoreUnavailable):
            grants.by_token(f"aefs_{'a' * 10}_{'b' * 40}", HERE)
    with pytest.raises(StoreUnavailable):
        grants.granted(grant_of_token("a" * 10), HERE)


def test_where_no_tokens_are_taken_none_is_good() -> None:
    grants = NfsGrants((), Alone(MemoryTree()), generation=lambda: 1)
    for ask in (grants.known, grants.granted):
        with pytest.raises(GrantRefused):
            ask(grant_of_token("a" * 10), HERE)
    with pytest.raises(GrantRefused):
        grants.by_token(f"aefs_{'a' * 10}_{'b' * 40}", HERE)


def test_exports_of_many_owners_and_certificates_are_bounded() -> None:
    exports = Exports(Export(MemoryTree(), handle_key=b"k"))
    first = exports.of(Admitted(None, 1, 1))
    for number in range(3 * MOST_EXPORTS):
        exports.of(Admitted(None, 1, 1, f"user:{number}"))
    assert len(exports._others) == MOST_EXPORTS
    assert exports.of(Admitted(None, 1, 1)) is not first
    assert exports.of(Admitted(None)) is exports.first
    assert first.mounts is exports.first.mounts
    assert first.handles is exports.first.handles


def test_shares_of_one_connection_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfs.access.MOST_SHARES", 3)

    class Any(Away):
        def known_grant(self, token: str) -> Principal | None:
            return user(token)

    grants = NfsGrants((), Alone(tree := MemoryTree()), generation=lambda: 1, tokens=Any())
    access = Access(grants, Exports(Export(tree, handle_key=b"k")), HERE)
    access.refresh(0.0)
    for number in range(20):
        assert access.now.share(grant_of_token(DIGITS[number] * 10), warm=True).name == DIGITS[number] * 10
    assert len(access.now.shares) == 3


def test_one_client_with_many_addresses_does_not_fill_the_logs(tmp_path: Path) -> None:
    audited = tmp_path / "audit.log"
    grants = NfsGrants((), Alone(MemoryTree()), generation=lambda: 1, tokens=Away(), audit=Audit(str(audited)))
    text = f"aefs_{'a' * 10}_{'b' * 40}"
    with capture_logs() as logged:
        for network in ("2001:db8::{:x}", "2001:db8:0:1::{:x}"):
            for number in range(1, 300):
                peer = Peer(network.format(number))
                with pytest.raises(GrantRefused):
                    grants.by_token(text, peer)
                grants.refused(peer)
    told = [json.loads(line)["address"] for line in audited.read_text().splitlines()]
    assert told == ["2001:db8::1", "2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:1::1"]
    assert len(logged) == len(told)


@pytest.mark.parametrize(
    ("address", "here"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.1.2.3", True), ("local", True), ("192.0.2.1", False),
     ("::ffff:192.0.2.1", False), ("fe80::1%eth0", False), ("0.0.0.0", False)],
)  # fmt: skip
def test_this_machine_is_told_from_others(address: str, here: bool) -> None:
    assert is_this_machine(address) is here


@pytest.mark.parametrize(
    ("rules", "insecure", "login", "seen"),
    [
        ((), False, False, "here"),  # by default this machine alone
        ((), False, True, "here"),
        ((), True, True, "here"),
        ((), True, False, "all"),  # as --insecure says
        ((ExportRule(("192.0.2.0/24",)),), True, False, "there"),
    ],
)
def test_who_may_mount_by_default(
    tmp_path: Path, rules: tuple[ExportRule, ...], insecure: bool, login: bool, seen: str
) -> None:
    create_store(FolderStore(tmp_path / "store", create=True))
    (tmp_path / "policy.toml").write_text("")
    flags = {"store.url": str(tmp_path / "store")}
    if login:
        flags["auth.policy"] = str(tmp_path / "policy.toml")
    settings = load(flags=flags, environ={})
    settings = dataclasses.replace(settings, nfs=dataclasses.replace(settings.nfs, export=rules))
    built = build_tree(settings)
    try:
        grants = build_grants(settings, built, Board(), insecure=insecure)
        may = [grants.admitted(peer).share is not None for peer in (HERE, FAR)]
        assert may == {"here": [True, False], "there": [False, True], "all": [True, True]}[seen]
        share = grants.admitted(HERE).share or grants.admitted(FAR).share
        assert share is not None
        assert (share.tree is built.tree) is not login  # without login nothing is in between
    finally:
        built.tree.close()


@pytest.mark.parametrize("rules", [(), (ExportRule(("192.0.2.0/24",)),)])
def test_without_login_a_token_shows_what_it_was_made_for_and_no_more(
    tmp_path: Path, rules: tuple[ExportRule, ...]
) -> None:
    """Where rules keep an address out, a token is all that it has."""
    objects = FolderStore(tmp_path / "store", create=True)
    stage = StoreStage(objects, tmp_path)
    for name in ("maps", "secret", "@geo/roads"):
        stage.publish(name, "1.0.0", {b"f": b"x"})
    stage.close()
    text, _ = Tokens(objects).create("ci", parse_rules(["read:maps"], kind="nfs"), nfs=True, owner=user("ada"))
    settings = load(flags={"store.url": str(tmp_path / "store")}, environ={})
    settings = dataclasses.replace(settings, nfs=dataclasses.replace(settings.nfs, export=rules))
    built = build_tree(settings)
    try:
        grants = build_grants(settings, built, Board(), insecure=True)
        tree = grants.by_token(str(text), FAR).tree
        assert [entry.name for entry in tree.children(tree.root()).entries] == [b"maps"]
        for hidden in (b"secret", b"@geo"):
            with pytest.raises(PathMissing):
                tree.lookup(tree.root(), hidden)
        secret = built.tree.lookup(built.tree.root(), b"secret")
        with pytest.raises(StaleNode):
            tree.node(secret.place)
    finally:
        built.tree.close()


def test_a_file_of_certificates_that_cant_be_used_ends_the_start(tmp_path: Path) -> None:
    create_store(FolderStore(tmp_path / "store", create=True))
    flags = {
        "store.url": str(tmp_path / "store"), "nfs.tls": "allow", "nfs.client_ca": "/etc/ca.pem",
        "auth.certificates": str(tmp_path / "none"),
    }  # fmt: skip
    settings = load(flags=flags, environ={})
    built = build_tree(settings)
    try:
        with pytest.raises(ConfigError, match=r"auth\.certificates: .*none cannot be read"):
            build_grants(settings, built, Board(), insecure=False)
    finally:
        built.tree.close()
