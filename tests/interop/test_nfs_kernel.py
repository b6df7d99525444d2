"""The Linux kernel's own NFS client mounts the server, from inside a small virtual machine."""

import shutil
import socket
import subprocess
import threading
from hashlib import md5
from pathlib import Path

import pytest

from nfs.server import NfsServer
from tests.conformance.tree_cases import BIG, HARD_NAMES, SAMPLE
from tests.support.nfs_client import KEY, serving
from tests.support.trees import Contents, MemoryTree

KERNEL_CLIENT = Path(__file__).parent.parent / "tools" / "kernel-client"
LIMIT_S = 240

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.timeout(LIMIT_S + 60),
    pytest.mark.skipif(
        not (shutil.which("qemu-system-x86_64") and shutil.which("busybox") and Path("/sbin/mount.nfs").exists()),
        reason="needs apt-get install qemu-system-x86 busybox-static nfs-common kmod cpio",
    ),
]

MOUNT = """set -eu
mount_at() { mkdir -p "$2"; mount -t nfs -o vers=3,tcp,nolock,port=$PORT,mountport=$PORT$3 "$HOST:$1" "$2"; }
PORT=$1
"""


def in_guest(tmp_path: Path, tree: MemoryTree, script: str, *options: str) -> str:
    """Run a script in the guest, with `$PORT` and the function `mount_at PATH DIR [,OPTIONS]`; return its output."""
    file = tmp_path / "script"
    file.write_text("#!/bin/sh\n" + MOUNT + script)
    with serving(tree) as (_, port):
        done = subprocess.run(
            [KERNEL_CLIENT, "--timeout", str(LIMIT_S), *options, file, str(port)],
            capture_output=True,
            timeout=LIMIT_S + 30,
        )
    output = done.stdout.decode("utf-8", "surrogateescape")
    assert done.returncode == 0, output + done.stderr.decode()
    return output


@pytest.fixture
def tree() -> MemoryTree:
    tree = MemoryTree()
    for tag in ("1.0.0", "1.0.1", "latest"):
        tree.publish("maps", tag, SAMPLE)
    tree.publish("@geo/many", "1.0.0", {f"file-{i:05}".encode(): b"x" for i in range(3000)})
    return tree


def test_mounted_root_lists_reads_and_counts_as_published(tmp_path: Path, tree: MemoryTree) -> None:
    output = in_guest(
        tmp_path,
        tree,
        """
        mount_at / /mnt ""
        ls -la /mnt/maps /mnt/maps/1.0.0 > /dev/null
        ls -laR /mnt > /dev/null
        echo "hello $(cat /mnt/maps/1.0.0/a.txt)"
        echo "link $(cat /mnt/maps/1.0.0/link)"
        echo "big $(md5sum < /mnt/maps/1.0.0/big.bin)"
        echo "mode $(stat -c '%a %s %Y' /mnt/maps/1.0.0/run.sh)"
        echo "many $(ls /mnt/@geo/many/1.0.0 | sort -u | wc -l) $(ls -a /mnt/@geo/many/1.0.0 | wc -l)"
        echo "names $(find /mnt/maps/1.0.0/names -type f -print0 | tr -cd '\\0' | wc -c)"
        df -P /mnt > /dev/null
        for dir in names sub; do tar -C /mnt/maps/latest -cf - $dir | tar -tf - > /dev/null; done
        ! touch /mnt/maps/new 2> /dev/null && echo refused
        umount /mnt; echo gone
        """,
    )
    lines = output.splitlines()
    assert "hello hello" in lines
    assert "link hello" in lines
    assert f"big {_md5(BIG)}  -" in lines
    assert "mode 555 10 1234567890" in lines
    assert "many 3000 3002" in lines
    assert f"names {len(HARD_NAMES)}" in lines
    assert lines[-2:] == ["refused", "gone"]


def test_gnu_find_and_du_see_no_loops_and_no_false_hard_links(tmp_path: Path, tree: MemoryTree) -> None:
    output = in_guest(
        tmp_path,
        tree,
        """
        mount_at / /mnt ""
        echo "found $(/usr/bin/find /mnt/maps -name leaf | wc -l)"
        /usr/bin/find /mnt -ls > /dev/null
        echo "all $(/usr/bin/find /mnt/maps -printf x | wc -c)"
        echo "twice $(/usr/bin/du -ab --apparent-size /mnt/maps | grep -c big.bin)"
        """,
        "--add",
        "/usr/bin/find",
        "--add",
        "/usr/bin/du",
    )
    contents = _count(SAMPLE)
    assert output.splitlines() == ["found 3", f"all {3 * (contents + 1) + 1}", "twice 3"]


def test_a_mounted_channel_follows_and_a_version_is_a_mount_of_its_own(tmp_path: Path, tree: MemoryTree) -> None:
    output = in_guest(
        tmp_path,
        tree,
        """
        mount_at /maps/latest /a ",actimeo=0"
        mount_at /maps/1.0.0/sub /b ""
        mount_at /@geo/many /c ""
        cat /a/a.txt; cat /b/deep/leaf; echo; ls /c
        """,
    )
    assert output.splitlines() == ["hello", "leaf", "1.0.0"]


def test_reading_goes_on_over_a_restart_and_a_channel_moves_under_its_mount(tmp_path: Path, tree: MemoryTree) -> None:
    script = tmp_path / "script"
    script.write_text(
        "#!/bin/sh\n"
        + MOUNT
        + """
        mount_at / /mnt ",actimeo=1"; mount_at /maps/latest /a ",actimeo=1"
        cd /mnt/maps/latest
        exec 3< big.bin; head -c 1000 <&3 | md5sum
        ls /a | wc -l
        echo first
        until [ -e /mnt/maps/9.9.9 ]; do sleep 1; done
        cat /mnt/maps/1.0.0/big.bin | md5sum
        cat <&3 | wc -c
        until [ -e /a/moved ]; do sleep 1; done
        cat /a/moved; ls /a
        cat a.txt; ls | wc -l
        cat /mnt/maps/latest/moved
        """
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first = NfsServer(listener, tree, handle_key=KEY)
        serve = threading.Thread(target=first.serve_forever)
        serve.start()
        guest = subprocess.Popen(
            [KERNEL_CLIENT, "--timeout", str(LIMIT_S), script, str(listener.getsockname()[1])],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert guest.stdout is not None
        lines: list[str] = []
        for line in guest.stdout:
            lines.append(line.rstrip())
            if line == "first\n":
                break
        first.drain(0.001)
        serve.join()
        tree.publish("maps", "9.9.9", {})
        tree.publish("maps", "latest", {b"moved": b"moved\n"})
        second = NfsServer(listener, tree, handle_key=KEY)
        serve = threading.Thread(target=second.serve_forever)
        serve.start()
        lines += [line.rstrip() for line in guest.stdout]
        guest.stdout.close()
        status = guest.wait(LIMIT_S)
        second.drain(5)
        serve.join()
    assert (status, lines) == (
        0,
        [
            f"{_md5(BIG[:1000])}  -",
            str(len(SAMPLE)),
            "first",
            f"{_md5(BIG)}  -",
            str(len(BIG) - 1000),
            "moved",
            "moved",
            "hello",
            str(len(SAMPLE)),
            "moved",
        ],
    )


def _md5(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()


def _count(contents: Contents) -> int:
    return sum(1 + (_count(value) if isinstance(value, dict) else 0) for value in contents.values())
