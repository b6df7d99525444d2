"""Folders and files by gRPC: listed page by page, read in parts, and nothing outside of a state."""

import hashlib

import pytest
from grpc import StatusCode

from gateway.rpc.aetherfs.v1 import datasets_pb2 as pb
from gateway.rpc.limits import PIECE
from tests.unit.gateway.rpc.conftest import BIG, Serving


def place(path: str | bytes = "", tag: str = "1.0.0", dataset: str = "maps") -> pb.Place:
    if isinstance(path, bytes):
        return pb.Place(dataset=dataset, tag=tag, raw_path=path)
    return pb.Place(dataset=dataset, tag=tag, path=path)


def test_a_folder_is_told_with_what_its_entries_are(served: Serving) -> None:
    with served.client("ada") as client:
        page = client.ask("ListFolder", pb.ListFolderRequest(place=place()))
    found = {one.raw_name or one.name.encode(): one for one in page.entries}
    assert set(found) == {b"a.txt", b"empty", b"big", b"sub", b"link", b"out", b"not-\xff-text", b"many"}
    assert (found[b"big"].kind, found[b"big"].size) == (pb.Entry.FILE, len(BIG))
    assert (found[b"sub"].kind, found[b"sub"].size) == (pb.Entry.FOLDER, 0)
    assert (found[b"link"].kind, found[b"link"].target) == (pb.Entry.LINK, "sub/deep")
    odd = found[b"not-\xff-text"]
    assert odd.name == "not-\N{REPLACEMENT CHARACTER}-text"
    assert found[b"a.txt"].raw_name == b""
    assert not page.next_page_token


@pytest.mark.parametrize("size", [1, 100, 249, 250, 251])
def test_pages_of_a_folder_have_each_entry_once(served: Serving, size: int) -> None:
    with served.client("ada") as client:
        found: list[str] = []
        token, first = "", True
        while token or first:
            request = pb.ListFolderRequest(place=place("many"), page_size=size, page_token=token)
            page = client.ask("ListFolder", request)
            assert 0 < len(page.entries) <= size
            found += [one.name for one in page.entries]
            token, first = page.next_page_token, False
            if size == 1 and len(found) == 5:  # the rest goes the same way
                break
    assert found == [f"{number:04}" for number in range(5 if size == 1 else 250)]


def test_a_later_page_is_of_the_state_that_the_first_one_was_of(served: Serving) -> None:
    served.stage.publish("@geo/moving", "latest", {b"a": b"1", b"b": b"1", b"c": b"1"})
    with served.client("ada") as client:
        where = place(tag="latest", dataset="@geo/moving")
        first = client.ask("ListFolder", pb.ListFolderRequest(place=where, page_size=1))
        served.stage.publish("@geo/moving", "latest", {b"x": b"2", b"y": b"2", b"z": b"2"})
        rest = client.ask("ListFolder", pb.ListFolderRequest(place=where, page_token=first.next_page_token))
        assert [one.name for one in (*first.entries, *rest.entries)] == ["a", "b", "c"]
        assert rest.manifest == first.manifest
        anew = client.ask("ListFolder", pb.ListFolderRequest(place=where))
        assert [one.name for one in anew.entries] == ["x", "y", "z"]


def test_a_file_is_sent_whole_in_pieces_behind_what_it_is(served: Serving) -> None:
    with served.client("ada") as client:
        messages = client.told("ReadFile", pb.ReadFileRequest(place=place("big")))
    head = messages[0].head
    assert (head.size, head.offset, head.length) == (len(BIG), 0, len(BIG))
    assert head.sha256 == hashlib.sha256(BIG).digest()
    assert head.manifest.startswith("b3-")
    assert not any(message.HasField("head") for message in messages[1:])
    assert [len(message.data) for message in messages] == [PIECE] * (len(BIG) // PIECE)
    assert b"".join(message.data for message in messages) == BIG


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1), (5, 0), (PIECE - 1, 2), (PIECE, PIECE), (len(BIG) - 3, 100), (len(BIG), 0), (1, 2 * PIECE + 7)],
)
def test_a_part_of_a_file_is_what_was_asked_for(served: Serving, offset: int, length: int) -> None:
    wanted = BIG[offset : offset + length] if length else BIG[offset:]
    with served.client("ada") as client:
        messages = client.told("ReadFile", pb.ReadFileRequest(place=place("big"), offset=offset, length=length))
    assert (messages[0].head.offset, messages[0].head.length) == (offset, len(wanted))
    assert b"".join(message.data for message in messages) == wanted


def test_files_are_found_by_what_their_state_says(served: Serving) -> None:
    with served.client("ada") as client:
        assert client.read("maps", "1.0.0", "empty") == b""
        assert client.read("maps", "1.0.0", "link/leaf") == b"leaf"
        assert client.read("maps", "1.0.0", "/sub/deep/leaf") == b"leaf"
        assert client.read("maps", "latest", "a.txt") == b"second"
        assert client.read("@geo/city", "1.0.0", "s") == b"@geo/city"
        (odd,) = client.told("ReadFile", pb.ReadFileRequest(place=place(b"not-\xff-text")))
        assert odd.data == b"odd name"
        state = client.ask("GetTag", pb.GetTagRequest(dataset="maps", tag="1.0.0")).manifest
        assert client.read("maps", state, "a.txt") == client.read("maps", state[:20], "a.txt") == b"hello\n"


@pytest.mark.parametrize(
    ("where", "code"),
    [
        (place("absent"), StatusCode.NOT_FOUND),
        (place("out"), StatusCode.NOT_FOUND),  # a link that leads out of the state
        (place("../latest/a.txt"), StatusCode.NOT_FOUND),
        (place("sub/../a.txt"), StatusCode.NOT_FOUND),
        (place("sub//deep/leaf"), StatusCode.NOT_FOUND),
        (place("a.txt/x"), StatusCode.NOT_FOUND),
        (place(b"a\0b"), StatusCode.NOT_FOUND),
        (place("a.txt", tag="9.9.9"), StatusCode.NOT_FOUND),
        (place("a.txt", tag=""), StatusCode.NOT_FOUND),
        (place("a.txt", tag=".."), StatusCode.NOT_FOUND),
        (place("a.txt", tag="1.0.0/sub"), StatusCode.NOT_FOUND),
        (place("city/1.0.0/s", dataset="@geo"), StatusCode.NOT_FOUND),
        (place("sub"), StatusCode.FAILED_PRECONDITION),
        (place(""), StatusCode.FAILED_PRECONDITION),
    ],
    ids=str,
)
def test_what_is_no_file_of_the_state_is_not_read(served: Serving, where: pb.Place, code: StatusCode) -> None:
    with served.client("ada") as client:
        assert client.refused("ReadFile", pb.ReadFileRequest(place=where)).code is code


def test_names_that_no_dataset_can_have_are_told_so_to_who_may_read_everything(served: Serving) -> None:
    with served.client("root") as client:
        for dataset in ("", "a b", "@geo", "@token/x", "maps/1.0.0", "../maps"):
            told = client.refused("ReadFile", pb.ReadFileRequest(place=place("a.txt", dataset=dataset)))
            assert told.code in (StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND), dataset


def test_parts_that_there_are_not_are_refused(served: Serving) -> None:
    with served.client("ada") as client:
        for offset, length, code in (
            (len(BIG) + 1, 0, StatusCode.OUT_OF_RANGE),
            (-1, 0, StatusCode.INVALID_ARGUMENT),
            (0, -1, StatusCode.INVALID_ARGUMENT),
        ):
            request = pb.ReadFileRequest(place=place("big"), offset=offset, length=length)
            assert client.refused("ReadFile", request).code is code


def test_a_file_is_no_folder(served: Serving) -> None:
    with served.client("ada") as client:
        for path in ("a.txt", "absent"):
            told = client.refused("ListFolder", pb.ListFolderRequest(place=place(path)))
            assert told.code is StatusCode.NOT_FOUND


def test_reads_are_noted_where_they_are_to_be(served: Serving) -> None:
    with served.client("ada") as client:
        client.read("maps", "1.0.0", "a.txt")
        served.audited()
        client.read("maps", "1.0.0", "a.txt", 1, 3)
        client.ask("ListFolder", pb.ListFolderRequest(place=place("sub")))
    one, other = served.audited()
    assert (one["event"], one["target"], one["surface"], one["offset"], one["size"]) == (
        "read", "maps:1.0.0/a.txt", "grpc", 1, 3,
    )  # fmt: skip
    assert (other["event"], other["target"], other["principal"]) == ("read", "maps:1.0.0/sub", "user:ada")
