"""A store whose keys were changed is what the page says: to its reader, and where its writer made it, to our code."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from store.objects.local import FolderStore
from store.push.push import push
from store.root import StoreRoot, encode_root
from store.sealing.envelope import Envelope, Kek, check_of, rewrapped, with_new_data_key
from store.secret import Secret
from tests.conformance.format import sample
from tests.conformance.format.reader import read_store
from tests.conformance.format.sealing import mac, unlock
from tests.conformance.format.states import Refused
from tests.conformance.format.stores import ENCRYPTED as KEY
from tests.conformance.format.stores import make_store, opened
from tests.conformance.format.writer import write_store

OTHER = bytes(range(7, 39))
BY_KMS = Kek("aws-kms", check_of(Secret(OTHER)), "arn:aws:kms:eu-central-1:1:key/2", "YmxvYg==")
LATER = {"later": ["é", {"a": None, "Z": 2**63 - 1}, "\u2028\x7f\x1b\\"]}


class Source:
    """A folder to push, which changes a little each time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder / "source", folder / "state"
        self.folder.mkdir()

    def push(self, store: Path, key: bytes, tag: str) -> None:
        (self.folder / tag).write_bytes(tag.encode() * 10_000)
        push(opened(store, key).repository, self.folder, "d", [tag], self.state)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make_store(tmp_path / "store", KEY)
    return tmp_path / "store"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def root_of(store: Path, key: bytes) -> StoreRoot:
    return opened(store, key).repository.root


def change(store: Path, root: StoreRoot, envelope: Envelope) -> None:
    (store / "aetherfs.json").write_bytes(encode_root(replace(root, envelope=envelope), "a" * 24))


def add_data_key(store: Path, key: bytes) -> None:
    root = root_of(store, key)
    assert root.envelope is not None
    change(store, root, with_new_data_key(Secret(key), root.envelope, root.store, 2))


def wrap_anew(store: Path, key: bytes, about: Kek) -> None:
    root = root_of(store, key)
    assert root.envelope is not None
    assert root.keys is not None
    change(store, root, rewrapped(root.keys, Secret(OTHER), about, root.envelope, root.store))


def record_of(store: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((store / "aetherfs.json").read_bytes())
    return found


def sealed_by(store: Path) -> set[bytes]:
    """Return the ids of data keys that objects name."""
    packs = (path for path in store.glob("packs/*/*"))
    return {path.read_bytes()[16:32] for path in packs}


def test_a_new_data_key_seals_what_is_written_from_then_on(store: Path, source: Source) -> None:
    source.push(store, KEY, "1.0.0")
    before = sealed_by(store)
    add_data_key(store, KEY)
    source.push(store, KEY, "1.0.1")
    ids = [bytes.fromhex(one["id"]) for one in record_of(store)["encryption"]["data"]]
    assert before == {ids[0]}
    assert sealed_by(store) == set(ids)
    assert len(read_store(store, KEY).datasets["d"].states) == 2


@pytest.mark.parametrize("about", [Kek("key", BY_KMS.check), BY_KMS], ids=["a file", "AWS KMS"])
def test_secrets_wrapped_anew_open_by_the_new_key_alone(store: Path, source: Source, about: Kek) -> None:
    source.push(store, KEY, "1.0.0")
    add_data_key(store, KEY)
    before, objects = record_of(store), {path: path.read_bytes() for path in store.glob("*/*/*") if path.is_file()}
    wrap_anew(store, KEY, about)
    after = record_of(store)
    assert unlock(after, OTHER) == unlock(before, KEY)
    assert read_store(store, OTHER).datasets["d"].tags.keys() == {"1.0.0"}
    assert all(path.read_bytes() == data for path, data in objects.items())
    with pytest.raises(Refused, match="another key"):
        read_store(store, KEY)
    kept = [(one["id"], one["created"]) for one in before["encryption"]["data"]]
    assert [(one["id"], one["created"]) for one in after["encryption"]["data"]] == kept
    assert after["encryption"]["kek"] == {
        "kind": about.kind,
        "check": about.check,
        **({"key": about.key, "blob": about.blob} if about.key else {}),
    }


def test_what_a_later_program_added_is_under_the_mac_and_kept_when_keys_are_changed(tmp_path: Path) -> None:
    store, source = tmp_path / "store", tmp_path / "source"
    source.mkdir()
    write_store(store, "d", {"1.0.0": "version"}, sample.look(source), KEY)
    record = record_of(store)
    for part in (record, record["features"], record["chunker"], record["keys"], record["encryption"]):
        part |= LATER
    record["mac"] = mac(record, unlock(record_of(store), KEY).id_secret)
    FolderStore(store).put("aetherfs.json", json.dumps(record, indent=1).encode())
    add_data_key(store, KEY)
    wrap_anew(store, KEY, BY_KMS)
    found = record_of(store)
    for part in (found, found["features"], found["chunker"], found["keys"], found["encryption"]):
        assert part["later"] == LATER["later"]
    assert len(unlock(found, OTHER).data) == 2
