"""What a gateway shows to other machines only when it was told that it is safe, or to do so all the same."""

import socket

import pytest

from gateway.app import serve
from gateway.config import Address, ConfigError, Settings, load
from gateway.exposure import check_exposure, warn_of_exposure
from gateway.lifecycle import ServeError, peer_of


def settings(**flags: str) -> Settings:
    return load(flags={name.replace("__", "."): value for name, value in flags.items()}, environ={})


PASSWORDS = {"auth__basic__htpasswd": "/etc/users"}
TLS = {"http__tls_cert": "/etc/cert.pem", "http__tls_key": "/etc/key.pem"}
WAYS = {
    "passwords": PASSWORDS,
    "a policy, and so tokens": {"auth__policy": "/etc/policy.toml"},
    "a provider": {"auth__oidc__issuer": "https://login.example.org", "auth__oidc__client_id": "x"},
}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback_needs_no_permission(host: str) -> None:
    check_exposure(settings(), "http", Address(host, 8080))
    check_exposure(settings(**PASSWORDS), "http", Address(host, 8080))


@pytest.mark.parametrize("interface", ["http", "nfs", "grpc"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "0", "::ffff:192.0.2.1", "::ffff:0.0.0.0"])
def test_addresses_that_others_reach_are_refused_with_the_reason(host: str, interface: str) -> None:
    for given in (settings(), settings(**TLS)):
        with pytest.raises(ConfigError, match=r"without authentication everyone .* --insecure"):
            check_exposure(given, interface, Address(host, 2049))


@pytest.mark.parametrize("way", WAYS)
def test_login_beyond_loopback_needs_tls(way: str) -> None:
    with pytest.raises(ConfigError, match=r"in the clear; set http\.tls_cert .* a proxy .* --insecure"):
        check_exposure(settings(**WAYS[way]), "http", Address("0.0.0.0", 8080))
    check_exposure(settings(**WAYS[way], **TLS), "http", Address("0.0.0.0", 8443))


@pytest.mark.parametrize("way", WAYS)
def test_grpc_beyond_loopback_needs_tls_of_its_own_or_that_of_http(way: str) -> None:
    with pytest.raises(ConfigError, match=r"^grpc: .*in the clear; set grpc\.tls_cert .* a proxy .* --insecure"):
        check_exposure(settings(**WAYS[way]), "grpc", Address("0.0.0.0", 8081))
    for tls in (TLS, {"grpc__tls_cert": "/etc/cert.pem", "grpc__tls_key": "/etc/key.pem"}):
        check_exposure(settings(**WAYS[way], **tls), "grpc", Address("0.0.0.0", 8081))


@pytest.mark.parametrize("way", WAYS)
def test_nfs_beyond_loopback_needs_login_and_tls(way: str) -> None:
    with pytest.raises(ConfigError, match=r"^nfs: .* in the clear; set nfs\.tls, or give --insecure"):
        check_exposure(settings(**WAYS[way]), "nfs", Address("0.0.0.0", 2049))
    for tls in ("allow", "require"):
        check_exposure(settings(**WAYS[way], nfs__tls=tls), "nfs", Address("0.0.0.0", 2049))
        with pytest.raises(ConfigError, match="without authentication"):
            check_exposure(settings(nfs__tls=tls), "nfs", Address("0.0.0.0", 2049))


def test_host_that_does_not_resolve_is_refused_by_name() -> None:
    with pytest.raises(ServeError, match=r"nfs: no such host 'a\.b\.\.invalid'"):
        check_exposure(settings(), "nfs", Address("a.b..invalid", 2049))


def test_passwords_without_tls_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for quiet in (settings(), settings(**PASSWORDS, **TLS), settings(**TLS)):
        warn_of_exposure(quiet)
    assert not caplog.records
    warn_of_exposure(settings(**PASSWORDS))
    assert "without TLS these cross in the clear" in caplog.text


def test_a_name_that_means_another_address_when_it_is_bound_is_refused_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = ["127.0.0.1", "0.0.0.0"]

    def resolve(host: str, port: int, **_options: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0) if host == "rebound.example" else host, port))
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    given = settings(http__listen="rebound.example:0", nfs__listen="off", grpc__listen="off")
    with pytest.raises(ConfigError, match=r"0\.0\.0\.0:\d+ can be reached from other machines"):
        serve(given, lambda _line: pytest.fail("it is served"))


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        (("192.0.2.1", 7), ("192.0.2.1", 7)),
        (("::ffff:192.0.2.1", 7, 0, 0), ("192.0.2.1", 7)),
        (("2001:db8::1", 7, 0, 0), ("2001:db8::1", 7)),
        (("::ffff:0:1", 7, 0, 0), ("::ffff:0:1", 7)),
        ("", ("local", 0)),
    ],
)
def test_who_comes_by_ipv4_is_called_so_also_where_a_socket_takes_both(address: object, peer: tuple[str, int]) -> None:
    assert peer_of(address) == peer
