"""Settings of a provider that do not fit together are told when a gateway starts, and no secret with them."""

from pathlib import Path

import pytest

from gateway.access.oidc import open_login
from gateway.config import ConfigError, Settings, load

GOOD = {"auth.oidc.issuer": "https://login.example.org", "auth.oidc.client_id": "aetherfs"}


def settings(**changed: str) -> Settings:
    return load(flags=GOOD | {name.replace("__", "."): value for name, value in changed.items()}, environ={})


def test_without_an_issuer_there_is_none() -> None:
    assert open_login(Settings()) is None


def test_a_browser_asks_for_no_lasting_token(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(" a secret\n")
    login = open_login(settings(auth__oidc__client_secret_file=str(secret)))
    assert login is not None
    assert login.scopes == "openid profile email"
    assert login.client.secret == "a secret"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"auth__oidc__client_id": ""}, "client_id"),
        ({"auth__oidc__issuer": "http://login.example.org"}, "https://"),
        ({"auth__oidc__issuer": "login.example.org"}, "auth.oidc.issuer"),
        ({"auth__oidc__scopes": "profile"}, "openid"),
        ({"auth__oidc__client_secret_file": "/nowhere/secret"}, "cannot be read"),
        ({"http__public_url": "data.example.org"}, "public_url"),
        ({"http__public_url": "https://data.example.org/path"}, "public_url"),
        ({"http__public_url": "https://user@data.example.org"}, "public_url"),
        ({"http__public_url": "javascript://x"}, "public_url"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_told(changed: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_login(settings(**changed))
