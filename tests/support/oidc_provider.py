"""A real OpenID provider: npm's oidc-provider, installed as its lock file says into a folder that git ignores.

tests/tools/oidc-provider/provider.mjs says what it is told and how. It runs until the block ends.
"""

import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

TOOL: Final = Path(__file__).parent.parent / "tools" / "oidc-provider"
INSTALLED: Final = Path(__file__).parent.parent.parent / ".aetherfs" / "oidc-provider"
MISSING: Final = next((tool for tool in ("node", "npm") if shutil.which(tool) is None), "")
WHY: Final = "needs Node.js and npm: apt-get install npm"


class RealProvider:
    """A running provider."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.issuer: str = self._said()["issuer"]

    def tell(self, **order: Any) -> Any:
        """Have it do something, and wait until it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._said()

    def _said(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the provider ended"
        return json.loads(line)


def installed() -> Path:
    """Return the folder that has it, after installing it if it is not there."""
    lock = (TOOL / "package-lock.json").read_bytes()
    folder = INSTALLED / hashlib.sha256(lock).hexdigest()[:12]
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with (INSTALLED / "lock").open("w") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(TOOL / name, folder)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
            subprocess.run(command, cwd=folder, check=True, timeout=240, stdin=subprocess.DEVNULL)
            (folder / "done").touch()
    return folder


@contextmanager
def real_provider() -> Iterator[RealProvider]:
    """Run one until the block ends."""
    command = ["node", str(TOOL / "provider.mjs")]
    process = subprocess.Popen(
        command, cwd=installed(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield RealProvider(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(20)
        process.stdout.close()
