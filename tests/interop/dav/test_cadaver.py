"""cadaver (neon), the oldest WebDAV client still in use."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway.web.app import make_wsgi_app
from tests.conformance.tree_cases import BIG, SAMPLE
from tests.interop.http.serving import serving
from tests.support.trees import MemoryTree

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("cadaver") is None, reason="needs cadaver: apt-get install cadaver"),
]


def test_cadaver_lists_enters_and_reads_and_cannot_write(tmp_path: Path) -> None:
    tree = MemoryTree()
    tree.publish("geo", "1.0.0", SAMPLE)
    script = "ls\ncd geo/1.0.0\nls\nget big.bin\nput big.bin stolen.bin\nmkcol new\nquit\n"
    environment = {**os.environ, "HOME": os.fspath(tmp_path), "LC_ALL": "C.UTF-8"}
    with serving(make_wsgi_app(tree)) as running:
        command = ["cadaver", f"{running.url}/webdav/"]
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment
        )
    assert "Coll:   geo" in done.stdout
    assert "a.txt" in done.stdout
    assert (tmp_path / "big.bin").read_bytes() == BIG
    assert done.stdout.count("403 Forbidden") == 2
