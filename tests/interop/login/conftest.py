"""One provider, one browser and one site for all tests of login."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.interop.login.site import AUDIENCE, CHROMIUM, NEEDS, Site
from tests.interop.serve.gateways import Gateway
from tests.support.oidc_provider import MISSING, WHY, RealProvider, real_provider


@pytest.fixture(scope="session")
def provider() -> Iterator[RealProvider]:
    if MISSING:
        pytest.skip(WHY)
    with real_provider() as running:
        yield running


@pytest.fixture(scope="session")
def site(provider: RealProvider, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"), provider)


@pytest.fixture(scope="session")
def gateway(site: Site) -> Iterator[Gateway]:
    """A gateway that takes ID tokens of its own client."""
    with site.serve() as running:
        yield running


@pytest.fixture(scope="session")
def guarded(site: Site) -> Iterator[Gateway]:
    """A gateway that takes access tokens for an audience of its own."""
    with site.serve(AUTH_OIDC_AUDIENCE=AUDIENCE) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(NEEDS)
    with sync_playwright() as playwright:
        # A container's root has no user namespaces for Chromium's own sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
