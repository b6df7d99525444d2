"""Attack: be taken for somebody else. By a name that a policy means otherwise, by one that looks like another, by a
password nearly right, by fields that proxies set, by a token where none belongs.
"""

import base64
import json

import pytest

from tests.interop.guarded.gateway import ADA, BOB, LONG, PASSWORDS, STRANGE, Answer, Guarded, basic, bearer

SECRETS = ("/fs/secret/1.0.0/secret.txt", "/webdav/secret/1.0.0/secret.txt")


def may_read(guarded: Guarded, fields: dict[str, str]) -> set[str]:
    """Return the datasets that somebody is shown."""
    answer = guarded.ask("GET", "/fs/", {**fields, "Accept": "application/json"})
    return {entry["name"] for entry in answer.document["entries"]} if answer.status == 200 else set()


def test_everybody_is_who_they_are(guarded: Guarded) -> None:
    for user, password in PASSWORDS.items():
        assert guarded.who(basic(user, password)) == (200, f"user:{user}")
    assert guarded.who(bearer(guarded.tokens["ci"])) == (200, "token:ci")
    assert may_read(guarded, basic("ada", ADA)) == {"maps", "secret", "odd", "upward", "geo", "@scope"}
    assert may_read(guarded, basic("bob", BOB)) == {"maps"}


@pytest.mark.parametrize("user", ["anonymous", "authenticated", "admin", "*"])
def test_a_user_whose_name_means_something_in_policies_is_a_user(guarded: Guarded, user: str) -> None:
    login = basic(user, STRANGE)
    assert may_read(guarded, login) == set()
    for target in SECRETS:
        assert guarded.ask("GET", target, login).status == 404
    assert guarded.ask("GET", "/api/v1/policy", login).status in (403, 404)


NAMES = [
    "group:admin", "user:ada", "token:all", "user:root", "root", "ADA", "Ada", "ada ", " ada", "ada\t",
    "ada\0", "ada\0x",
    "ada\n", "ada\r\n", "\u0430da", "\uff41da", "a\u200bda", "ada\u00a0", "ad\u0101", "\ufeffada",
    "ada,bob", "ada;bob", "",
    "*", "a*", "%61da", "ada@", "\\ada", "domain\\ada", "ada@scope", "\u202eada", "-", "ada#", "#ada",
    "a" * 257, "a" * 20_000,
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_no_other_name_has_adas_password(guarded: Guarded, number: int) -> None:
    for password in (ADA, STRANGE, ""):
        if (NAMES[number], password) == ("*", STRANGE):
            continue
        status, who = guarded.who(basic(NAMES[number], password), source=f"127.0.4.{number + 1}")
        assert (status in (400, 401, 431), who) == (True, ""), NAMES[number][:80]


def spelled(text: str | bytes) -> dict[str, str]:
    data = text.encode() if isinstance(text, str) else text
    return {"Authorization": f"Basic {base64.b64encode(data).decode()}"}


def test_a_password_nearly_right_is_wrong(guarded: Guarded) -> None:
    wrong = [
        *(
            basic("ada", password)
            for password in ("", ADA[:-1], ADA + "x", ADA + "\0", ADA + " ", ADA.upper(), ADA + "\n")
        ),
        basic("ada", ADA.encode("latin-1", "replace")),
        basic("ada", ADA.replace("\u00e4", "a\u0308")),
        basic("ada", ADA.partition(":")[0]),
        basic("ada", ADA.partition(":")[2]),
        basic("ada:" + ADA.partition(":")[0], ADA.partition(":")[2] + "x"),
        basic("long", LONG + "7"),  # bcrypt looks at 72 bytes
        basic("long", LONG + "\0"),
        basic("long", LONG[:-1]),
        basic("long", LONG * 20),
        basic("bob", ADA),
        basic("bob", guarded.users.read_text().split("bob:")[1].split("\n")[0]),  # the hash, as somebody stole it
        basic("ada", "x" * 40_000),
        spelled("ada"),
        spelled(""),
        spelled(":"),
        spelled(b"ada:\xff\xfe"),
        {"Authorization": "Basic"},
        {"Authorization": "Basic "},
        {"Authorization": basic("ada", ADA)["Authorization"] + "="},
        {"Authorization": basic("ada", ADA)["Authorization"] + " x"},
        {"Authorization": basic("ada", ADA)["Authorization"] + ", Basic x"},
        {"Authorization": basic("ada", ADA)["Authorization"].replace("Basic", "Bearer")},
        {"Authorization": basic("ada", ADA)["Authorization"].replace("Basic", "Digest")},
        {"Authorization": basic("ada", ADA)["Authorization"].replace("Basic ", "Basic")},
        bearer(ADA.encode().hex()),
        bearer("ada"),
        bearer(""),
    ]
    for number, fields in enumerate(wrong):
        assert guarded.who(fields, source=f"127.0.5.{number + 1}") in ((401, ""), (400, ""), (431, "")), fields
    assert guarded.who(basic("long", LONG)) == (200, "user:long")
    assert guarded.who({"Authorization": basic("ada", ADA)["Authorization"].replace("Basic", "bAsIc")})[0] == 200


def test_a_token_nearly_right_is_wrong(guarded: Guarded) -> None:
    token = guarded.tokens["all"]
    other = "a" if token[-1] != "a" else "b"
    head, _, secret = token.rpartition("_")
    nfs = str(guarded.place.run("token", "create", "mount", "--nfs", "--allow", "read:secret")["token"])
    guarded.tokens["mount"] = nfs
    wrong = [
        token[:-1] + other, token[:-1], token + "a", token.upper(), f"{head}_{other * 40}", secret, head, f"{head}_",
        f"{guarded.tokens['ci'].rpartition('_')[0]}_{secret}",  # a secret of another token
        nfs,  # for mounts alone
        f"{token} ", f"{token}\t{token}", f"{token},{token}", "aefs_" + "a" * 15_000,
    ]  # fmt: skip
    for number, text in enumerate(wrong):
        source = f"127.0.6.{number + 1}"
        if text.strip() != token:
            assert guarded.who(bearer(text), source)[0] in (400, 401), text
        assert guarded.who(basic("ada", text), source)[0] in (400, 401), text
    # Bearer is words of ASCII: what stands around them is no part of the token.
    assert guarded.who(basic(token, ""), "127.0.6.40")[0] == 401  # as other services have it
    assert guarded.who(basic(token, token), "127.0.6.41") == (200, "token:all")


def test_a_token_is_taken_in_its_own_field_alone(guarded: Guarded) -> None:
    """Addresses are written down by browsers, proxies and logs, and sent on as Referer."""
    token = guarded.tokens["all"]
    tries: list[tuple[str, dict[str, str]]] = [
        (f"/fs/secret/1.0.0/secret.txt?{name}={token}", {})
        for name in ("access_token", "token", "auth", "api_key", "apikey", "key", "password", "authorization")
    ]
    fields = (
        "Cookie", "Referer", "X-Auth-Token", "X-Api-Key", "Private-Token", "X-Access-Token", "Proxy-Authorization",
        "X-Forwarded-Authorization", "WWW-Authenticate", "From",
    )  # fmt: skip
    tries += [("/fs/secret/1.0.0/secret.txt", {name: token}) for name in fields]
    tries += [("/fs/secret/1.0.0/secret.txt", {name: f"Bearer {token}"}) for name in fields]
    tries += [
        ("/fs/secret/1.0.0/secret.txt", {"Cookie": f"{name}={token}"}) for name in ("aetherfs", "token", "session")
    ]
    tries += [(f"/@token/{token}/fs/secret/1.0.0/secret.txt", {}), (f"/fs/@token/{token}/secret/1.0.0/secret.txt", {})]
    tries += [(f"http://x:{token}@{guarded.netloc}/fs/secret/1.0.0/secret.txt", {})]
    for target, given in tries:
        answer: Answer = guarded.ask("GET", target, given)
        assert answer.status in (400, 401, 404), (target, given)
        assert b"nobody else" not in answer.body
        assert token.encode() not in answer.body
        assert token not in "".join(answer.fields.values())


@pytest.mark.parametrize(
    "field",
    [
        "Remote-User", "X-Remote-User", "X-Forwarded-User", "X-Forwarded-Email", "X-Auth-Request-User",
        "X-WEBAUTH-USER",
        "REMOTE_USER", "HTTP_REMOTE_USER", "X-Forwarded-For", "X-Real-IP", "Forwarded", "aetherfs.principal",
        "X-SSL-Client-S-DN", "X-Client-Cert", "SSL_CLIENT_CERT", "aetherfs.certificate", "Remote_Addr",
        "X-AetherFS-User",
    ],
)  # fmt: skip
def test_what_proxies_say_of_who_asks_counts_for_nothing(guarded: Guarded, field: str) -> None:
    for value in ("ada", "user:ada", "for=127.0.0.9;by=ada", "127.0.0.9", "CN=ada"):
        assert guarded.who({field: value})[0] == 401
        assert guarded.who({**basic("bob", BOB), field: value}) == (200, "user:bob")
    guarded.ask("GET", "/fs/secret/1.0.0/secret.txt", {**basic("bob", BOB), field: "127.0.0.9"}, source="127.0.7.7")
    assert b'"address": "127.0.0.9"' not in guarded.audit.read_bytes()
    assert b'"address": "127.0.7.7"' in guarded.audit.read_bytes()


def test_no_answer_tells_who_there_is(guarded: Guarded) -> None:
    """Known and unknown users, and tokens of either kind, get the same answer to the byte."""
    told = set()
    tries = [
        *(basic(user, "x") for user in ("ada", "nobody", "group:admin")),
        basic("x", guarded.tokens["ci"][:-2] + "aa"),
        bearer("aefs_" + "a" * 10 + "_" + "b" * 40),
        bearer(guarded.tokens["ci"][:-1] + "1"),
        bearer("x.y.z"),
    ]
    for number, fields in enumerate(tries):
        answer = guarded.ask("GET", "/fs/secret/1.0.0/secret.txt", fields, source=f"127.0.8.{number + 1}")
        fixed = {name: value for name, value in answer.fields.items() if name != "date"}
        told.add((answer.status, tuple(sorted(fixed.items())), answer.body))
    assert len(told) == 1
    assert told.pop()[0] == 401


def test_nobody_gains_by_what_they_make(guarded: Guarded) -> None:
    """A token may be given rules beyond its owner's, which count for nothing; and it makes no others."""
    json_type = {"Content-Type": "application/json"}
    wish = json.dumps({"name": "bobs-own", "rules": ["read:secret", "admin,read,push,tag,delete:*"]})
    made = guarded.ask("POST", "/api/v1/tokens", {**basic("bob", BOB), **json_type}, body=wish)
    assert made.status == 201
    guarded.tokens["bobs-own"] = token = made.document["token"]
    assert may_read(guarded, bearer(token)) == {"maps"}
    assert guarded.ask("GET", SECRETS[0], bearer(token)).status == 404
    assert guarded.ask("GET", "/api/v1/policy", bearer(token)).status == 403
    more = json.dumps({"name": "more", "rules": ["read:maps"]})
    for login in (bearer(token), basic("x", token), bearer(guarded.tokens["all"])):
        assert guarded.ask("POST", "/api/v1/tokens", {**login, **json_type}, body=more).status == 403
    # Nobody revokes what is another's, or learns that it is there.
    for name in ("all", "ci", "nothing"):
        for method in ("GET", "DELETE"):
            answer = guarded.ask(method, f"/api/v1/tokens/{name}", {**basic("bob", BOB), **json_type})
            assert answer.status == 404, (method, name)
            assert answer.body.replace(name.encode(), b"*").count(b"*") == 1


def test_a_tag_takes_nothing_from_a_dataset_that_is_hidden(guarded: Guarded) -> None:
    listing = guarded.ask("GET", "/fs/secret/", {**basic("ada", ADA), "Accept": "application/json"}).document
    state = listing["entries"][0]["state"]
    tagger = {**bearer(guarded.token("tagger", "read,tag,push,delete:maps")), "Content-Type": "application/json"}
    zeros = f"b3-{'0' * (len(state) - 3)}"
    pairs = [
        ({"manifest": state}, {"manifest": zeros}),
        ({"reference": "secret:1.0.0"}, {"reference": "socret:1.0.0"}),
        ({"reference": f"secret@{state}"}, {"reference": f"socret@{state}"}),
        ({"reference": f"maps@{state}"}, {"reference": f"maps@{zeros}"}),
    ]
    for pair in pairs:
        told = set()
        for wish in pair:
            answer = guarded.ask("PUT", "/api/v1/datasets/maps/tags/stolen", tagger, body=json.dumps(wish))
            told.add((answer.status, answer.body.replace(state.encode(), zeros.encode()).replace(b"socret", b"secret")))
        assert len(told) == 1, pair
        assert told.pop()[0] == 404
    assert guarded.ask("GET", "/fs/maps/stolen/secret.txt", basic("ada", ADA)).status == 404
