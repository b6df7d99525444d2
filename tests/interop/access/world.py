"""A store in a bucket, gateways with two workers each before it, and everybody of the table with what they show.

Two gateways speak TLS and take client certificates, a third speaks plain HTTP; all serve one bucket by one policy. All
that they say and write down is kept, and so is every secret that was used, to be looked for in it.
"""

import base64
import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt

from gateway.access.tokens import Tokens
from gateway.cli.common import state_name
from gateway.config import load
from gateway.stores import open_store
from store.push.push import PushOptions, push
from store.repository import Repository
from tests.interop.access import table
from tests.interop.access.asking import Answer, Lines
from tests.interop.access.table import Who
from tests.interop.serve.gateways import DEADLINE_S, Place
from tests.support.authority import Authority
from tests.support.issuer import Issuer, issuer
from tests.support.jwts import claims, rsa, sign

WORKERS = 2
PASSWORDS = {name: f"{name}s own {name[::-1]} password" for name in ("ada", "bob", "root")}
WRONG = "a wrong guess at it"
CONTENT = b"the content of a file\n"


@dataclass
class Gateway:
    """One that runs, and where it writes what it says."""

    name: str
    process: subprocess.Popen[bytes]
    folder: Path
    url: str = ""
    nfs_port: int = 0
    grpc: str = ""  # HOST:PORT
    lines: dict[str, Lines] = field(default_factory=dict)  # by what the client shows in TLS

    @property
    def tls(self) -> bool:
        """Whether it speaks TLS."""
        return self.url.startswith("https:")

    def audit(self) -> list[dict[str, Any]]:
        """Return the lines of its audit log."""
        path = self.folder / "audit.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass
class World:
    """Everything."""

    base: Path
    place: Place
    authority: Authority
    provider: Issuer
    key: Any
    gateways: list[Gateway] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)  # dataset -> state of its 1.0.0
    tokens: dict[str, str] = field(default_factory=dict)  # name -> token
    secrets: set[str] = field(default_factory=lambda: {WRONG})
    said: set[str] = field(default_factory=set)  # what commands printed, and gateways told those whom they refused

    @property
    def users(self) -> Path:
        """The file of users."""
        return self.base / "users"

    @property
    def policy(self) -> Path:
        """The file with the policy."""
        return self.base / "policy.toml"

    def push(self, dataset: str, version: str, own: bytes) -> None:
        """Publish a small folder, as `aetherfs push` does."""
        folder = self.base / "data" / dataset / version
        (folder / "sub").mkdir(parents=True)
        for name, content in (("a.txt", CONTENT + own), ("sub/b.txt", own)):
            (folder / name).write_bytes(content)
        for path in (*folder.rglob("*"), folder):
            os.utime(path, (1_700_000_000, 1_700_000_000))
        tags = [version, *(["latest"] if version == "1.0.0" else [])]
        opened = open_store(load(environ=self.place.environment))
        with contextlib.closing(opened.objects):
            repository = Repository(opened.objects, opened.root, seen=opened.seen)
            done = push(repository, folder, dataset, tags, self.base / "state", PushOptions())
        self.states.setdefault(dataset, state_name(done.manifest))

    def run(self, *arguments: str | Path, answer: int = 0, given: str = "") -> str:
        """Run a command; return what it printed."""
        program = [sys.executable, "-P", "-m", "gateway.cli", *map(str, arguments)]
        done = subprocess.run(
            program, input=given, capture_output=True, text=True, env=self.place.environment, timeout=DEADLINE_S,
            check=False,
        )  # fmt: skip
        assert done.returncode == answer, done.stderr
        self.said |= {done.stdout, done.stderr}
        return done.stdout

    def set_password(self, name: str, password: str | None) -> None:
        """Change the file of users as `aetherfs user` does; `None` removes the user. Hashes are cheap ones."""
        rows = [row for row in self.users.read_text().splitlines() if not row.startswith(f"{name}:")]
        if password is not None:
            rows.append(f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}")
            self.secrets.add(password)
        replace(self.users, "".join(f"{row}\n" for row in rows))

    def shown(self, who: Who, gateway: Gateway) -> dict[str, str]:
        """Return the header fields by which somebody says who they are."""
        if who.way == table.PASSWORD:
            password = PASSWORDS[who.name] if who.good else WRONG
            return basic(who.name, password)
        if who.way == table.BEARER:
            return bearer(self.tokens[who.name])
        if who.way == table.AS_PASSWORD:
            return basic("any name", self.tokens[who.name])
        if who.way == table.JWT:
            return bearer(self.provided(who.name, ["staff"]))
        if who.way == table.COOKIE:
            return self.browser(who.name, gateway)
        return {}

    def provided(self, name: str, groups: Sequence[str]) -> str:
        """Return what the provider signs for a user; the same for as long as a test lasts, as clients keep it."""
        key = f"jwt of {name}"
        if key not in self.tokens:
            self.tokens[key] = sign(self.key, claims(iss=self.provider.url, sub=name, groups=[*groups]))
            self.secrets.add(self.tokens[key])
        return self.tokens[key]

    def browser(self, name: str, gateway: Gateway) -> dict[str, str]:
        """Return the cookie of somebody who logged in by the form, once by TLS and once without."""
        key = f"cookie of {name} {'by TLS' if gateway.tls else ''}"
        if key not in self.tokens:
            self.tokens[key] = self.log_in(name, PASSWORDS[name], gateway)["Cookie"]
        return {"Cookie": self.tokens[key]}

    def log_in(self, name: str, password: str, gateway: Gateway) -> dict[str, str]:
        """Log in by the form."""
        lines = gateway.lines[""]
        page = lines.ask("GET", "/ui/login", table.HTML)
        found = re.search(rb'name="csrf" value="([^"]+)"', page.body)
        assert found is not None, page
        form = {"csrf": found[1].decode(), "user": name, "password": password, "next": "/fs/"}
        fields = {
            "Cookie": "; ".join(cookies(page)),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        answer = lines.ask("POST", "/ui/login", fields, urllib.parse.urlencode(form))
        assert (answer.status, answer.get("Location")) == (303, "/fs/"), answer
        shown = [cookie for cookie in cookies(answer) if not cookie.endswith("=")]
        self.secrets |= {cookie.partition("=")[2] for cookie in shown}
        return {"Cookie": "; ".join(shown)}

    def csrf(self, cookie: Mapping[str, str], gateway: Gateway) -> dict[str, str]:
        """Return the field that writes by a cookie have to have."""
        page = gateway.lines[""].ask("GET", "/ui/", {**table.HTML, **cookie})
        found = re.search(rb'name="csrf" value="([^"]+)"', page.body)
        assert found is not None, page
        self.secrets.add(found[1].decode())
        return {"X-AetherFS-CSRF": found[1].decode()}

    def ask(
        self, gateway: Gateway, who: Who, method: str, target: str, headers: Mapping[str, str] = {}, body: str = "", *,
        worker: int | None = None,
    ) -> Answer:  # fmt: skip
        """Ask as somebody; `worker`: a number from 0, else whoever takes a new connection."""
        shown = self.shown(who, gateway)
        if who.way == table.COOKIE and method in ("PUT", "POST", "DELETE"):
            key = f"csrf {gateway.tls}"
            if key not in self.tokens:
                self.tokens[key] = self.csrf(shown, gateway)["X-AetherFS-CSRF"]
            shown["X-AetherFS-CSRF"] = self.tokens[key]
        lines = gateway.lines[who.name if who.way == table.CERTIFICATE else ""]
        process = lines.workers[worker] if worker is not None else None
        got = lines.ask(method, target, {**headers, **shown}, body, worker=process)
        if got.status >= 400:
            self.said.add(f"{got.headers}{got.body!r}")
        return got

    def check_secrets(self) -> None:
        """Look for every secret that was used in all that commands and gateways printed, told and wrote to logs."""
        files = [path for gateway in self.gateways for path in gateway.folder.iterdir() if path.is_file()]
        said = "\n".join([*self.said, *(path.read_text("utf-8", "replace") for path in files)])
        assert "principal" in said, "nothing was written down"
        found = [secret for secret in self.secrets if any(spelling in said for spelling in spellings(secret))]
        said_of = {secret: [one[:300] for one in said.splitlines() if secret in one][:3] for secret in found}
        assert not found, said_of


def spellings(secret: str) -> set[str]:
    """Return what a secret may look like where it was written down."""
    in_basic = {basic(name, secret)["Authorization"].partition(" ")[2] for name in (*PASSWORDS, "any name", "nobody")}
    quoted = {urllib.parse.quote(secret), urllib.parse.quote_plus(secret), json.dumps(secret)[1:-1]}
    parts = {part for part in secret.split(".") if len(part) > 30}  # a JWT's
    return {secret, *in_basic, *quoted, *parts}


def basic(name: str, password: str) -> dict[str, str]:
    """Return Basic's field."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    """Return Bearer's field."""
    return {"Authorization": f"Bearer {token}"}


def cookies(answer: Answer) -> list[str]:
    """Return the cookies that an answer sets."""
    return [value.partition(";")[0] for name, value in answer.headers if name.lower() == "set-cookie"]


def replace(path: Path, text: str) -> None:
    """Put a file in another one's place, as editors do."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)


@contextlib.contextmanager
def world(
    base: Path, store: str, *, kinds: str = "tt", policy: str = "policy.toml",
    datasets: Sequence[str] = table.DATASETS, nfs: bool = False, grpc: bool = False,
) -> Iterator[World]:  # fmt: skip
    """Make everything and run it until the block ends.

    Args:
        base: an empty folder.
        store: its address.
        kinds: of the gateways: t with TLS, p plain.
        policy: auth.policy, `store` or a file.
        datasets: to be published.
        nfs: serve NFS too.
        grpc: serve gRPC too.
    """
    key = rsa()
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(issuer(key))
        found = World(base, Place(store, base / "home"), Authority(), provider, key)
        found.run("init")
        replace(found.users, "")
        for name, password in PASSWORDS.items():
            found.set_password(name, password)
        replace(found.policy, table.POLICY)
        if policy == "store":
            found.run("policy", "set", found.policy)
        _publish(found, datasets)
        _make_tokens(found)
        _configure(found, policy)
        for number, kind in enumerate(kinds):
            found.gateways.append(_start(found, f"{number}-{kind}", stack, tls=kind == "t", nfs=nfs, grpc=grpc))
        for gateway in found.gateways:
            _await(found, gateway, stack)
        yield found
    found.check_secrets()  # all has been written by now


def _publish(found: World, datasets: Sequence[str]) -> None:
    for dataset in datasets:
        found.push(dataset, "1.0.0", b"of secret\n" if dataset in ("secret", "twin") else dataset.encode())
    if "secret" in datasets:
        found.push("secret", "2.0.0", b"that twin has not\n")
        assert found.states["secret"] == found.states["twin"] != found.states["public"]


def _make_tokens(found: World) -> None:
    from auth.principal import user
    from auth.tokens import parse_rules

    opened = open_store(load(environ=found.place.environment))
    tokens = Tokens(opened.objects)
    for made in table.TOKENS:
        rules = parse_rules(made.rules, kind="nfs" if made.nfs else "http")
        owner = user(made.owner) if made.owner else None
        text, _ = tokens.create(made.name, rules, nfs=made.nfs, lives_s=int(made.ends == "expired"), owner=owner)
        found.tokens[made.name] = str(text)
        found.secrets |= {str(text), text.secret}
        if made.ends == "revoked":
            tokens.revoke(made.name)
    tokens.close()
    opened.objects.close()


def _configure(found: World, policy: str) -> None:
    base = found.base
    found.authority.issue("server").write(base, "server")
    (base / "clients.pem").write_bytes(found.authority.pem)
    found.authority.issue("cora", uris=["urn:cora"], client=True).write(base, "cora")
    (base / "certificates").write_text("uri:urn:cora cora\n")
    (base / "certificates").chmod(0o600)
    common = [
        f'[auth]\npolicy = "{policy if policy == "store" else base / policy}"\naudit_log = "AUDIT"',
        f'certificates = "{base / "certificates"}"',
        f'[auth.basic]\nhtpasswd = "{found.users}"',
        f'[auth.oidc]\nissuer = "{found.provider.url}"\nclient_id = "aetherfs"',
    ]
    exports = "".join(
        f'[[nfs.export]]\nfrom = ["{address}/32"]\nprincipal = "{principal}"\n'
        for address, principal in table.NFS_EXPORTS.items()
    )
    plain = '[http]\naccess_log = "ACCESS"\naccess_format = "json"\n'
    files = "".join(f'{key} = "{base / name}"\n' for key, name in (
        ("tls_cert", "server.pem"), ("tls_key", "server.key"), ("client_ca", "clients.pem"),
    ))  # fmt: skip
    (base / "plain.toml").write_text(plain + "\n".join([*common, exports]))
    (base / "tls.toml").write_text(plain + files + "\n".join([*common, exports]))


def _start(found: World, name: str, stack: contextlib.ExitStack, *, tls: bool, nfs: bool, grpc: bool) -> Gateway:
    folder = found.base / f"gateway-{name}"
    folder.mkdir()
    text = (found.base / ("tls.toml" if tls else "plain.toml")).read_text()
    config = folder / "conf.toml"
    config.write_text(text.replace("AUDIT", str(folder / "audit.log")).replace("ACCESS", str(folder / "access.log")))
    program = [sys.executable, "-P", "-m", "gateway.cli", "--config", str(config), "serve"]
    program += ["--http", "127.0.0.1:0", "--nfs", "127.0.0.1:0" if nfs else "off", "--workers", str(WORKERS)]
    program += ["--grpc", "127.0.0.1:0" if grpc else "off"]
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(program, stdout=stdout, stderr=stderr, env=found.place.environment)
    stack.callback(_stop, process)
    return Gateway(name, process, folder)


def _await(found: World, gateway: Gateway, stack: contextlib.ExitStack) -> None:
    ends_s = time.monotonic() + DEADLINE_S
    while not (ready := (gateway.folder / "stdout").read_text()).endswith("\n"):
        assert gateway.process.poll() is None, (gateway.folder / "stderr").read_text()
        assert time.monotonic() < ends_s
        time.sleep(0.02)
    places = dict(word.partition("=")[::2] for word in ready.split()[1:])
    gateway.url, gateway.nfs_port = places["http"], int(places.get("nfs", ":0").rpartition(":")[2])
    gateway.grpc = places.get("grpc", "")
    for name in ("", "cora") if gateway.tls else ("",):
        context = None
        if gateway.tls:
            context = ssl.create_default_context(cadata=found.authority.pem.decode())
            if name:
                context.load_cert_chain(found.base / f"{name}.pem", found.base / f"{name}.key")
        lines = gateway.lines[name] = Lines(gateway.url, gateway.process.pid, WORKERS, context)
        stack.callback(lines.close)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
