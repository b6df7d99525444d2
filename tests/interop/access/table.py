"""Who may do what, written down by hand: principals, datasets, and what each surface has to answer.

Nothing here is computed by what is tested. A row of `PRINCIPALS` says what somebody may; a row of `ACTIONS` says how
one asks for something and what the answer is to who may; `DENIED` and its like say what it is to who may not.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

POLICY: Final = """
[[rule]]
allow = ["read"]
to = ["anonymous"]
on = ["public"]
[[rule]]
allow = ["read"]
to = ["user:ada"]
on = ["shared", "twin", "@geo/*"]
[[rule]]
deny = ["read"]
to = ["user:ada"]
on = ["@geo/h*"]
[[rule]]
allow = ["tag"]
to = ["user:ada"]
on = ["shared"]
[[rule]]
allow = ["tag", "delete"]                # without read: no use
to = ["user:bob"]
on = ["secret"]
[[rule]]
allow = ["read"]
to = ["group:staff"]
on = ["shared", "secret"]
[[rule]]
allow = ["read"]
to = ["user:cora"]
on = ["secret", "@geo/city"]
[[rule]]
allow = ["read", "tag", "delete", "admin"]
to = ["user:root"]
on = ["*"]
"""

# `twin` and `secret` hold the very same bytes in 1.0.0, so that their states have one id.
DATASETS: Final = ("public", "shared", "secret", "twin", "@geo/city", "@geo/hidden", "@lab/only")
ABSENT: Final = {"secret": "absent", "@geo/hidden": "@geo/hollow", "@lab/only": "@bal/only"}  # of the same length

# How somebody shows who they are.
NOTHING, PASSWORD, JWT, CERTIFICATE, BEARER, AS_PASSWORD, COOKIE = (
    "nothing", "password", "jwt", "certificate", "bearer", "as-password", "cookie",
)  # fmt: skip
NFS_RULE, NFS_TOKEN = "nfs-rule", "nfs-token"


class Who(NamedTuple):
    """One who asks, and all that they may."""

    id: str
    way: str
    name: str = ""  # what `way` shows: a user, or a token of `TOKENS`
    says: str = ""  # whoami
    reads: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()  # of those that they may read
    deletes: tuple[str, ...] = ()
    admin: bool = False
    makes_tokens: bool = False
    good: bool = True  # else nobody at all: 401 for everything, what anonymous may read too


class Made(NamedTuple):
    """A token that is made for the matrix."""

    name: str
    rules: tuple[str, ...]
    owner: str = ""  # user; empty: by the store's own credentials
    nfs: bool = False
    ends: str = ""  # expired or revoked


TOKENS: Final = (
    Made("owned", ("read,tag:shared", "read:secret"), owner="ada"),
    Made("free", ("read:@lab/*", "read,tag:secret")),
    Made("expired", ("read:*",), ends="expired"),
    Made("revoked", ("read:*",), ends="revoked"),
    Made("mount", ("read:secret", "read:@geo/*"), nfs=True),
    Made("mount-owned", ("read:*",), owner="ada", nfs=True),
)

ADA: Final = ("public", "shared", "twin", "@geo/city")
PRINCIPALS: Final = (
    Who("anonymous", NOTHING, says="anonymous", reads=("public",)),
    Who("ada", PASSWORD, "ada", "user:ada", ADA, tags=("shared",), makes_tokens=True),
    Who("ada-browser", COOKIE, "ada", "user:ada", ADA, tags=("shared",), makes_tokens=True),
    Who("bob", PASSWORD, "bob", "user:bob", ("public",), makes_tokens=True),
    Who("olga-provider", JWT, "olga", "user:olga", ("public", "shared", "secret"), makes_tokens=True),
    Who("cora-certificate", CERTIFICATE, "cora", "user:cora", ("public", "secret", "@geo/city"), makes_tokens=True),
    Who("root", PASSWORD, "root", "user:root", DATASETS, DATASETS, DATASETS, admin=True, makes_tokens=True),
    # A token may do what it was made for, and no more than its owner may.
    Who("owned-bearer", BEARER, "owned", "token:owned", ("shared",), tags=("shared",)),
    Who("owned-as-password", AS_PASSWORD, "owned", "token:owned", ("shared",), tags=("shared",)),
    Who("free-bearer", BEARER, "free", "token:free", ("secret", "@lab/only"), tags=("secret",)),
    Who("expired", BEARER, "expired", good=False),
    Who("revoked", AS_PASSWORD, "revoked", good=False),
    Who("mount-on-http", BEARER, "mount", good=False),
    Who("wrong-password", PASSWORD, "ada", good=False),
    Who("unknown-user", PASSWORD, "nobody", good=False),
)
NFS_PRINCIPALS: Final = (
    Who("nobody-by-rule", NFS_RULE, "127.0.0.1", reads=("public",)),
    Who("ada-by-rule", NFS_RULE, "127.0.0.2", reads=ADA),
    Who("cora-by-rule", NFS_RULE, "127.0.0.3", reads=("public", "secret", "@geo/city")),
    Who("no-rule", NFS_RULE, "127.0.0.9", good=False),
    Who("mount", NFS_TOKEN, "mount", reads=("secret", "@geo/city", "@geo/hidden")),
    Who("mount-owned", NFS_TOKEN, "mount-owned", reads=ADA),
    Who("http-token-on-nfs", NFS_TOKEN, "free", good=False),
)
NFS_EXPORTS: Final = {"127.0.0.1": "anonymous", "127.0.0.2": "user:ada", "127.0.0.3": "user:cora"}

JSON: Final = {"Accept": "application/json"}
HTML: Final = {"Accept": "text/html"}
WRITE: Final = {"Content-Type": "application/json"}
NEVER: Final = '"b3-' + "0" * 64 + '"'  # no state: what gets as far as conditions changes nothing


class Action(NamedTuple):
    """Something that one can ask of a dataset: `{d}` is its name, `{s}` its state `b3-...`."""

    surface: str
    method: str
    target: str
    may: int  # status for who may
    headers: Mapping[str, str] = MappingProxyType({})
    body: str = ""
    needs: str = "read"  # of the rights in `Who`
    hidden: int = 404  # status for who logged in and may not read it, or for what is not there
    anonymous: int = 401  # status for who did not log in, and may not


PROPPATCH: Final = (
    '<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:displayname>x</D:displayname></D:prop></D:set>'
    "</D:propertyupdate>"
)
ACTIONS: Final = (
    Action("fs", "GET", "/fs/{d}/1.0.0/a.txt", 200),
    Action("fs", "GET", "/fs/{d}/latest/sub/b.txt", 200),
    Action("fs", "HEAD", "/fs/{d}/1.0.0/a.txt", 200),
    Action("fs", "GET", "/fs/{d}/1.0.0/a.txt", 206, {"Range": "bytes=1-3"}),
    Action("fs", "GET", "/fs/{d}/", 200, HTML, anonymous=303),  # a browser goes to the login page
    Action("fs", "GET", "/fs/{d}/1.0.0/", 200, JSON),
    Action("fs", "GET", "/fs/{d}/1.0.0/?archive=tar", 200),
    Action("fs", "GET", "/fs/{d}/1.0.0/sub?archive=zip", 200),
    Action("fs", "GET", "/fs/{d}/{s}/a.txt", 200),
    Action("fs", "OPTIONS", "/fs/{d}/", 200, hidden=200),
    Action("fs", "PUT", "/fs/{d}/1.0.0/a.txt", 405, body="x", hidden=405),
    Action("webdav", "PROPFIND", "/webdav/{d}/", 207, {"Depth": "0"}),
    Action("webdav", "PROPFIND", "/webdav/{d}/1.0.0/", 207, {"Depth": "1"}),
    Action("webdav", "PROPFIND", "/webdav/{d}/{s}/", 207, {"Depth": "1"}),
    Action("webdav", "PROPFIND", "/webdav/{d}/", 403, {"Depth": "infinity"}),
    Action("webdav", "GET", "/webdav/{d}/1.0.0/a.txt", 200),
    Action("webdav", "HEAD", "/webdav/{d}/latest/a.txt", 200),
    Action("webdav", "OPTIONS", "/webdav/{d}/", 200, hidden=200),
    Action("webdav", "PUT", "/webdav/{d}/1.0.0/a.txt", 403, body="x", hidden=403),
    Action("webdav", "DELETE", "/webdav/{d}/1.0.0/a.txt", 403, hidden=403),
    Action("webdav", "PROPPATCH", "/webdav/{d}/1.0.0/a.txt", 207, body=PROPPATCH),
    Action("api", "GET", "/api/v1/datasets/{d}", 200),
    Action("api", "GET", "/api/v1/datasets/{d}/tags", 200),
    Action("api", "GET", "/api/v1/datasets/{d}/tags/1.0.0", 200),
    Action("api", "HEAD", "/api/v1/datasets/{d}/tags/latest", 200),
    # These end at their condition, which does not hold, where they are allowed.
    Action("api", "PUT", "/api/v1/datasets/{d}/tags/mine", 412, WRITE | {"If-Match": NEVER}, '{{"manifest": "{s}"}}',
           needs="tag"),
    Action("api", "DELETE", "/api/v1/datasets/{d}/tags/latest", 412, WRITE | {"If-Match": NEVER}, needs="delete"),
)  # fmt: skip
# A tag in `shared` for a state of another dataset: for who may tag the one and read the other.
ACROSS: Final = Action("api", "PUT", "/api/v1/datasets/shared/tags/across", 412, WRITE | {"If-Match": NEVER},
                       '{{"reference": "{d}:1.0.0"}}')  # fmt: skip


class RpcAction(NamedTuple):
    """The same by gRPC: fields of the request as JSON has them, texts as in `Action`; a code's name for a status."""

    method: str
    fields: Mapping[str, object]
    may: str = "OK"
    needs: str = "read"


_UNLESS_NEVER: Final = {"manifest": NEVER.strip('"')}
RPC_ACTIONS: Final = (
    RpcAction("GetDataset", {"dataset": "{d}"}),
    RpcAction("ListTags", {"dataset": "{d}"}),
    RpcAction("GetTag", {"dataset": "{d}", "tag": "1.0.0"}),
    RpcAction("ListFolder", {"place": {"dataset": "{d}", "tag": "latest"}}),
    RpcAction("ReadFile", {"place": {"dataset": "{d}", "tag": "1.0.0", "path": "a.txt"}}),
    RpcAction("ReadFile", {"place": {"dataset": "{d}", "tag": "{s}", "path": "sub/b.txt"}}),
    RpcAction("SetTag", {"dataset": "{d}", "tag": "mine", "manifest": "{s}", "condition": _UNLESS_NEVER}, "ABORTED",
              needs="tag"),
    RpcAction("DeleteTag", {"dataset": "{d}", "tag": "latest", "condition": _UNLESS_NEVER}, "ABORTED", needs="delete"),
)  # fmt: skip
RPC_ACROSS: Final = RpcAction(
    "SetTag", {"dataset": "shared", "tag": "across", "reference": "{d}:1.0.0", "condition": _UNLESS_NEVER}, "ABORTED"
)
RPC_PRINCIPALS: Final = tuple(who for who in PRINCIPALS if who.way not in (CERTIFICATE, COOKIE))
RPC_CODES: Final = {404: "NOT_FOUND", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 412: "ABORTED"}
LACKS_RIGHT: Final = 403  # for who may read it but not do this
LOG_IN: Final = 401  # for who is not who they say


class Question(NamedTuple):
    """Something that is about no dataset."""

    method: str
    target: str
    needs: str  # right of `Who`; empty: none
    may: int
    denied: int
    anonymous: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: str = ""


QUESTIONS: Final = (
    Question("GET", "/api/v1/whoami", "", 200, 0, 200),
    Question("GET", "/api/v1/login", "", 200, 0, 200),
    Question("GET", "/api/v1/tokens", "", 200, 0, 401),
    Question("GET", "/api/v1/policy", "admin", 200, 403, 401),
    Question("PUT", "/api/v1/policy", "admin", 412, 403, 401, WRITE | {"If-Match": NEVER}, '{"policy": ""}'),
    # Of no kind that there is: nothing is made.
    Question("POST", "/api/v1/tokens", "makes_tokens", 422, 403, 401, WRITE,
             '{"name": "x", "rules": ["read:*"], "kind": "none"}'),
    Question("DELETE", "/api/v1/tokens/mount", "admin", 0, 404, 401, WRITE),
    Question("OPTIONS", "/webdav/", "", 200, 0, 200),
    Question("OPTIONS", "/", "", 200, 0, 200),
    Question("GET", "/healthz", "", 200, 0, 200),
)  # fmt: skip
OPEN: Final = ("/api/v1/login", "/healthz")  # to everybody, whatever they show


def wanted(who: Who, action: Action, dataset: str, *, there: bool = True) -> int:
    """Return the status that an answer must have; `there`: whether there is such a dataset."""
    if not who.good:
        return LOG_IN
    anonymous = who.way == NOTHING
    if dataset not in who.reads or not there:
        return action.anonymous if anonymous else action.hidden
    has = {"read": who.reads, "tag": who.tags, "delete": who.deletes}[action.needs]
    return action.may if dataset in has else LOG_IN if anonymous else LACKS_RIGHT


def wanted_rpc(who: Who, action: RpcAction, dataset: str, *, there: bool = True) -> str:
    """Return the name of the code that a call by gRPC must end with."""
    code = wanted(who, Action("grpc", action.method, "", 0, needs=action.needs), dataset, there=there)
    return RPC_CODES[code] if code else action.may


def wanted_across(who: Who, source: str) -> int:
    """Return the status of tagging a state of `source` in `shared`."""
    if not who.good or who.way == NOTHING:
        return LOG_IN
    if "shared" not in who.reads:
        return 404
    if "shared" not in who.tags:
        return LACKS_RIGHT
    return ACROSS.may if source in who.reads else 404


def wanted_of(who: Who, question: Question) -> int:
    """Return the status of what is about no dataset; 0: not to be asked."""
    if question.target in OPEN:
        return question.may
    if not who.good:
        return LOG_IN
    if who.way == NOTHING:
        return question.anonymous
    has = {"": True, "admin": who.admin, "makes_tokens": who.makes_tokens}[question.needs]
    return question.may if has else question.denied


def scopes(who: Who) -> dict[str, list[str]]:
    """Return what listings show: scope (empty: the root) -> names in it."""
    found: dict[str, set[str]] = {"": set()}
    for dataset in who.reads:
        scope, slash, name = dataset.rpartition("/")
        found[""].add(scope if slash else dataset)
        if slash:
            found.setdefault(scope, set()).add(name)
    return {scope: sorted(names) for scope, names in found.items()}
