"""The Linux kernel's client mounts without any option, and takes the locks that SQLite and flock ask for.

The guest reaches the namespace's loopback, port 111 included, by TCP and by UDP.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.nfs.portmapped import published, rpcbind, serve
from tests.interop.serve.gateways import Place
from tests.support.netns import PATH, Namespace, namespace, needs_namespace

KERNEL_CLIENT = Path(__file__).parents[2] / "tools" / "kernel-client"
LIMIT_S = 240
TOOLS = (
    "qemu-system-x86_64",
    "busybox",
    "mount.nfs",
    "rpc.statd",
    "rpcbind",
    "rpcinfo",
    "showmount",
    "sqlite3",
    "flock",
)
ADDED = ("/usr/bin/mount", "rpcbind", "rpc.statd", "rpcinfo", "showmount", "sqlite3", "/usr/bin/flock")

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.timeout(2 * LIMIT_S),
    needs_namespace,
    pytest.mark.skipif(
        not all(shutil.which(tool, path=PATH) for tool in TOOLS),
        reason="needs apt-get install qemu-system-x86 busybox-static nfs-common kmod cpio rpcbind sqlite3",
    ),
]

# What an installed system has of itself: names of services, and folders and users of the daemons.
SYSTEM = """
printf 'sunrpc 111/tcp portmapper rpcbind\\nsunrpc 111/udp portmapper rpcbind\\n' > /etc/services
echo 'local tpi_cots_ord - loopback - - -' >> /etc/netconfig
echo '_rpc:x:100:65534::/run/rpcbind:/bin/false' >> /etc/passwd
mkdir -p /run/rpcbind /var/lib/nfs/sm /var/lib/nfs/sm.bak; ln -sf /run /var/run
"""
LOCKS = """
rpcbind -w; rpc.statd --no-notify
/usr/bin/mount -t nfs $HOST:/ /mnt
grep -o ' nfs .*vers=3.*local_lock=none' /proc/mounts | wc -l
cd /; file=/mnt/maps/1.0.0/greeting.txt
sqlite3 /mnt/maps/1.0.0/cities.db 'SELECT sum(people) FROM cities'
sqlite3 /mnt/maps/1.0.0/cities.db "INSERT INTO cities VALUES ('Trier', 1)" 2>&1
sqlite3 /mnt/maps/latest/kept.db 'SELECT count(*) FROM cities' 2>&1
/usr/bin/flock -s $file echo shared; /usr/bin/flock -s -n $file echo shared at once
timeout 20 /usr/bin/flock -x $file echo exclusive 2>&1; echo "refused $?"
timeout 20 /usr/bin/flock -x -n $file echo exclusive 2>&1; echo "refused $?"
/usr/bin/flock -s $file sh -c "/usr/bin/flock -s -n $file echo both"
umount /mnt; echo gone
/usr/bin/mount -t nfs $HOST:/maps/latest /mnt; cat /mnt/greeting.txt; umount /mnt
for way in "-T udp" "-T tcp" -u -t; do rpcinfo $way $HOST 100000 2; done
for way in -t "-T tcp"; do rpcinfo $way $HOST 100003; done
showmount -e $HOST
"""
PLAIN = """
/usr/bin/mount -t nfs -o nolock $HOST:/ /mnt && cat /mnt/maps/1.0.0/greeting.txt; umount /mnt; echo gone
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    _guest_is_made(tmp_path_factory.mktemp("guest"))
    return published(tmp_path_factory.mktemp("portmap"))


def _guest_is_made(folder: Path) -> None:
    """Have the guest's system downloaded, which needs a network that a namespace has not."""
    if not Path(os.environ.get("KERNEL_CLIENT_CACHE", "/var/tmp/kernel-client"), "base", "ready").exists():
        (folder / "script").write_text("#!/bin/sh\n")
        subprocess.run([KERNEL_CLIENT, folder / "script"], check=True, timeout=LIMIT_S)


@pytest.fixture
def network() -> Iterator[Namespace]:
    with namespace() as network:
        yield network


def in_guest(network: Namespace, folder: Path, script: str) -> list[str]:
    """Run a script in a guest whose `$HOST` is the namespace's loopback; return the lines that it printed."""
    (folder / "script").write_text("#!/bin/sh\n" + SYSTEM + script)
    options = [word for program in ADDED for word in ("--add", program)]
    done = network.run(KERNEL_CLIENT, "--timeout", str(LIMIT_S), *options, folder / "script", timeout_s=LIMIT_S + 30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_mount_needs_no_option_and_databases_open_with_their_locks(
    place: Place, network: Namespace, tmp_path: Path
) -> None:
    with serve(place, network) as gateway:
        lines = in_guest(network, tmp_path, LOCKS)
        assert gateway.stop() == 0
    assert lines == [
        "1",
        "238248",
        "Error: stepping, attempt to write a readonly database (8)",
        "2",
        "shared",
        "shared at once",
        "flock: /mnt/maps/1.0.0/greeting.txt: Read-only file system",
        "refused 65",
        "flock: /mnt/maps/1.0.0/greeting.txt: Read-only file system",
        "refused 65",
        "both",
        "gone",
        "hello",
        *["program 100000 version 2 ready and waiting"] * 4,
        *["program 100003 version 3 ready and waiting"] * 2,
        "Export list for 192.0.2.2:",
        "/     (everyone)",
        "/maps (everyone)",
    ]


def test_mount_finds_what_is_registered_with_rpcbind(place: Place, network: Namespace, tmp_path: Path) -> None:
    with contextlib.ExitStack() as running:
        running.enter_context(rpcbind(network))
        running.enter_context(serve(place, network))
        assert in_guest(network, tmp_path, PLAIN) == ["hello", "gone"]
