"""Attack: reach with a path what may not be read. In every spelling of "up" and "/", on every surface, none does.

What is hidden answers as what was never there, in the same spelling.
"""

import itertools

import pytest

from tests.interop.guarded.gateway import ADA, BOB, SECRET, Guarded, basic

UPS = [
    "..", "%2e%2e", ".%2E", "%252e%252e", "%25252e%25252e", "%c0%ae%c0%ae", "%e0%80%ae%e0%80%ae", "%f0%80%80%ae.",
    "%uff0e%uff0e", "%u002e%u002e", "%ef%bc%8e%ef%bc%8e", "\uff0e\uff0e", "..%00", "%00..", "..%20", "..%09", "..;",
    "..;a=b", "...", "..%0d%0a", "%%32%65%%32%65", "..%5c..", "..\\..",
]  # fmt: skip
SEPARATORS = [
    "/",
    "%2f",
    "%252f",
    "\\",
    "%5c",
    "%255c",
    "%c0%af",
    "%e0%80%af",
    "//",
    "/./",
    ";/",
    "%00/",
    "/%2e/",
    "%u2215",
]
NAMES = [
    "secret", "%73ecret", "%2573ecret", "./secret", "/secret", "maps/../secret", "maps%2f..%2fsecret",
    "@scope/../secret",
    "secret%2f", "secret;x", "secret%00", "secret%00.txt", "secret%20", "secret.", "secret::$DATA",
    "SECRET", "\uff53ecret",
    "s\u00adecret", "secret%0d%0a", "secret\\1.0.0", "secret%5c1.0.0", "secret#", "secret%23", "secret%3f", "*", "**",
    "secre%3f", "%2e/secret", "secret%2f1.0.0", "maps/1.0.0/../../secret", "~root", "-",
]  # fmt: skip
OF_OTHERS = (b"root:", b'"format"', SECRET)


def other_name(text: str) -> str:
    """Return a text with a dataset's name in it that there never was."""
    return text.replace("ecret", "ocret").replace("ECRET", "OCRET")


def asked(guarded: Guarded, target: str, login: dict[str, str]) -> tuple[int, bytes]:
    """Send one request with any bytes in its target; return status and body."""
    head = f"GET {target} HTTP/1.1\r\nHost: gateway\r\nAuthorization: {login['Authorization']}\r\n"
    answer = guarded.say(f"{head}Connection: close\r\n\r\n".encode())
    first, _, body = answer.partition(b"\r\n\r\n")
    return int(first.split(b" ", 2)[1]), body


@pytest.mark.parametrize("surface", ["/fs", "/webdav"])
@pytest.mark.parametrize("up", UPS)
def test_no_spelling_of_up_leads_out_of_a_dataset(guarded: Guarded, surface: str, up: str) -> None:
    bob, ada = basic("bob", BOB), basic("ada", ADA)
    for separator in SEPARATORS:
        to_secret = f"{surface}/maps/1.0.0/sub/{separator.join((up, up, up, 'secret', '1.0.0', 'secret.txt'))}"
        status, body = asked(guarded, to_secret, bob)
        assert status in (400, 404), to_secret
        assert SECRET not in body
        away = f"{surface}/maps/1.0.0/{separator.join((*[up] * 12, 'etc', 'passwd'))}"
        status, body = asked(guarded, away, ada)
        assert status in (400, 404), away
        assert not any(mark in body for mark in OF_OTHERS)


@pytest.mark.parametrize(
    "surface", ["/fs", "/webdav", "/%66s", "http://gateway/fs", "http://gateway/webdav", "/fs//", "//fs"]
)
def test_a_hidden_dataset_is_in_every_spelling_what_was_never_there(guarded: Guarded, surface: str) -> None:
    bob = basic("bob", BOB)
    for name, behind in itertools.product(NAMES, ("/1.0.0/secret.txt", "")):
        target = f"{surface}/{name}{behind}"
        status, body = asked(guarded, target, bob)
        never, told = asked(guarded, f"{surface}/{other_name(name + behind)}", bob)
        assert (status, other_name(body.decode())) == (never, told.decode()), target
        if name not in ("%2e/secret", "./secret"):
            assert status in (400, 404), target
        assert SECRET not in body


def test_links_lead_nowhere_but_within_their_state(guarded: Guarded) -> None:
    ada = basic("ada", ADA)  # who may read all of it by its own path
    for surface in ("/fs", "/webdav"):
        assert guarded.ask("GET", f"{surface}/odd/1.0.0/links/in", ada).body == b"within\n"
        assert guarded.ask("GET", f"{surface}/odd/1.0.0/links/sub/above", ada).body == b"within\n"
        for name in ("out", "absolute", "up", "other", "self/out", "self/self/absolute", "sub/../absolute"):
            answer = guarded.ask("GET", f"{surface}/odd/1.0.0/links/{name}", ada)
            assert answer.status == 404, name
            assert not any(mark in answer.body for mark in OF_OTHERS)
        loop = guarded.ask("GET", f"{surface}/odd/1.0.0/links/{'self/' * 500}in", ada)
        assert (loop.status, loop.body) == (200, b"within\n") or loop.status == 404


def test_a_state_is_reached_by_its_own_datasets_name_alone(guarded: Guarded) -> None:
    """The id of a hidden state, told by somebody, opens nothing; nor does it where its reader asks another dataset."""
    state = guarded.ask("GET", "/fs/secret/", {**basic("ada", ADA), "Accept": "application/json"})
    ids = {entry["state"] for entry in state.document["entries"]}
    assert len(ids) == 1
    real = ids.pop()
    none = real[:-8] + "00000000"
    assert guarded.ask("GET", f"/fs/secret/{real}/secret.txt", basic("ada", ADA)).body == SECRET
    for dataset, login in itertools.product(("maps", "secret", "@scope/roads"), (basic("bob", BOB), basic("ada", ADA))):
        if (dataset, login) == ("secret", basic("ada", ADA)):
            continue
        for surface in ("/fs/", "/webdav/", "/api/v1/datasets/"):
            below = "tags/" if "api" in surface else ""
            end = "" if below else "/secret.txt"
            for spelled in (real, real[:20], real.upper()):
                got = guarded.ask("GET", f"{surface}{dataset}/{below}{spelled}{end}", login)
                other = guarded.ask("GET", f"{surface}{dataset}/{below}{none[: len(spelled)]}{end}", login)
                assert got.status == other.status, (surface, dataset, spelled)
                assert got.status in ((400, 404) if below else (404,))
                assert SECRET not in got.body
    for at in (f"maps@{real}", f"maps%40{real}", f"secret@{real}"):
        assert guarded.ask("GET", f"/fs/{at}/secret.txt", basic("bob", BOB)).status == 404


def test_no_other_field_of_a_request_reaches_what_is_hidden(guarded: Guarded) -> None:
    """`If` and `Destination` name other resources: what is told of those is no more than of any that are not there."""
    bob = basic("bob", BOB)
    etag = guarded.ask("HEAD", "/fs/secret/1.0.0/secret.txt", basic("ada", ADA)).fields["etag"]
    for method in ("PUT", "DELETE", "MOVE", "COPY", "LOCK", "UNLOCK", "PROPPATCH", "MKCOL"):
        told = set()
        for target, tag in itertools.product(("secret/1.0.0/secret.txt", "nothing/1.0.0/secret.txt"), (etag, '"0"')):
            place = f"{guarded.url}/webdav/{target}"
            for fields in ({"If": f"<{place}> ([{tag}])"}, {"If": f"<{place}> (<urn:x>)"}, {"Destination": place}):
                answer = guarded.ask(method, "/webdav/maps/1.0.0/a.txt", {**bob, **fields})
                told.add((answer.status, answer.body))
        assert len({status for status, _ in told}) == 1, (method, told)
        assert all(b"ecret" not in body for _, body in told)


@pytest.mark.parametrize(
    "field", ["X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Forwarded-Prefix", "Forwarded"]
)
def test_no_field_moves_a_request_to_another_path(guarded: Guarded, field: str) -> None:
    bob = basic("bob", BOB)
    plain = guarded.ask("GET", "/fs/maps/1.0.0/a.txt", bob)
    assert plain.body == b"hello\n"
    assert guarded.ask("GET", "/fs/maps/1.0.0/a.txt", {**bob, field: "/fs/secret/1.0.0/secret.txt"}).body == plain.body


METHODS = [
    "GET",
    "HEAD",
    "OPTIONS",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "DELETE",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "POST",
]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_tells_of_the_hidden_what_it_tells_of_the_absent(guarded: Guarded, method: str) -> None:
    etag = guarded.ask("HEAD", "/fs/secret/1.0.0/secret.txt", basic("ada", ADA)).fields["etag"]
    more = [
        *({}, {"If-None-Match": etag}, {"If-Match": etag}, {"If-Match": "*"}, {"If-None-Match": "*"}),
        *({"Range": "bytes=0-3"}, {"If-Range": etag, "Range": "bytes=0-3"}),
        *({"Accept": "application/json"}, {"Expect": "100-continue"}),
    ]
    ends = ("/1.0.0/secret.txt", "/", "/?archive=tar")
    places = [f"{surface}/{{}}{end}" for surface in ("/fs", "/webdav") for end in ends]
    places += [f"/api/v1/datasets/{{}}{end}" for end in ("", "/tags", "/tags/1.0.0")]
    for place, login, fields in itertools.product(places, ({}, basic("bob", BOB)), more):
        told = []
        for name in ("secret", "socret"):
            answer = guarded.ask(method, place.format(name), {**login, **fields, "Depth": "0"})
            said = {key: value for key, value in answer.fields.items() if key != "date"}
            told.append((answer.status, other_name(str(said)), other_name(answer.body.decode())))
        assert told[0] == told[1], (place, fields)
        assert told[0][0] not in (206, 207, 304, 412), (place, fields)
        assert told[0][0] != 200 or method == "OPTIONS"
