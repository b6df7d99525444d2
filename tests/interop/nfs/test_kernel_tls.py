"""The Linux kernel's client (6.12, with tlshd) mounts by RPC-with-TLS: what is read, what is refused, what changes."""

import hashlib
import os
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.interop.serve.gateways import Gateway, Place
from tests.support.authority import Authority, Issued
from tests.support.kernel_client import MARKS, guest, heard
from tests.support.tls_client import TlsClient
from tests.support.until import wait_until

LIMIT_S: Final = 900  # 1 GiB is decrypted and digested in software emulation
pytestmark = [pytest.mark.timeout(LIMIT_S + 120), *MARKS]  # the first mark of a kind decides

MIB: Final = 1 << 20
READ_MIB: Final = 1024
PERIOD_MIB: Final = 96  # after which the large file's content comes again: it is to fit into the gateway's memory
SERVER: Final = ("127.0.0.1", "192.0.2.2")  # the second is what the guest sees

SCRIPT: Final = r"""
sees_as() {  # whom tlshd trusts, and as whom it comes
    [ ! -e /tmp/tlshd ] || kill "$(cat /tmp/tlshd)"
    CONF=/etc/tlshd.conf
    printf '[authenticate.client]\nx509.truststore=%s/%s.pem\n' "$PKI" "$1" > $CONF
    [ "$2" = nobody ] || printf 'x509.certificate=%s.pem\nx509.private_key=%s.key\n' "$PKI/$2" "$PKI/$2" >> $CONF
    tlshd -s > /tmp/tlshd.log 2>&1 & echo $! > /tmp/tlshd
    sleep 1
}
at() {  # a port, options: prints how it went
    mkdir -p /m; umount /m 2> /dev/null || true
    OPTIONS="vers=3,tcp,nolock,soft,timeo=50,retrans=1,retry=0,port=$1,mountport=$1"
    timeout 60 mount.nfs "$HOST:/" /m -o "$OPTIONS$2" && timeout 60 cat /m/maps/1.0.0/small || echo refused
}
show() { echo "$1: $(at "$2" "$3" 2> /dev/null)"; }

sees_as first nobody
show "tls, allowed" "$ALLOW" ,xprtsec=tls
echo "in use: $(grep -o 'xprtsec=[a-z]*' /proc/mounts)"
echo "ada's, by nobody: $(cat /m/hers/1.0.0/small 2>&1 | grep -c 'No such file')"
show "clear, allowed" "$ALLOW" ""
show "clear, required" "$REQUIRE" ""
show "tls, required" "$REQUIRE" ,xprtsec=tls

sees_as first ada
show "mtls, ada" "$REQUIRE" ,xprtsec=mtls
echo "in use: $(grep -o 'xprtsec=[a-z]*' /proc/mounts)"
echo "ada's, by ada: $(cat /m/hers/1.0.0/small)"
sees_as first mallory
show "mtls, mallory" "$REQUIRE" ,xprtsec=mtls
umount /m 2> /dev/null || true

sees_as first ada
mkdir -p /open
mount.nfs "$HOST:/" /open -o "vers=3,tcp,nolock,actimeo=1,port=$REQUIRE,mountport=$REQUIRE,xprtsec=mtls"
echo "digest: $(sha256sum < /open/maps/1.0.0/large)"
echo "change now"
until [ -e /open/maps/changed ]; do sleep 1; done
echo 3 > /proc/sys/vm/drop_caches
echo "open goes on: $(cat /open/maps/1.0.0/small)"
show "first authority, afterwards" "$REQUIRE" ,xprtsec=tls
sees_as second nobody
show "second authority, afterwards" "$REQUIRE" ,xprtsec=tls
umount /open  # the kernel has mounts of one server share a connection
sees_as second ada
show "mtls, ada, again" "$REQUIRE" ,xprtsec=mtls
echo "revoke now"
until ! timeout 60 cat /m/maps/1.0.0/small > /dev/null 2>&1; do echo 3 > /proc/sys/vm/drop_caches; sleep 1; done
echo "open, revoked: $(timeout 60 cat /m/hers/1.0.0/small 2> /dev/null || echo refused)"
show "mtls, ada, revoked" "$REQUIRE" ,xprtsec=mtls
sees_as second bob
show "mtls, bob" "$REQUIRE" ,xprtsec=mtls
umount /m
echo "end: reached"
"""


POLICY: Final = """
[[rule]]
allow = ["read"]
to = ["anonymous"]
on = ["maps"]

[[rule]]
allow = ["read"]
to = ["user:ada@example.org"]
on = ["hers"]
"""


class Served(NamedTuple):
    """What is served, and by whose word."""

    place: Place
    allow: Gateway
    require: Gateway
    folder: Path
    digest: str
    clients: Authority
    ada: Issued
    second: Authority


def write_large(file: Path) -> str:
    """Write the large file; return its digest."""
    period = [os.urandom(MIB) for _ in range(PERIOD_MIB)]
    digest = hashlib.sha256()
    with file.open("wb") as opened:
        for number in range(READ_MIB):
            opened.write(period[number % PERIOD_MIB])
            digest.update(period[number % PERIOD_MIB])
    return digest.hexdigest()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    source, pki = tmp_path / "source", tmp_path / "pki"
    for folder in (source, pki):
        folder.mkdir()
    (source / "small").write_text("hello\n")
    digest = write_large(source / "large")
    place = Place(str(tmp_path / "store"), tmp_path / "home")
    place.run("init")
    for dataset in ("maps", "hers"):
        place.run("push", source, "-t", f"{dataset}:1.0.0")
    shutil.rmtree(source)

    first, second, clients = Authority("first"), Authority("second"), Authority("clients")
    for name, authority in (("first", first), ("second", second)):
        (pki / f"{name}.pem").write_bytes(authority.pem)
    ada = clients.issue("ada", emails=["ada@example.org"], client=True)
    ada.write(pki, "ada")
    clients.issue("bob", emails=["bob@example.org"], client=True).write(pki, "bob")
    Authority("nobody known").issue("mallory", client=True).write(pki, "mallory")
    cert, key = first.issue("server", addresses=SERVER).write(tmp_path, "server")
    (tmp_path / "clients.pem").write_bytes(clients.pem)

    tls = {"TLS_CERT": str(cert), "TLS_KEY": str(key), "CLIENT_CA": str(tmp_path / "clients.pem")}
    place.environment |= {f"AETHERFS_NFS_{name}": value for name, value in tls.items()}
    (tmp_path / "policy.toml").write_text(POLICY)
    place.environment |= {"AETHERFS_AUTH_POLICY": str(tmp_path / "policy.toml"), "AETHERFS_NFS_TLS": "allow"}
    with place.serve(http="off") as allow:
        place.environment["AETHERFS_NFS_TLS"] = "require"
        with place.serve(http="off") as require:
            yield Served(place, allow, require, tmp_path, digest, clients, ada, second)


def shows(gateway: Gateway, authority: Authority) -> bool:
    """Tell whether a gateway's certificate is that of an authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.pem.decode())
    with TlsClient(gateway.nfs_port) as client:
        try:
            client.secure(context)
        except ssl.SSLCertVerificationError:
            return False
        return True


def test_the_kernel_reads_by_tls_and_is_refused_where_it_should_be(served: Served, tmp_path: Path) -> None:
    ports = f"PKI={tmp_path}/pki ALLOW={served.allow.nfs_port} REQUIRE={served.require.nfs_port}\n"
    with guest(tmp_path, 0, ports + SCRIPT, folders=[tmp_path / "pki"], suite="trixie", limit_s=LIMIT_S) as process:
        lines = heard(process, "change now")
        served.second.issue("server", addresses=SERVER).write(served.folder, "server")
        for gateway in (served.allow, served.require):
            wait_until(lambda: shows(gateway, served.second), every_s=0.2)  # noqa: B023  # asked here and now
        served.place.run("tag", "maps:1.0.0", "maps:changed")
        lines += heard(process, "revoke now")
        revoked = served.clients.pem + served.clients.revoking(served.ada)
        (served.folder / "clients.pem").write_bytes(revoked)
        lines += heard(process, "end: reached")
    said = [line.split(": ", 1) for line in lines if ": " in line and line[0] != "+"]
    assert said == [
        ["tls, allowed", "hello"],
        ["in use", "xprtsec=tls"],
        ["ada's, by nobody", "1"],
        ["clear, allowed", "hello"],
        ["clear, required", "refused"],
        ["tls, required", "hello"],
        ["mtls, ada", "hello"],
        ["in use", "xprtsec=mtls"],
        ["ada's, by ada", "hello"],
        ["mtls, mallory", "refused"],
        ["digest", f"{served.digest}  -"],
        ["open goes on", "hello"],
        ["first authority, afterwards", "refused"],
        ["second authority, afterwards", "hello"],
        ["mtls, ada, again", "hello"],
        ["open, revoked", "refused"],
        ["mtls, ada, revoked", "refused"],
        ["mtls, bob", "hello"],
        ["end", "reached"],
    ]
