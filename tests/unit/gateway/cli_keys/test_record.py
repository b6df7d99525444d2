"""`aetherfs.json` of an encrypted store, edited, rolled back or replaced by somebody who may write to the bucket."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.vault import Vault, put
from tests.unit.gateway.cli_keys.conftest import everything, vault_at
from tests.unit.gateway.test_cli import Cli

Document = dict[str, Any]
Edit = Callable[[Document], object]


def wrapped_again(document: Document, at: str) -> None:
    sealed = bytearray(base64.b64decode(document["encryption"][at]))
    sealed[40] ^= 1
    document["encryption"][at] = base64.b64encode(sealed).decode()


def in_plain(document: Document) -> None:
    document["encryption"], document["mac"] = None, None
    document["features"] = {"read": [], "write": [], "maintenance": []}
    document["keys"] = {"handle": base64.b64encode(bytes(32)).decode()}


def swap(document: Document, one: str, other: str) -> None:
    encryption = document["encryption"]
    encryption[one], encryption[other] = encryption[other], encryption[one]


# What the MAC, or a wrapped key's own tag, catches.
EDITED: Final[dict[str, Edit]] = {
    "created": lambda d: d.update(created=1),
    "seq": lambda d: d.update(seq=d["seq"] + 5),
    "operations": lambda d: d.update(operations=[]),
    "operations, one more": lambda d: d["operations"].append([9, "ab" * 12]),
    "features, encryption gone": lambda d: d["features"].update(read=[]),
    "features, one to write": lambda d: d["features"].update(write=["x"]),
    "features, one to maintain": lambda d: d["features"].update(maintenance=["x"]),
    "features, all gone": lambda d: d.pop("features"),
    "features, a new class of work": lambda d: d["features"].update(more=["x"]),
    "chunker algorithm": lambda d: d["chunker"].update(algorithm="other"),
    "chunker min": lambda d: d["chunker"].update(min=1024),
    "chunker avg": lambda d: d["chunker"].update(avg=32768),
    "chunker max": lambda d: d["chunker"].update(max=1 << 20),
    "chunker normalization": lambda d: d["chunker"].update(normalization=0),
    "chunker seed": lambda d: d["chunker"].update(seed=7),
    "chunker gone": lambda d: d.pop("chunker"),
    "keys, a handle's put in": lambda d: d["keys"].update(handle=base64.b64encode(bytes(32)).decode()),
    "keys gone": lambda d: d.pop("keys"),
    "encryption gone, features stay": lambda d: d.update(encryption=None),
    "id secret": lambda d: wrapped_again(d, "id"),
    "handle secret": lambda d: wrapped_again(d, "handle"),
    "id secret, cut": lambda d: d["encryption"].update(id=d["encryption"]["id"][:40]),
    "id secret, no base64": lambda d: d["encryption"].update(id="?" * 108),
    "secrets swapped": lambda d: swap(d, "id", "handle"),
    "data, a field more": lambda d: d["encryption"]["data"][0].update(more=1),
    "data, its time": lambda d: d["encryption"]["data"][0].update(created=1),
    "data, its id": lambda d: d["encryption"]["data"][0].update(id="00" * 16),
    "data, the first one gone": lambda d: d["encryption"]["data"].pop(0),
    "data, the last one gone": lambda d: d["encryption"]["data"].pop(),
    "data, all gone": lambda d: d["encryption"].update(data=[]),
    "data, the other way round": lambda d: d["encryption"]["data"].reverse(),
    "data, one twice": lambda d: d["encryption"]["data"].append(d["encryption"]["data"][0]),
    "data, wrappings swapped": lambda d: d["encryption"].update(
        data=[{**d["encryption"]["data"][i], "wrapped": d["encryption"]["data"][1 - i]["wrapped"]} for i in (0, 1)]
    ),
    "data, far too many": lambda d: d["encryption"].update(data=d["encryption"]["data"] * 200),
    "encryption, a field more": lambda d: d["encryption"].update(more=1),
    "kek, a field more": lambda d: d["encryption"]["kek"].update(more=1),
    "mac": lambda d: d.update(mac="00" * 32),
    "mac is null": lambda d: d.update(mac=None),
    "mac is a number": lambda d: d.update(mac=5),
    "mac gone": lambda d: d.pop("mac"),
    "a field more": lambda d: d.update(more={"a": 1}),
}
# What says by itself that another program, store or key is meant: it is refused before there is a key to check with.
REFUSED: Final[dict[str, tuple[Edit, str]]] = {
    "format": (lambda d: d.update(format=2), "format 2"),
    "features, one to read": (lambda d: d["features"]["read"].append("x"), "needs"),
    "cipher": (lambda d: d["encryption"].update(cipher="rot13"), "encryption by rot13"),
    "kind of key": (lambda d: d["encryption"]["kek"].update(kind="x"), "with a key from x"),
    "kind of key, KMS": (
        lambda d: d["encryption"]["kek"].update(kind="aws-kms", key="k", blob="AAAA"), "its key is kept by AWS KMS",
    ),
    "check of the key": (lambda d: d["encryption"]["kek"].update(check="00" * 8), "and 0000000000000000 is wanted"),
    "store": (lambda d: d.update(store="ab" * 16), "lies the store abababababab, but "),
    "downgraded": (in_plain, "is not encrypted, but the store "),
}  # fmt: skip


@pytest.fixture
def two_keys(cli: Cli, filled: Vault) -> Vault:
    """Return a store with two data keys."""
    cli("key", "rotate", "--data", *filled.flags)
    return filled


def forge(vault: Vault, edit: Edit) -> None:
    document = vault.document()
    before = json.dumps(document)
    edit(document)
    assert json.dumps(document) != before
    vault.forge(document)


def test_the_edits_are_of_every_field(two_keys: Vault) -> None:
    """A field that is new here wants an edit of its own."""
    document = two_keys.document()
    named = " ".join([*EDITED, *REFUSED])
    assert all(name in named for name in document if name not in ("sum",)), document.keys()
    assert {*document["encryption"]} == {"cipher", "kek", "id", "handle", "data"}
    assert {*document["encryption"]["kek"]} == {"kind", "check"}
    assert {*document["encryption"]["data"][0]} == {"id", "created", "wrapped"}
    assert {*document["chunker"]} == {"algorithm", "min", "avg", "max", "normalization", "seed"}


@pytest.mark.parametrize("known", [True, False], ids=["seen before", "first seen"])
def test_an_edited_record_is_damage_whatever_field_it_is(cli: Cli, two_keys: Vault, folder: Path, known: bool) -> None:
    if not known:
        cli("key", "forget", *two_keys.flags)
    sound = two_keys.document()
    for what, edit in EDITED.items():
        two_keys.forge(sound)
        forge(two_keys, edit)
        before = everything(two_keys.path)
        for words in (("ls",), ("push", folder, "-t", "data:2.0.0"), ("verify",), ("key", "rotate")):
            cli(*words, *two_keys.flags, exits=6)
            assert "object 'aetherfs.json' is damaged: " in cli.err, what
        assert everything(two_keys.path) == before, what
    two_keys.forge(sound)
    cli("verify", "--deep", *two_keys.flags)


def test_a_record_that_asks_for_something_else_is_refused(cli: Cli, two_keys: Vault, folder: Path) -> None:
    sound = two_keys.document()
    for edit, said in REFUSED.values():
        two_keys.forge(sound)
        forge(two_keys, edit)
        before = everything(two_keys.path)
        for words in (
            ("ls",),
            ("push", folder, "-t", "data:2.0.0"),
            ("verify",),
            ("key", "rotate"),
            ("init", "--encrypt"),
        ):
            cli(*words, *two_keys.flags, exits=4)
            assert said in cli.err
        assert everything(two_keys.path) == before


def test_a_record_that_is_gone_is_no_plain_store(cli: Cli, filled: Vault) -> None:
    (filled.path / "aetherfs.json").unlink()
    cli("ls", *filled.flags, exits=3)
    cli("verify", *filled.flags, exits=6)
    assert "no object 'aetherfs.json'" in cli.err


@pytest.mark.parametrize("seen", [True, False], ids=["seen before", "first seen"])
def test_a_downgraded_store_is_refused_with_a_key_or_if_it_was_seen(
    cli: Cli, filled: Vault, folder: Path, seen: bool
) -> None:
    """Exit 4: as a plain store it is sound, and only what is known here says that it was another one."""
    if not seen:
        cli("key", "forget", *filled.flags)
    forge(filled, in_plain)
    before = everything(filled.path)
    for words in (("ls",), ("push", folder, "-t", "data:2.0.0"), ("verify", "--deep"), ("init",)):
        cli(*words, *filled.flags, exits=4)
        assert "is not encrypted, but " in cli.err
        if seen:  # even without a key
            cli(*words, "--store", filled.path, exits=4)
            assert "somebody has put another one there" in cli.err
    assert everything(filled.path) == before


def test_a_wrong_store_id_is_damage_where_nothing_was_seen_before(cli: Cli, filled: Vault) -> None:
    cli("key", "forget", *filled.flags)
    forge(filled, lambda d: d.update(store="ab" * 16))
    cli("ls", *filled.flags, exits=6)
    assert "a wrapped key does not open" in cli.err


def test_any_bit_of_the_record_flipped_is_noticed(cli: Cli, filled: Vault) -> None:
    path = filled.path / "aetherfs.json"
    sound = path.read_bytes()
    for at in range(0, len(sound), 61):
        put(path, sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        cli("ls", *filled.flags, exits=6)
        assert "object 'aetherfs.json' is damaged" in cli.err


def test_a_record_put_back_is_refused_until_it_is_forgotten(cli: Cli, filled: Vault, folder: Path) -> None:
    path = filled.path / "aetherfs.json"
    old = path.read_bytes()
    cli("key", "rotate", "--data", *filled.flags)
    put(path, old)
    before = everything(filled.path)
    for words in (("ls",), ("push", folder, "-t", "data:2.0.0"), ("verify",), ("key", "rotate", "--data")):
        cli(*words, *filled.flags, exits=6)
        assert "aetherfs.json is at write 1, but write 2 was seen here before" in cli.err
    assert everything(filled.path) == before
    assert cli.json("key", "forget", *filled.flags) == {"store": str(filled.path), "forgotten": True}
    cli("ls", *filled.flags)
    assert cli.json("key", "forget", *filled.flags)["forgotten"]
    assert not cli.json("key", "forget", *filled.flags)["forgotten"]
    assert "nothing was known of it" in cli("key", "forget", *filled.flags)


@pytest.mark.parametrize("by", ["same key", "another key", "plain"])
def test_a_store_swapped_for_another_is_refused_until_it_is_forgotten(
    cli: Cli, filled: Vault, tmp_path: Path, folder: Path, by: str
) -> None:
    flags: tuple[str | Path, ...] = ("--store", tmp_path / "other")
    if by == "plain":
        cli("init", *flags)
    else:
        flags = (*flags, "--key-file", filled.key_file if by == "same key" else tmp_path / "other.key")
        cli("init", "--encrypt", *flags)
    cli("push", folder, "-t", "data:1.0.0", *flags)
    filled.become(tmp_path / "other")
    before = everything(filled.path)
    given = [("--store", filled.path, *flags[2:]), ("--store", filled.path)] if by == "plain" else [filled.flags]
    for now in given:
        for words in (
            ("ls",),
            ("push", folder, "-t", "data:2.0.0"),
            ("verify",),
            ("init",),
            ("cat", "data:1.0.0/a.txt"),
        ):
            cli(*words, *now, exits=4)
            said = "somebody has put another one there" if by == "plain" else "was there when it was first used here"
            assert said in cli.err
            assert "aetherfs key forget" in cli.err
    assert everything(filled.path) == before
    cli("key", "forget", "--store", filled.path)
    assert cli("cat", "data:1.0.0/a.txt", "--store", filled.path, *flags[2:]) == "a" * 1000


def test_where_an_encrypted_store_was_no_plain_one_is_made(cli: Cli, filled: Vault) -> None:
    for path in filled.path.iterdir():
        if path.is_file():
            path.unlink()
    cli("init", "--store", filled.path, exits=4)
    assert "somebody has put another one there" in cli.err
    assert not (filled.path / "aetherfs.json").exists()


def test_a_damaged_note_of_what_was_seen_says_so_and_can_be_forgotten(cli: Cli, filled: Vault, home: Path) -> None:
    [note] = (home / "aetherfs" / "stores").glob("*.json")
    for damage in (b"", b"{}", b"[]", b"null", b'{"store": 5}', b"\xff", b'{"store": "a", "seq": "x"}', b"[" * 4000):
        note.write_bytes(damage)
        cli("ls", *filled.flags, exits=4)
        assert str(note) in cli.err
    cli("key", "forget", *filled.flags)
    cli("ls", *filled.flags)


def test_where_nothing_can_be_noted_everything_works(
    cli: Cli, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").write_text("a file, where a folder would have to be")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    vault = vault_at(cli, tmp_path / "vault", tmp_path / "my.key")
    for words in (("ls",), ("verify", "--deep"), ("key", "rotate"), ("key", "rotate", "--data"), ("key", "show")):
        cli(*words, *vault.flags)
