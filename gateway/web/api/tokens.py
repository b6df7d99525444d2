"""`/tokens` and `/tokens/{name}`: users look after their own tokens, whoever administers everything after all.

Any thread.
"""

from auth.patterns import EVERYTHING
from auth.principal import Action, Kind
from auth.tokens import (
    HTTP,
    KINDS,
    NFS,
    TokenUnusable,
    TooManyTokens,
    parse_duration,
    parse_name,
    parse_rules,
    principal_of,
)
from dav.reply import Reply
from dav.wire.paths import quote_name
from gateway.access import audit as events
from gateway.access.token_words import described
from gateway.access.tokens import Known
from gateway.errors import TokenMissing
from gateway.operations.errors import BadArgument
from gateway.operations.pages import NO_PAGE, page_of
from gateway.web.api.call import Call
from gateway.web.api.context import Context
from gateway.web.api.problems import FIXED, Problem, json_reply
from store.layout import TOKEN_NAMES


def list_tokens(context: Context, call: Call) -> Reply:
    """Answer `GET /tokens`: revoked and expired ones too, in an order that stays."""
    place, size = call.page()
    if place and not place.startswith(TOKEN_NAMES):
        raise BadArgument(NO_PAGE)
    context.need_login(call)
    now_ns = context.tokens.now_ns()
    mine = (one for one in context.tokens.list(after=place) if _may_see(context, call, one[1]))
    found, following = page_of(mine, size, place=lambda one: one[0])
    tokens = [described(known.record, now_ns=now_ns, used_ns=known.used_ns) for _, known in found]
    return json_reply(200, {"tokens": tokens, "next_page_token": following})


def get_token(context: Context, call: Call) -> Reply:
    """Answer `GET /tokens/{name}`."""
    call.query()
    known = _find(context, call)
    return json_reply(200, described(known.record, now_ns=context.tokens.now_ns(), used_ns=known.used_ns))


def create_token(context: Context, call: Call) -> Reply:
    """Answer `POST /tokens`: the one answer that holds the token itself."""
    call.query()
    body = call.body("name", "rules", "expires", "kind", needed=("name", "rules"))
    if not context.settings.login:
        raise Problem(403, "this gateway has no login, so nobody whose token it could be; make tokens with --store")
    if call.principal.kind is not Kind.USER:
        why = "a token makes no tokens" if call.principal.kind is Kind.TOKEN else "a token belongs to a user: log in"
        context.denied(call, Action.ADMIN, EVERYTHING)
        raise Problem(403, f"{why}; whoever has the store's credentials makes others, with --store")
    kind, rules = call.text(body, "kind") or HTTP, body["rules"]
    if kind not in KINDS:
        raise Problem(422, f"'kind' is {' or '.join(KINDS)}")
    if not isinstance(rules, list) or not all(isinstance(rule, str) for rule in rules):
        raise Problem(422, "'rules' is a list of text such as read:@geo/*")
    expires = call.text(body, "expires")
    try:
        name = parse_name(call.text(body, "name") or "")
        grants = parse_rules(rules, kind=kind)
        lives_s = parse_duration(expires) if expires is not None else 0
        text, record = context.tokens.create(
            name, grants, nfs=kind == NFS, lives_s=lives_s, owner=call.principal
        )  # fmt: skip
    except TooManyTokens as error:
        raise Problem(403, str(error)) from error
    except TokenUnusable as error:
        raise Problem(422, str(error)) from error
    context.note(
        call, events.TOKEN, events.OK, change="created", token=name, id=record.id, kind=kind,
        rules=" ".join(map(str, grants)),
    )  # fmt: skip
    document = described(record, now_ns=record.created_ns) | {"token": str(text)}
    return json_reply(201, document, [("Location", f"/api/v1/tokens/{quote_name(name.encode())}")])


def revoke_token(context: Context, call: Call) -> Reply:
    """Answer `DELETE /tokens/{name}`."""
    call.query()
    record = _find(context, call).record
    context.tokens.revoke(record.name, only=record.id)
    context.note(call, events.TOKEN, events.OK, change="revoked", token=record.name, id=record.id)
    return Reply(204, [*FIXED])


def _find(context: Context, call: Call) -> Known:
    """Return the token that the path names, if whoever asks may know of it."""
    (name,) = call.names
    context.need_login(call)
    known = context.tokens.find(name)
    if not _may_see(context, call, known):
        context.denied(call, Action.ADMIN, EVERYTHING)
        raise TokenMissing(name)
    return known


def _may_see(context: Context, call: Call, known: Known) -> bool:
    owner, who = known.record.owner, call.principal
    own = owner is not None and who.kind is Kind.USER and owner.name == who.name
    itself = principal_of(known.record) == who  # so that a logout can revoke it
    return own or itself or context.allows(call, Action.ADMIN)
