"""Rules of `[[nfs.export]]`: which addresses may mount, as whom, and whose everything is shown to be.

    [[nfs.export]]
    from = ["10.1.0.0/16", "fd00::/8"]   # addresses and networks, or "*"
    principal = "user:lab"               # whom the policy is asked about; anonymous if it is left out
    groups = ["staff"]                   # that the user is in; none
    read_only = true                     # the only value
    squash = "all"                       # the only value: what clients say of their users counts for nothing
    uid = 1000                           # owner and group of everything, as clients see it; 0
    gid = 1000

The first rule that fits an address decides. Values; any thread.
"""

import contextlib
import dataclasses
import tomllib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from auth.principal import is_name

if TYPE_CHECKING:  # needed once there are rules: every command waits for this module
    from ipaddress import IPv4Network, IPv6Network

EVERYWHERE: Final = "*"
ANONYMOUS: Final = "anonymous"
MOST_RULES: Final = 1000
MOST_NETWORKS: Final = 1000  # of one rule
MOST_GROUPS: Final = 100
REMEMBERED: Final = 4096  # addresses
_MAPPED: Final = 96  # bits before the address in an IPv4 address that is written as one of IPv6
_SPACES: Final = "; names have no space around them"
_KEYS: Final = ("from", "principal", "groups", "read_only", "squash", "uid", "gid")


class RuleUnusable(ValueError):
    """A rule cannot be used. The message is finished; `line` is where it stands in the file, 0 if that is not known."""

    def __init__(self, why: str, line: int = 0) -> None:
        self.line = line
        super().__init__(why)


@dataclasses.dataclass(frozen=True)
class ExportRule:
    """One rule."""

    networks: tuple[str, ...]  # as text: `EVERYWHERE`, or networks such as 10.1.0.0/16
    principal: str = ANONYMOUS  # or user:NAME
    uid: int = 0
    gid: int = 0
    groups: tuple[str, ...] = ()  # of the user

    def written(self) -> dict[str, object]:
        """Return the rule as a file has it."""
        return {
            "from": [*self.networks], "principal": self.principal, "groups": [*self.groups], "read_only": True,
            "squash": "all", "uid": self.uid, "gid": self.gid,
        }  # fmt: skip


LOOPBACK: Final = ExportRule(("127.0.0.0/8", "::1/128"))


class Rules:
    """Rules in their order."""

    def __init__(self, rules: Sequence[ExportRule]) -> None:
        """Take rules as `read_rules` makes them."""
        self._rules = [(rule, [*map(read_network, rule.networks)]) for rule in rules]
        self._known: dict[str, ExportRule | None] = {}

    def of(self, address: str) -> ExportRule | None:
        """Return the rule for an address as text; what has none, a local socket, is this machine."""
        with contextlib.suppress(KeyError):  # another thread may clear it at any time
            return self._known[address]
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        rule = self._known[address] = self._found(address)
        return rule

    def _found(self, address: str) -> ExportRule | None:
        from ipaddress import IPv6Address, ip_address

        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            found = ip_address("127.0.0.1")
        if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        for rule, networks in self._rules:
            if any(network is None or (network.version == found.version and found in network) for network in networks):
                return rule
        return None


def read_rules(value: object) -> tuple[ExportRule, ...]:
    """Take rules: a list of tables, or (from the environment) text that is one in TOML, `[{from = ["10.0.0.0/8"]}]`.

    Raises:
        RuleUnusable: anything else.
    """
    if isinstance(value, str):
        try:
            value = tomllib.loads(f"rules = {value}")["rules"]
        except (ValueError, RecursionError) as error:
            raise RuleUnusable(f"not a list of tables in TOML: {error}") from error
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
        raise RuleUnusable("rules are written [[nfs.export]]")
    if len(value) > MOST_RULES:
        raise RuleUnusable(f"more than {MOST_RULES} rules")
    return tuple(_rule(number, table) for number, table in enumerate(value, 1))


def _rule(number: int, table: dict[str, Any]) -> ExportRule:
    lines: dict[str, int] = getattr(table, "lines", {})

    def unusable(why: str, key: str = "") -> RuleUnusable:
        return RuleUnusable(f"rule {number}: {why}", lines.get(key, getattr(table, "line", 0)))

    for key in table:
        if key not in _KEYS:
            raise unusable(f"there is no {key[:80]!r} in a rule; the nearest is {_nearest(key)!r}", key)
    networks = table.get("from")
    if not isinstance(networks, list) or not 1 <= len(networks) <= MOST_NETWORKS:
        raise unusable('from must be a list of addresses or networks, such as ["10.1.0.0/16"]', "from")
    try:
        spelled = tuple(str(read_network(network) or EVERYWHERE) for network in networks)
    except ValueError as error:
        raise unusable(f"from: {error}", "from") from error
    principal = table.get("principal", ANONYMOUS)
    if not isinstance(principal, str) or not _is_principal(principal):
        raise unusable(f"principal: {str(principal)[:80]!r} is neither user:NAME nor {ANONYMOUS}{_SPACES}", "principal")
    groups = table.get("groups", [])
    if not isinstance(groups, list) or not all(isinstance(one, str) and is_name(one) for one in groups):
        raise unusable(f'groups must be a list of names, such as ["staff"]{_SPACES}', "groups")
    if len(groups) > MOST_GROUPS or (groups and principal == ANONYMOUS):
        raise unusable(f"groups: at most {MOST_GROUPS}, and of a user: {ANONYMOUS} is in none", "groups")
    if table.get("read_only", True) is not True:
        raise unusable("read_only: true is the only value; NFS writes nothing here", "read_only")
    if table.get("squash", "all") != "all":
        raise unusable('squash: "all" is the only value; what clients say of their users counts for nothing', "squash")
    ids: dict[str, int] = {}
    for key in ("uid", "gid"):
        found = table.get(key, 0)
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 1 << 32:
            raise unusable(f"{key}: {str(found)[:80]!r} is no number from 0 to {(1 << 32) - 1}", key)
        ids[key] = found
    return ExportRule(spelled, principal, ids["uid"], ids["gid"], tuple(groups))


def read_network(text: object) -> "IPv4Network | IPv6Network | None":
    """Read an address or a network; `None`: every address. IPv4 in the spelling of IPv6 is IPv4, as peers are.

    Raises:
        ValueError: it is none, or an address in a network, which could be meant for either.
    """
    from ipaddress import IPv4Network, IPv6Address, ip_network

    if text == EVERYWHERE:
        return None
    if not isinstance(text, str):  # a number would be taken for an address
        raise ValueError(f"{str(text)[:80]!r} is no address or network")
    if "%" in text:  # it would fit who calls from there by any other, too
        raise ValueError(f"{text[:80]!r} names an interface, which is not looked at: leave out what begins with %")
    network = ip_network(text)
    first = network.network_address
    if isinstance(first, IPv6Address) and first.ipv4_mapped is not None and network.prefixlen >= _MAPPED:
        return IPv4Network((int(first.ipv4_mapped), network.prefixlen - _MAPPED))
    return network


def _nearest(key: str) -> str:
    import difflib

    return difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.0)[0]


def _is_principal(text: str) -> bool:
    kind, colon, name = text.partition(":")
    if not colon:
        return kind == ANONYMOUS
    return kind == "user" and is_name(name)
