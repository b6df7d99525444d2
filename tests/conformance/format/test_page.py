"""docs/format.md says of every structure, number and field what the code has, no more and no less."""

import dataclasses
import hashlib
import importlib
import json
import pkgutil
import re
import struct
from pathlib import Path
from typing import Any, get_args

import pytest

import store
from auth.principal import user
from auth.tokens import HTTP, parse_rules
from gateway.access.policy_object import LIMIT, write_policy
from gateway.access.token_objects import MOST_OF_ONE
from gateway.access.tokens import Tokens
from store import codec, frame, gc_state, index, pack, root
from store.catalogue import head
from store.catalogue.catalogue import Catalogue
from store.catalogue.history import Archive
from store.catalogue.refs import TagKind
from store.chunker import Chunker
from store.kinds import Kind
from store.layout import POLICY_KEY, name_prefix, token_key, token_name_key, token_owner_key, token_use_key
from store.manifest import layout
from store.objects.local import FolderStore
from store.objects.memory import MemoryStore
from store.push import lease
from store.sealing import envelope, names
from store.sealing.secret_keys import KeyRing
from store.secret import Secret
from tests.conformance.format import page
from tests.conformance.format.cutter import cut
from tests.conformance.format.sealing import hkdf
from tests.conformance.format.stores import ENCRYPTED, make_store
from tests.support.manifests import Item, build

TEXT = page.PAGE.read_text(encoding="utf-8")
IN_A_SENTENCE = {"store.pack._COUNT", "store.care.digestsets._DIGEST"}
# Modules of files that never lie in a store.
LOCAL = {"store.pull.content", "store.pull.placed", "store.push.source", "store.push.unchanged", "store.veiled_file"}
CONTENT = head.Content("a" * 64, "b" * 64, 1, 1)


def _modules() -> list[Any]:
    names = [info.name for info in pkgutil.walk_packages(store.__path__, "store.")]
    return [importlib.import_module(name) for name in names]


def _constant(name: str) -> Any:
    module, _, constant = name.rpartition(".")
    return getattr(importlib.import_module(module), constant)


def _structs() -> dict[str, struct.Struct]:
    """Return every `struct` that a module of the store defines, by its full name."""
    found = {}
    for module in _modules():
        source = Path(module.__file__).read_text(encoding="utf-8")
        for name, value in vars(module).items():
            own = re.search(rf"^{name}\b.* = struct\.Struct\(", source, re.MULTILINE)
            if isinstance(value, struct.Struct) and own and module.__name__ not in LOCAL:
                found[f"{module.__name__}.{name}"] = value
    return found


def test_every_structure_has_a_table_with_its_very_fields() -> None:
    in_code = {name: value.format for name, value in _structs().items() if name not in IN_A_SENTENCE}
    assert {name: layout.format for name, layout in page.layouts(TEXT).items()} == in_code


def test_every_magic_is_named_and_no_other() -> None:
    named = {
        row[0].strip("`").encode()
        for table in page.tables(TEXT)
        if table.columns == ("magic", "object")
        for row in table.rows
    }
    assert named == {frame.PACK_MAGIC, frame.MANIFEST_MAGIC, frame.INDEX_MAGIC, layout.CONTENT_MAGIC}
    for magic in named:
        assert TEXT.count(f"agic `{magic.decode()}`") == 1, "each object's own section repeats its magic"


def test_every_section_of_a_manifest_is_listed_as_the_code_has_it() -> None:
    [table] = [table for table in page.tables(TEXT) if table.columns[:2] == ("number", "section")]
    assert {(int(row[0]), row[1], int(row[2]), row[3]) for row in table.rows} == {
        (kind.value, kind.name, layout.WIDTH[kind], layout.CODING.get(kind, codec.Coding.PLAIN).name)
        for kind in layout.Section
    }
    assert [row[1] for row in table.rows[:4]] == [kind.name for kind in layout.CONTENT]


def test_every_coding_is_listed() -> None:
    [table] = [table for table in page.tables(TEXT) if table.columns[:2] == ("number", "coding")]
    assert [(int(row[0]), row[1]) for row in table.rows] == [(coding.value, coding.name) for coding in codec.Coding]


def test_the_worked_example_of_a_transposition_is_true() -> None:
    lines = dict(
        line.split(maxsplit=1) for line in TEXT.splitlines() if line.startswith(("    rows", "    transposed"))
    )
    rows, transposed = (bytes.fromhex(lines[name].replace("|", "")) for name in ("rows", "transposed"))
    assert codec.transpose(rows, 4) == transposed


def test_kinds_and_flags_of_records_are_listed() -> None:
    assert f"kind: {', '.join(f'{kind.value} {kind.name.lower()}' for kind in Kind)} |" in TEXT
    assert (layout.EXECUTABLE, layout.REQUIRED) == (1, 1), "bit 0, as the page says"


def test_every_limit_has_the_value_of_the_code() -> None:
    [table] = [table for table in page.tables(TEXT) if table.columns[0] == "limit"]
    in_page = {row[0].strip("`"): int(row[1]) for row in table.rows}
    assert in_page == {name: _constant(name) for name in in_page}
    bounds = {
        f"{module.__name__}.{name}"
        for module in (root, head, index, pack, layout, gc_state, lease, envelope)
        for name in vars(module)
        if name.startswith("MAX_") or name.endswith("_LIMIT")
    }
    assert bounds <= in_page.keys()


def _named(heading: str) -> list[set[str]]:
    found = [names for where, names in page.fields(TEXT) if where == heading]
    assert found, f"no fields under {heading}"
    return found


def unsummed(data: bytes) -> dict[str, Any]:
    """Read a document without the field that all have, which is described once for all."""
    document: dict[str, Any] = json.loads(data)
    del document["sum"]
    return document


def test_every_field_of_the_stores_record_is_described(tmp_path: Path) -> None:
    objects = FolderStore(tmp_path / "store", create=True)
    root.create_store(objects)
    record = unsummed(objects.get("aetherfs.json"))
    settings = {field.name for field in dataclasses.fields(root.ChunkerSettings)}
    assert _named("aetherfs.json") == [set(record), set(root.FEATURES), settings, set(record["keys"])]
    assert record["features"].keys() == root.FEATURES.keys()


def test_every_field_of_an_encrypted_stores_record_is_described(tmp_path: Path) -> None:
    make_store(tmp_path / "store", ENCRYPTED)
    record = unsummed((tmp_path / "store/aetherfs.json").read_bytes())
    plain, *_ = _named("aetherfs.json")
    found = record["encryption"]
    assert plain == set(record)
    assert (record["features"]["read"], record["keys"], record["chunker"]["seed"]) == (["encryption"], {}, 0)
    by_kms = envelope.Envelope(envelope.Kek("aws-kms", "", "key", "blob"), "", "", ()).encoded()["kek"]
    assert _named("In aetherfs.json") == [set(found), set(by_kms), set(found["data"][0])]
    [row] = [row for table in page.tables(TEXT) for row in table.rows if row[0] == "`cipher`"]
    assert f"`{envelope.CIPHER}`" in row[2]
    [row] = [row for table in page.tables(TEXT) if table.heading == "In aetherfs.json"
             for row in table.rows if row[0] == "`kind`"]  # fmt: skip
    assert all(f"`{kind}`" in row[2] for kind in envelope.KINDS)


def test_every_kind_of_sealed_object_is_listed() -> None:
    [table] = [table for table in page.tables(TEXT) if table.columns == ("first part", "kind")]
    listed = {first.strip("`"): kind.strip("`") for first, kind in table.rows}
    first_parts = {row[0].strip("`").partition("/")[0] for row in _objects()}
    assert listed == {first: names.kind_of(f"{first}/x") for first in listed}
    assert first_parts - listed.keys() == {"aetherfs.json", "probe"}, "these lie as they are"
    assert names.kind_of("other/x") == "other"


def _objects() -> list[tuple[str, ...]]:
    [table] = [table for table in page.tables(TEXT) if table.heading == "Objects"]
    return [(part,) for row in table.rows for part in row[0].split(" and ")]


def test_every_key_is_derived_as_its_row_says() -> None:
    [table] = [table for table in page.tables(TEXT) if table.columns[:3] == ("key", "secret", "info")]
    ring = KeyRing(data={b"d" * 16: Secret(b"d" * 32)}, id_secret=Secret(b"i" * 32), handle=Secret(b"h" * 32))
    for name, secret, info, size, _ in table.rows:
        purpose = name.strip("*")
        if secret == "id secret":
            assert info.strip("`") == f"aetherfs/1/{purpose}"
            assert ring.derived(purpose, int(size)) == hkdf(b"i" * 32, info.strip("`"), int(size))
    used = {name.strip("*") for name, secret, *_ in table.rows if secret == "id secret"}
    source = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in _modules())
    in_code = set(re.findall(r'\.derived\("(\w+)"', source))
    assert in_code - used <= {"local"}, "keys of local files are no part of the format"
    assert used <= in_code


def test_the_chunkers_defaults_are_those_of_the_code() -> None:
    tables = [table for table in page.tables(TEXT) if table.heading == "aetherfs.json" and "avg" in str(table.rows)]
    defaults = {row[0].strip("`"): row[2].partition("]")[0].strip("[`") for row in tables[0].rows}
    assert defaults == {name: str(value) for name, value in dataclasses.asdict(root.ChunkerSettings()).items()}


def test_every_field_of_a_head_is_described() -> None:
    entry = head.HistoryEntry(1, 1, "rollback", "a" * 24, ("latest",), CONTENT, 1, "message", "by")
    tag = head.TagState("latest", 1, TagKind.CHANNEL, CONTENT, 1)
    full = head.Head(
        "name", 1, ((1, "a" * 24),), 1, 1, False, 2, 2, 3,
        tags={"latest": tag, "1.0.0": head.Removed("1.0.0", "a" * 64)}, history=(entry,),
        older=(head.HistoryRef(1, 0, 1, 1, 1, 1, "c" * 64),), tagged=(head.TagsRef(2, 1, "d" * 64),),
    )  # fmt: skip
    document = unsummed(head.encode_head(full))
    state = set(document["history"][0]["state"])
    assert _named("Dataset heads") == [set(document), set(document["next"]), set(document["history"][0]), state]
    [own] = _named("Tags")
    assert own | state == set(document["tags"]["latest"])
    _, older, tagged = _named("Segments")
    assert (older, tagged) == (set(document["older"][0]), set(document["tagged"][0]))


def test_every_field_of_a_segment_is_described() -> None:
    objects = MemoryStore()
    root.create_store(objects)
    catalogue = Catalogue(objects, root.open_store(objects), archive=Archive(objects, spill_from=1000, keep=100))
    for number in range(70):
        catalogue.set_tags("d", [f"1.0.{number}"], CONTENT)
    catalogue.untag("d", "1.0.1")
    seen: set[str] = set()
    for info in objects.list("history/"):
        seen |= set(unsummed(objects.get(info.key)))
    assert _named("Segments")[0] == seen


def test_every_field_that_deletion_needs_is_described() -> None:
    objects = MemoryStore()
    heartbeat = lease.Lease(objects, "d")
    heartbeat.begin()
    beat = unsummed(objects.get(heartbeat.key))
    heartbeat.end()
    assert _named("Heartbeats") == [set(beat)]
    batch = gc_state.Batch(1, gc_state.MARKED, 1, frozenset({"a" * 32}), frozenset({"b" * 64}))
    document = unsummed(gc_state.encode_gc_state(gc_state.GcState(batches=(batch,)), "a" * 24))
    assert _named("What is being deleted") == [set(document), set(document["batches"][0])]
    [row] = [row for table in page.tables(TEXT) for row in table.rows if row[0] == "`phase`"]
    assert all(f"`{phase}`" in row[2] for phase in (gc_state.MARKED, gc_state.DELETING, gc_state.GONE))


def test_every_field_of_the_policy_is_described() -> None:
    objects = MemoryStore()
    write_policy(objects, "", by="ada")
    assert _named("Policy") == [set(unsummed(objects.get(POLICY_KEY)))]
    assert f"at most {LIMIT >> 20} MiB" in TEXT.partition("\n## Policy\n")[2].partition("\n## ")[0]


def test_every_field_of_tokens_is_described() -> None:
    objects = MemoryStore()
    tokens = Tokens(objects)
    text, _ = tokens.create("ci", parse_rules(["read:*"], kind=HTTP), owner=user("ada"))
    assert str(tokens.check(str(text))) == "token:ci"
    tokens.close()
    kept, name, counted, use = (unsummed(objects.get(key(what))) for key, what in (
        (token_key, text.id), (token_name_key, "ci"), (token_owner_key, "ada"), (token_use_key, text.id)))  # fmt: skip
    assert _named("Tokens") == [set(kept), set(kept["owner"]), set(name), set(counted), set(use)]
    assert f"nobody has more than {MOST_OF_ONE:,} good ones" in TEXT
    [row] = [row for table in page.tables(TEXT) for row in table.rows if row[0] == "`digest`" and "SHA-256" in row[2]]
    recipe = row[2].split("`")[1].replace("<token>", text.id).replace("<secret>", text.secret)
    assert kept["digest"] == hashlib.sha256(recipe.encode()).hexdigest()


@pytest.mark.parametrize("op", get_args(head.Op))
def test_every_operation_is_named(op: str) -> None:
    [row] = [row for table in page.tables(TEXT) for row in table.rows if row[0] == "`op`"]
    assert f"`{op}`" in row[2]


def test_the_page_has_every_section_that_the_code_refers_to() -> None:
    headings = {line.lstrip("# ") for line in TEXT.splitlines() if line.startswith("## ")}
    assert headings >= {
        "Objects", "JSON objects", "aetherfs.json", "Names", "Dataset heads", "Tags", "Segments", "Commit", "Frame",
        "Codings", "Packs", "Manifests", "Index", "Deletion", "Policy", "Tokens", "Sealing",
    }  # fmt: skip


def test_the_known_answers_are_true() -> None:
    answers = TEXT.partition("## Known answers")[2].partition("Of an encrypted store")[0]
    empty, chunks, _, dataset, prefix = re.findall(r"`([^`]+)`", answers)
    assert build(Item(b"", Kind.FOLDER, 0)).id.hex() == empty
    run = b"".join(hashlib.md5(struct.pack("<I", number)).digest() for number in range(50_000))
    lengths = [int(length) for length in chunks.split()]
    assert [length for _, length in Chunker(root.ChunkerSettings()).cut(run, first=True, final=True)] == lengths
    assert cut(run) == lengths
    assert name_prefix(dataset) == prefix
