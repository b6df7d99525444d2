"""A store with a policy, gateways that ask a real provider who somebody is, and a person at a real browser."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Page

from tests.interop.serve.gateways import DEADLINE_S, Gateway, Place
from tests.support.oidc_provider import RealProvider

CHROMIUM: Final = shutil.which("chromium")
NEEDS: Final = "needs Chromium: apt-get install chromium"
AUDIENCE: Final = "https://data.example.org"
POLICY: Final = """
[[rule]]
allow = ["read"]
to = ["group:staff", "group:robots", "user:bob"]
on = ["maps"]
[[rule]]
allow = ["read"]
to = ["anonymous"]
on = ["free"]
"""
PASSWORD: Final = "bob's own 9 words"


class Site:
    """The store, its files beside it, and commands on it."""

    def __init__(self, folder: Path, provider: RealProvider, **settings: str) -> None:
        self.folder, self.provider = folder, provider
        self.place = Place(str(folder / "store"), folder / "home")
        self.policy, self.users, self.audit = folder / "policy.toml", folder / "users", folder / "audit.log"
        self.place.run("init")
        for name in ("maps", "secret", "free"):
            (folder / name).mkdir()
            (folder / name / "file.txt").write_text(f"content of {name}")
            self.place.run("push", folder / name, "-t", f"{name}:1.0.0")
        self.policy.write_text(POLICY)
        self.command("user", "add", "bob", "--file", str(self.users), typed=PASSWORD + "\n")
        named = {
            "AUTH_POLICY": str(self.policy),
            "AUTH_AUDIT_LOG": str(self.audit),
            "AUTH_BASIC_HTPASSWD": str(self.users),
            "AUTH_OIDC_ISSUER": provider.issuer,
            "AUTH_OIDC_CLIENT_ID": "aetherfs",
        } | settings
        self.settings = {f"AETHERFS_{name}": value for name, value in named.items()}

    @contextlib.contextmanager
    def serve(self, workers: int = 1, **settings: str) -> Iterator[Gateway]:
        """Run a gateway with login."""
        place = Place(str(self.folder / "store"), self.folder / "home")
        place.environment |= self.settings | {f"AETHERFS_{name}": value for name, value in settings.items()}
        with place.serve("--workers", str(workers), nfs="off") as gateway:
            yield gateway

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        """Start a command, as a user on another machine."""
        program = [sys.executable, "-P", "-m", "gateway.cli", *arguments]
        environment = {name: value for name, value in self.place.environment.items() if name != "AETHERFS_STORE"}
        return subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment | variables,
        )  # fmt: skip

    def command(self, *arguments: str, typed: str = "", exits: int = 0, **variables: str) -> str:
        """Run a command to its end; return what it says on both ways, its result first."""
        with self.start(*arguments, **variables) as process:
            out, err = process.communicate(typed, timeout=DEADLINE_S)
        assert process.returncode == exits, out + err
        return out + err

    def noted(self) -> list[dict[str, Any]]:
        """Return what the audit log has."""
        return [json.loads(line) for line in self.audit.read_text().splitlines()]


def ask(url: str, bearer: str = "", **headers: str) -> tuple[int, bytes, Message]:
    """Ask a gateway; redirects are not followed."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    fields = headers | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
    request = urllib.request.Request(url, headers=fields)
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=30) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


def read_url(process: "subprocess.Popen[str]") -> str:
    """Return the next URL that a command prints for a person."""
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"https?://\S+", line)
        if found and "  " in line:
            return found[0]
    raise AssertionError("no URL was printed")


def at_provider(page: Page, name: str) -> None:
    """Log in on the provider's own pages, and agree."""
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill("anything")
    page.locator("button[type=submit]").click()
    page.get_by_role("button", name="Continue").click()


def until(what: Any, seconds: float) -> bool:
    """Wait for something to become true; tell whether it did."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.2)
    return False
