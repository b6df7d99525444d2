"""A person logs in and out with Chromium, at a real provider and with a password."""

import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.interop.login.site import PASSWORD, Site, ask, at_provider, until
from tests.interop.serve.gateways import Gateway


def self_signed(certificate: Path, key: Path) -> None:
    """Make a certificate that vouches for itself."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    key.chmod(0o600)


pytestmark = pytest.mark.interop


def test_who_may_not_read_is_sent_to_log_in_and_back_to_what_they_wanted(
    page: Page, gateway: Gateway, site: Site
) -> None:
    page.goto(f"{gateway.http}/fs/maps/1.0.0/")
    assert page.url.startswith(f"{gateway.http}/ui/login?next=")
    page.get_by_role("link", name="Log in with 127.0.0.1").click()
    at_provider(page, "ada")
    assert page.url == f"{gateway.http}/fs/maps/1.0.0/"
    page.get_by_role("link", name="file.txt").click()
    page.wait_for_url("**/file.txt")
    assert "content of maps" in page.content()
    assert page.goto(f"{gateway.http}/fs/secret/1.0.0/file.txt").status == 404  # type: ignore[union-attr]
    page.goto(f"{gateway.http}/ui/")
    assert page.get_by_text("geo, staff").count() == 1
    page.get_by_role("button", name="Log out", exact=True).click()
    assert page.get_by_role("heading", name="Logged out").count() == 1
    page.goto(f"{gateway.http}/fs/maps/1.0.0/")
    assert "/ui/login" in page.url
    said = [(one["event"], one["outcome"], one["principal"]) for one in site.noted() if one.get("surface") == "ui"]
    assert said[-2:] == [("login", "ok", "user:ada"), ("logout", "ok", "user:ada")]


def test_a_password_logs_in_by_keyboard_and_a_wrong_one_is_told(page: Page, gateway: Gateway) -> None:
    page.goto(f"{gateway.http}/ui/login?next=/fs/maps/")
    page.get_by_label("User").fill("bob")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    assert "wrong" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("User").input_value() == "bob"
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{gateway.http}/fs/maps/")
    page.goto(f"{gateway.http}/ui/")
    assert page.get_by_text("with your user name and password").count() == 1
    page.goto(f"{gateway.http}/fs/")
    assert {"maps/", "free/"} == set(page.locator("tbody th a").all_inner_texts())


def test_scripts_and_other_pages_cannot_read_the_cookie_or_log_out(
    page: Page, context: BrowserContext, gateway: Gateway
) -> None:
    page.goto(f"{gateway.http}/ui/login/start")
    at_provider(page, "ada")
    assert page.evaluate("document.cookie") == ""
    (cookie,) = [one for one in context.cookies() if one["name"] == "aetherfs"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    # A page of another origin posts the form: the browser leaves the cookie out, and there is no token in it.
    evil = context.new_page()
    evil.goto("about:blank")
    evil.set_content(f"<form method=post action='{gateway.http}/ui/logout'><button>win</button></form>")
    evil.get_by_role("button").click()
    evil.wait_for_url("**/ui/**")
    page.goto(f"{gateway.http}/ui/")
    assert page.get_by_text("ada", exact=True).count() == 1


def test_who_cancels_at_the_provider_is_told(page: Page, gateway: Gateway) -> None:
    page.goto(f"{gateway.http}/ui/login/start")
    page.get_by_role("link", name=re.compile("Cancel", re.IGNORECASE)).click()
    assert page.get_by_role("alert").inner_text() == "The login was cancelled."


def test_groups_that_are_none_let_nobody_in(page: Page, gateway: Gateway, site: Site) -> None:
    page.goto(f"{gateway.http}/ui/login/start")
    at_provider(page, "odd")
    assert page.get_by_role("alert").inner_text() == "The login failed."
    assert "is no list" in site.noted()[-1]["why"]


def test_a_code_is_good_once_and_in_its_own_browser_alone(
    page: Page, context: BrowserContext, gateway: Gateway
) -> None:
    seen: list[str] = []
    page.on("request", lambda request: seen.append(request.url))
    page.goto(f"{gateway.http}/ui/login/start")
    at_provider(page, "ada")
    (back,) = [url for url in seen if "/ui/login/callback" in url]
    assert page.goto(back).status == 403  # type: ignore[union-attr]  # replayed
    assert ask(back)[0] == 403  # elsewhere


def test_a_session_is_good_on_every_gateway_and_a_logout_ends_it_on_all(
    page: Page, context: BrowserContext, site: Site
) -> None:
    with site.serve(workers=2) as one, site.serve(workers=2) as two:
        page.goto(f"{one.http}/ui/login/start")
        at_provider(page, "ada")
        (cookie,) = [f"aetherfs={found['value']}" for found in context.cookies() if found["name"] == "aetherfs"]

        def lets_in(gateway: Gateway, times: int = 8) -> list[int]:
            """Ask both workers, with high probability: each request is a connection of its own."""
            return [ask(f"{gateway.http}/fs/maps/1.0.0/file.txt", Cookie=cookie)[0] for _ in range(times)]

        assert set(lets_in(one) + lets_in(two)) == {200}
        page.goto(f"{one.http}/ui/")
        page.get_by_role("button", name="Log out", exact=True).click()
        page.get_by_role("heading", name="Logged out").wait_for()
        assert until(lambda: 200 not in lets_in(one), 20)  # the other worker is told
        assert until(lambda: 200 not in lets_in(two), 60)
        assert set(lets_in(one) + lets_in(two)) == {401}


def test_over_tls_cookies_are_for_this_host_alone_and_nothing_secret_is_logged(browser: Browser, site: Site) -> None:
    certificate, key, log = (site.folder / name for name in ("cert.pem", "key.pem", "access.log"))
    self_signed(certificate, key)
    files = str(certificate), str(key), str(log)
    with site.serve(HTTP_TLS_CERT=files[0], HTTP_TLS_KEY=files[1], HTTP_ACCESS_LOG=files[2]) as gateway:
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.goto(f"{gateway.http}/ui/login?next=/fs/maps/")
        page.get_by_label("User").fill("bob")
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{gateway.http}/fs/maps/")
        (cookie,) = context.cookies()
        assert (cookie["name"], cookie["secure"], cookie["path"]) == ("__Host-aetherfs", True, "/")
        page.goto(f"{gateway.http}/ui/login/callback?code=a-secret-code&state=a-secret-state")
        page.goto(f"{gateway.http}/ui/")
        page.get_by_role("button", name="Log out on all devices").click()
        page.get_by_role("heading", name="Logged out").wait_for()
        assert context.cookies() == []
        context.close()
        gateway.stop()
    text = log.read_text() + site.audit.read_text()
    assert "/ui/login/callback" in text
    for secret in ("a-secret-code", "a-secret-state", PASSWORD, cookie["value"]):
        assert secret not in text


def test_the_page_can_be_read_in_the_dark_and_on_a_small_screen(context: BrowserContext, gateway: Gateway) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 320, "height": 640})
    for scheme, light in (("light", True), ("dark", False)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(f"{gateway.http}/ui/login")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        red = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
        assert (int(red) > 128) is light
