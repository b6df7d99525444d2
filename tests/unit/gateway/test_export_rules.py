"""Rules of exports are read with the line of what is wrong, survive the way to a worker, and fit by their order."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import ConfigError, Settings, check_file, load, spelled
from gateway.export_rules import LOOPBACK, ExportRule, Rules, RuleUnusable, read_rules
from gateway.worker import Order

TWO = """
[nfs]
listen = "off"

[[nfs.export]]
from = ["10.1.0.0/16", "fd00::/8"]
principal = "user:lab"
read_only = true
squash = "all"
uid = 1000
gid = 1001

[[nfs.export]]
from = ["*"]
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "a.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_rules_are_read_in_their_order(tmp_path: Path) -> None:
    settings = check_file(written(tmp_path, TWO))
    assert settings.nfs.listen == "off"
    assert settings.nfs.export == (
        ExportRule(("10.1.0.0/16", "fd00::/8"), "user:lab", 1000, 1001),
        ExportRule(("*",)),
    )
    order = Order(name="w", entry="m:f", listener_fds=(3,), status_fd=4, drain_s=1.0, log_level=20, settings=settings)
    assert Order.model_validate_json(order.model_dump_json()).settings == settings
    again = spelled(settings)["nfs"]["export"]
    assert read_rules(again) == settings.nfs.export


def test_rules_may_come_from_the_environment() -> None:
    given_so = load(environ={"AETHERFS_NFS_EXPORT": '[{from = ["192.0.2.1"], uid = 7}]'}).nfs.export
    assert given_so == (ExportRule(("192.0.2.1/32",), uid=7),)
    with pytest.raises(ConfigError, match=r"AETHERFS_NFS_EXPORT: nfs\.export: not a list of tables"):
        load(environ={"AETHERFS_NFS_EXPORT": "10.0.0.0/8"})


def test_the_commented_example_of_the_sample_file_is_a_rule(tmp_path: Path) -> None:
    sample = (Path(__file__).parents[3] / "conf" / "aetherfs.toml").read_text(encoding="utf-8")
    _, _, behind = sample.partition("# [[nfs.export]]\n")
    example = "[[nfs.export]]\n" + behind.partition("\n\n")[0].replace("# ", "")
    (rule,) = check_file(written(tmp_path, example)).nfs.export
    assert (rule.principal, rule.uid, rule.gid) == ("user:lab", 1000, 1000)
    assert Settings().nfs.export == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('uid = 1000', 'uidd = 1'), "line 10: nfs.export: rule 1: there is no 'uidd' in a rule; the nearest is 'uid'"),
        (('from = ["*"]', 'form = ["*"]'), "line 14: nfs.export: rule 2: there is no 'form' in a rule"),
        (('uid = 1000', 'uid = -1'), "line 10: nfs.export: rule 1: uid: '-1' is no number"),
        (('uid = 1000', 'uid = true'), "line 10: nfs.export: rule 1: uid: 'True' is no number"),
        (('gid = 1001', 'gid = 4294967296'), "line 11: nfs.export: rule 1: gid"),
        (('read_only = true', 'read_only = false'), "line 8: nfs.export: rule 1: read_only: true is the only value"),
        (('squash = "all"', 'squash = "root"'), 'line 9: nfs.export: rule 1: squash: "all" is the only value'),
        (('"user:lab"', '"group:lab"'), "line 7: nfs.export: rule 1: principal: 'group:lab' is neither"),
        (('"user:lab"', '"user:"'), "line 7: nfs.export: rule 1: principal"),
        (('"user:lab"', '"user: lab"'), "line 7: nfs.export: rule 1: principal: 'user: lab' is neither user:NAME nor "
                                        "anonymous; names have no space around them"),
        (('"user:lab"', '"user:lab "'), "line 7: nfs.export: rule 1: principal: 'user:lab ' is neither"),
        (('uid = 1000', 'groups = ["a", " b"]'), "line 10: nfs.export: rule 1: groups must be a list of names"),
        (('uid = 1000', 'groups = "staff"'), "line 10: nfs.export: rule 1: groups must be a list of names"),
        (('uid = 1000', 'groups = ["a", ""]'), "line 10: nfs.export: rule 1: groups must be a list of names"),
        (('["*"]', '["*"]\ngroups = ["staff"]'), "line 15: nfs.export: rule 2: groups: at most 100, and of a user"),
        (('"user:lab"', '5'), "line 7: nfs.export: rule 1: principal: '5' is neither"),
        (('["*"]', '["10.0.0.1/8"]'), "line 14: nfs.export: rule 2: from: 10.0.0.1/8 has host bits set"),
        (('["*"]', '["fe80::1%eth0"]'), "line 14: nfs.export: rule 2: from: 'fe80::1%eth0' names an interface"),
        (('["*"]', '[10]'), "line 14: nfs.export: rule 2: from: '10' is no address"),
        (('["*"]', '[]'), "line 14: nfs.export: rule 2: from must be a list"),
        (('from = ["*"]', 'uid = 5'), "line 13: nfs.export: rule 2: from must be a list"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_file(written(tmp_path, TWO.replace(*change)))
    assert said in str(refused.value)


@pytest.mark.parametrize(("key", "near"), [("princpal", "principal"), ("form", "from"), ("readonly", "read_only")])
def test_a_key_that_there_is_not_is_told_with_the_nearest(key: str, near: str) -> None:
    with pytest.raises(RuleUnusable, match=f"there is no '{key}' in a rule; the nearest is '{near}'"):
        read_rules([{key: "x"}])


@pytest.mark.parametrize("value", [5, {"from": ["*"]}, ["*"], [[]], [{}] * 1001, "[" * 5000, "5"])
def test_what_is_no_list_of_tables_is_refused(value: object) -> None:
    with pytest.raises(RuleUnusable):
        read_rules(value)


def test_the_first_rule_that_fits_decides() -> None:
    rules = Rules(read_rules([{"from": ["10.1.2.3"], "uid": 1}, {"from": ["10.0.0.0/8", "::1"], "uid": 2}]))

    def uid(address: str) -> int | None:
        rule = rules.of(address)
        return None if rule is None else rule.uid

    assert [uid(a) for a in ("10.1.2.3", "::ffff:10.1.2.3", "10.1.2.4", "::1", "::1%lo")] == [1, 1, 2, 2, 2]
    assert [uid(a) for a in ("11.0.0.1", "::2", "127.0.0.1", "local", "")] == [None] * 5


def test_a_network_of_ipv4_that_is_written_as_one_of_ipv6_decides_for_its_addresses() -> None:
    """Else a rule that was to show somebody less would be passed over, in silence, for one that shows more."""
    narrow, wide = {"from": ["::ffff:10.1.0.0/112", "::ffff:192.0.2.1"], "uid": 1}, {"from": ["*"], "uid": 2}
    rules = read_rules([narrow, wide])
    assert rules[0].networks == ("10.1.0.0/16", "192.0.2.1/32")
    uids = [rule.uid for a in ("10.1.2.3", "::ffff:10.1.2.3", "192.0.2.1", "10.2.0.1") if (rule := Rules(rules).of(a))]
    assert uids == [1, 1, 1, 2]
    assert read_rules([{"from": ["::/0", "::fffe:0:0/95"]}])[0].networks == ("::/0", "::fffe:0:0/95")


def test_without_rules_this_machine_alone_fits() -> None:
    rules = Rules((LOOPBACK,))
    assert all(
        rules.of(address) is LOOPBACK for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "local")
    )
    assert not any(rules.of(address) for address in ("192.0.2.1", "::2", "::ffff:192.0.2.1", "fe80::1%eth0"))


KEYS = st.sampled_from(["from", "principal", "groups", "read_only", "squash", "uid", "gid", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just("*"),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=8,
)


@given(VALUES)
def test_any_value_is_read_or_refused(value: object) -> None:
    try:
        rules = read_rules(value)
    except RuleUnusable:
        return
    assert read_rules([rule.written() for rule in rules]) == rules
    Rules(rules).of("192.0.2.1")
