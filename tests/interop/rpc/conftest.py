"""A store with a policy, and gateways that answer by gRPC: one that everybody may ask, one with login and TLS."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import bcrypt
import pytest

from tests.interop.serve.gateways import Gateway, Place
from tests.support.authority import Authority, Issued
from tests.support.issuer import Issuer, issuer
from tests.support.jwts import claims, rsa, sign
from tests.support.rpc_client import RpcClient, Shown, basic

BIG: Final = b"".join(number.to_bytes(4) for number in range(400_000))
POLICY: Final = """
[[rule]]
allow = ["read", "tag"]
to = ["user:ada", "group:staff"]
on = ["maps"]
"""
PASSWORD: Final = "ada's own 9 words"


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Publish `maps` and `secret`."""
    base = tmp_path_factory.mktemp("rpc")
    place = Place(str(base / "store"), base / "home")
    place.run("init")
    for name in ("maps", "secret"):
        (base / name).mkdir()
        (base / name / "a.txt").write_text(name)
        (base / name / "big").write_bytes(BIG)
        place.run("push", base / name, "-t", f"{name}:1.0.0")
    return place


@pytest.fixture(scope="package")
def open_gateway(place: Place) -> Iterator[Gateway]:
    """Run a gateway without login."""
    with place.serve(http="off", nfs="off", grpc="127.0.0.1:0") as gateway:
        yield gateway


class Site:
    """A gateway with login, TLS and certificates of clients, and its files."""

    def __init__(self, folder: Path, place: Place, provider: Issuer, key: object) -> None:
        self.folder, self.provider, self.key = folder, provider, key
        self.authority, self.clients = Authority("servers"), Authority("clients")
        self.people = {name: self.clients.issue(name, emails=[name], client=True) for name in ("ada", "eve")}
        self.people["mallory"] = Authority("nobody").issue("mallory", emails=["ada"], client=True)
        self.cert, self.tls_key = self.authority.issue("server").write(folder, "server")
        self.put(self.ca, self.clients.pem)
        self.put(folder / "policy.toml", POLICY.encode())
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        self.put(folder / "users", f"ada:{hashed}\n".encode())
        self.place = Place(place.environment["AETHERFS_STORE"], Path(place.environment["HOME"]))
        self.place.environment |= {
            "AETHERFS_AUTH_POLICY": str(folder / "policy.toml"),
            "AETHERFS_AUTH_AUDIT_LOG": str(self.audit),
            "AETHERFS_AUTH_BASIC_HTPASSWD": str(folder / "users"),
            "AETHERFS_AUTH_OIDC_ISSUER": provider.url,
            "AETHERFS_AUTH_OIDC_CLIENT_ID": "aetherfs",
            "AETHERFS_GRPC_TLS_CERT": str(self.cert),
            "AETHERFS_GRPC_TLS_KEY": str(self.tls_key),
            "AETHERFS_GRPC_CLIENT_CA": str(self.ca),
        }
        self.gateway: Gateway

    @property
    def ca(self) -> Path:
        """The file with those who vouch for clients."""
        return self.folder / "clients.pem"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.folder / "audit.log"

    def put(self, path: Path, data: bytes) -> None:
        """Put a file in another one's place."""
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(data)
        fresh.replace(path)

    def client(self, who: str = "", authorization: str = "", *, trusts: bytes = b"") -> RpcClient:
        """Return a client that shows somebody's certificate, or none."""
        issued: Issued | None = self.people[who] if who else None
        shown = Shown(trusts or self.authority.pem, issued.key if issued else None, issued.pem if issued else None)
        return RpcClient(self.gateway.grpc, shown, authorization=authorization)

    def bearer(self, name: str, *groups: str) -> str:
        """Return what the provider signs."""
        return sign(self.key, claims(iss=self.provider.url, sub=name, groups=[*groups]))  # type: ignore[arg-type]

    @property
    def password(self) -> str:
        """What `ada` logs in with."""
        return basic("ada", PASSWORD)


@pytest.fixture(scope="package")
def site(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    key = rsa()
    with issuer(key) as provider:
        site = Site(tmp_path_factory.mktemp("site"), place, provider, key)
        with site.place.serve(http="off", nfs="off", grpc="127.0.0.1:0") as gateway:
            site.gateway = gateway
            yield site
            gateway.stop()
            assert gateway.process.stderr is not None
            said = gateway.process.stderr.read() + site.audit.read_text()
            assert PASSWORD not in said
            assert "Traceback" not in said
