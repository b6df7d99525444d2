"""Whose address counts where proxies ask for others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import ConfigError, load, read_networks
from gateway.forwarded import HOPS, REMEMBERED, Proxies

PROXIES = Proxies(read_networks(["10.1.0.0/16", "fd00:1::/64", "127.0.0.1"]))


@pytest.mark.parametrize(
    ("address", "forwarded", "client"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),  # no proxy of ours: whoever it is wrote that
        ("10.1.0.7", "", "10.1.0.7"),
        ("10.1.0.7", "198.51.100.9", "198.51.100.9"),
        ("10.1.0.7", "127.0.0.1, 203.0.113.5, 198.51.100.9", "198.51.100.9"),  # what stands before is made up
        ("10.1.0.7", "203.0.113.5, 198.51.100.9, 10.1.0.8,127.0.0.1", "198.51.100.9"),
        ("10.1.0.7", "10.1.0.9, 10.1.0.8", "10.1.0.9"),  # a client within
        ("10.1.0.7", "198.51.100.9, unknown", "10.1.0.7"),
        ("10.1.0.7", "198.51.100.9, nonsense, 10.1.0.8", "10.1.0.8"),
        ("10.1.0.7", "198.51.100.9,", "10.1.0.7"),
        ("10.1.0.7", "198.51.100.9:4711", "198.51.100.9"),
        ("10.1.0.7", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.1.0.7", "2001:DB8:0::1", "2001:db8::1"),
        ("10.1.0.7", "::ffff:198.51.100.9", "198.51.100.9"),
        ("::ffff:10.1.0.7", "198.51.100.9", "198.51.100.9"),
        ("fd00:1::7", "198.51.100.9", "198.51.100.9"),
        ("fd00:2::7", "198.51.100.9", "fd00:2::7"),
        ("fe80::1%eth0", "198.51.100.9", "fe80::1%eth0"),
        ("local", "198.51.100.9", "local"),  # a socket of this machine
    ],
)
def test_the_last_address_that_is_no_proxys_is_the_clients(address: str, forwarded: str, client: str) -> None:
    assert PROXIES.client_of(address, forwarded) == client


@given(st.text(), st.ip_addresses().map(str))
def test_whatever_a_client_writes_the_proxy_s_own_word_decides(said: str, client: str) -> None:
    alone = Proxies(["10.1.0.7/32"])
    assert alone.client_of("10.1.0.7", f"{said},{client}") == alone.client_of("10.1.0.7", client)


@given(st.text(alphabet="0123456789.:[]%,abcdef "))
def test_what_comes_of_any_field_is_an_address(said: str) -> None:
    assert set(PROXIES.client_of("10.1.0.7", said)) <= set("0123456789abcdef.:")


def test_of_a_long_field_the_end_is_looked_at_alone_and_memory_is_bounded() -> None:
    assert PROXIES.client_of("10.1.0.7", "198.51.100.9," + ",".join(["10.1.0.8"] * HOPS)) == "10.1.0.8"
    for number in range(REMEMBERED + 10):
        PROXIES.client_of(f"192.0.{number >> 8}.{number & 255}", "198.51.100.9")
    assert len(PROXIES._known) <= REMEMBERED


def test_settings_take_a_list_or_from_the_environment_a_text() -> None:
    assert load(environ={}).http.trusted_proxies == ()
    found = load(environ={"AETHERFS_HTTP_TRUSTED_PROXIES": "10.1.0.7, fd00:1::/64, ::ffff:10.2.0.0/112"})
    assert found.http.trusted_proxies == ("10.1.0.7/32", "fd00:1::/64", "10.2.0.0/16")


@pytest.mark.parametrize(
    "value",
    [
        "everybody",
        "*",
        "0.0.0.0/0",
        "::/0",
        "::ffff:0:0/96",
        "10.1.0.7/8",
        "10.0.0.0/33",
        "fe80::1%eth0",
        ",".join(["::1"] * 1001),
    ],
)
def test_what_is_no_network_or_every_address_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"AETHERFS_HTTP_TRUSTED_PROXIES: http\.trusted_proxies: "):
        load(environ={"AETHERFS_HTTP_TRUSTED_PROXIES": value})
