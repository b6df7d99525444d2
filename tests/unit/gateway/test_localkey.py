"""The key of the disk cache: made once, agreed on by all, refused where others may read it; and who runs without."""

import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

from gateway import keyrings, localkey
from gateway.app import build_tree
from gateway.config import ConfigError, Settings, load
from gateway.doctor import examine
from gateway.localkey import KEY_SIZE, find_key, key_file, local_key
from store.objects.local import FolderStore
from store.root import create_store
from store.vfs.storetree import StoreTree
from store.vfs.tree import FileTree

SETTINGS = Settings()
KEYRING = load(flags={"cache.key": "keyring"}, environ={})


def test_it_is_made_once_for_this_user_alone(home: Path) -> None:
    key = local_key(SETTINGS)
    assert len(key.reveal()) == KEY_SIZE
    assert key == local_key(SETTINGS)
    assert key_file() == home / "aetherfs" / "local.key"
    assert key_file().read_bytes() == key.reveal()
    assert key_file().stat().st_mode & 0o777 == 0o600
    assert sorted(file.name for file in key_file().parent.iterdir()) == ["local.key", "local.key.lock"]


def test_whatever_the_umask_nobody_else_may_read_it() -> None:
    before = os.umask(0)
    try:
        local_key(SETTINGS)
    finally:
        os.umask(before)
    assert key_file().stat().st_mode & 0o777 == 0o600
    assert key_file().parent.stat().st_mode & 0o077 == 0


def test_a_deleted_key_is_followed_by_another() -> None:
    key = local_key(SETTINGS)
    key_file().unlink()
    assert local_key(SETTINGS) != key


def test_processes_that_need_it_at_once_agree() -> None:
    program = "from gateway.localkey import *; print(local_key(Settings()).reveal().hex())"
    processes = [
        subprocess.Popen([sys.executable, "-P", "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert set(said) == {key_file().read_bytes().hex()}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o610])
def test_one_that_others_may_read_or_change_is_refused(mode: int) -> None:
    local_key(SETTINGS)
    key_file().chmod(mode)
    with pytest.raises(ConfigError, match=rf"chmod 600 {key_file()}"):
        local_key(SETTINGS)


@pytest.mark.parametrize("size", [0, KEY_SIZE - 1, KEY_SIZE + 1, 5000])
def test_one_of_another_size_is_refused(size: int) -> None:
    local_key(SETTINGS)
    key_file().write_bytes(bytes(size))
    with pytest.raises(ConfigError, match=f"{key_file()}, is no file of 32 bytes: delete it"):
        local_key(SETTINGS)


def test_what_is_no_file_is_refused_and_not_waited_for() -> None:
    key_file().parent.mkdir(parents=True)
    os.mkfifo(key_file())
    with pytest.raises(ConfigError, match="no file of 32 bytes"):
        local_key(SETTINGS)
    key_file().unlink()
    key_file().mkdir()
    with pytest.raises(ConfigError, match="delete it"):
        local_key(SETTINGS)


def test_where_no_folder_can_be_there_is_none_and_none_is_made(home: Path) -> None:
    home.write_bytes(b"")
    assert find_key(SETTINGS) is None
    with pytest.raises(OSError, match="home"):
        local_key(SETTINGS)


def found(settings: Settings) -> list[tuple[str, str]]:
    return [(finding.state, finding.found) for finding in examine(settings) if finding.name == "cache key"]


def test_doctor_looks_at_it_and_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = store_with_cache(tmp_path)
    assert found(settings) == [("ok", f"none yet, {key_file()}: made at first use")]
    assert not key_file().exists()
    local_key(settings)
    assert found(settings) == [("ok", str(key_file()))]
    key_file().chmod(0o644)
    ((state, text),) = found(settings)
    assert state == "bad"
    assert f"chmod 600 {key_file()}" in text
    assert found(load(flags={"store.url": str(tmp_path / "store")}, environ={})) == []  # nothing is cached


def test_a_write_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        local_key(SETTINGS)
    assert [file.name for file in key_file().parent.iterdir()] == ["local.key.lock"]


def store_with_cache(folder: Path, **flags: str) -> Settings:
    objects = FolderStore(folder / "store", create=True)
    create_store(objects)
    objects.close()
    given = {"store.url": str(folder / "store"), "cache.dir": str(folder / "cache"), "cache.memory": "1MiB"}
    return load(flags=given | {name.replace("_", "."): value for name, value in flags.items()}, environ={})


def closed(tree: FileTree) -> None:
    assert isinstance(tree, StoreTree)
    tree.close()


def test_a_gateway_whose_key_cannot_be_made_serves_without_a_disk_cache_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = store_with_cache(tmp_path)
    (key_file().parent / "local.key.lock").mkdir(parents=True)  # so that not even root can make the key
    tree = build_tree(settings).tree
    assert not tree.children(tree.root()).entries
    closed(tree)
    assert not (tmp_path / "cache" / "blocks").exists()
    assert len([record for record in caplog.records if "no disk cache: its key can't be made" in record.message]) == 1


def test_a_gateway_does_not_start_with_a_key_that_others_may_read(tmp_path: Path) -> None:
    settings = store_with_cache(tmp_path)
    local_key(settings)
    key_file().chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        build_tree(settings)


def test_no_key_is_made_where_nothing_is_cached(tmp_path: Path) -> None:
    settings = store_with_cache(tmp_path, cache_disk="0")
    tree = build_tree(settings).tree
    closed(tree)
    assert not key_file().exists()


class Keyring(types.ModuleType):
    """The library, with a keyring of this test."""

    def __init__(self) -> None:
        super().__init__("keyring")
        self.kept: dict[tuple[str, str], str] = {}
        self.keeps = True

    def get_password(self, service: str, name: str) -> str | None:
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, password: str) -> None:
        if self.keeps:
            self.kept[service, name] = password


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Keyring:
    library = Keyring()
    monkeypatch.setitem(sys.modules, "keyring", library)
    return library


def test_a_keyring_keeps_it_and_no_file_does(keyring: Keyring) -> None:
    key = local_key(KEYRING)
    assert key == local_key(KEYRING)
    assert not key_file().exists()
    keyring.kept.clear()
    assert local_key(KEYRING) != key


def test_a_keyring_that_keeps_nothing_is_refused(keyring: Keyring) -> None:
    keyring.keeps = False
    with pytest.raises(ConfigError, match=r'keeps nothing.*cache\.key = "file"'):
        local_key(KEYRING)


@pytest.mark.parametrize("text", ["", "no base64!", "c2hvcnQ="])
def test_what_is_no_key_in_a_keyring_is_refused_and_not_shown(keyring: Keyring, text: str) -> None:
    keyring.kept[keyrings.SERVICE, localkey.ENTRY] = text
    with pytest.raises(ConfigError, match="keyring del aetherfs 'disk cache'") as caught:
        local_key(KEYRING)
    assert not text or text not in str(caught.value)


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match=r'pip install "aetherfs\[keyring\]".*cache\.key = "file"'):
        local_key(KEYRING)


def test_a_keyring_that_fails_or_never_answers_is_not_waited_for(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(service: str, name: str) -> str | None:
        raise RuntimeError("no bus\nmore")

    monkeypatch.setattr(keyring, "get_password", fails)
    with pytest.raises(ConfigError, match=r"\(no bus\): start or unlock one"):
        local_key(KEYRING)
    asked = threading.Event()

    def waits(service: str, name: str) -> str | None:
        asked.wait(30)
        return None

    monkeypatch.setattr(keyring, "get_password", waits)
    monkeypatch.setattr(keyrings, "KEYRING_S", 0.1)
    with pytest.raises(ConfigError, match="did not answer within"):
        local_key(KEYRING)
    asked.set()


def test_the_setting_takes_two_words_alone() -> None:
    with pytest.raises(ConfigError, match=r"cache\.key: 'vault' is not one of 'file', 'keyring'"):
        load(flags={"cache.key": "vault"}, environ={})
