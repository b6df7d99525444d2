"""GNOME's gvfs with a login: it asks for user and password when it is told 401, and mounts with them."""

import shutil
from pathlib import Path

import pytest

from tests.interop.dav.clients import run
from tests.interop.guarded.gateway import ADA, Guarded

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        shutil.which("gio") is None
        or shutil.which("dbus-run-session") is None
        or not Path("/usr/lib/gvfs/gvfsd-dav").exists(),
        reason="needs gvfs: apt-get install gvfs gvfs-backends libglib2.0-bin dbus",
    ),
]


def session(home: Path, *lines: str, typed: str) -> str:
    """Run commands of gio in one session of a desktop; `typed` is what its mount is answered. Return what is said."""
    (home / "typed").write_text(typed)
    (home / "typed").chmod(0o600)
    (home / "session").write_text("\n".join(f"{line} 2>&1" for line in lines))
    done = run(home, "dbus-run-session", "--", "sh", "session")
    return done.stdout.decode("utf-8", "replace")


@pytest.mark.parametrize("way", ["password", "token as password"])
def test_gvfs_mounts_with_what_is_typed(guarded: Guarded, tmp_path: Path, way: str) -> None:
    user, password = ("ada", ADA) if way == "password" else ("anything", guarded.tokens["ci"])
    mount = f"dav://{user}@{guarded.netloc}/webdav/maps/1.0.0"
    said = session(
        tmp_path,
        f"gio mount {mount} < typed; echo mounted $?",
        f"gio list {mount}",
        f"gio cat {mount}/sub/deep/leaf; echo",
        f"gio mount -u {mount}; echo left $?",
        typed=f"{password}\n",
    )
    assert "mounted 0" in said
    assert {"a.txt", "numbers", "sub", "leaf"} <= set(said.split())
    assert "left 0" in said


def test_gvfs_is_refused_with_a_login_that_is_not_good(guarded: Guarded, tmp_path: Path) -> None:
    token = guarded.tokens["ci"][:-1]
    mount = f"dav://anything@{guarded.netloc}/webdav/maps/1.0.0"
    said = session(tmp_path, f"gio mount {mount} < typed; echo mounted $?", f"gio list {mount}", typed=f"{token}\n")
    assert "mounted 0" not in said
    assert "numbers" not in said
