"""What changes acts on every worker of every gateway within a minute, and is written down; what is broken does not."""

import itertools
import json
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from nfs.wire import nfs3
from nfs.wire.mount3 import mountstat3
from nfs.wire.nfs3types import diropargs3, nfsstat3
from tests.interop.access import table
from tests.interop.access.asking import Answer
from tests.interop.access.table import PRINCIPALS, Who
from tests.interop.access.world import CONTENT, PASSWORDS, WORKERS, Gateway, World, basic, bearer, replace, world
from tests.support.nfs_client import NfsClient, ok

pytestmark = [pytest.mark.interop, pytest.mark.slow]
LIMIT_S = 60.0
At = tuple[Gateway, int]  # a worker of a gateway
WHO = {who.id: who for who in PRINCIPALS}
FILE = "/fs/secret/1.0.0/a.txt"
MORE = '[[rule]]\nallow = ["read"]\nto = ["user:bob", "user:ada"]\non = ["secret"]\n'


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two gateways that speak plain HTTP, with the policy in a file that they share."""
    base = tmp_path_factory.mktemp("changes")
    with world(
        base, str(base / "store"), kinds="pp", datasets=("public", "shared", "secret", "twin"), nfs=True
    ) as found:
        yield found


def workers(found: World) -> list[At]:
    return list(itertools.product(found.gateways, range(WORKERS)))


def status(found: World, at: At, shown: dict[str, str], target: str = FILE) -> int:
    lines = at[0].lines[""]
    return lines.ask("GET", target, shown, worker=lines.workers[at[1]]).status


def until(
    found: World, holds: Callable[[At], bool], *, began_s: float | None = None, meanwhile: "Changed | None" = None
) -> float:
    """Ask all workers until something holds for each, and goes on to hold; return how long the slowest took, seconds.

    Args:
        found: the world.
        holds: asks a worker of a gateway.
        began_s: when it was changed, monotonic; `None`: just now.
        meanwhile: what is shown all the time, so that nobody learns of its end by having forgotten it.
    """
    began_s = time.monotonic() if began_s is None else began_s
    waiting = workers(found)
    while waiting:
        waiting = [one for one in waiting if not holds(one)]
        took_s = time.monotonic() - began_s
        assert not waiting or took_s < LIMIT_S, [gateway.name for gateway, _ in waiting]
        if meanwhile is not None:
            meanwhile.show()
        time.sleep(0.1 if waiting else 0)
    assert all(holds(one) for one in workers(found) * 3)
    return took_s


def warm(found: World, shown: dict[str, str], wanted: int) -> None:
    """Have every worker give an answer often enough to know it by heart."""
    assert {status(found, one, shown) for one in workers(found) * 4} == {wanted}


class Changed(NamedTuple):
    """What was changed at one time, and when; everything had been good for everybody before."""

    world: World
    began_s: float  # monotonic
    removed: list[dict[str, str]]  # of a user: the password, and a session that began with it
    old: list[dict[str, str]]  # the same of one who has another password now
    new: dict[str, str]
    ended: dict[str, str]  # a session
    revoked: dict[str, str]  # a token
    mounts: list[tuple[NfsClient, bytes]]  # by a token that was revoked: connections, and a file's handle on each

    def show(self) -> None:
        """Show every worker what may be good for a while."""
        for at, shown in itertools.product(workers(self.world), (self.ended, self.revoked)):
            says(self.world, at, shown)
        self.reads()

    def reads(self) -> set[nfsstat3]:
        """Read by what was mounted; return what is told."""
        return {client.call("READ", nfs3.READ3args(fh, 0, 10)).status for client, fh in self.mounts}


EVE, OLD, NEW = "for a while alone", "the first of two", "the second of two"


@pytest.fixture(scope="module")
def changed(plain: World) -> Iterator[Changed]:
    """Change all that takes its time, so that it takes it together."""
    first, second = plain.gateways
    plain.set_password("eve", EVE)
    plain.set_password("ann", OLD)
    eve, ann, token = basic("eve", EVE), basic("ann", OLD), bearer(plain.tokens["free"])
    until(plain, lambda one: (says(plain, one, eve), says(plain, one, ann)) == ("user:eve", "user:ann"))
    eves, anns = plain.log_in("eve", EVE, first), plain.log_in("ann", OLD, second)
    adas = plain.log_in("ada", PASSWORDS["ada"], first)
    for shown, who in ((eves, "user:eve"), (anns, "user:ann"), (adas, "user:ada"), (token, "token:free")):
        assert {says(plain, one, shown) for one in workers(plain) * 4} == {who}
    warm(plain, token, 200)
    mounts = [mounted(gateway, plain.tokens["mount"]) for gateway in plain.gateways for _ in range(3 * WORKERS)]
    began_s = time.monotonic()
    plain.run("token", "revoke", "free")
    plain.run("token", "revoke", "mount")
    plain.set_password("eve", None)
    plain.set_password("ann", NEW)
    form = {"csrf": plain.csrf(adas, second)["X-AetherFS-CSRF"]}
    fields = {**adas, "Content-Type": "application/x-www-form-urlencoded"}
    assert second.lines[""].ask("POST", "/ui/logout", fields, urllib.parse.urlencode(form)).status == 200
    yield Changed(plain, began_s, [eve, eves], [ann, anns], basic("ann", NEW), adas, token, mounts)
    for client, _ in mounts:
        client.sock.close()


def mounted(gateway: Gateway, token: str) -> tuple[NfsClient, bytes]:
    client = NfsClient(gateway.nfs_port)
    fh = client.mount("MNT", f"/@token/{token}/secret/1.0.0".encode()).mountinfo.fhandle
    fh = ok(client.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(fh, b"a.txt")))).object
    assert client.read(fh, 0, len(CONTENT))[0] == CONTENT
    return client, fh


def refused(changed: Changed, shown: dict[str, str], who: str = "401") -> None:
    until(changed.world, lambda one: says(changed.world, one, shown) == who, began_s=changed.began_s)


def test_a_user_who_is_removed_is_let_in_nowhere(changed: Changed) -> None:
    password, cookie = changed.removed
    refused(changed, password)
    refused(changed, cookie, "anonymous")


def test_a_password_that_is_changed_lets_in_nobody(changed: Changed) -> None:
    password, cookie = changed.old
    refused(changed, password)
    refused(changed, cookie, "anonymous")
    refused(changed, changed.new, "user:ann")


def test_a_policy_in_a_file_acts_and_a_broken_one_does_not(plain: World, changed: Changed) -> None:
    shown = basic("bob", PASSWORDS["bob"])
    warm(plain, shown, 404)
    clients = [
        NfsClient(gateway.nfs_port, address="127.0.0.2") for gateway in plain.gateways for _ in range(3 * WORKERS)
    ]  # all of ada's
    roots = [client.mount("MNT", b"/").mountinfo.fhandle for client in clients]
    missing = nfsstat3.NFS3ERR_NOENT
    assert found_by_nfs(clients, roots) == {missing}
    replace(plain.policy, table.POLICY + MORE)
    until(plain, lambda one: status(plain, one, shown) == 200, meanwhile=changed)
    warm(plain, shown, 200)
    until(plain, lambda _: found_by_nfs(clients, roots) == {nfsstat3.NFS3_OK})
    opened = [
        ok(client.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(root, b"secret")))).object
        for client, root in zip(clients, roots, strict=True)
    ]

    replace(plain.policy, "[[rule]]\nallow = [")
    told = [0, 0]
    began_s = time.monotonic()
    while min(told) < WORKERS:  # every worker has read it
        texts = [(gateway.folder / "stderr").read_text() for gateway in plain.gateways]
        told = [text.count("can't be used: the one before stays") for text in texts]
        assert time.monotonic() - began_s < LIMIT_S
        changed.show()
        time.sleep(0.1)
    assert all("not TOML" in text for text in texts)
    warm(plain, shown, 200)
    warm(plain, bearer(plain.tokens["owned"]), 200)  # as far as its owner may, and what it was made for
    assert found_by_nfs(clients, roots) == {nfsstat3.NFS3_OK}

    replace(plain.policy, table.POLICY)
    until(plain, lambda one: status(plain, one, shown) == 404, meanwhile=changed)
    warm(plain, shown, 404)
    until(plain, lambda one: status(plain, one, bearer(plain.tokens["owned"])) == 404)
    until(plain, lambda _: found_by_nfs(clients, roots) == {missing})
    for client, folder in zip(clients, opened, strict=True):
        assert client.call("GETATTR", nfs3.GETATTR3args(folder)).status is nfsstat3.NFS3ERR_ACCES
        client.sock.close()


def found_by_nfs(clients: list[NfsClient], roots: list[bytes]) -> set[nfsstat3]:
    """Look `secret` up on every connection; return what is told."""
    return {
        client.call("LOOKUP", nfs3.LOOKUP3args(diropargs3(root, b"secret"))).status
        for client, root in zip(clients, roots, strict=True)
    }


def test_a_policy_in_the_bucket_acts_and_a_broken_one_is_refused(matrix: World, changed: Changed) -> None:
    shown = basic("bob", PASSWORDS["bob"])
    warm(matrix, shown, 404)
    text = matrix.base / "other.toml"
    try:
        text.write_text(table.POLICY + MORE)
        matrix.run("policy", "set", text)
        until(matrix, lambda one: status(matrix, one, shown) == 200, meanwhile=changed)
        text.write_text("[[rule]]")
        matrix.run("policy", "set", text, answer=2)
        assert matrix.run("policy", "get") == table.POLICY + MORE
        warm(matrix, shown, 200)
    finally:
        matrix.run("policy", "set", matrix.policy)
        until(matrix, lambda one: status(matrix, one, shown) == 404, meanwhile=changed)


def test_a_session_that_was_ended_is_over_on_the_other_gateway(changed: Changed) -> None:
    refused(changed, changed.ended, "anonymous")


def test_a_token_that_is_revoked_is_good_for_nothing(changed: Changed) -> None:
    shown = bearer(changed.world.tokens["free"])
    refused(changed, shown)
    refused(changed, basic("x", changed.world.tokens["free"]))
    assert {status(changed.world, one, shown) for one in workers(changed.world)} == {401}


def says(found: World, at: At, shown: dict[str, str]) -> str:
    """Return whom a worker takes somebody for, or the status of its refusal."""
    lines = at[0].lines[""]
    got = lines.ask("GET", "/api/v1/whoami", shown, worker=lines.workers[at[1]])
    return str(json.loads(got.body)["principal"]) if got.status == 200 else str(got.status)


def test_a_mount_by_a_token_that_is_revoked_reads_nothing(changed: Changed) -> None:
    while changed.reads() != {nfsstat3.NFS3ERR_ACCES}:
        assert time.monotonic() - changed.began_s < LIMIT_S
    assert changed.reads() == {nfsstat3.NFS3ERR_ACCES}
    for client, _ in changed.mounts:
        path = f"/@token/{changed.world.tokens['mount']}/secret".encode()
        assert client.mount("MNT", path).fhs_status is mountstat3.MNT3ERR_ACCES
        client.sock.close()
    changed.mounts.clear()


# What is published and may not be read


def listings(found: World, gateway: Gateway, who: Who, worker: int) -> list[Answer]:
    asked = []
    for scope in ("", "@geo/", "@new/"):
        for method, target, headers in (
            ("GET", f"/fs/{scope}", table.JSON),
            ("GET", f"/fs/{scope}?sort=time", table.HTML),
            ("HEAD", f"/fs/{scope}", {}),
            ("PROPFIND", f"/webdav/{scope}", {"Depth": "1"}),
            ("PROPFIND", f"/webdav/{scope}", {"Depth": "0"}),
        ):
            asked.append(found.ask(gateway, who, method, target, headers, worker=worker))
    apis = ("/api/v1/datasets", "/api/v1/datasets?page_size=1", "/api/v1/whoami")
    return asked + [found.ask(gateway, who, "GET", target, worker=worker) for target in apis]


def test_no_listing_changes_when_something_hidden_is_published(plain: World) -> None:
    """New datasets, one in a scope that is seen and one in a scope of its own; and a new tag of what is hidden."""
    plain.push("@geo/city", "1.0.0", b"seen by ada")
    until(plain, lambda one: lists(plain, one, "@geo/", "city"))
    unaware = [WHO[name] for name in ("anonymous", "ada", "ada-browser", "bob", "olga-provider", "owned-bearer")]
    asked = [(gateway, who, worker) for gateway, worker in workers(plain) for who in unaware]
    before = [listings(plain, *one) for one in asked]
    for scope, name in (("", "veiled"), ("@geo/", "hiding"), ("@new/", "one")):
        plain.push(f"{scope}{name}", "1.0.0", b"new")
        until(plain, lambda one: lists(plain, one, scope, name))  # noqa: B023  # asked here and now
    plain.push("secret", "3.0.0", b"newer")
    after = [listings(plain, *one) for one in asked]
    for one, was, now in zip(asked, before, after, strict=True):
        if one[1].id != "olga-provider":  # who may read `secret`
            assert was == now, one


def lists(found: World, at: At, scope: str, name: str) -> bool:
    got = found.ask(at[0], WHO["root"], "GET", f"/fs/{scope}", table.JSON, worker=at[1])
    return got.status == 200 and name in [one["name"] for one in json.loads(got.body)["entries"]]


# What is written down


class Book:
    """What one gateway adds to its audit log."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway, self._read = gateway, len(gateway.audit())

    def added(self) -> list[dict[str, Any]]:
        lines = self._gateway.audit()
        new, self._read = lines[self._read :], len(lines)
        for line in new:
            assert line.pop("time")
            assert line.pop("address") == "127.0.0.1"
            line.pop("agent", None)
        return new


def test_the_audit_log_tells_who_did_what_and_whether_it_was_let_happen(plain: World) -> None:
    gateway = plain.gateways[0]
    book, lines = Book(gateway), gateway.lines[""]

    def ask(who: dict[str, str], method: str, target: str, body: object = None) -> Answer:
        text = "" if body is None else json.dumps(body)
        return lines.ask(method, target, {**table.WRITE, **who}, text, worker=lines.workers[0])

    plain.set_password("kim", "kims password")
    kim, root = basic("kim", "kims password"), basic("root", PASSWORDS["root"])
    until(plain, lambda one: says(plain, one, kim) == "user:kim")
    ask(root, "GET", "/fs/")
    book.added()
    assert ask(basic("kim", "kims own guess"), "GET", "/fs/public/").status == 401
    plain.secrets |= {"kims own guess", "kims password"}
    [line] = book.added()
    assert line.pop("why")
    assert line == {"event": "login", "outcome": "refused", "principal": "user:kim"}
    for target, surface in (("/fs/secret/1.0.0/a.txt?x", "fs"), ("/webdav/@geo/x", "webdav")):
        for _ in range(3):
            assert ask(kim, "GET", target).status == 404
        dataset = "secret" if surface == "fs" else "@geo/x"
        denial = {"event": "denial", "outcome": "refused", "principal": "user:kim", "action": "read"}
        assert book.added() == [{**denial, "dataset": dataset, "target": target}] * 3
    assert ask({}, "GET", "/fs/secret/").status == 401
    assert [(line["event"], line["principal"], line["dataset"]) for line in book.added()] == [
        ("denial", "anonymous", "secret")
    ]
    api = "/api/v1/datasets"
    assert ask({}, "DELETE", f"{api}/public/tags/latest").status == 401
    [line] = book.added()
    assert (line["event"], line["outcome"], line["principal"], line["action"]) == (
        "denial", "refused", "anonymous", "DELETE",
    )  # fmt: skip
    by_root = {"outcome": "ok", "principal": "user:root", "surface": "api"}
    assert ask(root, "PUT", f"{api}/shared/tags/moved", body={"reference": "shared:1.0.0"}).status == 201
    assert book.added() == [{
        "event": "move", **by_root, "dataset": "shared", "tag": "moved", "manifest": plain.states["shared"],
        "changed": True,
    }]  # fmt: skip
    assert ask(root, "DELETE", f"{api}/shared/tags/moved").status == 204
    assert book.added() == [{"event": "delete", **by_root, "dataset": "shared", "tag": "moved"}]
    assert ask(kim, "DELETE", f"{api}/public/tags/latest").status == 403
    [line] = book.added()
    assert (line["event"], line["outcome"], line["dataset"], line["action"]) == (
        "denial", "refused", "public", "delete",
    )  # fmt: skip
    made = ask(kim, "POST", "/api/v1/tokens", body={"name": "kims", "rules": ["read:public"]})
    assert made.status == 201
    plain.secrets.add(json.loads(made.body)["token"])
    assert ask(kim, "DELETE", "/api/v1/tokens/kims").status == 204
    assert [(line["event"], line["outcome"], line["principal"], line["change"], line["token"])
            for line in book.added()] == [
        ("token", "ok", "user:kim", "created", "kims"), ("token", "ok", "user:kim", "revoked", "kims"),
    ]  # fmt: skip
    token = json.loads(made.body)["token"]
    assert ask(bearer(token), "GET", "/fs/public/").status == 401
    [line] = book.added()
    assert (line["event"], line["outcome"]) == ("login", "refused")
    cookie = plain.log_in("kim", "kims password", gateway)
    form = {"csrf": plain.csrf(cookie, gateway)["X-AetherFS-CSRF"]}
    fields = {**cookie, "Content-Type": "application/x-www-form-urlencoded"}
    lines.ask("POST", "/ui/logout", fields, urllib.parse.urlencode(form))
    by_kim = {"outcome": "ok", "principal": "user:kim", "surface": "ui"}
    assert book.added() == [
        {"event": "login", **by_kim, "way": "basic"}, {"event": "logout", **by_kim, "everywhere": False},
    ]  # fmt: skip


def test_the_audit_log_tells_of_a_policy_that_is_replaced(matrix: World) -> None:
    gateway = matrix.gateways[0]
    book, root = Book(gateway), WHO["root"]
    etag = matrix.ask(gateway, root, "GET", "/api/v1/policy").get("ETag")
    book.added()
    for text, outcome in (("[[rule", 422), (table.POLICY, 200)):
        body = json.dumps({"policy": text})
        got = matrix.ask(gateway, root, "PUT", "/api/v1/policy", {**table.WRITE, "If-Match": etag}, body)
        assert got.status == outcome, got
        [line] = [one for one in book.added() if one["event"] != "login"]
        assert (line["event"], line["outcome"], line["principal"]) == (
            "policy", "ok" if outcome == 200 else "refused", "user:root",
        )  # fmt: skip
