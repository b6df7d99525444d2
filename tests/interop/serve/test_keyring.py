"""The key of the disk cache in a real Secret Service: GNOME Keyring on a bus of its own, without a screen."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.serve.gateways import DEADLINE_S, Place

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        not shutil.which("gnome-keyring-daemon") or not shutil.which("dbus-run-session"),
        reason="needs apt-get install gnome-keyring dbus",
    ),
]

AETHERFS = shlex.join([sys.executable, "-P", "-m", "gateway.cli"])
KEYRING = shlex.join([sys.executable, "-P", "-m", "keyring"])
UNLOCK = "printf %s secret | gnome-keyring-daemon --unlock --components=secrets >/dev/null"
SERVE = f"timeout --signal=TERM 60 {AETHERFS} serve --workers 2 --http 127.0.0.1:0 --nfs 127.0.0.1:0 --grpc off"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(str(tmp_path / "store"), tmp_path / "home")
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "home").mkdir()
    place.environment |= {
        "AETHERFS_CACHE_DIR": str(tmp_path / "cache"), "AETHERFS_CACHE_KEY": "keyring",
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }  # fmt: skip
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "PYTHON_KEYRING_BACKEND"):
        place.environment.pop(variable, None)
    place.run("init")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(os.urandom(3_000_000))
    place.run("push", tmp_path / "data", "-t", "ds:1.0.0")
    return place


def session(place: Place, *lines: str) -> subprocess.CompletedProcess[str]:
    """Run shell lines in a session with a bus of its own."""
    program = ["dbus-run-session", "--", "bash", "-ec", "\n".join(lines)]
    return subprocess.run(program, capture_output=True, text=True, env=place.environment, timeout=3 * DEADLINE_S)


def test_the_key_lies_in_the_keyring_over_sessions_and_can_be_deleted_there(place: Place, tmp_path: Path) -> None:
    first = session(place, UNLOCK, f"{AETHERFS} warm ds:1.0.0", f"{AETHERFS} warm ds:1.0.0")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("is warm") == 2
    assert "2.9 MiB fetched" in first.stdout.splitlines()[1]
    assert "0 B fetched" in first.stdout.splitlines()[4]
    assert not list(tmp_path.rglob("local.key"))
    cached = set((tmp_path / "cache").rglob("*.val"))
    assert len(cached) >= 3

    later = session(place, UNLOCK, f"{AETHERFS} warm ds:1.0.0", f"{KEYRING} get aetherfs 'disk cache'")
    assert later.returncode == 0, later.stderr
    assert "0 B fetched" in later.stdout
    assert len(later.stdout.splitlines()[-1]) == 44
    assert set((tmp_path / "cache").rglob("*.val")) == cached

    gone = session(place, UNLOCK, f"{KEYRING} del aetherfs 'disk cache'", f"{AETHERFS} warm ds:1.0.0")
    assert gone.returncode == 0, gone.stderr
    assert "2.9 MiB fetched" in gone.stdout
    assert not set((tmp_path / "cache").rglob("*.val")) & cached


def test_workers_that_start_at_once_agree_on_one_key(place: Place, tmp_path: Path) -> None:
    done = session(
        place,
        UNLOCK,
        f"coproc {SERVE}",
        "read -r ready <&${COPROC[0]}",
        "http=${ready#*http=}; http=${http%% *}; [[ $ready == ready* ]]",
        f"{AETHERFS} warm ds:1.0.0",
        "curl -fsS $http/fs/ds/1.0.0/file | cmp - " + shlex.quote(str(tmp_path / "data" / "file")),
        f"{AETHERFS} warm ds:1.0.0",
        "kill $COPROC_PID; wait $COPROC_PID || true",
    )
    assert done.returncode == 0, done.stderr
    assert "begins anew" not in done.stderr
    assert "0 B fetched" in done.stdout.splitlines()[4]


@pytest.mark.parametrize("lines", [(), ("gnome-keyring-daemon --start --components=secrets </dev/null >/dev/null",)])
def test_without_an_unlocked_keyring_a_gateway_says_what_to_do(place: Place, lines: tuple[str, ...]) -> None:
    done = session(place, *lines, SERVE)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "no keyring can be used" in done.stderr
    assert 'set cache.key = "file"' in done.stderr
    assert "Traceback" not in done.stderr
