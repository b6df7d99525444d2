"""Attack: use the browser of somebody who is logged in, or what it keeps. Cookies that are old, planted or another's;
pages elsewhere that send forms; addresses that lead away; hosts that are another's; names that would break a field.
"""

import base64
import itertools
import json
import re
import time
from urllib.parse import quote, urljoin, urlsplit

import pytest

from auth.principal import user
from auth.session import SESSION, Sealer, begin, seal_session
from tests.interop.guarded.gateway import ADA, BOB, SECRET, Answer, Guarded, basic, bearer, form
from tests.support.until import wait_until

HIDDEN = "/fs/secret/1.0.0/secret.txt"


def cookies(answer: Answer) -> dict[str, str]:
    """Return the cookies that an answer sets."""
    lines = answer.fields.get("set-cookie", "").split("\n")
    return {name: rest.partition(";")[0] for name, _, rest in (line.partition("=") for line in lines) if name}


def sent(jar: dict[str, str]) -> dict[str, str]:
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())}


def page(guarded: Guarded, onward: str = "") -> tuple[dict[str, str], str]:
    """Open the login page; return its cookie and the word that its form repeats."""
    shown = guarded.ask("GET", f"/ui/login?next={quote(onward, safe='')}")
    assert shown.status == 200
    found = re.search(rb'name="csrf" value="([^"]+)"', shown.body)
    assert found is not None
    return cookies(shown), found[1].decode()


def log_in(
    guarded: Guarded, name: str, password: str, onward: str = "/fs/", fields: dict[str, str] | None = None
) -> tuple[dict[str, str], Answer]:
    """Log in by the form; return the session's cookie and the answer."""
    jar, csrf = page(guarded)
    head, body = form(csrf=csrf, next=onward, user=name, password=password)
    answer = guarded.ask("POST", "/ui/login", {**head, **sent(jar), **(fields or {})}, body=body)
    assert answer.status == 303, answer
    return {name: value for name, value in cookies(answer).items() if value}, answer


@pytest.fixture
def session(guarded: Guarded) -> dict[str, str]:
    """A session of ada's."""
    jar, _ = log_in(guarded, "ada", ADA)
    assert list(jar) == ["aetherfs"]
    assert guarded.ask("GET", HIDDEN, sent(jar)).body == SECRET
    return jar


def csrf_of(guarded: Guarded, jar: dict[str, str]) -> str:
    found = re.search(rb'name="csrf" value="([^"]+)"', guarded.ask("GET", "/ui/", sent(jar)).body)
    assert found is not None
    return found[1].decode()


def log_out(guarded: Guarded, jar: dict[str, str]) -> None:
    head, body = form(csrf=csrf_of(guarded, jar))
    assert guarded.ask("POST", "/ui/logout", {**head, **sent(jar)}, body=body).status == 200


def test_a_cookie_opens_nothing_after_its_logout(guarded: Guarded, session: dict[str, str]) -> None:
    """On both workers, also for answers that were given to the very same bytes before."""
    targets = (HIDDEN, "/fs/maps/1.0.0/a.txt", "/webdav/secret/1.0.0/secret.txt", "/api/v1/whoami", "/fs/")
    for target, _ in itertools.product(targets, range(8)):
        assert guarded.ask("GET", target, sent(session)).status == 200
    log_out(guarded, session)
    # The other worker is told: all who answer know of it.
    wait_until(lambda: {guarded.ask("GET", HIDDEN, sent(session)).status for _ in range(16)} == {401})
    for target, _ in itertools.product(targets, range(8)):
        answer = guarded.ask("GET", target, sent(session))
        assert answer.status == 401, target
        assert SECRET not in answer.body
    assert guarded.ask("GET", "/ui/", sent(session)).fields["location"].startswith("/ui/login")


def test_an_old_session_and_one_of_another_key_are_none(guarded: Guarded) -> None:
    record = json.loads((guarded.folder / "store" / "aetherfs.json").read_bytes())
    key = base64.b64decode(record["keys"]["handle"])  # as somebody who reads the bucket of a plain store has it
    now_s = time.time()
    made = {
        "good": (Sealer(key, SESSION), now_s),
        "old": (Sealer(key, SESSION), now_s - 13 * 3600),
        "not yet": (Sealer(key, SESSION), now_s + 3600),
        "another key": (Sealer(bytes(32), SESSION), now_s),
        "another purpose": (Sealer(key, "login"), now_s),
    }
    status = {}
    for name, (sealer, at_s) in made.items():
        text = seal_session(sealer, begin(user("ada"), at_s, 12 * 3600, "oidc"))
        status[name] = guarded.ask("GET", HIDDEN, {"Cookie": f"aetherfs={text}"}).status
    assert status == {"good": 200, "old": 401, "not yet": 401, "another key": 401, "another purpose": 401}


def test_a_changed_cookie_is_none(guarded: Guarded, session: dict[str, str]) -> None:
    text = session["aetherfs"]
    changed = [text[:-1], text + "A", text[:-2] + ("AA" if text[-2:] != "AA" else "BB"), text.upper(), text[::-1], ""]
    changed += [text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :] for at in range(0, len(text), 9)]
    for value in changed:
        assert guarded.ask("GET", HIDDEN, {"Cookie": f"aetherfs={value}"}).status == 401
    for planted in (f"aetherfs={text}; aetherfs=x", f"aetherfs=x; aetherfs={text}", f"__Host-aetherfs={text}"):
        assert guarded.ask("GET", HIDDEN, {"Cookie": planted}).status == 401
    assert guarded.ask("GET", HIDDEN, {"Cookie": f'aetherfs="{text}"'}).status == 401


def test_a_planted_session_is_not_what_a_login_goes_on_with(guarded: Guarded) -> None:
    attackers, _ = log_in(guarded, "bob", BOB)
    jar, csrf = page(guarded)
    head, body = form(csrf=csrf, next="/fs/", user="ada", password=ADA)
    answer = guarded.ask("POST", "/ui/login", {**head, **sent(jar | attackers)}, body=body)
    fresh = cookies(answer)["aetherfs"]
    assert fresh
    assert fresh != attackers["aetherfs"]
    assert guarded.ask("GET", "/api/v1/whoami", sent(attackers)).document["principal"] == "user:bob"
    assert guarded.ask("GET", HIDDEN, sent(attackers)).status == 404
    assert guarded.ask("GET", "/api/v1/whoami", {"Cookie": f"aetherfs={fresh}"}).document["principal"] == "user:ada"


def test_cookies_are_kept_from_scripts_and_other_sites(guarded: Guarded) -> None:
    _, answer = log_in(guarded, "ada", ADA)
    for line in (*answer.fields["set-cookie"].split("\n"), guarded.ask("GET", "/ui/login").fields["set-cookie"]):
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(line.split("; ")), line
        assert "Domain" not in line


def test_no_page_elsewhere_logs_somebody_in(guarded: Guarded) -> None:
    jar, csrf = page(guarded)
    other, _ = page(guarded)
    tries = [({}, csrf), (other, csrf), (jar, ""), (jar, csrf[:-1]), (jar, csrf + "x"), ({"aetherfs-form": ""}, csrf)]
    tries += [({"aetherfs-form": csrf}, csrf), ({"aetherfs": jar["aetherfs-form"]}, csrf)]
    for given, word in tries:
        head, body = form(csrf=word, next="/fs/", user="bob", password=BOB)
        answer = guarded.ask("POST", "/ui/login", {**head, **sent(given), "Origin": "https://evil.example"}, body=body)
        assert answer.status == 403
        assert "aetherfs" not in cookies(answer)
    for target in (f"/ui/login?csrf={csrf}&user=bob&password=x", "/ui/logout"):
        assert "aetherfs" not in cookies(guarded.ask("GET", target, sent(jar)))


def test_no_page_elsewhere_changes_anything_by_a_cookie(guarded: Guarded, session: dict[str, str]) -> None:
    """Even where a browser sends the cookie along: ada's own token, made by a form, would be somebody else's."""
    wish = json.dumps({"name": "stolen", "rules": ["read:maps"]})
    kinds = (
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "text/plain",
        "text/plain;application/json",
        "",
    )
    for kind in (*kinds, "application/json"):
        fields = {**sent(session), "Origin": "https://evil.example", **({"Content-Type": kind} if kind else {})}
        for more in (
            {},
            {"X-AetherFS-CSRF": ""},
            {"X-AetherFS-CSRF": "x"},
            {"X-CSRF-Token": csrf_of(guarded, session)},
        ):
            for method, target in (
                ("POST", "/api/v1/tokens"), ("PUT", "/api/v1/policy"), ("PUT", "/api/v1/datasets/maps/tags/x"),
                ("DELETE", "/api/v1/datasets/maps/tags/1.0.0"), ("DELETE", "/api/v1/tokens/all"),
            ):  # fmt: skip
                answer = guarded.ask(method, target, {**fields, **more}, body=wish)
                assert answer.status in (403, 415), (kind, more, method, target, answer)
    for method in ("POST", "GET", "PUT"):
        head, body = form(csrf="x")
        guarded.ask(method, "/ui/logout", {**head, **sent(session)}, body=body if method == "POST" else None)
    assert guarded.ask("GET", HIDDEN, sent(session)).status == 200  # still logged in
    names = {token["name"] for token in guarded.place.run("token", "ls")["tokens"]}
    assert "stolen" not in names
    # What the gateway's own page does, which knows the word.
    own = {**sent(session), "Content-Type": "application/json", "X-AetherFS-CSRF": csrf_of(guarded, session)}
    made = guarded.ask("POST", "/api/v1/tokens", own, body=wish)
    assert made.status == 201, made
    guarded.tokens["stolen"] = made.document["token"]


def test_no_answer_lets_another_site_read_it(guarded: Guarded, session: dict[str, str]) -> None:
    for target, login in itertools.product(
        ("/fs/", HIDDEN, "/webdav/", "/api/v1/whoami", "/ui/"), (sent(session), basic("ada", ADA))
    ):
        for method in ("GET", "OPTIONS"):
            fields = {**login, "Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
            answer = guarded.ask(method, target, fields)
            assert not [name for name in answer.fields if name.startswith("access-control-")]


def test_no_page_tells_where_it_was_left_from(guarded: Guarded, session: dict[str, str]) -> None:
    for target in ("/ui/", "/fs/", "/fs/maps/", "/fs/secret/1.0.0/"):
        answer = guarded.ask("GET", target, {**sent(session), "Accept": "text/html"})
        assert answer.fields["content-type"].startswith("text/html"), target
        assert answer.fields["referrer-policy"] == "no-referrer"
        assert "script-src" not in answer.fields["content-security-policy"]
    assert guarded.ask("GET", "/ui/login").fields["referrer-policy"] == "no-referrer"
    html = guarded.ask("GET", "/fs/maps/1.0.0/page.html", sent(session))
    assert html.fields["content-security-policy"].startswith("sandbox;")
    assert html.fields["x-content-type-options"] == "nosniff"


AWAY = [
    "https://evil.example/", "//evil.example/", "///evil.example", "/\\evil.example",
    "\\\\evil.example", "/\t/evil.example",
    "/\n/evil.example", "/\r\n/evil.example", "\t//evil.example", " //evil.example",
    "http:evil.example", "https:/evil.example",
    "javascript:alert(1)", "data:text/html,x", "/%09/evil.example", "/%5cevil.example",
    "/%2f/evil.example", "/.//evil.example",
    "/..//evil.example", "/fs/..//../\\evil.example", "/@evil.example", "//evil.example@gateway/",
    "?next=//evil.example",
    "#//evil.example", "evil.example", "/\u2215evil.example", "/\uff0f/evil.example",
    "/;//evil.example", "/\0/evil.example",
    "/ui/login/start?next=//evil.example", "/ui/logout", "/x\r\nSet-Cookie: a=b",
    "/%0d%0aSet-Cookie:%20a=b", "/" + "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(AWAY)))
def test_a_login_leads_nowhere_else(guarded: Guarded, number: int) -> None:
    onward = AWAY[number]
    _, answer = log_in(guarded, "ada", ADA, onward)
    place = answer.fields["location"]
    assert "a=b" not in answer.fields.get("set-cookie", "")
    assert place.startswith("/"), place
    # As browsers resolve it: \ is /, and tabs and line ends are nothing.
    seen = urlsplit(urljoin(guarded.url + "/ui/login", re.sub(r"[\t\r\n]", "", place).replace("\\", "/")))
    assert seen.netloc == guarded.netloc, place
    assert not place.startswith("/ui/log")
    shown = guarded.ask("GET", f"/ui/login?next={quote(onward, safe='')}")
    assert b"evil.example" not in shown.body or b'value="/' in shown.body
    assert "location" not in shown.fields


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "gateway@evil.example", "evil.example/x", "evil\texample", "a" * 300, '"><x>'],
)
def test_another_host_s_name_is_repeated_nowhere(guarded: Guarded, host: str) -> None:
    jar, csrf = page(guarded)
    head, body = form(csrf=csrf, next="/fs/", user="ada", password=ADA)
    for field in ("Host", "X-Forwarded-Host", "X-Forwarded-Server", "X-Host"):
        for method, target, fields, sending in (
            ("POST", "/ui/login", {**head, **sent(jar)}, body),
            ("GET", "/ui/login?next=/fs/", {}, None),
            ("GET", "/", {}, None),
            ("GET", "/fs/maps", {**basic("bob", BOB), "Accept": "text/html"}, None),
            ("PROPFIND", "/webdav/maps/", {**basic("bob", BOB), "Depth": "1"}, None),
        ):
            answer = guarded.ask(method, target, {**fields, field: host}, body=sending)
            said = answer.body.decode("utf-8", "replace") + "".join(answer.fields.values())
            assert "evil" not in said, (field, method, target)
            assert host not in said or field != "Host" or answer.status == 400


def test_names_break_no_field(guarded: Guarded) -> None:
    """A dataset's name for a file, with a line break in it, stands in Content-Disposition and in listings."""
    name = "a%0D%0ASet-Cookie:%20aetherfs=planted%0D%0A%0D%0A.bin"
    ada = basic("ada", ADA)
    for target in (f"/fs/odd/1.0.0/{name}", f"/webdav/odd/1.0.0/{name}"):
        answer = guarded.ask("GET", target, ada)
        assert answer.body == b"breaks a line\n"
        assert "set-cookie" not in answer.fields
        assert all(value.isprintable() for key, value in answer.fields.items() if "\n" not in value), answer.fields
    for target in ("/fs/odd/1.0.0/", "/fs/odd/1.0.0/?archive=zip", f"/fs/odd/1.0.0/{name}/"):
        assert "set-cookie" not in guarded.ask("GET", target, ada).fields
    listing = guarded.ask("PROPFIND", "/webdav/odd/1.0.0/", {**ada, "Depth": "1"})
    assert b"\r\nSet-Cookie" not in listing.body
    for path in (
        "/fs/%0d%0aSet-Cookie:%20a=b",
        "/%0d%0aSet-Cookie:%20a=b",
        "/ui/%0d%0aSet-Cookie:%20a=b",
        "/fs/x%0aa/",
    ):
        for login in ({}, ada):
            answer = guarded.ask("GET", path, {**login, "Accept": "text/html"})
            assert "set-cookie" not in answer.fields
            assert answer.status in (401, 404)


def test_a_session_is_no_bearer_and_a_token_no_session(guarded: Guarded, session: dict[str, str]) -> None:
    text = session["aetherfs"]
    assert guarded.ask("GET", HIDDEN, bearer(text)).status == 401
    assert guarded.ask("GET", HIDDEN, basic("ada", text), source="127.0.10.1").status == 401
    assert guarded.ask("GET", HIDDEN, {"Cookie": f"aetherfs={guarded.tokens['all']}"}).status == 401
    # What is presented counts, and not the cookie that a browser sends along.
    assert guarded.ask("GET", HIDDEN, {**sent(session), **basic("bob", BOB)}).status == 404
    assert guarded.ask("GET", HIDDEN, {**sent(session), **basic("ada", "x")}, source="127.0.10.2").status == 401


def test_no_cache_that_many_share_keeps_what_is_shown_to_one(guarded: Guarded, session: dict[str, str]) -> None:
    """A cookie, unlike Authorization, does not keep them from it (RFC 9111 section 3.5)."""
    targets = ["/fs/", "/fs/maps/", "/fs/maps/1.0.0/", "/fs/maps/1.0.0/?archive=tar", "/fs/maps/latest/a.txt", HIDDEN]
    targets += ["/webdav/", "/webdav/maps/", "/webdav/maps/1.0.0/a.txt", "/api/v1/whoami", "/api/v1/datasets", "/ui/"]
    targets += ["/fs/none/", "/webdav/none/x", "/api/v1/none", "/fs/secret/none", "/none"]
    for target, login in itertools.product(targets, (sent(session), basic("ada", ADA), basic("bob", BOB), {})):
        for fields in ({}, {"Accept": "application/json"}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"}):
            for method in ("GET", "HEAD"):
                kept = guarded.ask(method, target, {**login, **fields}).fields.get("cache-control", "")
                assert kept.startswith("private") or kept == "no-store", (method, target, fields)
