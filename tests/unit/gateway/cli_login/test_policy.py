"""`aetherfs policy`: get and set what the store has, check, and explain; plain and encrypted stores."""

import json
from pathlib import Path

import pytest

from auth.policy import parse_policy
from gateway.access.policies import PolicySource
from tests.support.vault import Vault
from tests.unit.docs.pages import PROJECT
from tests.unit.gateway.cli_keys.conftest import vault as vault
from tests.unit.gateway.cli_login.conftest import Say
from tests.unit.gateway.cli_login.test_token import server as server
from tests.unit.gateway.cli_login.test_token import store as store
from tests.unit.gateway.cli_login.test_token import tokens as tokens
from tests.unit.gateway.test_cli import Cli

POLICY = """# people
[[rule]]
allow = ["read"]
to = ["anonymous"]
on = ["maps"]

[[rule]]
allow = ["read", "push"]
to = ["user:ada", "group:staff"]
on = ["*"]

[[rule]]
deny = ["push"]
to = ["group:guests"]
on = ["maps"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_bytes(POLICY.encode())
    path.chmod(0o644)
    return path


def test_what_is_set_is_what_is_got(cli: Cli, file: Path) -> None:
    cli("policy", "get", exits=3)
    assert "`aetherfs policy set FILE` puts one there" in cli.err
    set_ = cli.json("policy", "set", file)
    assert set_["rules"] == 3
    assert cli("policy", "get") == POLICY
    got = cli.json("policy", "get")
    assert got["text"] == POLICY
    assert got["digest"] == set_["digest"] == parse_policy(POLICY).digest
    assert cli("policy", "set", file).startswith("3 rules, digest ")
    assert cli.json("policy", "get") == got


def test_a_policy_comes_by_standard_input_too(cli: Cli, say: Say) -> None:
    say(POLICY.encode())
    cli("policy", "set", "-")
    assert cli("policy", "get") == POLICY


def test_what_does_not_parse_is_refused_and_the_old_one_stays(cli: Cli, file: Path) -> None:
    cli("policy", "set", file)
    for bad, why in ((POLICY + "[[rule]]\n", "line 16: rule 4"), ("\xff", "line 1: not UTF-8")):
        file.write_bytes(bad.encode("latin-1"))
        cli("policy", "set", file, exits=2)
        assert f"{file}, {why}" in cli.err
        cli("policy", "check", file, exits=2)
        assert f"{file}, {why}" in cli.err
    cli("policy", "set", file.with_name("none"), exits=2)
    assert cli("policy", "get") == POLICY


def test_a_change_goes_through_only_if_nobody_was_faster(cli: Cli, file: Path) -> None:
    cli("policy", "set", file, "--expect", "0" * 64, exits=5)
    first = cli.json("policy", "set", file, "--expect", "")["digest"]
    cli("policy", "set", file, "--expect", "", exits=5)
    assert f"is {first[:12]}" in cli.err
    file.write_text(POLICY + "# more\n")
    cli("policy", "set", file, "--expect", first[:12])
    file.write_text(POLICY)
    cli("policy", "set", file, "--expect", first, exits=5)
    cli("policy", "set", file, "--expect", "no digest", exits=2)
    cli("policy", "set", file, "--expect", first[:11], exits=2)
    assert cli("policy", "get") == POLICY + "# more\n"


def test_an_encrypted_store_s_policy_is_sealed(cli: Cli, file: Path, vault: Vault) -> None:
    cli("policy", "set", file, *vault.flags)
    assert cli("policy", "get", *vault.flags) == POLICY
    lies = (vault.path / "auth" / "policy").read_bytes()
    assert lies[:4] == b"AFSL"
    assert b"anonymous" not in lies
    old = vault.copy(vault.path.with_name("old"))
    file.write_text(POLICY + "# more\n")
    cli("policy", "set", file, *vault.flags)
    vault.become(old)
    cli("policy", "get", *vault.flags, exits=6)  # somebody has put the older one back
    assert "the policy is at write 1, but write 2 was seen here before" in cli.err


def test_a_remark_says_where_gateways_look_elsewhere(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("policy", "set", file)
    assert 'auth.policy is "store"' in cli.err
    monkeypatch.setenv("AETHERFS_AUTH_POLICY", "store")
    cli("policy", "set", file)
    assert cli.err == ""


def test_check_counts_rules_and_warns_of_those_without_effect(cli: Cli, file: Path) -> None:
    assert cli("policy", "check", file) == f"{file}: 3 rules, 0 warnings\n"
    assert cli.err == ""
    file.write_text(POLICY.replace('"maps"', '"public/*"'))
    assert cli("policy", "check", file) == f"{file}: 3 rules, 2 warnings\n"
    assert f"{file}, line 2: rule 1: 'public/*' can fit no dataset's name" in cli.err
    found = cli.json("policy", "check", file)
    assert (found["ok"], found["rules"], len(found["warnings"])) == (True, 3, 2)


def test_check_warns_of_a_file_that_no_gateway_takes(cli: Cli, file: Path) -> None:
    file.chmod(0o664)
    assert cli("policy", "check", file) == f"{file}: 3 rules, 1 warning\n"
    assert f"run `chmod go-w {file}`" in cli.err


def test_check_and_explain_take_the_file_else_the_settings_else_the_store(
    cli: Cli, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("policy", "check", exits=3)
    cli("policy", "explain", "ada", "read", "maps", exits=3)
    cli("policy", "set", file)
    assert cli.json("policy", "check")["source"] == "the policy in the bucket"
    other = tmp_path / "other.toml"
    other.write_text("")
    monkeypatch.setenv("AETHERFS_AUTH_POLICY", str(other))
    assert cli.json("policy", "check")["source"] == str(other)
    cli("policy", "explain", "ada", "read", "maps", exits=4)
    assert cli.json("policy", "check", file)["source"] == str(file)
    cli("policy", "explain", "ada", "read", "maps", "--file", file)
    monkeypatch.setenv("AETHERFS_AUTH_POLICY", "store")
    assert cli.json("policy", "check")["source"] == "the policy in the bucket"


@pytest.mark.parametrize(
    ("question", "allowed", "why"),
    [
        (("ada", "read", "roads"), True, "allowed by rule 2 (line 7)"),
        (("user:ada", "push", "@geo/x"), True, "allowed by rule 2 (line 7)"),
        (("ada", "push", "maps", "--group", "guests"), False, "denied by rule 3 (line 12)"),
        (("bob", "push", "maps"), False, "no rule allows it"),
        (("bob", "push", "maps", "--group", "x", "--group", "staff"), True, "allowed by rule 2 (line 7)"),
        (("anonymous", "read", "maps"), True, "allowed by rule 1 (line 2)"),
        (("anonymous", "read", "roads"), False, "no rule allows it"),
        (("ada", "admin", "*"), False, "no rule allows it"),
    ],
)
def test_explain_names_the_rule_that_decides(
    cli: Cli, file: Path, question: tuple[str, ...], allowed: bool, why: str
) -> None:
    out = cli("policy", "explain", *question, "--file", file, exits=0 if allowed else 4)
    assert out.startswith(f"{'allowed' if allowed else 'refused'}: {why}")
    found = json.loads(cli("policy", "explain", *question, "--file", file, "--json", exits=0 if allowed else 4))
    assert found["allowed"] is allowed
    assert (found["rule"] is None) is ("(line" not in why)
    if found["rule"] is not None:
        assert f"(line {found['rule']['line']})" in why


def test_explain_looks_tokens_up(cli: Cli, file: Path) -> None:
    cli("policy", "explain", "token:ci", "read", "maps", "--file", file, exits=3)
    cli("token", "create", "ci", "--allow", "read:m*")
    assert "was made for read:m*" in cli("policy", "explain", "token:ci", "read", "maps", "--file", file)
    cli("policy", "explain", "token:ci", "read", "roads", "--file", file, exits=4)
    cli("policy", "explain", "token:ci", "push", "maps", "--file", file, exits=4)
    cli("token", "revoke", "ci")
    assert "token:ci is revoked" in cli("policy", "explain", "token:ci", "read", "maps", "--file", file, exits=4)


@pytest.mark.parametrize(
    "question",
    [
        ("ada", "eat", "maps"),
        ("ada", "read", "Maps"),
        ("ada", "read", "@token/x"),
        ("group:staff", "read", "maps"),
        ("", "read", "maps"),
        ("user:", "read", "maps"),
        ("anonymous", "read", "maps", "--group", "staff"),
        ("token:ci", "read", "maps", "--group", "staff"),
    ],
)
def test_explain_refuses_what_is_no_question(cli: Cli, file: Path, question: tuple[str, ...]) -> None:
    cli("policy", "explain", *question, "--file", file, exits=2)


def test_the_sample_policy_is_one_without_warnings(cli: Cli) -> None:
    sample = PROJECT / "conf" / "policy.toml"
    assert cli.json("policy", "check", sample)["warnings"] == []
    assert cli.json("policy", "check", sample)["rules"] > 2


def test_a_gateway_takes_up_what_is_set(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from auth.principal import ANONYMOUS, Action
    from gateway.config import load
    from gateway.stores import open_store

    cli("policy", "set", file)
    monkeypatch.setenv("AETHERFS_AUTH_POLICY", "store")
    opened = open_store(load())
    source = PolicySource(load(), opened.objects, seen=opened.seen)
    assert source.policy.allows(ANONYMOUS, Action.READ, "maps")
    file.write_text("")
    cli("policy", "set", file)
    assert source.refresh()
    assert not source.policy.allows(ANONYMOUS, Action.READ, "maps")


@pytest.fixture
def root(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a gateway's address for commands that are logged in as who may administer everything."""
    monkeypatch.setenv("AETHERFS_TOKEN", "bearer-of-root")
    return server


def test_a_gateway_does_the_same_for_who_may_administer(cli: Cli, file: Path, root: str, store: Path) -> None:
    cli("policy", "get", exits=3)
    assert f"{root} has no policy" in cli.err
    cli("policy", "set", file, "--expect", "0" * 64, exits=5)
    first = cli.json("policy", "set", file, "--expect", "")
    assert first["digest"] == parse_policy(POLICY).digest
    assert cli("policy", "get") == POLICY
    assert cli.json("policy", "get") == {**cli.json("policy", "get", "--store", store), "by": "user:root"}
    cli("policy", "set", file, "--expect", "", exits=5)
    file.write_text(POLICY + "# more\n")
    cli("policy", "set", file, "--expect", first["digest"][:12])
    cli("policy", "set", file, "--expect", first["digest"], exits=5)
    assert cli("policy", "check") == "the policy in the bucket: 3 rules, 0 warnings\n"
    assert cli("policy", "explain", "ada", "read", "roads").startswith("allowed")
    file.write_text("nonsense")
    cli("policy", "set", file, exits=2)


def test_a_gateway_refuses_who_may_not_administer(
    cli: Cli, file: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("policy", "set", file)
    monkeypatch.setenv("AETHERFS_TOKEN", "bearer-of-ada")
    cli("policy", "get", exits=4)
    cli("policy", "set", file, exits=4)
