"""Sealed objects, moved, damaged or put back by somebody who may write to the bucket: exit 6, naming the object."""

import functools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.cli import main
from store.catalogue import catalogue as catalogue_module
from store.catalogue.head import decode_head
from store.catalogue.history import Archive
from store.layout import history_key
from tests.support.folders import held
from tests.support.vault import Vault, put
from tests.unit.gateway.cli_keys.conftest import everything, vault_at
from tests.unit.gateway.test_cli import Cli

NEEDED: Final = ("packs/", "manifests/", "datasets/", "history/")  # `index/` speeds pushes up, and is never needed
READING: Final = {
    "packs/": ("cat", "data:1.0.0/a.txt"), "manifests/": ("ls", "data:1.0.0"), "datasets/": ("ls", "data"),
    "history/": ("log", "data"),
}  # fmt: skip

Harm = Callable[[bytes], bytes]


def at(place: Callable[[int], int]) -> Harm:
    def harm(sound: bytes) -> bytes:
        number = place(len(sound))
        return sound[:number] + bytes([sound[number] ^ 1]) + sound[number + 1 :]

    return harm


HARMS: Final[dict[str, Harm]] = {
    "magic": at(lambda size: 0), "version": at(lambda size: 4), "size": at(lambda size: 8), "key": at(lambda size: 16),
    "salt": at(lambda size: 40), "first byte": at(lambda size: 64), "middle": at(lambda size: size // 2),
    "last tag": at(lambda size: size - 65), "salt at the end": at(lambda size: size - 20),
    "last byte": at(lambda size: size - 1), "cut by one": lambda sound: sound[:-1],
    "cut in the middle": lambda sound: sound[: len(sound) // 2], "only its header": lambda sound: sound[:64],
    "empty": lambda sound: b"", "longer": lambda sound: sound + b"\0", "twice": lambda sound: sound * 2,
    "longer within": lambda sound: sound[:-64] + bytes(16) + sound[-64:], "in plain": lambda sound: b"x" * 3000,
}  # fmt: skip


@pytest.fixture
def spilled(cli: Cli, filled: Vault, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Vault:
    """Return a store that has an object of each kind, `history/` too."""
    monkeypatch.setattr(catalogue_module, "Archive", functools.partial(Archive, spill_from=2500, keep=500))
    for number in range(1, 4):
        (folder / "number").write_text(str(number))
        cli("push", folder, "-t", f"data:{number}.1.0", "-t", "data:latest", *filled.flags)
    assert all(filled.plain_keys(kind) for kind in (*NEEDED, "index/"))
    return filled


def chosen(vault: Vault, kind: str) -> str:
    """Return the object that a command of `READING` wants."""
    if kind == "datasets/":
        return next(key for key in vault.plain_keys(kind) if key.endswith("/data"))
    keys = vault.plain_keys(kind)
    if kind == "manifests/":
        return keys[0]
    if kind == "history/":
        head = decode_head("data", vault.objects().get(chosen(vault, "datasets/")))
        return history_key("data", head.older[-1].n, head.older[-1].digest)
    return keys[0] if kind == "index/" else max(keys, key=lambda key: vault.file(key).stat().st_size)


def findings(cli: Cli, vault: Vault, *, deep: bool = True) -> dict[str, Any]:
    """Run verify, and return what it finds by object; nothing is found only with exit 0."""
    out = cli("verify", "--deep", "--json", *vault.flags, exits=6)
    return {finding["object"]: finding for finding in json.loads(out)["findings"]}


@pytest.mark.parametrize("kind", [*NEEDED, "index/"])
def test_verify_finds_any_damage_of_a_sealed_object_and_names_what_it_touches(
    cli: Cli, spilled: Vault, kind: str
) -> None:
    key = chosen(spilled, kind)
    file = spilled.file(key)
    sound = file.read_bytes()
    for name, harm in HARMS.items():
        put(file, harm(sound))
        found = findings(cli, spilled)
        assert key in found, name
        if kind in ("packs/", "manifests/"):
            touched = found[key]["touches"]
            assert touched, name
            assert all(tag.startswith(("data:", "other:", "data@")) for tag in touched), name
    put(file, sound)
    assert cli.json("verify", "--deep", *spilled.flags)["ok"]


@pytest.mark.parametrize("kind", NEEDED)
def test_no_damaged_object_gives_wrong_bytes(
    cli: Cli, spilled: Vault, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dest = tmp_path / "dest"
    words = ("pull", "data:1.0.0", str(dest)) if kind == "packs/" else READING[kind]

    def told() -> tuple[int, object, str]:
        shutil.rmtree(dest, ignore_errors=True)
        code = main.run([*words, *spilled.flags])
        out, err = capfd.readouterr()
        return code, held(dest) if code == 0 and kind == "packs/" else out, err

    _, whole, _ = told()
    for key in spilled.plain_keys(kind):
        file = spilled.file(key)
        sound = file.read_bytes()
        for name in ("magic", "key", "salt", "first byte", "cut in the middle", "empty", "in plain"):
            put(file, HARMS[name](sound))
            code, out, err = told()
            assert (code == 0 and out == whole) or (code == 6 and key in err), (key, name, code, err)
        put(file, sound)
    assert told()[1] == whole


def test_a_damaged_segment_costs_no_block_but_its_own(cli: Cli, vault: Vault, folder: Path) -> None:
    for number in range(12):
        (folder / f"f{number}").write_bytes(random.Random(number).randbytes(40_000))
    cli("push", folder, "-t", "data:1.0.0", *vault.flags)
    [key] = vault.plain_keys("packs/")
    put(vault.file(key), HARMS["middle"](vault.file(key).read_bytes()))
    found = findings(cli, vault)
    assert [*found] == [key]
    assert 1 <= len(found[key]["files"]) <= 3
    assert found[key]["touches"] == ["data:1.0.0"]


def pairs(vault: Vault, kind: str) -> tuple[str, str]:
    """Return two objects of a kind."""
    one = chosen(vault, kind)
    return one, next(key for key in vault.plain_keys(kind) if key != one)


@pytest.mark.parametrize("kind", [*NEEDED, "index/"])
def test_an_object_under_the_name_of_another_does_not_open(cli: Cli, spilled: Vault, kind: str) -> None:
    key, other = pairs(spilled, kind)
    sound = spilled.file(key).read_bytes()
    put(spilled.file(key), spilled.file(other).read_bytes())
    assert "changed, or sealed for another name" in " ".join(findings(cli, spilled)[key]["reasons"])
    if kind in READING and kind != "manifests/":
        cli(*READING[kind], *spilled.flags, exits=6)
        assert key in cli.err
    put(spilled.file(key), sound)
    assert cli.json("verify", "--deep", *spilled.flags)["ok"]


@pytest.mark.parametrize("kind", [*NEEDED, "index/"])
def test_an_object_of_another_store_of_the_same_key_does_not_open(
    cli: Cli, spilled: Vault, kind: str, tmp_path: Path, folder: Path
) -> None:
    twin = vault_at(cli, tmp_path / "twin", spilled.key_file)
    for number in range(4):
        (folder / "number").write_text(str(number))
        cli("push", folder, "-t", f"data:{number}.1.0", *twin.flags)
    key = chosen(spilled, kind)
    put(spilled.file(key), twin.file(chosen(twin, kind)).read_bytes())
    assert "it names the data key" in " ".join(findings(cli, spilled)[key]["reasons"])


@pytest.mark.parametrize("memory", ["as it was", "forgotten"])
def test_a_head_put_back_is_refused_by_who_saw_a_later_one(cli: Cli, spilled: Vault, folder: Path, memory: str) -> None:
    file = spilled.file(chosen(spilled, "datasets/"))
    old = file.read_bytes()
    cli("tag", "data:1.0.0", "data:qa", *spilled.flags)
    put(file, old)
    if memory == "as it was":
        before = everything(spilled.path)
        for words in (
            ("ls", "data"), ("cat", "data:1.0.0/a.txt"), ("push", folder, "-t", "data:9.0.0"), ("untag", "data:1.0.0"),
            ("pull", "data:1.0.0", folder.with_name("dest")),
        ):  # fmt: skip
            cli(*words, *spilled.flags, exits=6)
            assert "the head of dataset 'data' is at write 4, but write 5 was seen here before" in cli.err
        assert {name: data for name, data in everything(spilled.path).items() if "packs" not in name} == {
            name: data for name, data in before.items() if "packs" not in name
        }
        cli("key", "forget", *spilled.flags)
    else:
        cli("key", "forget", *spilled.flags)
    assert "qa" not in cli("ls", "data", *spilled.flags)
    cli("tag", "data:1.0.0", "data:qa", *spilled.flags)


def test_a_head_that_is_gone_is_missed_by_who_saw_it(cli: Cli, spilled: Vault, folder: Path) -> None:
    spilled.file(chosen(spilled, "datasets/")).unlink()
    for words in (("ls", "data"), ("cat", "data:1.0.0/a.txt"), ("push", folder, "-t", "data:9.0.0")):
        cli(*words, *spilled.flags, exits=6)
        assert "the head of dataset 'data' is gone, but write 4 was seen here before" in cli.err
    cli("ls", "never", *spilled.flags, exits=3)
    cli("key", "forget", *spilled.flags)
    cli("ls", "data", *spilled.flags, exits=3)


def test_one_more_object_in_the_bucket_harms_nothing(cli: Cli, spilled: Vault) -> None:
    for name in ("packs/00/zz", "datasets/00/plain", "manifests/aa/bb", "history/x/1-a", "index/00/s", "junk"):
        put(spilled.path / name, b"of somebody else")
    cli("ls", *spilled.flags)
    assert cli("cat", "data:1.0.0/a.txt", *spilled.flags) == "a" * 1000
