"""`aetherfs login`, `logout` and `whoami` against a real provider, with a person at a real browser."""

import json
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.interop.login.site import AUDIENCE, PASSWORD, Site, ask, at_provider, read_url
from tests.interop.serve.gateways import DEADLINE_S, Gateway
from tests.support.oidc_provider import RealProvider

pytestmark = pytest.mark.interop


def ended(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, out + err
    return out


def logins(site: Site) -> Path:
    return site.folder / "home" / ".config" / "aetherfs" / "logins.json"


def saved(site: Site, gateway: Gateway) -> dict[str, object]:
    found: dict[str, object] = json.loads(logins(site).read_text())["servers"][gateway.http]
    return found


def test_login_by_a_browser_here_then_whoami_token_and_logout(page: Page, site: Site, gateway: Gateway) -> None:
    with site.start("--server", gateway.http, "login", "--no-browser", "--json") as process:
        page.goto(read_url(process))
        at_provider(page, "ada")
        page.get_by_role("heading", name="Logged in").wait_for()
        assert json.loads(ended(process))["principal"] == "user:ada"
    assert logins(site).stat().st_mode & 0o777 == 0o600
    assert site.command("--server", gateway.http, "whoami").strip() == "user:ada, in geo, staff"
    made = json.loads(
        site.command("-q", "token", "create", "fs", "--allow", "read:*", "--json", AETHERFS_SERVER=gateway.http)
    )
    assert ask(f"{gateway.http}/fs/maps/1.0.0/file.txt", made["token"])[0] == 200
    bearer = str(saved(site, gateway)["bearer"])
    said = site.command("--server", gateway.http, "logout")
    assert bearer not in said
    assert gateway.http not in logins(site).read_text()
    assert "anonymous" in site.command("--server", gateway.http, "whoami")
    assert "no login" in site.command("--server", gateway.http, "logout")


def test_a_login_is_renewed_when_due_and_two_commands_do_not_use_up_one_refresh_token(
    page: Page, site: Site, gateway: Gateway, provider: RealProvider
) -> None:
    provider.tell(ttl=30)  # less than a minute: due at once
    try:
        with site.start("--server", gateway.http, "login", "--no-browser") as process:
            page.goto(read_url(process))
            at_provider(page, "ada")
            page.get_by_role("heading", name="Logged in").wait_for()
            ended(process)
        before = saved(site, gateway)
        provider.tell(ttl=600)
        both = [site.start("--server", gateway.http, "whoami") for _ in range(3)]
        for process in both:
            with process:
                assert "user:ada" in ended(process)
        after = saved(site, gateway)
        assert after["bearer"] != before["bearer"]
        assert after["refresh"] != before["refresh"]  # this provider gives each out once
        assert float(str(after["expires_s"])) > float(str(before["expires_s"])) + 400
    finally:
        provider.tell(ttl=600)
    site.command("--server", gateway.http, "logout")
    # What the provider was told to forget is good for nothing more.
    logins(site).write_text(json.dumps({"version": 1, "servers": {gateway.http: {**after, "expires_s": 1.0}}}))
    said = site.command("--server", gateway.http, "whoami", exits=4)
    assert "`aetherfs login`" in said
    assert str(after["refresh"]) not in said
    site.command("--server", gateway.http, "logout")


def test_login_by_a_browser_elsewhere(page: Page, site: Site, guarded: Gateway) -> None:
    with site.start("--server", guarded.http, "login", "--device") as process:
        page.goto(read_url(process))
        page.get_by_role("button", name="Continue").click()
        at_provider(page, "ada")
        assert "user:ada" in ended(process)
    # That gateway wants an audience of its own: what is sent is the access token.
    assert "user:ada, in geo, staff" in site.command("--server", guarded.http, "whoami")
    assert saved(site, guarded)["audience"] == AUDIENCE
    site.command("--server", guarded.http, "logout")


def test_a_login_that_is_denied_elsewhere_ends_the_command(page: Page, site: Site, guarded: Gateway) -> None:
    with site.start("--server", guarded.http, "login", "--device") as process:
        page.goto(read_url(process))
        page.get_by_role("button", name="Abort").click()
        out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 4, out + err
    assert "access_denied" in err


def test_a_service_account_logs_in_with_its_secret(site: Site, guarded: Gateway) -> None:
    secret = site.folder / "robot.secret"
    secret.write_text("secret of the robot\n")
    by = ("--service-account", "--client-id", "robot", "--client-secret-file", str(secret))
    assert "user:robot" in site.command("--server", guarded.http, "login", *by)
    assert "secret of the robot" not in logins(site).read_text()
    document = json.loads(logins(site).read_text())
    document["servers"][guarded.http]["expires_s"] = 1.0
    logins(site).write_text(json.dumps(document))
    assert "user:robot" in site.command("--server", guarded.http, "whoami")  # renewed with the secret
    secret.write_text("wrong")
    said = site.command("--server", guarded.http, "login", *by, exits=4)
    assert "invalid_client" in said
    site.command("--server", guarded.http, "logout")


def test_a_password_is_exchanged_for_a_token_and_kept_nowhere(site: Site, gateway: Gateway) -> None:
    said = site.command("--server", gateway.http, "login", "--user", "bob", typed=PASSWORD + "\n")
    assert "logged in" in said
    assert PASSWORD not in logins(site).read_text()
    assert "login-bob" in site.command("--server", gateway.http, "whoami")
    token = str(saved(site, gateway)["bearer"])
    assert ask(f"{gateway.http}/fs/maps/1.0.0/file.txt", token)[0] == 200
    assert ask(f"{gateway.http}/fs/secret/1.0.0/file.txt", token)[0] == 404
    site.command("--server", gateway.http, "login", "--user", "bob", typed=PASSWORD + "\n")
    assert ask(f"{gateway.http}/fs/maps/1.0.0/file.txt", token)[0] == 401  # nobody would know of it any more
    token = str(saved(site, gateway)["bearer"])
    assert ask(f"{gateway.http}/fs/maps/1.0.0/file.txt", token)[0] == 200
    assert "could not" not in site.command("--server", gateway.http, "logout")
    assert ask(f"{gateway.http}/fs/maps/1.0.0/file.txt", token)[0] == 401  # revoked
    said = site.command("--server", gateway.http, "login", "--user", "bob", typed="wrong\n", exits=4)
    assert "does not take user and password" in said


def test_logins_that_make_no_sense_are_wrong_usage(site: Site, gateway: Gateway) -> None:
    assert "--server" in site.command("login", exits=2)
    assert "exclude" in site.command("--server", gateway.http, "login", "--device", "--user", "x", exits=2)
    assert "--client-id" in site.command("--server", gateway.http, "login", "--service-account", exits=2)
    assert "http://" in site.command("--server", "http://data.example.org", "login", exits=4)
    assert "nobody" in site.command("--store", str(site.folder / "store"), "whoami")
