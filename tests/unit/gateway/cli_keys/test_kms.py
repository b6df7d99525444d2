"""A key that AWS KMS keeps: moto's server, which checks keys and the encryption context as KMS does."""

import base64
import contextlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import boto3
import pytest

from tests.support.s3 import S3Server, new_place
from tests.support.vault import Vault
from tests.unit.gateway.cli_keys.conftest import everything
from tests.unit.gateway.test_cli import Cli

REGION: Final = "us-east-1"


@pytest.fixture
def kms(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client of the server that commands reach, too."""
    new_place(moto, monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", moto.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    return boto3.session.Session().client("kms", region_name=REGION)


def new_key(kms: Any) -> str:
    arn: str = kms.create_key()["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture
def key(kms: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the ARN of a key that settings name."""
    arn = new_key(kms)
    monkeypatch.setenv("AETHERFS_STORE_KMS_KEY", arn)
    return arn


@pytest.fixture
def store(cli: Cli, key: str, tmp_path: Path, folder: Path) -> Path:
    """Return a store of that key, with `data:1.0.0`."""
    cli("init", "--encrypt", "--store", tmp_path / "s")
    cli("push", folder, "-t", "data:1.0.0", "--store", tmp_path / "s")
    return tmp_path / "s"


def reads(cli: Cli, store: Path, *flags: str | Path) -> bool:
    return cli("cat", "data:1.0.0/a.txt", "--store", store, *flags) == "a" * 1000


def test_a_store_whose_key_kms_keeps(cli: Cli, key: str, store: Path, home: Path) -> None:
    assert reads(cli, store)
    assert [*home.rglob("*.key")] == []
    shown = cli.json("key", "show", "--store", store)["key"]
    assert (shown["kind"], shown["kms_key"]) == ("aws-kms", key)
    sheet = cli("key", "sheet", "--store", store)
    assert f"kept by AWS KMS: {key}" in sheet
    assert "If it is deleted, nothing here can ever be read again" in sheet


def test_without_the_setting_the_wanted_key_is_named(
    cli: Cli, key: str, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AETHERFS_STORE_KMS_KEY")
    cli("ls", "--store", store, exits=4)
    assert f"its key is kept by AWS KMS: set store.kms_key (AETHERFS_STORE_KMS_KEY) to {key}" in cli.err
    monkeypatch.setenv("AETHERFS_KEY", base64.b64encode(bytes(32)).decode())
    cli("ls", "--store", store, exits=4)
    assert f"is not what this store wants: its key is kept by AWS KMS ({key})" in cli.err


def test_an_alias_an_id_and_the_arn_all_name_the_key(
    cli: Cli, kms: Any, key: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kms.create_alias(AliasName=f"alias/a-{key[-12:]}", TargetKeyId=key)
    for name in (f"alias/a-{key[-12:]}", key.rpartition("/")[2], key):
        monkeypatch.setenv("AETHERFS_STORE_KMS_KEY", name)
        assert reads(cli, store)


def test_a_store_is_made_by_an_alias_and_the_record_has_the_arn(
    cli: Cli, kms: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = new_key(kms)
    kms.create_alias(AliasName=f"alias/b-{arn[-12:]}", TargetKeyId=arn)
    monkeypatch.setenv("AETHERFS_STORE_KMS_KEY", f"alias/b-{arn[-12:]}")
    cli("init", "--encrypt", "--store", tmp_path / "s")
    assert cli.json("key", "show", "--store", tmp_path / "s")["key"]["kms_key"] == arn


def test_another_key_a_key_that_is_off_and_one_that_is_going_are_refused(
    cli: Cli, kms: Any, key: str, store: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    before = everything(store)
    monkeypatch.setenv("AETHERFS_STORE_KMS_KEY", new_key(kms))
    cli("ls", "--store", store, exits=4)
    assert re.search("cannot be used: KMS says (IncorrectKey|AccessDenied)Exception", cli.err)  # AWS, moto
    assert f"by its record this store's key is {key}" in cli.err
    monkeypatch.setenv("AETHERFS_STORE_KMS_KEY", "alias/nobody-has-this")
    cli("ls", "--store", store, exits=4)
    assert "cannot be used: KMS says NotFoundException" in cli.err
    # moto's server lets keys be used that are off or going: these answers are as AWS documents them.
    monkeypatch.setenv("AETHERFS_STORE_KMS_KEY", key)
    for code in ("DisabledException", "KMSInvalidStateException", "AccessDeniedException"):
        with answering(400, {"__type": code, "message": "not this one"}) as endpoint:
            monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", endpoint)
            cli("push", folder, "-t", "data:2.0.0", "--store", store, exits=4)
            assert f"cannot be used: KMS says {code}: not this one" in cli.err
            cli("init", "--encrypt", "--store", store.with_name("new"), exits=4)
    assert not (store.with_name("new") / "aetherfs.json").exists()
    assert everything(store) == before


def test_the_wrapped_key_of_one_store_is_of_no_use_in_another(
    cli: Cli, kms: Any, key: str, store: Path, tmp_path: Path
) -> None:
    """Its encryption context is the store's id; somebody who may write to the bucket copies it to another record."""
    cli("init", "--encrypt", "--store", tmp_path / "other")
    ours, theirs = Vault(store, tmp_path), Vault(tmp_path / "other", tmp_path)
    blob = base64.b64decode(ours.document()["encryption"]["kek"]["blob"])
    with pytest.raises(kms.exceptions.InvalidCiphertextException):
        kms.decrypt(CiphertextBlob=blob, KeyId=key)
    context = {"aetherfs:store": ours.document()["store"]}
    assert len(kms.decrypt(CiphertextBlob=blob, KeyId=key, EncryptionContext=context)["Plaintext"]) == 32
    forged = theirs.document()
    forged["encryption"] = ours.document()["encryption"]
    theirs.forge(forged)
    cli("ls", "--store", tmp_path / "other", exits=4)
    assert "cannot be used: KMS says InvalidCiphertextException" in cli.err


@contextlib.contextmanager
def answering(status: int, body: dict[str, str]) -> Iterator[str]:
    """Run a server that gives one answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = json.dumps(body).encode()
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_kms_that_fails_or_is_not_there_is_unreachable_and_no_wrong_key(
    cli: Cli, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(store)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with answering(500, {"__type": "KMSInternalException", "message": "try later"}) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", endpoint)
        cli("ls", "--store", store, exits=7)
        assert "cannot be reached: KMSInternalException: try later" in cli.err
    cli("ls", "--store", store, exits=7)
    assert "AWS KMS" in cli.err
    with answering(400, {"__type": "ThrottlingException", "message": "slow down"}) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", endpoint)
        cli("ls", "--store", store, exits=7)
        assert "cannot be reached: ThrottlingException" in cli.err
    assert everything(store) == before


def test_no_credentials_are_no_wrong_key_and_no_mistake_of_ours(
    cli: Cli, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    cli("ls", "--store", store, exits=7)
    assert "Unable to locate credentials" in cli.err


def test_the_region_comes_with_the_arn_and_its_absence_is_told(
    cli: Cli, key: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert reads(cli, store)
    monkeypatch.setenv("AETHERFS_STORE_KMS_KEY", "alias/x")
    cli("ls", "--store", store, exits=7)
    assert "region" in cli.err


@pytest.mark.slow
def test_kms_to_kms_to_file_and_back(
    cli: Cli, kms: Any, key: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = Vault(store, tmp_path / "my.key")
    first = vault.document()["encryption"]
    cli("key", "rotate", "--store", store)  # the same key of KMS, another key-encryption key
    second = vault.document()["encryption"]
    assert second["kek"]["key"] == key
    assert second["kek"]["blob"] != first["kek"]["blob"]
    assert reads(cli, store)
    vault.forge({**vault.document(), "encryption": {**second, "kek": first["kek"]}})
    cli("ls", "--store", store, exits=6)
    vault.forge({**vault.document(), "encryption": second})

    other = new_key(kms)
    told = cli.json("key", "rotate", "--new-kms-key", other, "--store", store)
    assert (told["key"]["kms_key"], told["old_key_file"]) == (other, None)
    cli("ls", "--store", store, exits=4)
    monkeypatch.setenv("AETHERFS_STORE_KMS_KEY", other)
    assert reads(cli, store)

    assert "recovery" in cli.json("key", "rotate", "--new-key-file", vault.key_file, "--store", store)
    assert "kms" not in json.dumps(vault.document())
    cli("ls", "--store", store, exits=4)
    assert "is not what this store wants: its key is in a file" in cli.err
    monkeypatch.delenv("AETHERFS_STORE_KMS_KEY")
    assert reads(cli, store, "--key-file", vault.key_file)

    cli("key", "rotate", "--new-kms-key", key, *vault.flags)
    cli("ls", *vault.flags, exits=4)
    monkeypatch.setenv("AETHERFS_STORE_KMS_KEY", key)
    assert reads(cli, store)
