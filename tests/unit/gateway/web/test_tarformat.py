"""Headers of tar members, read back by the standard library."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.tarformat import BLOCK, END, header, padding
from store.vfs.tree import Kind

names = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and b"/" not in name)
times = st.integers(-(2**63), 2**63 - 1)


def read_back(head: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(head + END)) as opened:
        (member,) = opened.getmembers()
    return member


@given(names, names, times)
def test_any_name_and_target_are_read_back(name: bytes, target: bytes, mtime_ns: int) -> None:
    head = header(name, Kind.LINK, size=0, mtime_ns=mtime_ns, executable=False, target=target)
    assert len(head) % BLOCK == 0
    member = read_back(head)
    assert member.name.encode("utf-8", "surrogateescape") == name
    assert member.linkname.encode("utf-8", "surrogateescape") == target
    assert member.mtime == pytest.approx(mtime_ns / 1e9)


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 1 << 62])
def test_any_size_is_read_back(size: int) -> None:
    head = header(b"f", Kind.FILE, size=size, mtime_ns=0, executable=True)
    with tarfile.open(fileobj=io.BytesIO(head + END)) as opened:
        member = opened.next()
    assert member is not None
    assert (member.size, member.mode) == (size, 0o755)


@pytest.mark.parametrize(
    ("ns", "told"),
    [
        (0, None),
        (1_700_000_000_000_000_000, None),
        (1, "0.000000001"),
        (1_500_000_000, "1.5"),
        (-1_000_000_000, "-1"),
        (-500_000_000, "-0.5"),
        (8**11 * 10**9, str(8**11)),
    ],
)
def test_times_are_exact(ns: int, told: str | None) -> None:
    assert read_back(header(b"f", Kind.FILE, size=0, mtime_ns=ns, executable=False)).pax_headers.get("mtime") == told


def test_a_plain_member_takes_one_block() -> None:
    assert len(header(b"f" * 100, Kind.FILE, size=8**11 - 1, mtime_ns=10**9, executable=False)) == BLOCK
    assert len(header(b"f" * 101, Kind.FILE, size=0, mtime_ns=10**9, executable=False)) == 3 * BLOCK
    assert [len(padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]
