"""Every construction of an encrypted store gives the bytes on the page: by our code, and by one made from the page.

Random bytes are replaced by a fixed salt; what is pinned here never changes while the format is 1.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Final

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.cmac import CMAC

from store import jsondoc, root
from store.chunker import Chunker
from store.digest import chunk_digest
from store.errors import ObjectCorrupt
from store.sealing import envelope, segments
from store.sealing.names import Names, kind_of
from store.sealing.secret_keys import KeyRing, derive
from store.secret import Secret
from tests.conformance.format import page, sealing
from tests.conformance.format.cutter import cut
from tests.conformance.format.states import Refused


def counting(first: int, size: int = 32) -> bytes:
    return bytes(range(first, first + size))


KEK, ID_SECRET, DATA_KEY, SALT, HANDLE = (counting(first) for first in (0x00, 0x20, 0x40, 0x60, 0x80))
KEY_ID, STORE = counting(0xA0, 16), counting(0xF0, 16)
RING: Final = KeyRing(data={KEY_ID: Secret(DATA_KEY)}, id_secret=Secret(ID_SECRET), handle=Secret(HANDLE))
VAULT: Final = sealing.Vault(sealing.Secrets(STORE, ID_SECRET, HANDLE, {KEY_ID: DATA_KEY}))
NAMES: Final = Names(RING)
PACK: Final = "packs/aa/" + 32 * "a"
EMPTY: Final = "c20fd70687a97ed9bb4ab778b0c74e7790b410005ed810813303aebee44603ad"
RECORD: Final[dict[str, Any]] = {"b": 'é\n/"', "a": [1, {}], "sum": "", "mac": None}
COVERED: Final = {name: value for name, value in RECORD.items() if name in "ab"}
GROUPS: Final = (0x00, 0x01, 0x02, 0x8B, 0xFF)
DATASET: Final = (
    "arqh77p45wiany6pc2vrjevlhjlqqois22pr4w6inyrjb7evpcx6fxljxv3jj4mq6bthmdxt4oxbftrp5ql5qbmgxqxxsiwueg43qpwtp2kbicbnkua4"
    "vg54c7do5evywlrxjg6cc5veezoxi4cswpq2tmteucmo6dw7xnymiovdjt3mnp2zh36mtp6kkptl5qlsiknrfrcordhz7hthw2fpztv2d7kgzry27x7n"
    "aibfvzuepleq"
)
HANDLE_WRAPPED: Final = (
    "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn9OEisW/eIsv1MXnSTQzDHm+zJ75Q1SKIX0O8e1lF5+4me54/caFTNixwuY0v5p2uA="
)
OBJECT_KEYS: Final = {
    "auth": "5ec695ae3d6673dd1e59825a20faaced6ab645b9f83d1ceceb93fc989d3050eb",
    "changes": "4721bc00e0a0a1ddd2131858500e1a13f991eae28256a52c3e4ff2dd1caa794f",
    "datasets": "f855f772c15095fffc7b6e813b4e589f16a7d9be8d89603419621116ef7ed365",
    "gc": "e839657423e0c587e7571a4548893cd6cb94e7c6c7064ff0496c71379e393a92",
    "history": "eeb6795b37225cbb78d25566271f0b0eb3e44a4f50b549e4ddd94424d7de4615",
    "index": "9f6795bbd7eb256251ed41042c4c02651194c08b32283fe7ed3129a6ffe98086",
    "manifests": "627ccff3fd3f9a68caab3b3801956361f1997b3cfff4ec9b3fe6b4d3fad2df79",
    "moved": "92a2a97c6569d11d4555266f8682345cac499bddf52f8f5aa06704bd8a53df79",
    "packs": "545774e78c4328b919453e2daa7882a9dcc8188009fb2ebe0679577eb8756fd7",
    "pushes": "2682778a0b2f1a93624985bd258eaf23a3ac3af294187709861c1703103aa348",
    "usage": "a91681c3e31110ae651f62d7692c36c0ab0c80a3d0dcde0de14a6e09c3945288",
}


def plain(size: int) -> bytes:
    return bytes(i % 251 for i in range(size))


def sealed(size: int, key: str = PACK) -> bytes:
    """Seal an object by our code."""
    header = segments.new_header(size, KEY_ID)
    cipher = segments.Cipher(header, Secret(DATA_KEY), kind=kind_of(key), store=STORE, name=key)
    return bytes(segments.seal(cipher, plain(size)))


def by_page(size: int, key: str = PACK) -> bytes:
    """Seal an object by the page."""
    return VAULT.seal(key, plain(size), SALT)


def last(key: str) -> str:
    return key.rpartition("/")[2]


# What is on the page, in its order: by our code, by the page's program, and as it always was.
Answer = tuple[Callable[[], str], Callable[[], str], str]
ANSWERS: dict[str, Answer] = {
    "*check*": (
        lambda: envelope.check_of(Secret(KEK)),
        lambda: sealing.check_value(KEK),
        "34b8b8956c77cd90",
    ),
    "the id secret, wrapped": (
        lambda: envelope.wrap(Secret(KEK), Secret(ID_SECRET), b"id", STORE.hex()),
        lambda: sealing.wrap(KEK, ID_SECRET, b"id", STORE, SALT),
        "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn/usou2XUKMH/O3PYRwbJFGW5LbRa3yiCVUm2cVNP7eQldgktAFk6/BSh1NWuuyN4Q=",
    ),
    "the data key, wrapped": (
        lambda: envelope.wrap(Secret(KEK), Secret(DATA_KEY), b"data" + KEY_ID, STORE.hex()),
        lambda: sealing.wrap(KEK, DATA_KEY, b"data" + KEY_ID, STORE, SALT),
        "YGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6e3x9fn+O0uvWPSLsf5PXXeQQDPEmO/K7Jc2S6EU0+wd1VJ6+IupILMhmBdgUbPUf0QC8QqE=",
    ),
    "*chunks*": (
        lambda: RING.derived("chunks").hex(),
        lambda: VAULT.chunks.hex(),
        "3ff2c4bbe7f9d8a48d0859261bffd3a74fa6353eb30fd903ec96527bb7cc8415",
    ),
    "*names*": (
        lambda: RING.derived("names", 64).hex(),
        lambda: sealing.hkdf(ID_SECRET, "aetherfs/1/names", 64).hex(),
        "f8834aae2d98b2c57b669ad2008c02877c1b49b32f6d12a9802523bafe8d44b9"
        "8db25ea1b779c0abdaddde191c9a6aadaea0dfa136d9107bafe5cf3026ce8de5",
    ),
    "*groups*": (
        lambda: RING.derived("groups").hex(),
        lambda: sealing.hkdf(ID_SECRET, "aetherfs/1/groups").hex(),
        "fa33793842dff47052cdecb7ed3d9a5c329e8cbd5ac5b4f0db2d678ec3a9ea38",
    ),
    "*record*": (
        lambda: RING.derived("record").hex(),
        lambda: sealing.hkdf(ID_SECRET, "aetherfs/1/record").hex(),
        "df57981266310f86a3c0b1a449ce89f54aa69e97e7a1c015e7fc78f39107534d",
    ),
    "the seed": (
        lambda: str(RING.seed),
        lambda: str(VAULT.seed),
        "3898901341158183766",
    ),
    "*object* of a pack": (
        lambda: derive(Secret(DATA_KEY), "aetherfs/1/pack", salt=SALT).hex(),
        lambda: sealing.hkdf(DATA_KEY, "aetherfs/1/pack", salt=SALT).hex(),
        OBJECT_KEYS["packs"],
    ),
    "name of the chunk `x`": (
        lambda: chunk_digest(b"x", RING.derived("chunks")).hex(),
        lambda: blake3(b"x", key=VAULT.chunks).hexdigest(),
        "80c7f735ef5998a52daa19816f6aa6d4dbc70495b57333647204fe837139cfb6",
    ),
    'canonical form of `{"b": "é\\u000a/\\"", "a": [1, {}], "sum": "", "mac": null}`': (
        lambda: jsondoc.canonical(COVERED).decode(),
        lambda: sealing.canonical(RECORD).decode(),
        r'{"a":[1,{}],"b":"é\n/\""}',
    ),
    "its MAC": (
        lambda: root._mac(RECORD, RING),
        lambda: sealing.mac(RECORD, ID_SECRET),
        "0d6d8ed100aa7781fbc4755efd9c8349070bd00784e4c553555e5d6c26cd91f9",
    ),
    "piece 0 of an empty object `packs/aa/` and 32 digits `a`": (
        lambda: sealed(0)[64:-64].hex(),
        lambda: by_page(0)[64:-64].hex(),
        "4563c9790cbec60cfd36faaaa1c78436",
    ),
    "that of one of 1 byte": (
        lambda: sealed(1)[64:-64].hex(),
        lambda: by_page(1)[64:-64].hex(),
        "0495b8967d00cd571d62fd9f3842f99c3a",
    ),
    "digest of it sealed, 145 bytes": (
        lambda: blake3(sealed(1)).hexdigest(),
        lambda: blake3(by_page(1)).hexdigest(),
        "af19d080b06845dade45df93b7a56ea6c0ed1d0015de7454bfc38141ded0dfa0",
    ),
    "of one of 32,768 bytes, 32,912 sealed": (
        lambda: blake3(sealed(32768)).hexdigest(),
        lambda: blake3(by_page(32768)).hexdigest(),
        "1a3aaca9e1b2d3015a477a9def0c53210d4c726370c2bb72f0dc3b46bcd0ec2b",
    ),
    "of one of 32,769 bytes, 32,929 sealed": (
        lambda: blake3(sealed(32769)).hexdigest(),
        lambda: blake3(by_page(32769)).hexdigest(),
        "ceac6f597549535076b75936822a8fce84ec57444c7ae754a58bc4c54aee8f68",
    ),
    "the groups 00, 01, 02, 8b, ff": (
        lambda: " ".join(NAMES.hide(f"changes/{group:02x}").removeprefix("changes/") for group in GROUPS),
        lambda: " ".join(f"{VAULT.groups.index(group):02x}" for group in GROUPS),
        "d7 52 4b b1 54",
    ),
    "first 40 of 244 characters of the token of the dataset `@geo/x`": (
        lambda: last(NAMES.hide("datasets/8b/@geo/x"))[:40],
        lambda: last(VAULT.hide("datasets/8b/@geo/x"))[:40],
        DATASET[:40],
    ),
    "token of the segment `7-0123456789abcdef`": (
        lambda: last(NAMES.hide("history/@geo/x/7-0123456789abcdef")),
        lambda: last(VAULT.hide("history/@geo/x/7-0123456789abcdef")),
        "gybwe3dhfwhufkbyrxtrvya5spl74mqcctyjiuanzwzcoin272f6c5i",
    ),
    "the empty folder's manifest (id above)": (
        lambda: NAMES.hide(f"manifests/c2/{EMPTY}"),
        lambda: VAULT.hide(f"manifests/c2/{EMPTY}"),
        "manifests/f3/6pdnpdgxiopx2wkbo4dyu4ukagj6gkzjm232oqpmcdpwlv4724wofinuwyidoah2ixbydqrj7jwgi",
    ),
    "the same with the root `0123456789abcdef`": (
        lambda: NAMES.hide(f"manifests/c2/{EMPTY}-0123456789abcdef"),
        lambda: VAULT.hide(f"manifests/c2/{EMPTY}-0123456789abcdef"),
        "manifests/62/mluudfywmsomlvpy5awsamwze3kvnwpjrkgq3pfkerbdugejqvdntog6kbmbx46ujdsqwqxoruqkof4rr2gnwhebne",
    ),
}


@pytest.fixture(autouse=True)
def _one_salt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: SALT[:size])


def test_the_page_has_all_of_them_and_no_other() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    [table] = [table for table in page.tables(text) if table.columns == ("what", "value")]
    on_page = {what: value.removeprefix("`").removesuffix("`") for what, value in table.rows}
    assert on_page == {what: pinned for what, (_, _, pinned) in ANSWERS.items()}


@pytest.mark.parametrize("what", ANSWERS)
def test_our_code_and_the_pages_program_give_the_known_answer(what: str) -> None:
    ours, by_the_page, pinned = ANSWERS[what]
    assert ours() == pinned
    assert by_the_page() == pinned


@pytest.mark.parametrize("first", OBJECT_KEYS)
def test_each_kind_of_object_has_a_key_of_its_own(first: str) -> None:
    key = f"{first}/x"
    assert derive(Secret(DATA_KEY), f"aetherfs/1/{kind_of(key)}", salt=SALT).hex() == OBJECT_KEYS[first]
    assert sealed(5, key) == by_page(5, key)
    assert VAULT.open(key, sealed(5, key)) == plain(5)
    with pytest.raises(Refused):
        VAULT.open(f"{first}x/x", sealed(5, key))


def test_a_handle_key_is_wrapped_as_it_always_was() -> None:
    assert envelope.wrap(Secret(KEK), Secret(HANDLE), b"handle", STORE.hex()) == HANDLE_WRAPPED
    assert sealing.wrap(KEK, HANDLE, b"handle", STORE, SALT) == HANDLE_WRAPPED


@pytest.mark.parametrize("secret", [(ID_SECRET, b"id"), (HANDLE, b"handle"), (DATA_KEY, b"data" + KEY_ID)])
def test_what_one_wraps_the_other_unwraps_for_that_use_and_store_alone(secret: tuple[bytes, bytes]) -> None:
    value, what = secret
    ours, theirs = (
        envelope.wrap(Secret(KEK), Secret(value), what, STORE.hex()),
        sealing.wrap(KEK, value, what, STORE, SALT),
    )
    assert sealing.unwrap(KEK, ours, what, STORE) == value
    assert envelope.unwrap(Secret(KEK), theirs, what, STORE.hex()).reveal() == value
    for other, store in ((b"data" + SALT[:16], STORE), (what, SALT[:16])):
        with pytest.raises(ObjectCorrupt):
            envelope.unwrap(Secret(KEK), theirs, other, store.hex())
        with pytest.raises(Refused):
            sealing.unwrap(KEK, ours, other, store)


@pytest.mark.parametrize(
    ("key", "hidden"),
    [
        ("datasets/8b/@geo/x", f"datasets/b1/{DATASET}"),
        ("history/@geo/x/7-0123456789abcdef",
         f"history/{DATASET}/gybwe3dhfwhufkbyrxtrvya5spl74mqcctyjiuanzwzcoin272f6c5i"),
        ("index/8b/" + 32 * "5", "index/b1/" + 32 * "5"),
        ("changes/8b", "changes/b1"),
        (PACK, PACK),
        ("pushes/" + 32 * "5", "pushes/" + 32 * "5"),
        ("gc/state", "gc/state"),
        ("aetherfs.json", "aetherfs.json"),
    ],
)  # fmt: skip
def test_keys_are_hidden_as_they_always_were_and_shown_again(key: str, hidden: str) -> None:
    assert (NAMES.hide(key), NAMES.show(hidden)) == (hidden, key)
    assert (VAULT.hide(key), VAULT.show(hidden)) == (hidden, key)


def by_steps(key: bytes, about: bytes, text: bytes) -> bytes:
    """AES-SIV by the steps of RFC 5297 (2.4, 2.6), for texts of 16 bytes and more."""

    def mac(data: bytes) -> bytes:
        cmac = CMAC(AES(key[:32]))
        cmac.update(data)
        return cmac.finalize()

    doubled = int.from_bytes(mac(bytes(16)), "big") << 1
    doubled = doubled % 2**128 ^ (0x87 if doubled >> 128 else 0)
    mixed = doubled ^ int.from_bytes(mac(about), "big") ^ int.from_bytes(text[-16:], "big")
    iv = mac(text[:-16] + mixed.to_bytes(16, "big"))
    counter = int.from_bytes(iv, "big") & ~(1 << 31 | 1 << 63)
    return iv + Cipher(AES(key[32:]), CTR(counter.to_bytes(16, "big"))).encryptor().update(text)


@pytest.mark.parametrize(
    ("key", "of", "text"),
    [
        ("datasets/8b/@geo/x", b"dataset", b"@geo/x" + bytes(130)),
        ("history/@geo/x/7-0123456789abcdef", b"segment", b"7-0123456789abcdef"),
        (f"manifests/c2/{EMPTY}", b"manifest", bytes.fromhex(EMPTY)),
        (f"manifests/c2/{EMPTY}-0123456789abcdef", b"manifest", bytes.fromhex(EMPTY + "0123456789abcdef")),
    ],
)
def test_a_token_is_what_the_steps_of_rfc_5297_give(key: str, of: bytes, text: bytes) -> None:
    assert sealing.unspelt(last(NAMES.hide(key))) == by_steps(RING.derived("names", 64), of, text)


def test_all_groups_are_where_they_always_were() -> None:
    assert blake3(bytes(VAULT.groups)).hexdigest() == "195837f36beece3c1871a99aa0a688568f52abbe18b3751459350e1870f86853"
    places = [int(NAMES.hide(f"changes/{group:02x}").removeprefix("changes/"), 16) for group in VAULT.groups]
    assert places == [*range(256)]


def test_a_header_stands_at_both_ends_and_holds_what_its_table_says() -> None:
    header = b"AFSL" + bytes.fromhex("01004000") + (32769).to_bytes(8, "little") + KEY_ID + SALT
    assert sealed(32769)[:64] == sealed(32769)[-64:] == header
    assert [len(sealed(size)) for size in (0, 1, 32768, 32769)] == [144, 145, 32912, 32929]


def test_canonical_form_escapes_what_the_page_says_and_nothing_else() -> None:
    text = "".join(map(chr, range(0x100))) + "\u2028\U0001f40b"
    written = "".join(
        {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}.get(
            letter, letter if letter >= " " else f"\\u{ord(letter):04x}"
        )
        for letter in text
    )
    wanted = f'{{"A":0,"a":"{written}","\uffff":{{}},"\U00010000":[]}}'.encode()
    assert jsondoc.canonical({"\U00010000": [], "\uffff": {}, "a": text, "A": 0}) == wanted
    assert sealing.canonical({"\U00010000": [], "\uffff": {}, "a": text, "A": 0}) == wanted


def test_files_are_cut_where_the_derived_seed_says() -> None:
    run = Random(20261125).randbytes(500_000)
    chunker = Chunker(replace(root.ChunkerSettings(), seed=RING.seed))
    lengths = [length for _, length in chunker.cut(run, first=True, final=True)]
    assert lengths == cut(run, VAULT.seed) == [74600, 122736, 186380, 69782, 46502]
