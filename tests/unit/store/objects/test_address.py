from pathlib import Path

import pytest

from store.errors import BadAddress, StoreMissing
from store.objects.address import FolderAddress, S3Address, check_endpoint, open_objects, parse_address
from store.objects.local import FolderStore

LOCAL = "http://127.0.0.1:9000"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/some/folder", "/some/folder"),
        ("/", "/"),
        ("/with space/ä?#%41", "/with space/ä?#%41"),
        ("/a:b://c", "/a:b://c"),
        ("file:///some/folder", "/some/folder"),
        ("file:///with%20space%3F", "/with space?"),
        ("file://localhost/x", "/x"),
    ],
)
def test_a_path_or_a_file_url_is_a_folder(text: str, path: str) -> None:
    assert parse_address(text) == FolderAddress(Path(path))


@pytest.mark.parametrize("text", ["relative/folder", "./x", "C:x", "odd:name"])
def test_a_relative_folder_is_made_absolute(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_address(text) == FolderAddress(tmp_path / text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://bucket", S3Address("bucket")),
        ("s3://bucket/", S3Address("bucket")),
        ("s3://bucket/a/b/", S3Address("bucket", "a/b")),
        ("s3://bucket/a%2Bb", S3Address("bucket", "a+b")),
        (f"s3://b-1.x/p?endpoint={LOCAL}&region=us-east-1", S3Address("b-1.x", "p", LOCAL, "us-east-1")),
        ("s3://bucket?endpoint=https%3A%2F%2Fs3.example%2F", S3Address("bucket", "", "https://s3.example")),
        ("s3://bucket?endpoint=http://[::1]:9000", S3Address("bucket", "", "http://[::1]:9000")),
        ("s3://bucket?region=eu-central-1", S3Address("bucket", region="eu-central-1")),
    ],
)
def test_an_s3_url_is_a_bucket_and_means_the_same_when_spelt_out(text: str, address: S3Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "a\0b",
        "s3:bucket",
        "s3:/bucket/x",
        "s3://",
        "s3:///prefix",
        "s3://-bucket",
        "s3://b",
        "s3://bucket/../x",
        "s3://bucket/a//b",
        "s3://bucket/ä",
        "s3://bucket/.hidden",
        "s3://bucket/" + "p" * 121,
        "s3://bucket#x",
        "s3://bucket?endpoint=",
        "s3://bucket?endpoint=127.0.0.1:9000",
        "s3://bucket?endpoint=http://",
        "s3://bucket?endpoint=http://h:x",
        "s3://bucket?endpoint=http://h:0",
        "s3://bucket?endpoint=ftp://h",
        "s3://bucket?endpoint=http://[::1",
        "s3://bucket?region=a&region=b",
        "s3://bucket?regoin=a",
        "s3://[",
        "file:relative",
        "file://host/x",
        "file:///x?y",
        "file:///%00",
        "http://host/x",
        "gs://bucket",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        parse_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://key:SECRET@bucket/p",
        "s3://key:SECRET@bucket/p?region=x",
        "s3://bucket?endpoint=http://key:SECRET@host",
        "s3://bucket?endpoint=http://SECRET@host",
        "s3://bucket?secret_key=SECRET",
        "https://me:SECRET@host/x",
    ],
)
def test_an_address_with_credentials_is_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(BadAddress) as caught:
        parse_address(text)
    assert "SECRET" not in str(caught.value)
    assert "SECRET" not in caught.value.address


@pytest.mark.parametrize(
    ("endpoint", "fine"),
    [
        ("https://s3.example", True),
        ("http://127.0.0.1:9000", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:9000", True),
        ("http://localhost:9000", True),
        ("http://store.localhost", True),
        ("http://192.0.2.1:9000", False),
        ("http://s3.example", False),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
    ],
)
def test_plain_http_is_for_loopback_unless_allowed(endpoint: str, fine: bool) -> None:
    address = S3Address("bucket", endpoint=endpoint)
    check_endpoint(address, endpoint, insecure=True)
    if fine:
        check_endpoint(address, endpoint, insecure=False)
    else:
        with pytest.raises(BadAddress, match="--insecure-store"):
            check_endpoint(address, endpoint, insecure=False)


def test_a_folder_is_made_only_when_asked(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        open_objects(str(tmp_path / "a" / "b"))
    made = open_objects(str(tmp_path / "a" / "b"), create=True)
    assert isinstance(made, FolderStore)
    assert made.address == str(tmp_path / "a" / "b")
    open_objects(made.address).put("x", b"1")
    assert made.get("x") == b"1"
