"""A dataset's head: its bytes, and what is refused."""

import json
from typing import Any

import pytest

from store import jsondoc
from store.catalogue.head import HEAD_LIMIT, Head, Removed, TagState, advance, decode_head, encode_head, looks_deleted
from store.catalogue.refs import TagKind
from store.errors import ObjectCorrupt
from tests.unit.store.states import content

RAW_CONTENT = {"manifest": "a" * 64, "root": "b" * 64, "size": 1, "files": 1}


def grown(head: Head, step: int, tag: str = "latest") -> Head:
    record = TagState(tag, head.next_tag, TagKind.CHANNEL, content(step), 0)
    return advance(
        head,
        {tag: record},
        now_ns=1000 + step,
        op="push",
        operation=f"{step:024x}",
        tags=(tag,),
        content=content(step),
        message="é\ud800\x00",
        by="me",
    )


def test_head_reads_back_as_it_was_written() -> None:
    head = grown(grown(Head("geo"), 1), 2, "qa")
    head = advance(
        head, {"qa": Removed("qa", "")}, now_ns=0, op="untag", operation="x", tags=("qa",), content=None, origin=1
    )
    again = decode_head("geo", encode_head(head))
    assert encode_head(again) == encode_head(head)
    assert again.tags == head.tags
    assert [entry.changes for entry in again.history] == [entry.changes for entry in head.history]


def test_unknown_fields_survive_a_rewrite() -> None:
    raw = json.loads(encode_head(grown(Head("geo"), 1)))
    raw["later"] = {"x": 1}
    raw["tags"]["latest"]["later"] = 2
    raw["history"][0]["later"] = [3]
    again = json.loads(encode_head(decode_head("geo", jsondoc.encode(raw))))
    assert again.pop("sum") == json.loads(jsondoc.encode(raw))["sum"]
    assert again == {name: value for name, value in raw.items() if name != "sum"}


def test_time_grows_though_the_clock_goes_back() -> None:
    first = grown(Head("geo"), 100)
    second = advance(first, {}, now_ns=5, op="tag", operation="x", tags=("a",), content=content(1))
    assert [entry.time_ns for entry in second.history] == [1100, 1101]


def test_removed_tag_made_again_gets_a_new_number() -> None:
    head = grown(Head("geo"), 1)
    assert (head.next_tag, grown(head, 2).next_tag) == (2, 3)


@pytest.mark.parametrize("message", ["", "x", "xy"])
def test_size_alone_tells_a_deleted_head(message: str) -> None:
    live = advance(Head("geo"), {}, now_ns=1, op="tag", operation="a", tags=(), content=None, message=message)
    deleted = advance(live, {}, now_ns=2, op="delete", operation="b", tags=(), content=None, message=message)
    assert not looks_deleted(len(encode_head(live)))
    assert looks_deleted(len(encode_head(deleted)))
    assert decode_head("geo", encode_head(deleted)).deleted


def test_a_head_that_was_cut_short_is_not_taken_for_a_deleted_one() -> None:
    data = encode_head(advance(Head("geo"), {}, now_ns=1, op="tag", operation="a", tags=(), content=None))
    ends = [0, 1, len(data) // 2, len(data) - 1, len(data) + 1, *range(0, 1 << 16, 512)]
    assert not any(looks_deleted(size) for size in ends)
    assert sum(looks_deleted(size) for size in range(1 << 16)) == 256


@pytest.mark.parametrize("data", [b"", b"null", b"{}", b"[" * 9000, b"\xff", b" " * (HEAD_LIMIT + 1)])
def test_damaged_head_is_object_corrupt(data: bytes) -> None:
    with pytest.raises(ObjectCorrupt):
        decode_head("geo", data)


def test_head_of_another_dataset_is_object_corrupt() -> None:
    with pytest.raises(ObjectCorrupt, match="'geo'"):
        decode_head("city", encode_head(grown(Head("geo"), 1)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("seq",), "1"),
        (("tags", "latest", "kind"), "branch"),
        (("tags", "latest", "n"), 2**32),
        (("tags", "latest", "manifest"), "A" * 64),
        (("tags", "latest", "manifest"), "a" * 62),
        (("tags", "latest"), []),
        (("history", 0, "op"), "no word"),
        (("history", 0, "tags"), [1]),
        (("history", 0, "tags"), ["../x"]),
        (("tags", "../x"), {"n": 1, "kind": "channel", "moved": 1, **RAW_CONTENT}),
        (("tags", "b3-0123456789ab"), {"n": 1, "kind": "channel", "moved": 1, **RAW_CONTENT}),
        (("removed",), {"a/b": ""}),
        (("history", 0, "state"), "x"),
        (("history",), {}),
        (("older",), [{"n": 1}]),
        (("tagged",), [7]),
        (("removed",), {"v": 1}),
    ],
)
def test_damaged_field_is_object_corrupt_and_named(path: tuple[Any, ...], value: Any) -> None:
    raw = json.loads(encode_head(grown(Head("geo"), 1)))
    at = raw
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    with pytest.raises(ObjectCorrupt) as caught:
        decode_head("geo", jsondoc.encode(raw))
    assert "document" in caught.value.why
