"""A whole gateway with login: users, tokens, a policy, two workers; and ways to ask it as one program or another would.

The tests of one process share it. Who sends wrong passwords does so from an address of its own (`127.0.1.N`), since
they slow down what comes from there.
"""

import base64
import http.client
import itertools
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

import bcrypt

from tests.interop.dav.shown import NUMBERS
from tests.interop.serve.gateways import DEADLINE_S, Gateway, Place, started
from tests.support.trees import Contents, Link, lay_out
from tests.support.until import wait_until
from tests.wire.dav.test_exchanges import CONTENTS as RECORDED

ADA: Final = "s3cret:p\u00e4ss \u20ac wort"  # a colon, and characters beyond ASCII
BOB: Final = "b0b-has-his-own"
LONG: Final = "7" * 72  # all that bcrypt looks at
STRANGE: Final = "str4nge-but-allowed"
PASSWORDS: Final[Mapping[str, str]] = {
    "ada": ADA,
    "bob": BOB,
    "long": LONG,
    # Names that mean something else in a policy: as users they are only users.
    "anonymous": STRANGE,
    "authenticated": STRANGE,
    "admin": STRANGE,
    "*": STRANGE,
}
POLICY: Final = """
[[rule]]
allow = ["read"]
to = ["user:ada"]
on = ["*", "@scope/*"]
[[rule]]
allow = ["read"]
to = ["user:bob"]
on = ["maps"]
[[rule]]
allow = ["read", "push", "tag", "delete", "admin"]
to = ["group:admin", "user:root"]
on = ["*", "@scope/*"]
"""
PROXIES: Final = ("127.0.14.1", "127.0.14.2")
COMMON: Final[Contents] = {
    b"a.txt": b"hello\n",
    b"numbers": NUMBERS,
    b"sub": {b"deep": {b"leaf": b"leaf"}},
    b"page.html": b"<script>alert(document.cookie)</script>\n",
}
SECRET: Final = b"nobody else is to read this\n"
MARKS: Final = 12
_marks: Final = itertools.count()
ODD: Final[Contents] = {
    b"a\r\nSet-Cookie: aetherfs=planted\r\n\r\n.bin": b"breaks a line\n",
    b"...": b"three dots\n",
    b"CON": b"a device of Windows\n",
    b"C:": b"a drive of Windows\n",
    b"-rf": b"an option\n",
    b"$(touch pwned)": b"a shell's\n",
    b"links": {
        b"out": Link(b"../../../secret/1.0.0/secret.txt"),
        b"absolute": Link(b"/etc/passwd"),
        b"up": Link(b"../../../../../../../../etc/passwd"),
        b"other": Link(b"/secret/1.0.0/secret.txt"),
        b"self": Link(b"."),
        b"in": Link(b"sub/x"),
        b"sub": {b"x": b"within\n", b"above": Link(b"../../links/sub/x")},
    },
}
PUBLISHED: Final[Mapping[str, Contents]] = {
    "maps:1.0.0": COMMON,
    "maps:latest": {**COMMON, b"a.txt": b"hello again\n"},
    "secret:1.0.0": {b"secret.txt": SECRET, b"sub": {b"secret.txt": SECRET}},
    "odd:1.0.0": ODD,
    "upward:1.0.0": {b"..\\..\\up.txt": b"of Windows\n", b"\\\\host\\share": b"elsewhere\n", b"ok": b"ok\n"},
    # What real clients asked for when they were recorded.
    "geo:1.0.0 geo:latest": RECORDED,
    "@scope/roads:1.0.0": RECORDED,
}


class Answer(NamedTuple):
    """An answer, read to its end."""

    status: int
    fields: Mapping[str, str]  # names in lower case; of several, joined by line breaks
    body: bytes

    @property
    def document(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


class Guarded:
    """A running gateway."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """Publish what there is, and serve it.

        Args:
            folder: a new one.
            settings: of the environment, without AETHERFS_, to add.
        """
        self.folder = folder
        self.policy, self.users = folder / "policy.toml", folder / "users"
        self.audit, self.access = folder / "audit.log", folder / "access.log"
        self.out, self.errors = folder / "stdout", folder / "stderr"
        self.place = Place(str(folder / "store"), folder / "home")
        self.policy.write_text(POLICY)
        self.write_users(PASSWORDS)
        self.place.environment |= {
            "AETHERFS_AUTH_POLICY": str(self.policy),
            "AETHERFS_AUTH_BASIC_HTPASSWD": str(self.users),
            "AETHERFS_AUTH_AUDIT_LOG": str(self.audit),
            "AETHERFS_AUTH_AUDIT_READS": "true",
            "AETHERFS_HTTP_ACCESS_LOG": str(self.access),
            "AETHERFS_HTTP_ACCESS_FORMAT": "json",
            "AETHERFS_HTTP_TRUSTED_PROXIES": ", ".join(PROXIES),
            **{f"AETHERFS_{name}": value for name, value in settings.items()},
        }
        self.place.run("init")
        self.tokens: dict[str, str] = {}
        self._gateway: Gateway | None = None

    def publish(self, published: Mapping[str, Contents]) -> None:
        """Push, by the command."""
        for tags, contents in published.items():
            folder = self.folder / "in" / tags.replace("/", "-")
            folder.mkdir(parents=True)
            lay_out(contents, folder)
            self.place.run("push", folder, *(word for tag in tags.split() for word in ("-t", tag)))

    def token(self, name: str, *rules: str) -> str:
        """Make a token with the store's own credentials."""
        given = [word for rule in rules for word in ("--allow", rule)]
        self.tokens[name] = text = str(self.place.run("token", "create", name, *given)["token"])
        return text

    def write_users(self, passwords: Mapping[str, str], *, cost: int = 4) -> None:
        """Replace the file of users."""
        lines = [
            f"{name}:{bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(cost)).decode()}\n"
            for name, password in passwords.items()
        ]
        coming = self.users.with_suffix(".coming")
        coming.write_text("".join(lines))
        coming.chmod(0o600)
        coming.replace(self.users)

    def start(self, *arguments: str) -> None:
        """Serve."""
        program = [sys.executable, "-P", "-m", "gateway.cli", "serve", "--http", "127.0.0.1:0", "--nfs", "off"]
        with self.errors.open("ab") as errors:
            process = subprocess.Popen(
                [*program, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True,
                env=self.place.environment, cwd=self.folder,
            )  # fmt: skip
        try:
            self._gateway = started(process)
        except BaseException:
            process.kill()
            process.wait(DEADLINE_S)
            raise

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        assert self._gateway is not None
        return self._gateway.http

    @property
    def netloc(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    def stop(self) -> int:
        """End it; return its exit code."""
        assert self._gateway is not None
        code = self._gateway.stop()
        process = self._gateway.process
        assert process.stdout is not None
        self.out.write_text(self._gateway.ready + process.stdout.read())
        process.stdout.close()
        return code

    def ask(
        self, method: str, target: str, fields: Mapping[str, str] | None = None, *, body: bytes | str | None = None,
        source: str = "127.0.0.1",
    ) -> Answer:  # fmt: skip
        """Send one request on a connection of its own, and read its answer.

        Args:
            method: of the request.
            target: as it is sent.
            fields: of the header.
            body: to send.
            source: address to come from.
        """
        connection = http.client.HTTPConnection(self.netloc, timeout=30, source_address=(source, 0))
        try:
            connection.request(method, target, body=body, headers=dict(fields or {}))
            answer = connection.getresponse()
            found: dict[str, str] = {}
            for name, value in answer.getheaders():
                key = name.lower()
                found[key] = f"{found[key]}\n{value}" if key in found else value
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        """Open a connection of which the test sends every byte."""
        host, _, port = self.netloc.partition(":")
        return socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0))

    def say(self, data: bytes, source: str = "127.0.0.1") -> bytes:
        """Send bytes, say that no more follow, and return all that comes back."""
        with self.connect(source) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            return drained(sock)

    def written(self) -> bytes:
        """Return all that the gateway has printed or logged so far; the access log is written a moment later."""
        assert self._gateway is not None
        if self._gateway.process.poll() is None:
            agent = f"mark-{next(_marks)}-"
            for _ in range(MARKS):  # by both workers, each of which writes its lines in their order
                self.ask("GET", "/healthz", {"User-Agent": agent})
            wait_until(lambda: self.access.read_text().count(agent) == MARKS)
        files = (self.audit, self.access, self.errors, self.out)
        return b"".join(file.read_bytes() for file in files if file.exists())

    def memory(self) -> int:
        """Return the bytes of memory that its processes have."""
        assert self._gateway is not None
        pages = [
            int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            for pid in (self._gateway.process.pid, *children(self._gateway.process.pid))
        ]
        return sum(pages) * resource.getpagesize()

    def who(self, fields: Mapping[str, str], source: str = "127.0.0.1") -> tuple[int, str]:
        """Return the status, and whom the gateway takes somebody for."""
        answer = self.ask("GET", "/api/v1/whoami", fields, source=source)
        return answer.status, str(answer.document["principal"]) if answer.status == 200 else ""


def children(pid: int) -> list[int]:
    """Return the processes that one has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def drained(sock: socket.socket) -> bytes:
    """Return what comes until the other end says no more, or resets."""
    found = []
    try:
        while piece := sock.recv(1 << 16):
            found.append(piece)
    except ConnectionError:
        pass
    return b"".join(found)


def basic(user: str, password: str | bytes) -> dict[str, str]:
    """Return the field of Basic (RFC 7617), in UTF-8."""
    secret = password.encode() if isinstance(password, str) else password
    return {"Authorization": f"Basic {base64.b64encode(user.encode() + b':' + secret).decode()}"}


def bearer(token: str) -> dict[str, str]:
    """Return the field of Bearer (RFC 6750)."""
    return {"Authorization": f"Bearer {token}"}


def form(**fields: str) -> tuple[dict[str, str], str]:
    """Return the header and the body of a form."""
    return {"Content-Type": "application/x-www-form-urlencoded"}, urlencode(fields)
