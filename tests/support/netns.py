"""A network of its own, for tests that need port 111: a namespace with loopback alone, and a `/run` of its own.

What a machine's own rpcbind holds, or listens on below `/run`, is not seen in there. Needs root on Linux.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

_READY = "ready"
_HOLD = f"busybox ifconfig lo up && mount -t tmpfs run /run && mkdir /run/rpcbind && echo {_READY} && exec cat"
PATH = f"{os.environ.get('PATH', '')}{os.pathsep}/sbin{os.pathsep}/usr/sbin"
NEEDED = ("unshare", "nsenter", "busybox")

needs_namespace = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not all(map(shutil.which, NEEDED)),
    reason="needs root on Linux, and apt-get install busybox-static util-linux",
)


class Namespace:
    """One namespace, which lives as long as a process of its own does."""

    def __init__(self, holder: int) -> None:
        self._holder = holder

    def inside(self, program: Sequence[str | Path]) -> list[str]:
        """Return a command that runs a program in here; its process is the program's own."""
        return ["nsenter", f"--target={self._holder}", "--net", "--mount", f"--wd={os.getcwd()}", *map(str, program)]

    def run(self, *program: str | Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            self.inside(program), capture_output=True, text=True, timeout=timeout_s, env=os.environ | {"PATH": PATH}
        )


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    """Make one, and end it."""
    with subprocess.Popen(
        ["unshare", "--net", "--mount", "sh", "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == _READY
        try:
            yield Namespace(holder.pid)
        finally:
            holder.kill()
