"""Who is who by certificates of clients, with a policy: the same bytes, asked of a gateway by different people."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from OpenSSL import SSL

from tests.interop.http.serving import Secured
from tests.interop.serve.gateways import Place
from tests.support.authority import Authority, Issued

CLIENTS = Authority("clients")
POLICY = """
[[rule]]
allow = ["read"]
to = ["user:ada"]
on = ["geo"]

[[rule]]
allow = ["read"]
to = ["user:bob"]
on = ["other"]
"""


class World:
    """A gateway, people with certificates, and the file that says who they are."""

    def __init__(self, port: int, people: dict[str, Issued], users: Path) -> None:
        self.port, self.people, self.users = port, people, users

    def connect(self, who: str) -> Secured:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        if who:
            context.use_certificate(self.people[who].certificate)
            context.use_privatekey(self.people[who].private_key)
        return Secured(socket.create_connection(("127.0.0.1", self.port), timeout=20), context)

    def put(self, text: str) -> None:
        fresh = self.users.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.users)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    above = tmp_path_factory.mktemp("certificates")
    place = Place(str(above / "store"), above / "home")
    made = place.run("cert", "self-signed", "--host", "127.0.0.1", "--out", above / "pair")
    place.run("init")
    for name in ("geo", "other"):
        (above / name).mkdir()
        (above / name / "a.txt").write_text(name)
        place.run("push", above / name, "-t", f"{name}:1.0.0")
    people = {name: CLIENTS.issue(name, emails=[f"{name}@example.org"], client=True) for name in ("ada", "bob", "eve")}
    (above / "clients.pem").write_bytes(CLIENTS.pem)
    (above / "policy.toml").write_text(POLICY)
    place.environment |= {
        "AETHERFS_HTTP_TLS_CERT": made["cert"],
        "AETHERFS_HTTP_TLS_KEY": made["key"],
        "AETHERFS_HTTP_CLIENT_CA": os.fspath(above / "clients.pem"),
        "AETHERFS_AUTH_POLICY": os.fspath(above / "policy.toml"),
        "AETHERFS_AUTH_CERTIFICATES": os.fspath(above / "users"),
    }
    found = World(0, people, above / "users")
    found.put("email:ada@example.org ada\nemail:bob@example.org bob\n")
    with place.serve("--workers", "1", nfs="off") as gateway:
        found.port = int(gateway.http.rpartition(":")[2])
        yield found
        assert gateway.stop() == 0


def status(sock: Secured, target: str, *fields: str) -> int:
    head = "".join(f"{field}\r\n" for field in ("Host: x", *fields))
    sock.sendall(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode())
    answer = sock.recv(65536)
    head_part, _, body = answer.partition(b"\r\n\r\n")
    length = next(int(line[16:]) for line in head_part.split(b"\r\n") if line.lower().startswith(b"content-length: "))
    while len(body) < length:
        body += sock.recv(65536)
    return int(answer[9:12])


@pytest.mark.parametrize("target", ["/fs/{}/1.0.0/a.txt", "/webdav/{}/1.0.0/a.txt", "/fs/{}/1.0.0/"])
def test_the_same_bytes_are_answered_by_who_asks(world: World, target: str) -> None:
    expected = {"ada": (200, 404), "bob": (404, 200), "eve": (401, 401), "": (401, 401)}
    connections = {who: world.connect(who) for who in expected}
    for _ in range(4):  # what was answered to one is at hand for the next
        for who, sock in connections.items():
            got = tuple(status(sock, target.format(name)) for name in ("geo", "other"))
            assert got == expected[who], who
    for sock in connections.values():
        sock.sock.close()


def test_credentials_decide_where_a_request_carries_them(world: World) -> None:
    with world.connect("ada") as sock:
        assert status(sock, "/fs/geo/1.0.0/a.txt") == 200
        assert status(sock, "/fs/geo/1.0.0/a.txt", "Authorization: Bearer aefs_nonsense") == 401
        assert status(sock, "/fs/geo/1.0.0/a.txt") == 200


def test_who_is_who_changes_with_the_file_on_open_connections_too(world: World) -> None:
    with world.connect("eve") as sock:
        assert status(sock, "/fs/geo/1.0.0/a.txt") == 401
        world.put("email:ada@example.org ada\nemail:bob@example.org bob\nemail:eve@example.org ada\n")
        until_s = time.monotonic() + 60
        while status(sock, "/fs/geo/1.0.0/a.txt") != 200 and time.monotonic() < until_s:
            time.sleep(0.1)
        assert status(sock, "/fs/geo/1.0.0/a.txt") == 200
        world.put("email:ada@example.org ada\nemail:bob@example.org bob\n")
        until_s = time.monotonic() + 60
        while status(sock, "/fs/geo/1.0.0/a.txt") == 200 and time.monotonic() < until_s:
            time.sleep(0.1)
        assert status(sock, "/fs/geo/1.0.0/a.txt") == 401
