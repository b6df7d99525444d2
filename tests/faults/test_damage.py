"""One flipped bit or a missing end in each kind of object, and objects that are gone: no wrong byte, and a name."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.exits import exit_code
from store.errors import Corrupt, FeatureMissing, ObjectMissing, StoreError
from store.layout import DATASETS, MANIFESTS, PACKS, ROOT_KEY
from store.objects.memory import MemoryStore
from store.pull.pull import pull
from store.repository import Repository
from tests.faults.steps import publish, small_packs, write_folder
from tests.support.folders import held, latest, new_repository

KINDS = (ROOT_KEY, DATASETS, MANIFESTS, PACKS)
FLIPS = 40  # places in each object, spread evenly; all bits of the first and the last bytes besides
EDGE = 6  # bytes


class Bench:
    def __init__(self, work: Path) -> None:
        self.work = work
        self.objects = MemoryStore()
        new_repository(self.objects)
        self.source = work / "source"
        write_folder(self.source, 1, files=2, size=70_000)
        (self.source / "text").write_text("compresses well " * 2000)
        publish(self.objects, self.source, work / "state", "1.0.0", "latest")

    def keys(self, prefix: str) -> list[str]:
        return [info.key for info in self.objects.list(prefix)]

    def pull(self) -> StoreError | None:
        """Pull with nothing in memory; return the error. Whatever it is, nothing but the state is ever shown."""
        dest = self.work / "dest"
        shutil.rmtree(dest, ignore_errors=True)
        try:
            repository = Repository.open(self.objects)
            pull(repository, latest(repository), dest, self.work / "pull state")
        except StoreError as error:
            assert not dest.exists()
            return error
        finally:
            for left in self.work.glob(".aetherfs-pull-*"):
                shutil.rmtree(left, ignore_errors=True)
        assert held(dest) == held(self.source)
        return None


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    small_packs(monkeypatch)
    return Bench(tmp_path)


def places(size: int) -> Iterator[int]:
    """Yield bits of an object to flip."""
    edges = {*range(8 * min(EDGE, size)), *range(8 * max(0, size - EDGE), 8 * size)}
    step = max(1, 8 * size // FLIPS) | 1  # odd, so that every bit of a byte has its turn
    yield from sorted(edges | {*range(0, 8 * size, step)})


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_never_yields_a_wrong_byte_and_is_named_where_it_is_met(bench: Bench, kind: str) -> None:
    met = 0
    for key in bench.keys(kind):
        sound = bench.objects.get(key)
        for place in places(len(sound)):
            damaged = bytearray(sound)
            damaged[place // 8] ^= 1 << place % 8
            bench.objects.put(key, bytes(damaged))
            error = bench.pull()
            if error is not None:  # else it was in a part that a pull does not read, as a pack's footer
                met += 1
                if not isinstance(error, FeatureMissing):  # a number of version or format that may be a later one's
                    assert isinstance(error, Corrupt), (key, place, error)
                    assert exit_code(error) == 6
                    assert key in str(error), (key, place)
        bench.objects.put(key, sound)
    assert met > FLIPS / 2
    assert bench.pull() is None


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_cut_short_is_named(bench: Bench, kind: str) -> None:
    for key in bench.keys(kind):
        sound = bench.objects.get(key)
        for size in (0, 1, 63, len(sound) // 2, len(sound) - 1):
            bench.objects.put(key, sound[:size])
            error = bench.pull()
            if error is None:  # what is missing is no more than a pack's footer, or spaces behind a document
                assert kind == PACKS or not sound[size:].strip(), (key, size)
                assert size > 64
            else:
                assert isinstance(error, Corrupt), (key, size, error)
                assert key in str(error)
        bench.objects.put(key, sound)


@pytest.mark.parametrize("kind", [MANIFESTS, PACKS])
def test_an_object_that_is_gone_is_named(bench: Bench, kind: str) -> None:
    for key in bench.keys(kind):
        sound = bench.objects.get(key)
        bench.objects.delete(key)
        error = bench.pull()
        assert isinstance(error, ObjectMissing)
        assert exit_code(error) == 6
        assert error.key.startswith(key)  # a manifest is looked for at its second key as well
        bench.objects.put(key, sound)


@pytest.mark.parametrize("kind", [ROOT_KEY, DATASETS])
def test_a_push_never_overwrites_a_record_that_it_cannot_read(bench: Bench, kind: str) -> None:
    [key] = bench.keys(kind)
    sound = bench.objects.get(key)
    word = sound.index(b'"sum"')  # a document whose sum has lost its name is one without a sum, sound as it is
    for place in places(len(sound)):
        if word <= place // 8 < word + 5:
            continue
        damaged = bytearray(sound)
        damaged[place // 8] ^= 1 << place % 8
        bench.objects.put(key, bytes(damaged))
        (bench.source / "text").write_text(str(place))
        with pytest.raises((Corrupt, FeatureMissing)):
            publish(bench.objects, bench.source, bench.work / "state", "latest")
        assert bench.objects.get(key) == damaged


def test_a_push_over_damaged_packs_and_states_sends_what_it_cannot_read_again(bench: Bench) -> None:
    before = bench.keys(PACKS)
    for key in (*bench.keys("index/"), *bench.keys(MANIFESTS), *before):
        data = bench.objects.get(key)
        bench.objects.put(key, data[:-40] + bytes(40))
    (bench.source / "text").write_text("another state")
    shutil.rmtree(bench.work / "state")
    assert publish(bench.objects, bench.source, bench.work / "state", "latest").bytes_new > 140_000
    assert bench.pull() is None
