"""What a store holds, counted: against a plain count over sets, and in however many parts."""

import gzip
from pathlib import Path

import pytest

from store.blocks import BlockReader
from store.care import digestsets
from store.care.stats import StoreStats, open_content, statistics
from store.care.worst import WorstFile, worst_files
from store.digest import Digest
from store.errors import DatasetMissing
from store.push.push import push
from store.repository import Repository
from tests.support.folders import new_repository
from tests.support.trees import Contents, lay_out
from tests.unit.store.care.test_verify import noise


class Bench:
    """A store that is filled step by step."""

    def __init__(self, work: Path) -> None:
        self.work, self.count = work, 0
        self.repository = new_repository()

    def publish(self, dataset: str, tags: list[str], contents: Contents) -> None:
        self.count += 1
        folder = self.work / f"folder{self.count}"
        folder.mkdir()
        lay_out(contents, folder)
        push(self.repository, folder, dataset, tags, self.work / "state")

    def worst(self, dataset: str) -> dict[bytes, WorstFile]:
        (found,) = statistics(self.repository, [dataset]).datasets
        states = [open_content(self.repository, holder.contents[0]) for holder in found.holders]
        blocks = BlockReader(self.repository.objects, 1 << 20)
        try:
            return {file.path: file for file in worst_files(states[0], states[1:], blocks)}
        finally:
            blocks.close()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def chunks(repository: Repository, reference: str) -> dict[Digest, tuple[int, int]]:
    manifest = open_content(repository, repository.catalogue.resolve(reference).content)
    return {block.digest: (block.plain, block.stored) for block in manifest.all_blocks()}


def summed(found: dict[Digest, tuple[int, int]]) -> tuple[int, int]:
    return sum(plain for plain, _ in found.values()), sum(stored for _, stored in found.values())


@pytest.mark.parametrize("part", [2, 5, 100_000])
def test_counts_are_those_of_sets_of_chunks_in_however_many_parts(
    bench: Bench, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digestsets, "PART", part)
    common = {f"c{n}".encode(): noise(n, 500 + n) for n in range(9)}
    bench.publish("one", ["1.0.0", "old"], {**common, b"only-1": noise(50, 700)})
    bench.publish("one", ["2.0.0", "latest"], {**common, b"only-2": noise(51, 900)})
    bench.publish("two", ["latest"], {b"from-one": common[b"c0"], b"own": noise(52, 333)})
    found = statistics(bench.repository)
    one, two = found.datasets
    first, second = chunks(bench.repository, "one:1.0.0"), chunks(bench.repository, "one:2.0.0")
    other = chunks(bench.repository, "two:latest")
    assert [sorted(holder.tags) for holder in one.holders] == [["2.0.0", "latest"], ["1.0.0", "old"]]
    newest, oldest = one.holders
    assert (newest.sizes.unique, newest.sizes.stored) == summed(second)
    assert (oldest.sizes.unique, oldest.sizes.stored) == summed(first)
    assert (newest.alone, oldest.alone, two.holders[0].alone) == (900, 700, 333)
    assert newest.alone_stored == 900  # noise does not compress
    assert (one.sizes.unique, one.sizes.stored) == summed(first | second)
    assert (two.sizes.unique, two.sizes.stored) == summed(other)
    assert (found.sizes.unique, found.sizes.stored) == summed(first | second | other)
    assert one.sizes.logical == newest.sizes.logical + oldest.sizes.logical
    assert found.packs == 3
    assert found.packs_bytes > found.sizes.stored
    assert found.manifests_bytes > 0


def test_past_states_are_one_holder_and_what_they_share_is_alone_in_no_tag(bench: Bench) -> None:
    bench.publish("one", ["latest"], {b"kept": noise(1, 100), b"gone": noise(2, 200)})
    bench.publish("one", ["latest"], {b"kept": noise(1, 100), b"gone": noise(3, 300)})
    bench.publish("one", ["latest"], {b"kept": noise(1, 100), b"new": noise(4, 400)})
    (one,) = statistics(bench.repository, ["one"]).datasets
    assert one.past is not None
    assert (len(one.past.contents), one.past.alone, one.past_beyond) == (2, 500, 0)
    assert (one.holders[0].alone, one.sizes.unique, one.sizes.logical) == (400, 1000, 1200)


def test_ratio_is_logical_by_stored_and_one_for_nothing(bench: Bench) -> None:
    assert statistics(bench.repository) == StoreStats([])
    assert StoreStats([]).sizes.ratio == 1.0
    bench.publish("one", ["latest"], {b"a": b"x" * 100_000, b"b": b"x" * 100_000})
    assert statistics(bench.repository).sizes.ratio > 100


def test_a_dataset_that_is_not_there_is_an_error(bench: Bench) -> None:
    with pytest.raises(DatasetMissing):
        statistics(bench.repository, ["none"])


def test_files_that_deduplicate_worst_come_with_a_reason(bench: Bench) -> None:
    text = b"".join(b"line %d of a long text\n" % n for n in range(20_000))
    large = noise(7, 1_000_000)
    before: Contents = {
        b"log.gz": gzip.compress(text, mtime=0), b"same": noise(1, 5000), b"table": large,
        b"sealed": noise(2, 30_000), b"rewritten": b"one " * 9000,
    }  # fmt: skip
    bench.publish("one", ["1.0.0"], before)
    bench.publish("one", ["2.0.0"], {
        **before,
        b"log.gz": gzip.compress(b"a new first line\n" + text, mtime=0), b"fresh": noise(3, 4000),
        b"picture": b"\x89PNG\r\n\x1a\n" + noise(4, 2000), b"table": large[:500_000] + b"x" + large[500_000:],
        b"sealed": noise(5, 30_000), b"rewritten": b"two " * 9000,
    })  # fmt: skip
    worst = bench.worst("one")
    assert set(worst) == {b"log.gz", b"fresh", b"picture", b"table", b"sealed", b"rewritten"}
    assert worst[b"log.gz"].reason.startswith("compressed (gzip)")
    assert worst[b"fresh"].reason == "new content"
    assert worst[b"picture"].reason == "new content, already compressed (PNG)"
    assert worst[b"table"].reason.startswith("changed in places")
    assert worst[b"sealed"].reason.startswith("changed everywhere, and does not compress")
    assert worst[b"rewritten"].reason == "changed everywhere"
    assert (worst[b"fresh"].new, worst[b"fresh"].new_stored) == (4000, 4000)
    stored = [file.new_stored for file in worst.values()]
    assert stored == sorted(stored, reverse=True)


def test_what_two_files_share_counts_for_one_and_empty_files_for_nothing(bench: Bench) -> None:
    bench.publish("one", ["1.0.0"], {b"a": b"", b"b": noise(1, 100), b"c": noise(1, 100), b"d": b"", b"e": b"e"})
    assert {path: file.new for path, file in bench.worst("one").items()} == {b"b": 100, b"e": 1}
