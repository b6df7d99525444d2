"""Gateways with a portmapper, in a network namespace, and what they serve; a real rpcbind beside them."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.interop.serve.gateways import DEADLINE_S, Gateway, Place, started
from tests.support.netns import PATH, Namespace

NFS_ADDRESS = "127.0.0.1:20490"  # not where clients look by themselves


def published(folder: Path) -> Place:
    """Make a store in a folder, and publish a text and two databases as maps; one has a journal beside it."""
    place = Place(str(folder / "store"), folder / "home")
    place.environment["PATH"] = PATH
    place.run("init")
    data = folder / "data"
    data.mkdir()
    (data / "greeting.txt").write_text("hello\n")
    for name, journal_mode in (("cities.db", "DELETE"), ("kept.db", "PERSIST")):
        with contextlib.closing(sqlite3.connect(data / name)) as database, database:
            database.execute(f"PRAGMA journal_mode={journal_mode}")
            database.execute("CREATE TABLE cities (name TEXT, people INTEGER)")
            database.executemany("INSERT INTO cities VALUES (?, ?)", [("Ulm", 129_942), ("Jena", 108_306)])
    assert (data / "kept.db-journal").exists()
    place.run("push", data, "-t", "maps:1.0.0", "-t", "maps:latest")
    return place


@contextlib.contextmanager
def serve(
    place: Place, network: Namespace, *options: str, nfs: str = NFS_ADDRESS, prefix: tuple[str, ...] = ()
) -> Iterator[Gateway]:
    """Run a gateway with a portmapper inside the namespace."""
    program = [*prefix, sys.executable, "-P", "-m", "gateway.cli", "serve", "--http", "off", "--nfs", nfs, "--portmap"]
    with subprocess.Popen(
        network.inside([*program, *options]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=place.environment,
    ) as process:
        try:
            yield started(process)
        finally:
            process.kill()


@contextlib.contextmanager
def rpcbind(network: Namespace) -> Iterator[None]:
    """Run rpcbind in the namespace."""
    with subprocess.Popen(network.inside(["rpcbind", "-f"]), env=os.environ | {"PATH": PATH}) as process:
        try:
            give_up = time.monotonic() + DEADLINE_S
            while network.run("rpcinfo", "-p", "127.0.0.1").returncode and time.monotonic() < give_up:
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
