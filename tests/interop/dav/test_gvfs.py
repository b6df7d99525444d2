"""GNOME's gvfs, as Files uses it: mounted, listed, read, copied, refused and unmounted in one session."""

import shutil
from pathlib import Path
from shlex import quote

import pytest

from tests.conformance.tree_cases import BIG, HARD_NAMES
from tests.interop.dav.clients import run
from tests.interop.dav.shown import GEO
from tests.support.relay import Relay

BACKEND = Path("/usr/lib/gvfs/gvfsd-dav")
pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        shutil.which("gio") is None or shutil.which("dbus-run-session") is None or not BACKEND.exists(),
        reason="needs gvfs: apt-get install gvfs gvfs-backends libglib2.0-bin dbus",
    ),
]


def gio(tmp_path: Path, relay: Relay, mount: str, *commands: str) -> list[tuple[int, bytes]]:
    """Run commands of gio in a session in which `mount` is mounted; return (exit code, output) of each.

    Args:
        tmp_path: a new folder.
        relay: in front of the gateway.
        mount: below `/webdav`, such as `/geo/1.0.0`.
        commands: without their `gio`; `@` stands for the mount's address.
    """
    base = relay.url.replace("http:", "dav:") + "/webdav"
    lines = [f"mount {base}{mount}", *commands, f"mount -u {base}{mount}"]
    script = tmp_path / "session"
    script.write_text(
        "\n".join(
            f"gio {line.replace('@', base + mount)} > {number}; echo $? > {number}.code"
            for number, line in enumerate(lines)
        )
    )
    done = run(tmp_path, "dbus-run-session", "--", "sh", script)
    assert done.returncode == 0, done.stderr
    (mounted, _), *answers, (left, _) = [
        (int((tmp_path / f"{number}.code").read_text()), (tmp_path / str(number)).read_bytes())
        for number in range(len(lines))
    ]
    assert (mounted, left) == (0, 0), done.stderr
    return answers


def test_gvfs_mounts_lists_and_reads_a_tag(relay: Relay, tmp_path: Path) -> None:
    listed, odd, read, page, copied, deep, looked = gio(
        tmp_path,
        relay,
        "/geo/1.0.0",
        "list -a standard::name,standard::size,standard::type,time::modified @/",
        "list -h @/names",
        "cat @/a.txt",
        "cat @/page.html",
        f"copy @/big.bin {quote(str(tmp_path / 'big.bin'))}",
        "tree @/sub",
        "info -a etag::value,standard::content-type @/a.txt",
    )
    rows = {line.split(b"\t")[0]: line.split(b"\t")[1:] for line in listed[1].splitlines()}
    assert set(rows) == set(GEO)
    assert rows[b"a.txt"][:2] == [b"6", b"(regular)"]
    assert b"time::modified=1700000000" in rows[b"a.txt"][2]
    assert rows[b"sub"][1] == b"(directory)"
    assert rows[b"link"][:2] == [b"6", b"(regular)"]
    assert odd == (0, b"".join(name + b"\n" for name in sorted(HARD_NAMES)))
    assert read == (0, b"hello\n")
    assert page == (0, b"<p>hello</p>\n")
    assert copied[0] == 0
    assert (tmp_path / "big.bin").read_bytes() == BIG
    assert deep[0] == 0
    assert b"leaf" in deep[1]
    assert b"empty" in deep[1]
    assert b'etag::value: "5891b5b5' in looked[1]
    assert b"standard::content-type: text/plain" in looked[1]
    # A redirect shows as an error in gvfs, and it asks for folders without their slash.
    assert {exchange.status for exchange in relay.exchanges} == {200, 207}


def test_gvfs_reads_every_name(relay: Relay, tmp_path: Path) -> None:
    names = [name for name in HARD_NAMES if name.isascii() and b"\n" not in name]
    wanted = [f"cat {quote('@/names/' + escaped(name))}" for name in names]
    answers = gio(tmp_path, relay, "/geo/1.0.0", *wanted)
    assert answers == [(0, name) for name in names]


def test_gvfs_mounts_the_top_and_walks_down_to_a_scope(relay: Relay, tmp_path: Path) -> None:
    top, tags, read = gio(tmp_path, relay, "", "list @/", "list @/geo", "cat @/%40scope/roads/latest/a.txt")
    assert sorted(top[1].split()) == [b"@scope", b"geo", b"litmus", b"maps"]
    assert sorted(tags[1].split()) == [b"1.0.0", b"1.1.0"]
    assert read == (0, b"hello\n")


def test_gvfs_is_refused_when_it_writes(relay: Relay, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"new")
    answers = gio(
        tmp_path,
        relay,
        "/geo/1.0.0",
        f"copy {quote(str(tmp_path / 'new'))} @/new",
        "mkdir @/folder",
        "remove @/a.txt",
        "rename @/a.txt b.txt",
        "cat @/a.txt",
    )
    assert [code for code, _ in answers] == [1, 1, 1, 1, 0]
    assert {x.status for x in relay.exchanges if x.method in ("PUT", "MKCOL", "DELETE", "MOVE")} == {403}
    assert set(relay.asked("PUT", "MKCOL", "DELETE", "MOVE")) == {
        "/webdav/geo/1.0.0/new",
        "/webdav/geo/1.0.0/folder/",
        "/webdav/geo/1.0.0/a.txt",
    }


def escaped(name: bytes) -> str:
    """Spell a name as an address has it."""
    return "".join(chr(byte) if chr(byte).isalnum() else f"%{byte:02X}" for byte in name)
