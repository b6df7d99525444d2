"""A gateway whose store's key is given: no other user of the machine reads it, and it goes on while keys change."""

import base64
import random
import time
from pathlib import Path

import pytest

from tests.interop.serve.gateways import DEADLINE_S, Gateway, Place
from tests.support.http_client import ask

pytestmark = pytest.mark.interop

RAW = random.Random(1).randbytes(32)
KEY = base64.b64encode(RAW).decode()


def shown_of(gateway: Gateway) -> list[bytes]:
    """Return the command lines and names of a gateway's processes, which all users of the machine see."""
    family = [gateway.process.pid]
    for pid in family:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            family += map(int, task.read_text().split())
    assert len(family) > 2, "it has workers"
    return [Path(f"/proc/{pid}/{name}").read_bytes() for pid in family for name in ("cmdline", "comm")]


def published(gateway: Gateway, path: str) -> bytes:
    """Read what was published a moment ago: gateways look for news every few seconds."""
    until = time.monotonic() + DEADLINE_S
    while (answer := ask(gateway.http, "GET", path, timeout_s=DEADLINE_S))[0] != 200:
        assert answer[0] == 404, answer
        assert time.monotonic() < until, answer
        time.sleep(0.2)
    return answer[1]


@pytest.mark.parametrize("how", ["variable", "file"])
def test_a_gateway_shows_its_key_to_nobody_and_learns_of_new_ones(tmp_path: Path, how: str) -> None:
    place = Place(str(tmp_path / "store"), tmp_path / "home")
    key_file = tmp_path / "given.key"
    key_file.touch(mode=0o600)
    key_file.write_text(KEY)
    given = ("AETHERFS_KEY", KEY) if how == "variable" else ("AETHERFS_KEY_FILE", str(key_file))
    place.environment |= dict([given])
    place.run("init", "--encrypt")
    source = tmp_path / "source"
    source.mkdir()
    first = random.Random(2).randbytes(300_000)
    (source / "first").write_bytes(first)
    place.run("push", source, "-t", "data:1.0.0")
    with place.serve("-vv", "--workers", "2") as gateway:
        assert ask(gateway.http, "GET", "/fs/data/1.0.0/first", timeout_s=DEADLINE_S) == (200, first)
        shown = b"\0".join(shown_of(gateway))
        place.run("key", "rotate", "--data")
        second = random.Random(3).randbytes(300_000)
        (source / "second").write_bytes(second)
        place.run("push", source, "-t", "data:2.0.0")
        assert published(gateway, "/fs/data/2.0.0/second") == second
        if how == "file":  # with a key by value it is the old one for good, and opens no data key that it has not met
            place.run("key", "rotate")
            (source / "third").write_bytes(third := random.Random(4).randbytes(300_000))
            place.run("push", source, "-t", "data:3.0.0")
            assert published(gateway, "/fs/data/3.0.0/third") == third
        assert gateway.stop() == 0
        assert gateway.process.stderr is not None
        shown += gateway.process.stderr.read().encode()
    for form in (KEY, KEY.rstrip("="), RAW.hex(), base64.urlsafe_b64encode(RAW).decode(), repr(RAW)[2:-1]):
        assert form.encode() not in shown
