"""Where `aetherfs policy` finds and puts the policy: in a store, or by way of a gateway, for who may `admin` on `*`.

Both replace the policy only over the one that is expected, and say who did.
"""

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from gateway.cli.common import Common, publisher, spell_time

if TYPE_CHECKING:
    from gateway.client import Server


class Held(NamedTuple):
    """A policy where it lies."""

    text: str
    digest: str
    changed: str  # when, ISO 8601
    by: str


def read(common: Common) -> Held:
    """Return the policy.

    Raises:
        PolicyMissing: there is none.
        GatewayError, StoreError: it cannot be told.
    """
    server = common.server_client()
    if server is None:
        return _read_store(common)
    with contextlib.closing(server):
        return _read_server(server)


def write(common: Common, text: str, expect: str | None) -> Held:
    """Replace the policy.

    Args:
        common: says where.
        text: that parses.
        expect: digest of the one that it replaces, or the beginning of it; empty: there is none; `None`: whichever.

    Raises:
        PolicyMoved, ServerConflict: it is another.
        GatewayError, StoreError: it cannot be done.
    """
    from gateway.access.policy_object import NONE
    from gateway.errors import PolicyMissing, PolicyMoved

    server = common.server_client()
    if server is None:
        return _write_store(common, text, expect)
    with contextlib.closing(server):
        try:
            before = _read_server(server)
        except PolicyMissing:
            before = Held("", NONE, "", "")
        if expect is not None and not (before.digest.startswith(expect.lower()) if expect else before.digest == NONE):
            raise PolicyMoved(expect, before.digest, before.by)
        condition = {"If-Match": f'"{before.digest}"'} if before.digest else {"If-None-Match": "*"}
        answer = server.ask("PUT", "policy", body={"policy": text}, headers=condition)
    return _told(answer.document, answer.headers.get("ETag", ""))


def _read_server(server: "Server") -> Held:
    from gateway.errors import PolicyMissing

    answer = server.get("policy")
    if "ETag" not in answer.headers:
        raise PolicyMissing(server.url)
    return _told(answer.document, answer.headers["ETag"])


def _read_store(common: Common) -> Held:
    from gateway.access.policy_object import read_policy
    from gateway.errors import PolicyMissing
    from store.errors import ObjectMissing

    with common.opened() as opened:
        try:
            stored = read_policy(opened.objects, seen=opened.seen)
        except ObjectMissing as error:
            raise PolicyMissing(opened.objects.address) from error
    assert stored is not None, "no ETag was named"  # noqa: S101  # for the type checker
    return Held(stored.text, stored.digest, spell_time(stored.changed_ns), stored.by)


def _write_store(common: Common, text: str, expect: str | None) -> Held:
    from gateway.access.policies import STORE
    from gateway.access.policy_object import write_policy

    with common.opened() as opened:
        stored = write_policy(opened.objects, text, by=publisher(), expect=expect, seen=opened.seen)
    if common.settings().auth.policy != STORE:
        common.remark('gateways mind it where auth.policy is "store"; in the settings found here it is not')
    return Held(stored.text, stored.digest, spell_time(stored.changed_ns), stored.by)


def _told(document: dict[str, object], etag: str) -> Held:
    return Held(
        str(document.get("policy", "")), etag.strip('"'), str(document.get("changed", "")), str(document.get("by", ""))
    )
