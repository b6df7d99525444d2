"""Attack: a dataset whose names would write elsewhere when an archive of it is unpacked, as people do.

Each program is let loose in a folder of its own, beside which a file lies that must stay as it is.
"""

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.interop.dav.clients import run
from tests.interop.guarded.gateway import ADA, BOB, ODD, Guarded, basic

pytestmark = pytest.mark.interop

PROGRAMS = {
    "tar": ("tar", ["tar", "-xf"]),
    "bsdtar": ("tar", ["bsdtar", "-xf"]),
    "unzip": ("zip", ["unzip", "-q", "-o"]),
    "bsdtar of zip": ("zip", ["bsdtar", "-xf"]),
    "python": ("zip", []),
}


def lying_about(folder: Path) -> dict[str, bytes]:
    """Return path -> content of all below a folder, links by where they lead."""
    found = {}
    for above, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(above, name)
            kept = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            found[str(path.relative_to(folder)).encode("utf-8", "surrogateescape").decode("utf-8", "replace")] = kept
    return found


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_archive_writes_below_its_folder_alone(guarded: Guarded, tmp_path: Path, program: str) -> None:
    form, command = PROGRAMS[program]
    if command and shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}: apt-get install libarchive-tools unzip tar")
    answer = guarded.ask("GET", f"/fs/odd/1.0.0/?archive={form}", basic("ada", ADA))
    assert answer.status == 200
    archive, out = tmp_path / f"odd.{form}", tmp_path / "a" / "b" / "out"
    archive.write_bytes(answer.body)
    out.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"):
        (folder / "canary").write_bytes(b"as it was")
    before = {name: data for name, data in lying_about(tmp_path).items() if not name.startswith("a/b/out")}
    passwd = Path("/etc/passwd").read_bytes()
    if command:
        run(out, *command, archive)
    else:
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(out)
    after = {name: data for name, data in lying_about(tmp_path).items() if not name.startswith("a/b/out")}
    assert after == before
    assert Path("/etc/passwd").read_bytes() == passwd
    assert not list(tmp_path.rglob("pwned"))
    plain = [name.decode() for name, data in ODD.items() if isinstance(data, bytes) and b"\n" not in name]
    for name in plain:
        if program == "python" or name != "C:":  # some programs take away what looks like a drive
            assert (out / name).read_bytes() == ODD[name.encode()]


def test_names_that_are_paths_elsewhere_are_in_no_archive(guarded: Guarded) -> None:
    """As files they are what they are; an archive of them would write elsewhere where `\\` separates."""
    assert guarded.ask("GET", "/fs/upward/1.0.0/..%5C..%5Cup.txt", basic("ada", ADA)).body == b"of Windows\n"
    for form in ("tar", "zip"):
        answer = guarded.ask("GET", f"/fs/upward/1.0.0/?archive={form}", basic("ada", ADA))
        assert answer.status >= 500
        assert b"of Windows" not in answer.body


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_an_archive_of_what_is_hidden_is_not_to_be_had(guarded: Guarded, form: str) -> None:
    for folder in ("secret/1.0.0/", "secret/", "secret/1.0.0/sub", "maps/1.0.0/../../secret/1.0.0/"):
        assert guarded.ask("GET", f"/fs/{folder}?archive={form}", basic("bob", BOB)).status == 404
        assert guarded.ask("GET", f"/fs/{folder}?archive={form}").status == 401
    for folder in ("", "maps/"):  # no archive of more than one state
        answer = guarded.ask("GET", f"/fs/{folder}?archive={form}", basic("bob", BOB))
        assert b"secret" not in answer.body
