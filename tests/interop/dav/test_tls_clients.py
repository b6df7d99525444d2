"""Clients that reach a whole gateway by TLS, and trust the certificate that `aetherfs cert self-signed` made for it."""

import base64
import hashlib
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import sync_playwright

from tests.conformance.tree_cases import BIG, SAMPLE
from tests.interop.dav.clients import below, needs_rclone, rclone, run
from tests.interop.serve.gateways import Gateway, Place
from tests.support.trees import lay_out

pytestmark = pytest.mark.interop


def needs(program: str, package: str = "") -> pytest.MarkDecorator:
    reason = f"needs {program}: apt-get install {package or program}"
    return pytest.mark.skipif(shutil.which(program) is None, reason=reason)


class Secured(NamedTuple):
    """A gateway, and what is to be trusted."""

    gateway: Gateway
    cert: Path
    fingerprint: str

    @property
    def url(self) -> str:
        return self.gateway.http


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    above = tmp_path_factory.mktemp("tls")
    place = Place(str(above / "store"), above / "home")
    made = place.run("cert", "self-signed", "--host", "127.0.0.1", "--host", "localhost", "--out", above / "pair")
    (above / "tree").mkdir()
    lay_out(SAMPLE, above / "tree")
    place.run("init")
    place.run("push", above / "tree", "-t", "geo:1.0.0")
    place.environment |= {"AETHERFS_HTTP_TLS_CERT": made["cert"], "AETHERFS_HTTP_TLS_KEY": made["key"]}
    with place.serve("--workers", "2", nfs="off") as gateway:
        assert gateway.http.startswith("https://127.0.0.1:")
        yield Secured(gateway, Path(made["cert"]), made["sha256"])
        assert gateway.stop() == 0
        assert gateway.process.stderr is not None
        assert gateway.process.stderr.read() == ""


@needs("curl")
def test_curl_trusts_the_certificate_that_it_is_given_and_no_other(secured: Secured, tmp_path: Path) -> None:
    url = f"{secured.url}/fs/geo/1.0.0/big.bin"
    done = run(tmp_path, "curl", "-sS", "--fail", "--cacert", secured.cert, url, url)
    assert (done.returncode, done.stdout) == (0, BIG + BIG)
    assert run(tmp_path, "curl", "-sS", "--fail", url).returncode == 60
    for version in ("1.2", "1.3"):
        done = run(tmp_path, "curl", "-sS", f"--tlsv{version}", "--tls-max", version, "--cacert", secured.cert, url)
        assert done.stdout == BIG


@needs("curl")
def test_an_upload_that_is_refused_hears_so(secured: Secured, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3 << 20))
    url = f"{secured.url}/webdav/geo/1.0.0/new"
    done = run(tmp_path, "curl", "-sS", "-w", "%{http_code}", "--cacert", secured.cert, "-T", "large", url)
    assert done.stdout.endswith(b"403")


def test_python_trusts_it_by_the_strictest_rules(secured: Secured) -> None:
    context = ssl.create_default_context(cafile=secured.cert)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with urllib.request.urlopen(f"{secured.url}/fs/geo/1.0.0/a.txt", context=context) as answer:
        assert answer.read() == b"hello\n"


@needs("openssl")
def test_openssl_sees_the_fingerprint_that_was_printed(secured: Secured) -> None:
    host = secured.url.removeprefix("https://")
    shown = subprocess.run(["openssl", "s_client", "-connect", host], input=b"Q\n", capture_output=True, timeout=20)
    told = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256"], input=shown.stdout, capture_output=True, timeout=20
    )
    assert told.stdout.decode().strip().endswith(f"={secured.fingerprint}")


@needs_rclone
def test_rclone_copies_a_tag(secured: Secured, tmp_path: Path) -> None:
    done = rclone(tmp_path, secured.url, "copy", ":webdav:geo/1.0.0", tmp_path / "out", "--ca-cert", secured.cert)
    assert done.returncode == 0, done.stderr
    assert below(tmp_path / "out")[b"big.bin"] == BIG
    assert rclone(tmp_path, secured.url, "ls", ":webdav:geo/1.0.0").returncode != 0


@needs("cadaver")
@needs("script", "bsdutils")
def test_cadaver_asks_whether_to_trust_it(secured: Secured, tmp_path: Path) -> None:
    terminal = ("script", "-qec", f"cadaver {secured.url}/webdav/geo/1.0.0/", "/dev/null")  # else it refuses unasked
    done = run(tmp_path, *terminal, said="y\nls\nget big.bin\nquit\n")
    assert (tmp_path / "big.bin").read_bytes() == BIG, done.stdout
    done = run(tmp_path, *terminal, said="n\nls\nquit\n")
    assert b"a.txt" not in done.stdout


@needs("gio", "gvfs gvfs-backends libglib2.0-bin dbus")
def test_gvfs_asks_whether_to_trust_it(secured: Secured, tmp_path: Path) -> None:
    url = f"davs{secured.url.removeprefix('https')}/webdav/geo/1.0.0"
    script = (
        f"printf '1\\n' | gio mount {url} > asked && gio cat {url}/a.txt && gio copy {url}/big.bin copy; "
        f"gio mount -u {url}"
    )
    done = run(tmp_path, "dbus-run-session", "--", "sh", "-c", script)
    assert b"not known" in (tmp_path / "asked").read_bytes()
    assert done.stdout == b"hello\n", done.stderr
    assert (tmp_path / "copy").read_bytes() == BIG


@needs("chromium")
def test_chromium_shows_the_page_and_says_what_is_wrong_by_plain_http(secured: Secured) -> None:
    key = x509.load_pem_x509_certificate(secured.cert.read_bytes()).public_key()
    pin = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    trusted = f"--ignore-certificate-errors-spki-list={base64.b64encode(pin).decode()}"
    port = secured.url.rpartition(":")[2]
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", trusted], headless=True
        )
        page = browser.new_page()
        answer = page.goto(f"https://localhost:{port}/fs/geo/1.0.0/")
        assert answer is not None
        assert answer.ok
        assert answer.security_details() is not None
        assert page.get_by_text("big.bin").first.is_visible()
        answer = page.goto(f"http://localhost:{port}/fs/geo/1.0.0/a.txt")
        assert answer is not None
        assert answer.status == 400
        assert page.get_by_text("this port speaks https").is_visible()
        browser.close()
