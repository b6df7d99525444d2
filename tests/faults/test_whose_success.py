"""Whose success was it: answers and requests lost between us and a real S3 server, with and without another writer."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.catalogue.catalogue import Catalogue
from store.catalogue.head import Content
from store.errors import TagMoved
from store.layout import DATASETS, MANIFESTS, PACKS, ROOT_KEY
from store.objects.address import open_objects
from store.objects.base import ObjectStore
from store.objects.retry import Backoff, Retrying
from store.pull.pull import pull
from store.repository import Repository
from store.root import create_store, open_store
from tests.faults.steps import DATASET, publish, write_folder
from tests.support.folders import held
from tests.support.proxy import Action, Exchange, Proxy, Seen, after, committed, drop_request, instead, proxied
from tests.support.s3 import S3Place

pytestmark = pytest.mark.s3

# How a write may look to its sender, whatever became of it.
LOOKS: dict[str, Action] = {
    "reset": drop_request,
    "500": instead(500, "InternalError"),
    "503": instead(503, "SlowDown", Retry_After="0"),
    "412": instead(412, "PreconditionFailed"),
    "409": instead(409, "ConditionalRequestConflict"),
    "404": instead(404, "NoSuchKey"),
}


def state(number: int) -> Content:
    return Content(f"{number:064x}", f"{number + 1:064x}", 1, 1)


def of_head(seen: Seen) -> bool:
    return seen.conditional_write and DATASETS in seen.key


class Bench:
    """One store reached in two ways: by us, through the proxy, and by others, past it."""

    def __init__(self, place: S3Place, proxy: Proxy) -> None:
        self.proxy = proxy
        self.theirs = open_objects(place.address)
        create_store(self.theirs)
        self.ours: ObjectStore = Retrying(open_objects(proxy.address(place.address)), Backoff(first_s=0.01))
        self.us = Catalogue(self.ours, open_store(self.ours))
        self.them = Catalogue(self.theirs, open_store(self.theirs))
        self.them.set_tags(DATASET, ["latest"], state(1), by="somebody")

    def moves(self) -> list[tuple[int, str]]:
        """Return all that `latest` went through, oldest first: the state's number and who moved it."""
        return [(int(e.content.manifest, 16), e.by) for e in self.them.log(DATASET, "latest") if e.content][::-1]

    def move(self) -> None:
        """Move `latest` as a push does that began when it named state 1."""
        self.us.set_tags(DATASET, ["latest"], state(2), by="us", parents={"latest": state(1).manifest})

    def they_move(self) -> None:
        self.them.set_tags(DATASET, ["latest"], state(3), by="them")

    def they_tag(self) -> None:
        self.them.set_tags(DATASET, ["stable"], state(3), by="them")


@pytest.fixture
def bench(seaweed_place: S3Place) -> Iterator[Bench]:
    with proxied(seaweed_place.server) as proxy:
        bench = Bench(seaweed_place, proxy)
        yield bench
        bench.ours.close()
        bench.theirs.close()


@pytest.mark.parametrize("what", LOOKS)
def test_own_write_that_looks_failed_is_success_and_happens_once(bench: Bench, what: str) -> None:
    bench.proxy.fault(committed(LOOKS[what]), of_head)
    bench.move()
    assert bench.moves() == [(1, "somebody"), (2, "us")]
    assert len(bench.proxy.spoilt) == 1


@pytest.mark.parametrize("what", LOOKS)
def test_own_write_that_looks_failed_is_success_though_others_moved_the_channel_since(bench: Bench, what: str) -> None:
    bench.proxy.fault(committed(LOOKS[what], bench.they_move), of_head)
    bench.move()
    assert bench.moves() == [(1, "somebody"), (2, "us"), (3, "them")]


@pytest.mark.parametrize("what", LOOKS)
def test_a_write_that_never_arrived_is_made_again(bench: Bench, what: str) -> None:
    bench.proxy.fault(LOOKS[what], of_head, times=2)
    bench.move()
    assert bench.moves() == [(1, "somebody"), (2, "us")]
    assert len([seen for seen in bench.proxy.seen if of_head(seen)]) == 3


@pytest.mark.parametrize("what", LOOKS)
def test_a_write_that_never_arrived_is_a_conflict_once_others_moved_the_channel(bench: Bench, what: str) -> None:
    bench.proxy.fault(after(bench.they_move, LOOKS[what]), of_head)
    with pytest.raises(TagMoved, match="by them") as caught:
        bench.move()
    assert (caught.value.expected, caught.value.actual) == (state(1).manifest, state(3).manifest)
    assert bench.moves() == [(1, "somebody"), (3, "them")]


@pytest.mark.parametrize("what", LOOKS)
def test_a_write_that_never_arrived_is_merged_with_what_others_did_elsewhere(bench: Bench, what: str) -> None:
    bench.proxy.fault(after(bench.they_tag, LOOKS[what]), of_head)
    bench.move()
    assert bench.moves() == [(1, "somebody"), (2, "us")]
    assert bench.them.resolve(f"{DATASET}:stable").manifest == state(3).manifest


# Commands that would do something else, or fail, if they were done twice.
ONCE: dict[str, Callable[[Catalogue], object]] = {
    "untag": lambda us: us.untag(DATASET, "latest", by="us"),
    "rollback": lambda us: us.rollback(DATASET, "latest", by="us"),
}


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("what", ["reset", "412"])
@pytest.mark.parametrize("name", ONCE)
def test_what_must_not_be_done_twice_is_done_once_whatever_it_looks_like(
    bench: Bench, name: str, what: str, lost: bool
) -> None:
    for number in (2, 3):
        bench.them.set_tags(DATASET, ["latest"], state(number), by="somebody")
    bench.proxy.fault(LOOKS[what] if lost else committed(LOOKS[what], bench.they_tag), of_head)
    ONCE[name](bench.us)
    entries = [*bench.them.log(DATASET)]
    assert [entry.op for entry in entries if entry.by == "us"] == [name]
    if name == "rollback":
        assert bench.them.resolve(f"{DATASET}:latest").manifest == state(2).manifest


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("what", ["reset", "412"])
def test_a_store_whose_making_looks_failed_is_made_once(bench: Bench, what: str, lost: bool) -> None:
    bench.theirs.delete(ROOT_KEY)
    bench.proxy.fault(LOOKS[what] if lost else committed(LOOKS[what]), lambda seen: seen.conditional_write)
    made = create_store(bench.ours)
    assert made.root.store == open_store(bench.theirs).store
    assert len(bench.proxy.spoilt) == 1


@pytest.mark.parametrize("lost", [True, False])
def test_a_new_dataset_is_made_once_whoever_hears_of_it(bench: Bench, lost: bool) -> None:
    bench.proxy.fault(drop_request if lost else committed(drop_request), of_head)
    bench.us.set_tags("fresh", ["1.0.0"], state(1), by="us")
    assert [entry.by for entry in bench.them.log("fresh")] == ["us"]


def test_a_write_that_arrives_late_and_its_repetition_count_once(bench: Bench) -> None:
    held_back: list[Exchange] = []

    def late(exchange: Exchange) -> None:
        held_back.append(exchange)
        exchange.reset()

    def then(exchange: Exchange) -> None:
        held_back[0].forward()
        exchange.answer(exchange.forward())

    bench.proxy.fault(late, of_head)
    bench.proxy.fault(then, of_head)
    bench.move()
    assert bench.moves() == [(1, "somebody"), (2, "us")]


def test_a_write_that_arrives_after_others_wrote_does_nothing(bench: Bench) -> None:
    held_back: list[Exchange] = []

    def late(exchange: Exchange) -> None:
        held_back.append(exchange)
        bench.they_move()
        exchange.reset()

    bench.proxy.fault(late, of_head)
    with pytest.raises(TagMoved):
        bench.move()
    assert held_back[0].forward().status == 412
    assert bench.moves() == [(1, "somebody"), (3, "them")]


def wrote(prefix: str) -> Callable[[Seen], bool]:
    return lambda seen: seen.method == "PUT" and prefix in seen.key


@pytest.mark.parametrize("action", [committed(drop_request), drop_request], ids=["answer", "request"])
@pytest.mark.parametrize("prefix", [PACKS, MANIFESTS, DATASETS, "index/", "changes/"])
def test_a_push_of_which_one_exchange_is_lost_is_done_and_whole(
    bench: Bench, tmp_path: Path, prefix: str, action: Action
) -> None:
    write_folder(tmp_path / "data", 1)
    bench.proxy.fault(action, wrote(prefix))
    pushed = publish(bench.ours, tmp_path / "data", tmp_path / "state", "1.0.0", "next")
    assert len(bench.proxy.spoilt) == 1
    assert pushed.changed
    repository = Repository.open(bench.theirs)
    assert len([entry for entry in repository.catalogue.log(DATASET) if "1.0.0" in entry.tags]) == 1
    pull(repository, repository.catalogue.resolve(f"{DATASET}:1.0.0"), tmp_path / "dest", tmp_path / "state")
    assert held(tmp_path / "dest") == held(tmp_path / "data")
