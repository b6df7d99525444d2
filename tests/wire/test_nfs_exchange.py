"""A recorded mount of the Linux kernel's client (nfs_exchange.txt): the same calls get the same answers, to the byte.

A change that means to answer otherwise records it anew, by tests/tools/record-nfs-exchange.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nfs.dispatch import Runnable, parse, run_blocking
from nfs.export import Export
from nfs.view import BlockingView
from nfs.wire.rpc import accept_stat, accepted, decode_call, refused
from tests.support.nfs_client import KEY
from tests.support.trees import Contents, File, Link, MemoryTree
from tests.support.views import shown_to_all

FILE = Path(__file__).parent / "nfs_exchange.txt"


def exchanged_tree() -> MemoryTree:
    """Return what was mounted when the exchange was recorded."""
    tree = MemoryTree()
    contents: Contents = {
        b"text": b"hello\n",
        b"run": File(b"#!/bin/sh\n", executable=True),
        b"link": Link(b"text"),
        b"sub": {b"large": b"0123456789abcdef" * 1000, b"empty": {}, b"not-utf8-\xff": b"?"},
    }
    tree.publish("maps", "1.0.0", contents)
    tree.publish("maps", "latest", contents)
    return tree


def said(sign: str) -> Iterator[bytes]:
    for line in FILE.read_text().splitlines():
        if line.startswith(sign):
            yield bytes.fromhex(line[2:])


@pytest.fixture(scope="module")
def export() -> Export:
    return Export(exchanged_tree(), handle_key=KEY)


def answered(export: Export, call: bytes) -> bytes:
    """Return the record that answers a call."""
    runnable = parse(call)
    if not isinstance(runnable, Runnable):
        return runnable[4:]
    results = run_blocking(call, runnable, BlockingView(shown_to_all(export), b"127.0.0.1"))
    if isinstance(results, accept_stat):
        return refused(runnable.call.xid, results)[4:]
    return b"".join(accepted(runnable.call.xid, results))[4:]


def test_every_recorded_call_is_answered_as_it_was(export: Export) -> None:
    replies = {reply[:4]: reply for reply in said("<")}
    calls = list(said(">"))
    assert len(calls) == len(replies) > 40
    for call in calls:
        assert answered(export, call) == replies[call[:4]], decode_call(call)


def test_the_recorded_client_asked_for_what_mounts_are_made_of() -> None:
    asked = {(decode_call(call).prog, decode_call(call).proc) for call in said(">")}
    mount = {(100005, proc) for proc in (0, 1)}
    nfs = {(100003, proc) for proc in (0, 1, 3, 4, 5, 6, 16, 17, 18, 19, 20)}
    assert mount | nfs <= asked
