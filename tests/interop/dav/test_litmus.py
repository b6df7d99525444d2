"""litmus, the test suite of WebDAV servers, on a tag: what reads must pass, and each refusal is one that is expected.

litmus writes before it reads, and gives up where it cannot make a folder. So the dataset holds the files that it would
write, and the relay says of exactly these writings that they were done: a folder that is there, a file that is there
with the same bytes. Everything else passes to the gateway, and so does every reading of these files.
"""

import re
import shutil
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.interop.dav.clients import run
from tests.interop.dav.shown import LITMUS, flat
from tests.interop.serve.gateways import Gateway
from tests.support.relay import Exchange, Relay

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("litmus") is None, reason="needs litmus: apt-get install litmus"),
]

ROOT: Final = "/webdav/litmus/1.0.0/"
DONE: Final = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


class Judged(NamedTuple):
    """What litmus says of one test."""

    outcome: str  # pass, FAIL or SKIPPED
    warnings: tuple[str, ...] = ()


REFUSED: Final = Judged("FAIL")  # a published state does not change, and the test is of a change
FOLLOWS: Final = Judged("SKIPPED")  # litmus leaves out what only makes sense after a test that failed

# Each test that does not simply pass. What is not listed must pass, without a warning.
EXPECTED: Final[Mapping[str, Mapping[str, Judged]]] = {
    "http": {},
    "basic": {
        "2. options": Judged("pass", ("server does not claim Class 2 compliance",)),
        "5. put_no_parent": Judged("pass", ("MKCOL with missing intermediate gave 403, should be 409",)),
        "7. delete": REFUSED,
        "8. delete_null": Judged("pass", ("DELETE on null resource gave 403, should be 404 (RFC2518:S3)",)),
        "9. delete_fragment": REFUSED,
        "10. mkcol": REFUSED,
        "11. mkcol_again": FOLLOWS,
        "12. delete_coll": FOLLOWS,
        "13. mkcol_no_parent": Judged(
            "pass", ("MKCOL with missing intermediate gave 403, should be 409 (RFC2518:8.3.1)",)
        ),
        "14. mkcol_with_body": REFUSED,
    },
    "props": {
        "6. propset": REFUSED,
        "7. propget": FOLLOWS,
        "9. propmove": FOLLOWS,
        "10. propget": FOLLOWS,
        "11. propdeletes": FOLLOWS,
        "12. propget": FOLLOWS,
        "13. propreplace": FOLLOWS,
        "14. propget": FOLLOWS,
        "15. propnullns": FOLLOWS,
        "16. propget": FOLLOWS,
        "17. prophighunicode": FOLLOWS,
        "18. propget": FOLLOWS,
        "19. propremoveset": FOLLOWS,
        "20. propget": FOLLOWS,
        "21. propsetremove": FOLLOWS,
        "22. propget": FOLLOWS,
        "23. propvalnspace": FOLLOWS,
        "26. propmanyns": REFUSED,
        "27. propget": Judged("FAIL"),  # of what propmanyns could not set
    },
    "locks": {
        "2. options": Judged("pass", ("server does not claim Class 2 compliance",)),
        "3. precond": FOLLOWS,
    },
}


def written_already(exchange: Exchange) -> bytes | None:
    """Say that something was written, if it is there just so."""
    path = urllib.parse.unquote_to_bytes(exchange.target.removeprefix(ROOT))
    if exchange.method == "MKCOL" and path == b"litmus/":
        return DONE
    content = flat(LITMUS).get(path)
    if exchange.method == "PUT" and content is not None:
        return DONE if exchange.request.endswith(b"\r\n\r\n" + content) else None
    return None


@pytest.fixture
def relay(gateway: Gateway) -> Iterator[Relay]:
    with Relay(gateway.http, written_already) as relay:
        yield relay


def judged(said: str) -> list[tuple[str, Judged]]:
    """Read litmus's output: (test with its number, verdict) in the order of the tests."""
    found: list[tuple[str, Judged]] = []
    name = ""
    warnings: list[str] = []
    for test, warning, outcome in re.findall(
        r"^ *(\d+\. \w+)\.+|WARNING: ([^\n]*)|\b(pass|FAIL|SKIPPED)\b", said, re.MULTILINE
    ):
        if test and test != name:
            name, warnings = test, []
        elif warning:
            warnings.append(warning)
        elif outcome and name:
            found.append((name, Judged(outcome, tuple(warnings))))
            name = ""
    return found


@pytest.mark.parametrize("suite", EXPECTED)
def test_litmus_finds_what_is_expected_and_nothing_else(relay: Relay, tmp_path: Path, suite: str) -> None:
    done = run(tmp_path, "env", f"TESTS={suite}", "litmus", "-k", relay.url + ROOT)
    said = done.stdout.decode("utf-8", "replace").replace("\r", "\n")
    verdicts = judged(said)
    expected = EXPECTED[suite]
    assert [(name, verdict) for name, verdict in verdicts if verdict != expected.get(name, Judged("pass"))] == [], said
    assert set(expected) <= {name for name, _ in verdicts}, said
    assert verdicts[-1][0].endswith("precond" if suite == "locks" else "finish"), said
    assert {exchange.status for exchange in relay.exchanges} <= {200, 201, 207, 400, 403, 404}
