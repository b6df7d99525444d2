"""A hundred thousand datasets in one store: they are listed in flat memory, and none is read before it is asked for."""

import json
import subprocess
import sys
import urllib.request

import pytest

from tests.interop.serve.gateways import Place
from tests.support import large
from tests.support.nfs_client import NfsClient

COUNT = 100_000
MEMORY_KB = 40 << 10  # the program alone takes 27 MB; 100,000 names in a list would take it to 50

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("many")
    large.new_store(folder / "store")
    large.put_datasets(folder / "store", COUNT)
    return Place(str(folder / "store"), folder / "home")


def listed(place: Place, *arguments: str) -> tuple[bytes, int]:
    """Return what `ls` prints, and its peak memory in KiB."""
    program = [sys.executable, "-P", "-m", "gateway.cli", "ls", *arguments]
    # The peak of a program begins with that of who starts it: a small one, here.
    starter = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", starter, *program], capture_output=True, check=True, env=place.environment
    )
    return done.stdout, int(done.stderr)


def test_all_are_listed_in_flat_memory(many: Place) -> None:
    expected = {large.name_of(number) for number in range(COUNT)}
    out, peak_kb = listed(many)
    assert set(out.decode().splitlines()) == expected
    assert peak_kb < MEMORY_KB
    out, peak_kb = listed(many, "--json")
    assert {dataset["name"] for dataset in json.loads(out)["datasets"]} == expected
    assert peak_kb < MEMORY_KB


def test_a_gateway_serves_one_and_lists_all(many: Place) -> None:
    with many.serve() as gateway:
        with urllib.request.urlopen(f"{gateway.http}/fs/set-000001/1.0.0/part-7") as reply:
            assert reply.read() == b"content of file 7\n"
        with NfsClient(gateway.nfs_port) as client:
            assert client.read(client.handle("@group1/set-000010/latest/part-3"), 0, 100)[0] == b"content of file 3\n"
        request = urllib.request.Request(f"{gateway.http}/fs/", headers={"Accept": "application/json"})
        with urllib.request.urlopen(request) as reply:
            entries = json.load(reply)["entries"]
        top = {large.name_of(number).partition("/")[0] for number in range(COUNT)}
        assert {entry["name"].rstrip("/") for entry in entries} == top
        assert gateway.stop() == 0
