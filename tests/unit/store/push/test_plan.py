"""A dry run tells what the push then does, and writes nothing on the way."""

from pathlib import Path

import pytest

from store.errors import StoreDenied
from store.objects.base import Buffer
from store.objects.memory import MemoryStore
from store.objects.wrapper import Wrapper
from store.push.cost import S3_STANDARD, Prices, cost_of
from store.push.plan import NEWEST, Plan
from store.push.push import PushOptions, push
from store.repository import Repository
from store.root import create_store
from tests.support.folders import new_repository
from tests.unit.store.care.test_verify import noise


class ReadOnly(Wrapper):
    """A store that refuses every write."""

    def put(self, key: str, data: Buffer) -> str:
        raise StoreDenied(self.address, f"writing {key}")

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        raise StoreDenied(self.address, f"writing {key}")

    def delete(self, key: str) -> None:
        raise StoreDenied(self.address, f"removing {key}")


class Bench:
    """A store and a folder to push."""

    def __init__(self, work: Path) -> None:
        self.folder, self.state = work / "folder", work / "state"
        self.folder.mkdir()
        self.objects = MemoryStore()
        create_store(self.objects)

    def push(self, *tags: str) -> int:
        return push(Repository.open(self.objects), self.folder, "ds", tags, self.state).puts

    def plan(self, *tags: str, read_only: bool = True) -> Plan:
        objects = ReadOnly(self.objects) if read_only else self.objects
        done = push(Repository.open(objects), self.folder, "ds", tags, self.state, PushOptions(dry_run=True))
        assert done.plan is not None
        return done.plan


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_dry_run_needs_no_right_to_write_and_foretells_the_puts(bench: Bench) -> None:
    (bench.folder / "a").write_bytes(noise(1, 200_000))
    plan = bench.plan("1.0.0", "latest")
    assert (plan.packs, plan.shares, plan.conflicts) == (1, (), ())
    assert plan.stored > 200_000
    assert (bench.push("1.0.0", "latest"), plan.puts) == (6, 6)  # heartbeat, pack, index, manifest, head, change hint
    stored = sum(info.size for prefix in ("packs/", "manifests/") for info in bench.objects.list(prefix))
    assert abs(stored - plan.stored) < 100  # pack ids are random, and compress now a little better, now worse


def test_what_is_there_already_costs_nothing(bench: Bench) -> None:
    (bench.folder / "a").write_bytes(noise(1, 1000))
    bench.push("1.0.0")
    assert (bench.plan("1.0.0").puts, bench.plan("1.0.0").stored) == (0, 0)
    again = bench.plan("1.0.0", "stable")
    assert (again.puts, again.manifest, again.chunks) == (2, 0, 0)  # head and change hint


def test_a_state_that_another_dataset_has_is_foretold_to_the_last_put(bench: Bench) -> None:
    (bench.folder / "a").write_bytes(noise(1, 1000))
    bench.push("1.0.0")
    repository, state = Repository.open(bench.objects), bench.state / "of another machine"
    plan = push(repository, bench.folder, "other", ["1.0.0"], state, PushOptions(dry_run=True)).plan
    assert plan is not None
    assert plan.manifest == 0
    assert plan.puts == push(repository, bench.folder, "other", ["1.0.0"], state).puts


def test_a_dry_run_leaves_nothing_behind(bench: Bench) -> None:
    (bench.folder / "a").write_bytes(noise(1, 1000))
    bench.plan("1.0.0")
    assert not bench.state.exists()


def test_reuse_is_told_for_each_of_the_newest_states(bench: Bench) -> None:
    for n in range(NEWEST + 2):
        (bench.folder / f"f{n}").write_bytes(noise(n, 1000))
        bench.push(f"{n}.0.0")
    (bench.folder / "f0").write_bytes(b"other")
    plan = bench.plan("99.0.0")
    assert plan.unique == 9005
    assert [share.tags for share in plan.shares] == [(f"{n}.0.0",) for n in range(9, 1, -1)]
    assert [share.shared for share in plan.shares] == [1000 * n for n in range(9, 1, -1)]


def test_tags_of_one_state_stand_together(bench: Bench) -> None:
    (bench.folder / "a").write_bytes(noise(1, 1000))
    bench.push("1.0.0", "latest", "stable")
    (share,) = bench.plan("2.0.0").shares
    assert sorted(share.tags) == ["1.0.0", "latest", "stable"]


def test_a_version_with_other_content_is_foretold_as_a_conflict(bench: Bench) -> None:
    (bench.folder / "a").write_bytes(b"first")
    bench.push("1.0.0", "latest")
    (bench.folder / "a").write_bytes(b"second")
    assert bench.plan("1.0.0", "latest").conflicts == ("1.0.0",)


def test_a_state_that_cannot_be_read_is_shown_as_such(bench: Bench) -> None:
    (bench.folder / "a").write_bytes(b"first")
    bench.push("1.0.0")
    for info in list(bench.objects.list("manifests/")):
        bench.objects.delete(info.key)
    (share,) = bench.plan("2.0.0").shares
    assert (share.readable, share.shared) == (False, 0)


def test_costs_are_those_of_the_price_list() -> None:
    cost = cost_of(stored=1 << 40, puts=10_000)
    assert cost.storage_month == pytest.approx(1024 * 0.023)
    assert cost.requests == pytest.approx(0.05)
    assert cost_of(stored=0, puts=0, prices=S3_STANDARD) == (0, 0)
    assert cost_of(stored=1 << 30, puts=1000, prices=Prices("own", "", 1.0, 2.0)) == (1.0, 2.0)


def test_a_new_dataset_shares_with_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    done = push(new_repository(), tmp_path / "f", "ds", ["latest"], tmp_path / "s", PushOptions(dry_run=True))
    assert done.plan is not None
    assert (done.plan.shares, done.puts, done.changed) == ((), 0, True)
