"""What an encrypted store shares with a plain one, and with itself: ids of manifests, and nothing that lies in it."""

import random
from pathlib import Path
from typing import Any, Final

import pytest

from store.digest import PackId
from store.layout import PACKS
from store.objects.base import ObjectStore
from store.objects.local import FolderStore
from store.pack import read_footer
from tests.support.vault import Vault
from tests.unit.gateway.cli_keys.conftest import everything, vault_at
from tests.unit.gateway.test_cli import Cli

COUNTED: Final = ("entries", "files", "bytes", "new_bytes", "reused_bytes")


def chunk_ids(objects: ObjectStore) -> set[bytes]:
    packs = [PackId(bytes.fromhex(info.key.rpartition("/")[2])) for info in objects.list(PACKS)]
    return {bytes(block.digest) for pack in packs for block in read_footer(objects, pack)}


def counted(told: dict[str, Any]) -> list[Any]:
    return [told[name] for name in COUNTED]


def test_one_folder_in_three_stores_has_one_manifest_and_nothing_else_in_common(
    cli: Cli, tmp_path: Path, folder: Path
) -> None:
    plain = tmp_path / "plain"
    cli("init", "--store", plain)
    one = vault_at(cli, tmp_path / "one", tmp_path / "one.key")
    same = vault_at(cli, tmp_path / "same", tmp_path / "one.key")
    other = vault_at(cli, tmp_path / "other", tmp_path / "other.key")
    flags = [("--store", str(plain)), one.flags, same.flags, other.flags]
    told = [cli.json("push", folder, "-t", "data:1.0.0", *each) for each in flags]
    assert len({one["manifest"] for one in told}) == 1
    ids = [chunk_ids(FolderStore(plain)), *(chunk_ids(vault.objects()) for vault in (one, same, other))]
    assert all(ids)
    for number, mine in enumerate(ids):
        assert not any(mine & theirs for theirs in ids[number + 1 :])
    lying = [everything(path) for path in (plain, one.path, same.path, other.path)]
    for number, here in enumerate(lying):
        for there in lying[number + 1 :]:
            shared = {name for name in here.keys() & there.keys() if not name.startswith(("gc/", ".", "changes/"))}
            assert shared == {"aetherfs.json"}
            assert not {data for data, _ in here.values() if data} & {data for data, _ in there.values() if data}


def test_a_word_of_the_content_a_name_or_a_tag_is_nowhere_in_the_store(cli: Cli, vault: Vault, folder: Path) -> None:
    (folder / "confidential-name").write_bytes(b"a very secret sentence. " * 4000)
    cli("push", folder, "-t", "hiddenset:7.7.7", "-t", "hiddenset:latest", "-m", "whispered", *vault.flags)
    held = [name.encode() + b" " + data for name, (data, _) in everything(vault.path).items()]
    for word in (b"very secret", b"confidential-name", b"hiddenset", b"7.7.7", b"whispered", b"AEFS", b"latest"):
        assert not any(word in data for data in held), word


@pytest.mark.parametrize("change", ["a byte in the middle", "bytes put in", "a new file", "nothing"])
def test_a_second_version_sends_as_much_as_to_a_plain_store(
    cli: Cli, vault: Vault, tmp_path: Path, folder: Path, change: str
) -> None:
    plain = ("--store", str(tmp_path / "plain"))
    cli("init", *plain)
    large = folder / "sub" / "large"
    both = [plain, vault.flags]
    first = [cli.json("push", folder, "-t", "data:1.0.0", *flags) for flags in both]
    assert counted(first[0]) == counted(first[1])
    data = large.read_bytes()
    if change == "a byte in the middle":
        large.write_bytes(data[:300_000] + b"!" + data[300_001:])
    elif change == "bytes put in":
        large.write_bytes(data[:300_000] + b"inserted" + data[300_000:])
    elif change == "a new file":
        (folder / "new").write_bytes(random.Random(3).randbytes(80_000))
    second = [cli.json("push", folder, "-t", "data:2.0.0", *flags) for flags in both]
    assert second[0]["manifest"] == second[1]["manifest"]
    new = [told["new_bytes"] for told in second]
    if change in ("a new file", "nothing"):
        assert new[0] == new[1]
    else:  # cuts are secret, so that others may go: of few chunks either way
        assert all(0 < count <= 3 * 262_144 for count in new)
        assert all(count < len(data) for count in new)


def test_what_another_dataset_has_is_found_and_not_sent_again(cli: Cli, vault: Vault, folder: Path) -> None:
    cli("push", folder, "-t", "data:1.0.0", *vault.flags)
    packs = vault.plain_keys("packs/")
    moved = folder.with_name("moved")
    folder.rename(moved)
    told = cli.json("push", moved, "-t", "other:1.0.0", *vault.flags)
    assert told["new_bytes"] == 0
    assert vault.plain_keys("packs/") == packs
    cli("key", "rotate", "--data", *vault.flags)
    (moved / "more").write_bytes(random.Random(3).randbytes(80_000))
    told = cli.json("push", moved, "-t", "third:1.0.0", *vault.flags)
    assert told["new_bytes"] == 80_000
    assert cli.json("verify", "--deep", *vault.flags)["ok"]
