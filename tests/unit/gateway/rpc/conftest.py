"""A server of gRPC over a store in memory, and people who call it by its port."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import bcrypt
import pytest

from auth.htpasswd import parse_htpasswd
from auth.passwords import Passwords
from auth.policy import Policy, parse_policy
from auth.throttle import Throttle
from gateway.access.audit import Audit
from gateway.access.entrance import Entrance
from gateway.access.identify import Identifier, Ways
from gateway.config import Address, load
from gateway.lifecycle import bound, listen
from gateway.operations.files import Files
from gateway.operations.rights import Operations
from gateway.rpc.callers import SURFACE, Callers
from gateway.rpc.methods import Context
from gateway.rpc.server import RpcServer
from gateway.rpc.service import Datasets
from store.objects.memory import MemoryStore
from store.repository import Repository
from store.vfs.tree import FileTree
from tests.support.rpc_client import RpcClient, basic
from tests.support.staging import StoreStage
from tests.support.trees import Contents, Link

POLICY = """
[[rule]]
allow = ["read", "tag", "delete", "admin"]
to = ["user:root"]
on = ["*"]
[[rule]]
allow = ["read"]
to = ["user:ada"]
on = ["maps", "@geo/*"]
[[rule]]
allow = ["tag"]
to = ["user:ada"]
on = ["maps"]
[[rule]]
allow = ["read"]
to = ["anonymous"]
on = ["public"]
"""
CONNECTIONS = 30  # of a server at once
BIG = bytes(range(256)) * 4096 * 3  # 3 MiB
FOLDER: Contents = {
    b"a.txt": b"hello\n",
    b"empty": b"",
    b"big": BIG,
    b"sub": {b"deep": {b"leaf": b"leaf"}},
    b"link": Link(b"sub/deep"),
    b"out": Link(b"../../secret/1.0.0/s"),
    b"not-\xff-text": b"odd name",
    b"many": {f"{number:04}".encode(): b"x" for number in range(250)},
}


class Policies:
    """A policy that a test may replace."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.generation = policy, 0

    def refresh(self) -> bool:
        return False


class Serving(NamedTuple):
    """One server that runs."""

    address: Address
    stage: StoreStage
    policies: Policies
    log: Path
    service: Datasets

    def client(self, user: str = "") -> RpcClient:
        """Return a client of somebody's, whose password is their name."""
        return RpcClient(str(self.address), authorization=basic(user, user) if user else "")

    def audited(self) -> list[dict[str, Any]]:
        """Return the audit log since it was last read."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        self.log.write_text("")
        return lines


def serving(stage: StoreStage, log: Path, tree: FileTree | None = None) -> Iterator[Serving]:
    """Serve a stage's store until the generator is closed."""
    settings = load(flags={"auth.policy": "store"}, environ={}, file=None)
    policies = Policies(parse_policy(POLICY))
    log.write_text("")
    audit = Audit(str(log), reads=True)
    on = Operations(Repository.open(stage.objects), policies, settings, audit)
    rows = "".join(f"{name}:{bcrypt.hashpw(name.encode(), bcrypt.gensalt(4)).decode()}\n" for name in ("ada", "root"))
    users = parse_htpasswd(rows.encode())
    ways = Ways(Passwords(lambda: users, Throttle()))
    callers = Callers(on, Entrance(Identifier(ways), audit, surface=SURFACE))
    shown = tree or stage.tree
    service = Datasets(Context(on, Files(on, shown)), callers, shown)
    with listen("grpc", Address("127.0.0.1", 0), accepting=False) as held:
        server = RpcServer(bound(held), lambda: service, connections=CONNECTIONS)
        yield Serving(bound(held), stage, policies, log, service)
        server.drain(1.0)
    audit.close()


def staged(folder: Path) -> StoreStage:
    """Publish what tests ask for."""
    stage = StoreStage(MemoryStore(), folder)
    stage.publish("maps", "1.0.0", FOLDER)
    stage.publish("maps", "latest", {b"a.txt": b"second"})
    for name in ("public", "secret", "@geo/city", "@geo/roads"):
        stage.publish(name, "1.0.0", {b"s": name.encode()})
    return stage


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Serve what no test of a module changes for the others."""
    folder = tmp_path_factory.mktemp("rpc")
    with staged(folder) as stage:
        yield from serving(stage, folder / "audit.log")


_numbers = itertools.count()


@pytest.fixture
def fresh(served: Serving) -> str:
    """Return a dataset of the test's own, with versions 1.0.0 and 2.0.0, that `root` may change."""
    name = f"own{next(_numbers)}"
    for version in ("1.0.0", "2.0.0"):
        served.stage.publish(name, version, {b"v": version.encode()})
    return name
