"""Objects of a gigabyte where kilobytes belong: every command refuses them by name, in bounded memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from store.layout import DATASETS, GC_STATE_KEY, MANIFESTS, PACKS, ROOT_KEY
from store.objects.local import FolderStore
from store.root import create_store
from tests.faults.steps import publish, write_folder

HUGE: Final = 1 << 30  # bytes; sparse, so that they take no disk
MOST: Final = 400 << 20  # bytes of memory for all commands of a case together; they take about 60 MB without damage

# Runs commands one after another in one process, as the program would, and tells what became of each.
PROGRAM: Final = """
import contextlib, io, json, sys
from gateway.cli.main import run
ended = []
for words in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())), contextlib.redirect_stderr(said):
        ended.append((run(words), said.getvalue()))
# Not getrusage: what that tells begins with the memory of who started this program.
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(json.dumps([ended, int(peak) * 1024]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("filling", [b"", b"[" * (8 << 20)], ids=["zeros", "brackets"])
@pytest.mark.parametrize("kind", [ROOT_KEY, DATASETS, MANIFESTS, PACKS, "index/", GC_STATE_KEY])
def test_an_object_of_a_gigabyte_is_refused_in_bounded_memory(tmp_path: Path, kind: str, filling: bytes) -> None:
    objects = FolderStore(tmp_path / "store", create=True)
    create_store(objects)
    write_folder(tmp_path / "data", 1, files=1, size=3000)
    publish(objects, tmp_path / "data", tmp_path / "state", "latest")
    if kind == GC_STATE_KEY:
        objects.put(GC_STATE_KEY, b"{}")
    key = next(objects.list(kind)).key
    with (tmp_path / "store" / key).open("r+b") as file:
        file.write(filling)
        file.truncate(HUGE)
    write_folder(tmp_path / "new", 2, files=1, size=3000)
    commands = [
        ["show", "ds"], ["log", "ds"], ["cat", "ds:latest/file 0"], ["pull", "ds", str(tmp_path / "dest")],
        ["verify"], ["stats", "ds"], ["push", str(tmp_path / "new"), "-t", "ds:1.0.0"], ["tag", "ds:latest", "ds:qa"],
    ]  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, json.dumps(commands)], capture_output=True, text=True, check=False,
        env={**os.environ, "HOME": str(tmp_path / "home"), "AETHERFS_STORE": str(tmp_path / "store")}, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    told, memory = json.loads(ended.stdout)
    assert memory < MOST
    for words, (code, said) in zip(commands, told, strict=True):
        assert code in (0, 6), (words, said)
        assert code == 0 or key in said or words == ["verify"], (words, said)  # which reports on stdout
    refused = {words[0] for words, (code, _) in zip(commands, told, strict=True) if code}
    assert refused or kind in ("index/", GC_STATE_KEY)  # which these commands need not read
    assert (tmp_path / "store" / key).stat().st_size == HUGE
