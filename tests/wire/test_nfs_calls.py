"""Calls that real clients sent (nfs_calls.txt) decode, and encode back to the same bytes."""

from pathlib import Path
from typing import NamedTuple

import pytest

from nfs.dispatch import Runnable, parse
from nfs.wire.rpc import accept_stat, decode_call, encode_call, refused
from nfs.wire.xdr import decode_whole, encode_whole


class Captured(NamedTuple):
    """One line of the file."""

    client: str
    program: int
    procedure: str
    record: bytes


def captured() -> list[Captured]:
    calls: list[Captured] = []
    client = ""
    for line in (Path(__file__).parent / "nfs_calls.txt").read_text().splitlines():
        if line.startswith("#"):
            client = line[2:]
        else:
            program, procedure, record = line.split()
            calls.append(Captured(client, int(program), procedure, bytes.fromhex(record)))
    return calls


CALLS = captured()


@pytest.mark.parametrize("call", CALLS, ids=[f"{i}-{c.client.split()[0]}-{c.procedure}" for i, c in enumerate(CALLS)])
def test_a_captured_call_is_understood_and_written_as_its_client_wrote_it(call: Captured) -> None:
    runnable = parse(call.record)
    header = decode_call(call.record)
    if call.procedure == "refused":
        assert runnable == refused(header.xid, accept_stat.PROG_UNAVAIL)
        return
    assert isinstance(runnable, Runnable)
    assert (header.prog, runnable.procedure.name) == (call.program, call.procedure)
    args = encode_whole(
        runnable.procedure.args, decode_whole(runnable.procedure.args, call.record, runnable.call.args_at)
    )
    assert encode_call(header.xid, header.prog, header.vers, header.proc, args, header.authsys) == call.record


def test_linux_begins_a_mount_in_this_order() -> None:
    linux = [c.procedure for c in CALLS if c.client.startswith("Linux")]
    assert linux[:7] == ["NULL", "MNT", "NULL", "FSINFO", "PATHCONF", "refused", "FSINFO"]


def test_linux_was_captured_trying_every_kind_of_change_but_writing() -> None:
    tried = {c.procedure for c in CALLS if c.client.startswith("Linux")}
    assert tried >= {"SETATTR", "CREATE", "MKDIR", "SYMLINK", "MKNOD", "REMOVE", "RMDIR", "RENAME", "LINK"}
