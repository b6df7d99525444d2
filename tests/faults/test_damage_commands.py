"""Damage of every sort to every kind of object, under every command: the sound answer, or exit 6 naming the object."""

import functools
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from gateway import stores
from gateway.cli.main import run
from store.catalogue import catalogue as catalogue_module
from store.catalogue.history import Archive
from store.gc_state import MARKED, Batch, GcState, encode_gc_state
from store.layout import DATASETS, GC_STATE_KEY, MANIFESTS, PACKS, PUSHES, ROOT_KEY
from store.objects.memory import MemoryStore
from store.objects.wrapper import Wrapper
from store.root import create_store
from tests.faults.steps import publish, write_folder
from tests.support.folders import held

SMALL_HEAD: Final = 2500  # bytes from which a head spills here, so that there are segments of history and of tags

SHOWING: Final = (
    ("ls",), ("ls", "ds"), ("ls", "ds:1.0.0"), ("show", "ds:1.0.0"), ("log", "ds"), ("diff", "ds:1.0.0", "ds:latest"),
    ("stats",), ("stats", "ds"),
)  # fmt: skip
FETCHING: Final = (("cat", "ds:1.0.0/file 0"), ("pull", "ds:1.0.0"))
VERIFYING: Final = (("verify",), ("verify", "--deep"))
READING: Final = (*SHOWING, *FETCHING, *VERIFYING)
WRITING: Final = (
    ("push", "-t", "ds:latest"), ("tag", "ds:1.0.0", "ds:qa"), ("untag", "ds:1.0.0"), ("rollback", "ds:latest"),
)  # fmt: skip

# Kinds of objects by prefix. Derived ones and hints are never needed: no command may fail for them, but to report them.
NEEDED: Final = (ROOT_KEY, DATASETS, "history/", MANIFESTS, PACKS, GC_STATE_KEY)
DERIVED: Final = ("index/", "changes/", PUSHES)
KINDS: Final = (*NEEDED, *DERIVED)

Harm = Callable[[bytes, bytes], bytes | None]  # (the object, another of its kind) -> what stands there instead

HARMS: Final[Mapping[str, Harm]] = {
    "flipped": lambda sound, other: (
        sound[: len(sound) // 3] + bytes([sound[len(sound) // 3] ^ 4]) + sound[len(sound) // 3 + 1 :]
    ),
    "cut": lambda sound, other: sound[: len(sound) // 2],
    "empty": lambda sound, other: b"",
    "gone": lambda sound, other: None,
    "replaced": lambda sound, other: other,
}


class Unclosed(Wrapper):
    """Passes everything on but `close`: the test goes on with what a command has closed."""

    def close(self) -> None:
        pass


class Bench:
    """A store of two datasets and a twin of it, whose objects stand in for those of the first."""

    def __init__(self, work: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        self._work, self._monkeypatch, self._capsys = work, monkeypatch, capsysbinary
        for kind in ("STATE", "CACHE", "CONFIG", "DATA"):
            monkeypatch.setenv(f"XDG_{kind}_HOME", str(work / kind))
        monkeypatch.setenv("AETHERFS_STORE", str(work / "named, never opened"))
        monkeypatch.setattr(catalogue_module, "Archive", functools.partial(Archive, spill_from=SMALL_HEAD, keep=500))
        self.sound = self._made("first", 1)
        self.twin = self._made("twin", 101)
        self.new = work / "new"
        write_folder(self.new, 7, files=1, size=3000)

    def _made(self, name: str, seed: int) -> MemoryStore:
        objects = MemoryStore()
        create_store(objects)
        for number in range(4):
            shutil.rmtree(self._work / name, ignore_errors=True)
            write_folder(self._work / name, seed + number, files=2, size=3000)
            publish(objects, self._work / name, self._work / f"{name} state", f"{number}.0.0", "latest")
        marked = Batch(1, MARKED, 1, packs=frozenset({"ab" * 16}))
        objects.put(GC_STATE_KEY, encode_gc_state(GcState(seq=seed, batches=(marked,)), "operation"))
        objects.put(f"{PUSHES}{'cd' * 16}", b'{"format":1}')
        return objects

    def keys(self, prefix: str) -> list[str]:
        return sorted(info.key for info in self.sound.list(prefix))

    def harmed(self, key: str, harm: Harm) -> MemoryStore:
        """Return a copy of the store with one object harmed."""
        copy = MemoryStore()
        for info in self.sound.list(""):
            copy.put(info.key, self.sound.get(info.key))
        kind = next(prefix for prefix in KINDS if key.startswith(prefix))
        others = sorted(info.key for info in self.twin.list(kind))
        data = harm(self.sound.get(key), self.twin.get(others[0]))
        if data is None:
            copy.delete(key)
        else:
            copy.put(key, data)
        return copy

    def run(self, objects: MemoryStore, words: tuple[str, ...]) -> tuple[int, object, str]:
        """Run a command; return its exit code, its result, and all that it said."""
        self._monkeypatch.setattr(stores, "open_objects", lambda address, **options: Unclosed(objects))
        dest = self._work / "dest"
        shutil.rmtree(dest, ignore_errors=True)
        shutil.rmtree(self._work / "STATE", ignore_errors=True)  # what a command remembers of the store before
        added = {"pull": [str(dest)], "push": [str(self.new)]}.get(words[0], [])
        code = run([*words, *added])
        out, err = self._capsys.readouterr()
        return code, held(dest) if words[0] == "pull" and code == 0 else out, (out + err).decode("utf-8", "replace")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Bench:
    return Bench(tmp_path, monkeypatch, capsysbinary)


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_command_gives_the_sound_answer_or_names_the_damaged_object(bench: Bench, kind: str, harm: str) -> None:
    """One command of each sort, by turns, so that each meets every kind or nearly so; and always both that verify."""
    turn = KINDS.index(kind) * len(HARMS) + [*HARMS].index(harm)
    chosen = [group[turn % len(group)] for group in (SHOWING, FETCHING, WRITING)]
    hold(bench, kind, harm, bench.keys(kind)[:1], [*chosen, *VERIFYING])


@pytest.mark.exhaustive
@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_command_gives_the_sound_answer_or_names_the_damaged_object(bench: Bench, kind: str, harm: str) -> None:
    hold(bench, kind, harm, bench.keys(kind)[:3], [*READING, *WRITING])


def hold(bench: Bench, kind: str, harm: str, keys: list[str], commands: list[tuple[str, ...]]) -> None:
    """Harm each of some objects of a kind and run each command on what is left."""
    told = set()
    reading = [words for words in commands if words in READING]
    sound = {words: bench.run(bench.harmed(ROOT_KEY, lambda whole, _: whole), words) for words in reading}
    assert [code for code, _, _ in sound.values()] == [0] * len(reading)
    for key in keys:
        for words in commands:
            objects = bench.harmed(key, HARMS[harm])
            before = {info.key: objects.get(info.key) for info in objects.list(kind)}
            code, result, said = bench.run(objects, words)
            at = f"{key} {harm}: {words} ended with {code}: {said[-300:]}"
            assert "Traceback" not in said, at
            assert "mistake of ours" not in said, at
            if code == 6:
                # Another store's head of this dataset is sound, but what it names is not there.
                assert key in said or (kind, harm) == (DATASETS, "replaced"), at
                told.add(words)
            elif code == 3:
                assert kind in (ROOT_KEY, DATASETS), at  # without its record or head, there is no store or dataset
                assert harm == "gone", at
            else:
                assert code == 0, at
                if words in READING and words[0] not in ("stats", "verify") and (words, kind) != (("ls",), DATASETS):
                    assert result == sound[words][1], at
            if words in READING or code:
                after = {info.key: objects.get(info.key) for info in objects.list(kind)}
                assert after == before, f"{at}: something was written"
            if kind in DERIVED:
                assert code == 0 or words[0] == "verify", at
    if kind not in (ROOT_KEY, GC_STATE_KEY, *DERIVED) and (kind, harm) != (DATASETS, "gone"):
        assert ("verify", "--deep") in told
        assert ("verify",) in told or (kind, harm) == (PACKS, "flipped")  # a bit in a block takes reading the block
