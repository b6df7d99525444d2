"""Push and pull against S3 that refuses, breaks off or says nothing: a clear end, nothing changed, and on later."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.exits import exit_code
from store import commit
from store.errors import (
    BucketMissing,
    ObjectMissing,
    OutcomeUnknown,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from store.layout import DATASETS, MANIFESTS, PACKS, ROOT_KEY
from store.objects.address import S3Address, open_objects, parse_address
from store.objects.retry import Backoff, Retrying
from store.objects.s3 import S3Store
from store.pull.pull import pull
from store.push.push import Pushed
from store.repository import Repository
from store.root import create_store
from tests.faults.steps import publish, small_packs, write_folder
from tests.support.folders import held, latest
from tests.support.proxy import Action, Proxy, Seen, cut, drop_request, hang, instead, proxied
from tests.support.s3 import S3Place

ATTEMPTS = 3
ALWAYS = 1_000_000
PATIENCE_S = 0.3  # for an answer, so that a server that says nothing costs little


class Case(NamedTuple):
    """A fault that lasts, and how a command ends that meets it."""

    action: Action
    error: type[StoreError]
    code: int


READS = {
    "403": Case(instead(403, "AccessDenied"), StoreDenied, 7),
    "503": Case(instead(503, "SlowDown", Retry_After="7"), StoreUnavailable, 7),
    "500": Case(instead(500, "InternalError"), StoreUnavailable, 7),
    "reset": Case(drop_request, StoreUnavailable, 7),
    "silence": Case(hang, StoreUnavailable, 7),
    "cut": Case(cut(10), StoreUnavailable, 7),
    "no object": Case(instead(404, "NoSuchKey"), ObjectMissing, 6),
    "no bucket": Case(instead(404, "NoSuchBucket"), BucketMissing, 7),
}
WRITES = {
    **{name: case for name, case in READS.items() if name not in ("cut", "no object")},
    "507": Case(instead(507, "InsufficientStorage"), StoreFull, 7),
}


class Bench:
    """A store that holds one state; the next one to publish; and a destination that holds the first."""

    def __init__(self, place: S3Place, proxy: Proxy, work: Path) -> None:
        self.proxy, self.work = proxy, work
        self.waits: list[tuple[str, float]] = []
        self.old, self.new, self.dest = work / "old", work / "new", work / "dest"
        write_folder(self.old, 1)
        write_folder(self.new, 2)
        self.theirs = open_objects(place.address)
        create_store(self.theirs)
        publish(self.theirs, self.old, work / "other state", "latest")
        address = parse_address(proxy.address(place.address))
        assert isinstance(address, S3Address)
        self.ours = Retrying(
            S3Store(address, read_timeout_s=PATIENCE_S),
            Backoff(attempts=ATTEMPTS, first_s=0.5),
            on_wait=lambda why, seconds: self.waits.append((why, seconds)),
            sleep=lambda seconds: None,
        )

    def push(self) -> Pushed:
        return publish(self.ours, self.new, self.work / "state", "latest")

    def pull(self) -> None:
        repository = Repository.open(self.ours)
        pull(repository, latest(repository), self.dest, self.work / "state")

    def named(self) -> str:
        return latest(Repository.open(self.theirs)).manifest


@pytest.fixture
def bench(moto_place: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    small_packs(monkeypatch)
    monkeypatch.setattr(commit, "_LONGEST_PAUSE_S", 0.001)
    with proxied(moto_place.server) as proxy:
        bench = Bench(moto_place, proxy, tmp_path)
        yield bench
        proxy.heal()
        bench.ours.close()
        bench.theirs.close()


def request(method: str, prefix: str, seen: Seen) -> bool:
    return seen.method == method and f"/{prefix}" in seen.key


@pytest.mark.parametrize("prefix", [PACKS, MANIFESTS, DATASETS])
@pytest.mark.parametrize("name", WRITES)
def test_a_push_that_cannot_write_ends_clearly_publishes_nothing_and_goes_on_later(
    bench: Bench, name: str, prefix: str
) -> None:
    case, before = WRITES[name], bench.named()
    bench.proxy.fault(case.action, lambda seen: request("PUT", prefix, seen), times=ALWAYS)
    with pytest.raises(StoreError) as caught:
        bench.push()
    conditional = prefix != PACKS
    unclear = conditional and case.error is StoreUnavailable
    assert type(caught.value) is (OutcomeUnknown if unclear else case.error)
    assert exit_code(caught.value) == case.code
    assert bench.proxy.endpoint in str(caught.value) or prefix in str(caught.value)
    assert bench.named() == before
    most = {PACKS: 6 * ATTEMPTS, MANIFESTS: 3, DATASETS: commit.ATTEMPTS}[prefix]
    assert len(bench.proxy.spoilt) <= most
    bench.proxy.heal()
    assert bench.push().changed
    assert bench.named() != before


@pytest.mark.parametrize("prefix", [ROOT_KEY, PACKS, MANIFESTS, DATASETS])
@pytest.mark.parametrize("name", READS)
def test_a_pull_that_cannot_read_ends_clearly_changes_nothing_and_goes_on_later(
    bench: Bench, name: str, prefix: str
) -> None:
    case = READS[name]
    bench.pull()
    before = held(bench.dest)
    publish(bench.theirs, bench.new, bench.work / "other state", "latest")
    bench.proxy.fault(case.action, lambda seen: request("GET", prefix, seen), times=ALWAYS)
    with pytest.raises(StoreError) as caught:
        bench.pull()
    if name == "no object" and prefix in (ROOT_KEY, DATASETS):  # that is what absence looks like
        assert exit_code(caught.value) == 3
    else:
        assert (type(caught.value), exit_code(caught.value)) == (case.error, case.code)
    if name == "no object" and prefix in (PACKS, MANIFESTS):
        assert prefix in str(caught.value)
    assert held(bench.dest) == before
    bench.proxy.heal()
    bench.pull()
    assert held(bench.dest) == held(bench.new)


@pytest.mark.parametrize("prefix", [PACKS, MANIFESTS, DATASETS, "index/", "changes/"])
@pytest.mark.parametrize("name", ["503", "500", "reset", "silence"])
def test_a_fault_that_passes_costs_a_push_only_time(bench: Bench, name: str, prefix: str) -> None:
    bench.proxy.fault(WRITES[name].action, lambda seen: request("PUT", prefix, seen), times=ATTEMPTS - 1)
    pushed = bench.push()
    assert pushed.changed
    assert len(bench.proxy.spoilt) == ATTEMPTS - 1
    assert bench.named() == pushed.manifest


@pytest.mark.parametrize("prefix", [ROOT_KEY, PACKS, MANIFESTS, DATASETS])
@pytest.mark.parametrize("name", ["503", "500", "reset", "silence", "cut"])
def test_a_fault_that_passes_costs_a_pull_only_time_and_is_announced(bench: Bench, name: str, prefix: str) -> None:
    bench.proxy.fault(READS[name].action, lambda seen: request("GET", prefix, seen), times=ATTEMPTS - 1)
    bench.pull()
    assert held(bench.dest) == held(bench.old)
    assert len(bench.proxy.spoilt) == ATTEMPTS - 1
    assert len(bench.waits) >= ATTEMPTS - 1  # many requests at a time: the server may falter by itself
    for why, seconds in bench.waits:
        assert why.startswith("store s3://")
        assert bench.proxy.endpoint in why
        assert seconds == 7.0 or seconds <= 1.0
    assert sum(seconds == 7.0 for _, seconds in bench.waits) == (ATTEMPTS - 1 if name == "503" else 0)


@pytest.mark.parametrize("action", [instead(503, "SlowDown"), drop_request], ids=["503", "reset"])
def test_a_hint_that_cannot_be_left_does_not_spoil_a_push(bench: Bench, action: Action) -> None:
    bench.proxy.fault(action, lambda seen: request("PUT", "changes/", seen), times=ALWAYS)
    assert bench.push().changed
    assert len(bench.proxy.spoilt) == ATTEMPTS


def test_a_server_whose_name_is_not_known_is_unreachable_by_its_name(
    monkeypatch: pytest.MonkeyPatch, moto_place: S3Place
) -> None:
    address = parse_address("s3://bucket/x?endpoint=https://store.invalid:9000")
    assert isinstance(address, S3Address)
    store = Retrying(S3Store(address), Backoff(attempts=2), sleep=lambda seconds: None)
    with pytest.raises(StoreUnavailable, match=r"store\.invalid") as caught:
        Repository.open(store)
    assert exit_code(caught.value) == 7
    store.close()
