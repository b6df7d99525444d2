"""`/whoami`, `/login` and `/policy`: who asks, how to log in, and who may what. Any thread."""

import re
from typing import Any

from auth.policy import PolicyError
from auth.principal import Action
from dav.reply import Reply
from dav.wire.dates import date_time
from gateway.access import audit as events
from gateway.access.policies import STORE
from gateway.access.policy_object import NONE, StoredPolicy, read_policy, write_policy
from gateway.web.api.call import Call
from gateway.web.api.context import Context
from gateway.web.api.problems import FIXED, Problem, json_reply
from store.errors import ObjectMissing


def whoami(context: Context, call: Call) -> Reply:
    """Answer `GET /whoami`."""
    call.query()
    who = call.principal
    document = {
        "principal": str(who),
        "kind": str(who.kind),
        "name": who.name,
        "groups": sorted(who.groups),
        "owner": None if who.owner is None else str(who.owner),
        "rules": context.rules(call),
        "admin": context.allows(call, Action.ADMIN),
        "login": context.settings.login,
    }
    return json_reply(200, document)


def login(context: Context, call: Call) -> Reply:
    """Answer `GET /login`, which asks for no login: which ways there are."""
    call.query()
    oidc = context.settings.auth_oidc
    provider: dict[str, Any] | None = None
    if oidc.issuer:
        provider = {
            "issuer": oidc.issuer,
            "client_id": oidc.client_id,
            "audience": oidc.audience or oidc.client_id,
            "scopes": oidc.scopes.split(),
        }
    document = {
        "login": context.settings.login,
        "basic": bool(context.settings.auth_basic.htpasswd),
        "token": context.settings.login,
        "certificate": bool(context.settings.http.client_ca),
        "oidc": provider,
    }
    return json_reply(200, document)


def get_policy(context: Context, call: Call) -> Reply:
    """Answer `GET /policy`."""
    call.query()
    context.need_admin(call)
    stored = _stored(context)
    if stored is None:
        return json_reply(200, {"policy": "", "changed": None, "by": ""})
    etag = _etag(stored.digest)
    if call.not_modified(etag):
        return Reply(304, [("ETag", etag), *FIXED])
    return json_reply(200, _described(stored), [("ETag", etag)])


def put_policy(context: Context, call: Call) -> Reply:
    """Answer `PUT /policy`: only over the version that was read, so that no two undo each other's work unseen."""
    call.query()
    context.need_admin(call)
    body = call.body("policy", needed=("policy",))
    text = call.text(body, "policy") or ""
    stored = _stored(context)
    if not call.check_conditions(None if stored is None else _etag(stored.digest)):
        raise Problem(428, "say which version it replaces: If-Match with its ETag, or If-None-Match: * for the first")
    expect = NONE if stored is None else stored.digest
    try:
        stored = write_policy(
            context.repository.objects, text, by=str(call.principal), expect=expect, seen=context.seen
        )  # fmt: skip
    except PolicyError as error:
        found = re.search(r"\bline (\d+)", str(error))
        context.note(call, events.POLICY, events.REFUSED, why=str(error))
        raise Problem(422, str(error), line=int(found[1]) if found else 1) from error
    context.note(call, events.POLICY, events.OK, digest=stored.digest)
    context.policies.refresh()  # other workers and gateways look by themselves
    return json_reply(200, _described(stored), [("ETag", _etag(stored.digest))])


def _stored(context: Context) -> StoredPolicy | None:
    if context.settings.auth.policy != STORE:
        raise Problem(
            404, 'the policy of this gateway does not lie in the bucket: auth.policy = "store" keeps it there'
        )
    try:
        return read_policy(context.repository.objects, seen=context.seen)
    except ObjectMissing:
        return None


def _described(stored: StoredPolicy) -> dict[str, Any]:
    return {"policy": stored.text, "changed": date_time(stored.changed_ns // 10**9), "by": stored.by}


def _etag(digest: str) -> str:
    return f'"{digest}"'
