"""The kernel's NFS client goes on reading while the gateway is killed and started again under its mount."""

import shutil
import subprocess
from hashlib import md5
from pathlib import Path

import pytest

from tests.interop.serve.gateways import Place, write_sample

KERNEL_CLIENT = Path(__file__).parents[2] / "tools" / "kernel-client"
LIMIT_S = 240

# The guest reads past its cache all the time, says when it has begun, and ends when a version appears that is only
# published after the restart. `hard` mounts, the default, wait for a server that is away.
SCRIPT = """#!/bin/sh
set -eu
mkdir -p /mnt
mount -t nfs -o vers=3,tcp,nolock,port=$1,mountport=$1 "$HOST:/" /mnt
exec 3< /mnt/maps/1.0.0/big
echo begun
until [ -e /mnt/maps/2.0.0/big ]; do
    echo 3 > /proc/sys/vm/drop_caches
    md5sum /mnt/maps/1.0.0/big | cut -d' ' -f1 > sum
    [ "$(cat sum)" = "$2" ] || { echo "changed: $(cat sum)"; exit 1; }
done
echo 3 > /proc/sys/vm/drop_caches
md5sum <&3 | cut -d' ' -f1
find /mnt/maps/1.0.0 -type f | wc -l
"""

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.timeout(LIMIT_S + 60),
    pytest.mark.skipif(
        not (shutil.which("qemu-system-x86_64") and shutil.which("busybox") and Path("/sbin/mount.nfs").exists()),
        reason="needs apt-get install qemu-system-x86 busybox-static nfs-common kmod cpio",
    ),
]


def test_kernel_mount_goes_on_reading_through_kill_9_and_restart(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "store"), tmp_path / "home")
    place.run("init")
    files = write_sample(tmp_path / "data")
    place.run("push", tmp_path / "data", "-t", "maps:1.0.0")
    digest = md5(files[b"big"]).hexdigest()
    (tmp_path / "script").write_text(SCRIPT)
    with place.serve(http="off") as first:
        command = [str(KERNEL_CLIENT), "--timeout", str(LIMIT_S), str(tmp_path / "script"), str(first.nfs_port), digest]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as guest:
            assert guest.stdout is not None
            assert guest.stdout.readline() == "begun\n"
            first.kill()
            with place.serve(http="off", nfs=f"127.0.0.1:{first.nfs_port}"):
                place.run("push", tmp_path / "data", "-t", "maps:2.0.0")
                out, err = guest.communicate(timeout=LIMIT_S)
    assert guest.returncode == 0, out + err
    # A name with a line break is two lines to `wc`.
    assert out.split() == [digest, str(len(files) + 1)]
