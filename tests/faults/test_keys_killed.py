"""`init --encrypt` and `key rotate`, gone before any step on the file system: the key at hand opens what is there."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway import stores
from store.errors import OutcomeUnknown, StoreUnavailable
from store.layout import ROOT_KEY
from store.objects.base import Buffer, Fetched, ObjectStore
from store.objects.local import FolderStore
from store.objects.wrapper import Wrapper
from tests.support.dying import KILLED, run
from tests.support.vault import Vault
from tests.unit.gateway.cli_keys.conftest import cli as cli
from tests.unit.gateway.cli_keys.conftest import folder as folder
from tests.unit.gateway.conftest import home as home
from tests.unit.gateway.test_cli import Cli

STEPS = 60  # more than any of these commands takes


class Bench:
    """A store that is copied for each kill, with its key."""

    def __init__(self, cli: Cli, work: Path, folder: Path, home: Path) -> None:
        self.cli, self.work, self.folder, self.home = cli, work, folder, home
        self.begun = Vault(work / "begun" / "s", work / "begun" / "my.key")
        cli("init", "--encrypt", *self.begun.flags)
        cli("push", folder, "-t", "data:1.0.0", *self.begun.flags)

    def fresh(self, name: str) -> Vault:
        shutil.copytree(self.begun.path.parent, self.work / name)
        shutil.rmtree(self.home / "aetherfs" / "stores")  # what was seen of another copy
        vault = Vault(self.work / name / "s", self.work / name / "my.key")
        self.cli("ls", *vault.flags)  # it was seen as it is now
        return vault

    def reads(self, *flags: str | Path) -> None:
        assert self.cli("cat", "data:1.0.0/a.txt", *flags) == "a" * 1000
        assert self.cli.json("verify", "--deep", *flags)["ok"]


@pytest.fixture
def bench(cli: Cli, tmp_path: Path, folder: Path, home: Path) -> Bench:
    return Bench(cli, tmp_path, folder, home)


def every_step(die: Callable[[int], int]) -> Iterator[int]:
    """Yield after each kill, until the command is through."""
    for step in range(1, STEPS):
        code = die(step)
        if code == 0:
            assert step > 3, "it was never killed"
            return
        assert code == KILLED, code
        yield step
    raise AssertionError(f"more than {STEPS} steps")


def test_a_rotation_in_place_killed_anywhere_leaves_a_key_file_that_opens_the_store(bench: Bench) -> None:
    vault = bench.begun
    seen = set()

    def die(step: int) -> int:
        nonlocal vault
        vault = bench.fresh(f"step {step}")
        return run(["key", "rotate", *vault.flags], die_at=step)

    for step in every_step(die):
        old = bench.begun.key_file
        check = vault.document()["encryption"]["kek"]["check"]
        seen.add(check == bench.begun.document()["encryption"]["kek"]["check"])
        bench.reads(*vault.flags)
        bench.cli("key", "rotate", *vault.flags)
        assert vault.document()["encryption"]["kek"]["check"] != check, step
        bench.reads(*vault.flags)
        bench.cli("ls", "--store", vault.path, "--key-file", old, exits=4)
        assert not vault.key_file.with_name("my.key.next").exists()
    assert seen == {True, False}  # before the record was written, and after it


def test_a_rotation_killed_twice_and_a_reader_that_comes_between(bench: Bench) -> None:
    for first in range(1, 24, 4):
        for second in range(1, 24, 5):
            vault = bench.fresh(f"{first} {second}")
            run(["key", "rotate", *vault.flags], die_at=first)
            run(["key", "rotate", *vault.flags], die_at=second)
            run(["ls", *vault.flags], die_at=first)
            bench.reads(*vault.flags)
            bench.cli("key", "rotate", *vault.flags)
            bench.reads(*vault.flags)


def test_a_rotation_of_a_key_in_the_configuration_folder_killed_anywhere(bench: Bench) -> None:
    place = bench.work / "own" / "s"
    bench.cli("init", "--encrypt", "--store", place)
    bench.cli("push", bench.folder, "-t", "data:1.0.0", "--store", place)
    whole = [place.parent, bench.home]
    for at, path in enumerate(whole):
        shutil.copytree(path, bench.work / f"kept {at}")

    def die(step: int) -> int:
        for at, path in enumerate(whole):
            shutil.rmtree(path)
            shutil.copytree(bench.work / f"kept {at}", path)
        return run(["key", "rotate", "--store", place], die_at=step)

    for _ in every_step(die):
        bench.reads("--store", place)
        bench.cli("key", "rotate", "--store", place)
        bench.reads("--store", place)


def test_a_rotation_to_a_new_file_killed_anywhere_leaves_one_of_two_keys_that_opens(bench: Bench) -> None:
    vault = bench.begun

    def die(step: int) -> int:
        nonlocal vault
        vault = bench.fresh(f"step {step}")
        return run(["key", "rotate", "--new-key-file", vault.path.with_name("new.key"), *vault.flags], die_at=step)

    for _ in every_step(die):
        new = Vault(vault.path, vault.path.with_name("new.key"))
        moved = run(["ls", *vault.flags]) != 0
        bench.reads(*(new if moved else vault).flags)
        if not moved:
            bench.cli("key", "rotate", "--new-key-file", new.key_file, *vault.flags)
        bench.reads(*new.flags)
        bench.cli("ls", *vault.flags, exits=4)


def test_a_new_data_key_killed_anywhere_leaves_a_store_that_takes_another(bench: Bench) -> None:
    vault = bench.begun

    def die(step: int) -> int:
        nonlocal vault
        vault = bench.fresh(f"step {step}")
        return run(["key", "rotate", "--data", *vault.flags], die_at=step)

    for _ in every_step(die):
        bench.reads(*vault.flags)
        bench.cli("key", "rotate", "--data", *vault.flags)
        assert len(vault.document()["encryption"]["data"]) in (2, 3)
        bench.cli("push", bench.folder, "-t", "data:2.0.0", *vault.flags)
        bench.reads(*vault.flags)


@pytest.mark.parametrize("own", [True, False], ids=["own key", "key file"])
def test_making_a_store_killed_anywhere_can_be_done_again(bench: Bench, own: bool) -> None:
    flags: list[str | Path] = []

    def die(step: int) -> int:
        place = bench.work / f"made {step}"
        flags[:] = ["--store", place / "s", *(() if own else ("--key-file", place / "my.key"))]
        return run(["init", "--encrypt", *flags], die_at=step)

    for _ in every_step(die):
        bench.cli("init", "--encrypt", *flags)
        bench.cli("push", bench.folder, "-t", "data:1.0.0", *flags)
        bench.reads(*flags)


class Losing(Wrapper):
    """Loses the answers to writes of the record, or the writes, and may go away then."""

    def __init__(self, inner: ObjectStore, *, done: bool, gone: bool, times: int = 1) -> None:
        super().__init__(inner)
        self._done, self._gone, self._left, self._lost = done, gone, times, False

    def put_if(self, key: str, data: Buffer, *, match: str | None) -> str:
        if key != ROOT_KEY or not self._left:
            return self._inner.put_if(key, data, match=match)
        self._left -= 1
        self._lost = True
        if self._done:
            self._inner.put_if(key, data, match=match)
        raise OutcomeUnknown(key, "the test says so", None)

    def fetch(self, key: str, *, unless: str | None = None) -> Fetched | None:
        if self._lost and self._gone:
            raise StoreUnavailable(self.address, "the test says so")
        return self._inner.fetch(key, unless=unless)


@pytest.mark.parametrize("gone", [False, True], ids=["there", "gone"])
@pytest.mark.parametrize("done", [False, True], ids=["lost before", "lost after"])
@pytest.mark.parametrize("how", ["in place", "data", "to a file"])
def test_a_lost_answer_loses_no_key(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str, done: bool, gone: bool
) -> None:
    vault = bench.fresh("lossy")
    new = Vault(vault.path, vault.path.with_name("new.key"))
    words = {"in place": (), "data": ("--data",), "to a file": ("--new-key-file", new.key_file)}[how]
    before = vault.document()["encryption"]
    with monkeypatch.context() as patched:
        losing = Losing(FolderStore(vault.path), done=done, gone=gone)
        patched.setattr(stores, "open_objects", lambda address, **options: losing)
        patched.setattr("gateway.stores.Retrying", lambda inner, *rest, **options: inner)  # no waiting for its return
        bench.cli("key", "rotate", *words, *vault.flags, exits=7 if gone else 0)
    written = vault.document()["encryption"] != before
    assert written == (done or not gone)
    now = new if how == "to a file" and written else vault
    bench.reads(*now.flags)
    bench.cli("key", "rotate", *now.flags)
    bench.reads(*now.flags)
