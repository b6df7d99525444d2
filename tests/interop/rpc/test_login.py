"""Login by gRPC in every way there is, at a gateway that speaks TLS and asks for certificates."""

import json
import subprocess
import time

import grpc
import pytest
from grpc import StatusCode

from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from tests.interop.rpc.conftest import POLICY, Site
from tests.interop.rpc.test_process import until
from tests.support.authority import Authority
from tests.support.rpc_client import Refused, RpcClient, Shown, basic, bearer

pytestmark = [pytest.mark.interop, pytest.mark.slow]
MAPS = pb.GetDatasetRequest(dataset="maps")


def who(client: RpcClient) -> str:
    with client:
        return str(client.ask("WhoAmI", pb.WhoAmIRequest()).principal)


def refused(client: RpcClient, request: pb.GetDatasetRequest = MAPS) -> Refused:
    with client:
        return client.refused("GetDataset", request)


def test_every_way_to_log_in_says_who_asks(site: Site) -> None:
    token = site.place.run("token", "create", "ci", "--allow", "read:maps")["token"]
    assert who(site.client("ada")) == "user:ada"  # by the certificate
    assert who(site.client("eve")) == "user:eve"
    assert who(site.client("eve", site.password)) == "user:ada"  # what a call carries wins
    assert who(site.client("eve", bearer(token))) == "token:ci"
    assert who(site.client("eve", basic("anything", token))) == "token:ci"
    assert who(site.client("eve", bearer(site.bearer("olga", "staff")))) == "user:olga"
    with site.client("eve", bearer(site.bearer("olga", "staff"))) as client:
        assert client.read("maps", "1.0.0", "a.txt") == b"maps"
    told = refused(site.client("eve"))
    hidden = refused(site.client("ada"), pb.GetDatasetRequest(dataset="secret"))
    assert told.code is hidden.code is StatusCode.NOT_FOUND
    site.place.run("token", "revoke", "ci")


@pytest.mark.parametrize(
    "authorization",
    ["Basic !", "Basic YWRh", "Digest x", "Bearer", "Bearer x.y.z", "Bearer aetherfs_x", basic("ada", "wrong")],
)
def test_what_is_presented_must_be_good(site: Site, authorization: str) -> None:
    assert refused(site.client("ada", authorization)).code is StatusCode.UNAUTHENTICATED


def test_guessing_is_slowed_down_and_noted(site: Site) -> None:
    for number in range(100):  # each another one: the same again is no guess
        told = refused(site.client("eve", basic("nobody", f"guess at it {number}")))
        if told.code is not StatusCode.UNAUTHENTICATED:
            break
    assert told.code is StatusCode.RESOURCE_EXHAUSTED
    assert int(told.metadata["grpc-retry-pushback-ms"]) > 0
    lines = [json.loads(line) for line in site.audit.read_text().splitlines()]
    guesses = [line for line in lines if line["principal"] == "user:nobody"]
    assert {(line["event"], line["outcome"], line["surface"]) for line in guesses} == {("login", "refused", "grpc")}
    assert "guess at it" not in site.audit.read_text()


def test_changes_are_noted_with_who_made_them(site: Site) -> None:
    with site.client("ada") as client:
        client.ask("SetTag", pb.SetTagRequest(dataset="maps", tag="noted", reference="maps:1.0.0"))
        told = client.refused("DeleteTag", pb.DeleteTagRequest(dataset="maps", tag="noted"))
        assert told.code is StatusCode.PERMISSION_DENIED
    lines = [json.loads(line) for line in site.audit.read_text().splitlines()]
    made, denied = [line for line in lines if line.get("surface") == "grpc" and line["event"] in ("move", "denial")][
        -2:
    ]
    assert (made["principal"], made["tag"], made["outcome"]) == ("user:ada", "noted", "ok")
    assert (denied["principal"], denied["action"]) == ("user:ada", "delete")


def test_a_change_of_the_policy_acts_on_connections_that_are_open(site: Site) -> None:
    with site.client("ada") as client:
        assert client.ask("GetDataset", MAPS).dataset == "maps"
        try:
            site.put(site.folder / "policy.toml", b"")
            until(lambda: isinstance(client.told("GetDataset", MAPS), Refused))
            assert client.refused("GetDataset", MAPS).code is StatusCode.NOT_FOUND
        finally:
            site.put(site.folder / "policy.toml", POLICY.encode())
        until(lambda: not isinstance(client.told("GetDataset", MAPS), Refused))


def test_who_shows_no_certificate_or_a_strangers_gets_no_connection(site: Site) -> None:
    for client in (site.client(), site.client("mallory")):
        with client, pytest.raises(grpc.RpcError) as ended:
            client.ask("WhoAmI", pb.WhoAmIRequest(), wait=False)
        assert ended.value.code() is StatusCode.UNAVAILABLE


def test_a_certificate_that_is_revoked_ends_what_was_open(site: Site) -> None:
    with site.client("eve") as client:
        assert client.ask("WhoAmI", pb.WhoAmIRequest()).principal == "user:eve"
        try:
            site.put(site.ca, site.clients.pem + site.clients.revoking(site.people["eve"]))
            until(lambda: isinstance(client.told("WhoAmI", pb.WhoAmIRequest()), Refused))
            assert client.refused("WhoAmI", pb.WhoAmIRequest()).code is StatusCode.UNAUTHENTICATED
            assert refused(site.client("eve")).code is StatusCode.UNAUTHENTICATED  # by a new connection too
            line = json.loads(site.audit.read_text().splitlines()[-1])
            assert (line["event"], line["outcome"], line["surface"]) == ("login", "refused", "grpc")
            assert "revoked" in line["why"]
            assert who(site.client("ada")) == "user:ada"
        finally:
            site.put(site.ca, site.clients.pem)
        until(lambda: not isinstance(client.told("WhoAmI", pb.WhoAmIRequest()), Refused))


def test_a_new_certificate_is_taken_and_drops_no_call(site: Site) -> None:
    with site.client("ada") as client:
        place = pb.Place(dataset="maps", tag="1.0.0", path="big")
        call = client.ask("ReadFile", pb.ReadFileRequest(place=place))
        size = next(call).head.size
        later = Authority("later")
        later.issue("server").write(site.folder, "server")
        shown = Shown(later.pem, site.people["ada"].key, site.people["ada"].pem)

        def taken() -> bool:
            with RpcClient(site.gateway.grpc, shown) as fresh:
                try:
                    return bool(fresh.ask("WhoAmI", pb.WhoAmIRequest(), wait=False))
                except grpc.RpcError:
                    return False

        try:
            until(taken)
            assert client.ask("WhoAmI", pb.WhoAmIRequest()).principal == "user:ada"  # by the connection that was open
            assert sum(len(message.data) for message in call) > size // 2
            site.put(site.tls_key, b"no key at all")  # is not taken: the one before stays
            time.sleep(1.5)
            assert taken()
        finally:
            site.authority.issue("server").write(site.folder, "server")
        until(lambda: not isinstance(site.client("ada").told("WhoAmI", pb.WhoAmIRequest()), Refused))


def s_client(site: Site, *options: str) -> str:
    host = [
        "openssl",
        "s_client",
        "-connect",
        site.gateway.grpc,
        "-alpn",
        "h2",
        "-CAfile",
        str(site.folder / "root.pem"),
    ]
    who = site.people["ada"].write(site.folder, "s-client")
    shown = ["-cert", str(who[0]), "-key", str(who[1])]
    done = subprocess.run([*host, *shown, *options], input=b"", capture_output=True, timeout=60, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("options", "version"),
    [
        (["-tls1_3"], "TLSv1.3"),
        (["-tls1_2", "-cipher", "ECDHE+AESGCM"], "TLSv1.2"),
        (["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES256-GCM-SHA384:AES128-SHA"], ""),  # no forward secrecy
        (["-tls1_2", "-cipher", "DHE"], ""),
        (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ""),
        (["-tls1", "-cipher", "ALL:@SECLEVEL=0"], ""),
    ],
    ids=["1.3", "1.2", "1.2-rsa", "1.2-dhe", "1.1", "1.0"],
)
def test_openssl_gets_forward_secrecy_or_nothing(site: Site, options: list[str], version: str) -> None:
    (site.folder / "root.pem").write_bytes(site.authority.pem)
    said = s_client(site, *options)
    if version:
        assert f"New, {version}, Cipher is " in said
        assert "Verify return code: 0 (ok)" in said
        assert "ALPN protocol: h2" in said
    else:
        assert "Cipher is (NONE)" in said


def test_who_speaks_no_tls_gets_nothing(site: Site) -> None:
    with RpcClient(site.gateway.grpc, authorization=site.password) as client, pytest.raises(grpc.RpcError):
        client.ask("WhoAmI", pb.WhoAmIRequest(), wait=False)
