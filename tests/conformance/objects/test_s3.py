"""What is particular to S3: paging, prefixes, buckets, conditions as real servers take them."""

import uuid
from collections.abc import Iterator

import pytest

from store.errors import BadAddress, BucketMissing, ObjectMissing, StoreDenied, StoreUnavailable
from store.objects.address import S3Address, open_objects, parse_address
from store.objects.s3 import S3Store
from tests.support.s3 import S3Place

SERVERS = ["moto", pytest.param("seaweed", marks=pytest.mark.s3)]


@pytest.fixture(params=SERVERS)
def place(request: pytest.FixtureRequest) -> S3Place:
    found: S3Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def address(place: S3Place) -> S3Address:
    parsed = parse_address(place.address)
    assert isinstance(parsed, S3Address)
    return parsed


@pytest.fixture
def store(address: S3Address) -> Iterator[S3Store]:
    opened = S3Store(address)
    yield opened
    opened.close()


@pytest.mark.parametrize("page_size", [1, 2, 3, 1000])
@pytest.mark.parametrize("after", ["", "b/1", "b/c", "b/c/deep"])
def test_a_listing_in_pages_has_each_key_once(address: S3Address, page_size: int, after: str) -> None:
    names = ["a", "b/1", "b/10", "b/2", "b/c/deep", "b/c/deeper", "b0", "z/1", "z/2"]
    store = S3Store(address, page_size=page_size)
    for name in names:
        store.put(name, b"")
    assert sorted(info.key for info in store.list("", after=after)) == [name for name in names if name > after]
    assert sorted(info.key for info in store.list("b/")) == [name for name in names if name.startswith("b/")]
    store.close()


def test_a_store_sees_nothing_beside_its_prefix(address: S3Address, store: S3Store) -> None:
    beside = S3Store(S3Address(address.bucket, f"{address.prefix}-beside", address.endpoint, address.region))
    beside.put("a", b"1")
    store.put("b", b"2")
    assert [info.key for info in store.list("")] == ["b"]
    with pytest.raises(ObjectMissing):
        store.get("a")
    beside.close()


def test_a_bucket_is_made_only_when_asked(address: S3Address) -> None:
    elsewhere = S3Address(f"made-{uuid.uuid4().hex[:12]}", "p", address.endpoint, address.region)
    for _ in range(2):
        store = S3Store(elsewhere)
        with pytest.raises(BucketMissing):
            list(store.list(""))
        store.close()
    for _ in range(2):
        store = S3Store(elsewhere, create=True)
        store.put("a", b"1")
        assert store.get("a") == b"1"
        store.close()


@pytest.mark.s3
def test_wrong_credentials_are_denied(seaweed_place: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    store = open_objects(seaweed_place.address)
    for call in (lambda: store.get("a"), lambda: store.put("a", b"1"), lambda: store.put_if("a", b"1", match=None)):
        with pytest.raises(StoreDenied):
            call()
    store.close()


def test_no_credentials_at_all_are_denied_without_a_request(place: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = open_objects(place.address)
    with pytest.raises(StoreDenied):
        store.get("a")
    store.close()


def test_the_first_time_asked_is_the_servers(store: S3Store) -> None:
    first = store.now_ns()
    assert store.now_ns() >= first


def test_a_server_that_is_not_there_is_unavailable_for_every_call(place: S3Place) -> None:
    store = open_objects("s3://bucket/p?endpoint=http://127.0.0.1:9&region=us-east-1")
    for call in (lambda: store.get("a"), lambda: store.put("a", b"1"), lambda: store.put_if("a", b"1", match=None)):
        with pytest.raises(StoreUnavailable):
            call()
    store.close()


def test_an_endpoint_from_the_environment_is_held_to_the_same_rule(
    place: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:9000")
    with pytest.raises(BadAddress, match="--insecure-store"):
        open_objects("s3://bucket")
    open_objects("s3://bucket", insecure_store=True).close()
