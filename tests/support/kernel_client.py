"""The Linux kernel's own NFS client in a small virtual machine, for tests: runs a script there.

A script finds `$HOST` and `$PORT` of the server, `mount_at PATH DIR [,OPTIONS]` and, where `probe` was put in, the
program of tests/tools/nfs-probe.c as `$PROBE`.
"""

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

TOOLS = Path(__file__).parent.parent / "tools"
KERNEL_CLIENT = TOOLS / "kernel-client"
LIMIT_S = 280

_missing = not (shutil.which("qemu-system-x86_64") and shutil.which("busybox") and Path("/sbin/mount.nfs").exists())
MARKS = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.timeout(LIMIT_S + 120),
    pytest.mark.skipif(
        sys.platform != "linux" or _missing,
        reason="needs apt-get install qemu-system-x86 busybox-static nfs-common kmod cpio",
    ),
]
_HEAD = """#!/bin/sh
set -eux
PORT=$1 PROBE=$2
mount_at() { mkdir -p "$2"; mount -t nfs -o "vers=3,tcp,nolock,port=$PORT,mountport=$PORT${3:-}" "$HOST:$1" "$2"; }
"""


def probe(folder: Path) -> Path:
    """Build nfs-probe, statically, and return where it is."""
    program = folder / "nfs-probe"
    subprocess.run(["cc", "-O2", "-static", "-o", program, TOOLS / "nfs-probe.c"], check=True, timeout=120)
    return program


@contextlib.contextmanager
def guest(
    folder: Path,
    port: int,
    script: str,
    *,
    programs: Sequence[Path | str] = (),
    folders: Sequence[Path] = (),
    memory_mib: int = 1024,
    suite: str = "",
    limit_s: int = LIMIT_S,
) -> Iterator[subprocess.Popen[str]]:
    """Run a script in the guest; its output is the process's, undecodable bytes as surrogates.

    Args:
        folder: for the script.
        port: of the server, on loopback.
        script: after `set -eux`: lines that begin with + are its trace.
        programs: put into the guest; the first is `$PROBE`.
        folders: put there whole, at the same path.
        memory_mib: of the guest, which holds all of that.
        limit_s: how long it may take.
        suite: of Debian, whose kernel and programs it has; empty: this machine's kernel, and its mount.nfs.
    """
    file = folder / "script"
    file.write_text(_HEAD + script)
    adds = [word for program in programs for word in ("--add", program)]
    dirs = [word for one in folders for word in ("--add-dir", one)]
    options = ["--timeout", str(limit_s), "--mem", str(memory_mib), *adds, *dirs]
    if suite:
        options += ["--suite", suite]
    with subprocess.Popen(
        [KERNEL_CLIENT, *options, file, str(port), str(programs[0]) if programs else "none"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def told(process: subprocess.Popen[str]) -> dict[str, str]:
    """Return what a script printed as `NAME: VALUE` lines, once it has ended well."""
    output, errors = process.communicate(timeout=LIMIT_S + 60)
    assert process.returncode == 0, output[-3000:] + errors[-3000:]
    return dict(line.partition(": ")[::2] for line in output.splitlines() if ": " in line and line[0] != "+")


def heard(process: subprocess.Popen[str], line: str) -> list[str]:
    """Return what a script prints until it prints a line; that one too."""
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or lines[-1] != line:
        read = process.stdout.readline()
        assert read, lines
        lines.append(read.rstrip("\n"))
    return lines
