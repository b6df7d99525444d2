"""What a gateway may show to other machines, and what it says of that when it starts.

Threads: the main one, before anything is served.
"""

import logging

from gateway.config import OFF, Address, ConfigError, Settings
from gateway.lifecycle import is_loopback

_log = logging.getLogger(__name__)


def check_exposure(settings: Settings, interface: str, address: Address) -> None:
    """Refuse an address that other machines can reach, where it is not safe to be reached.

    Raises:
        ConfigError: it is refused, with the reason and the way round.
        ServeError: the name does not resolve.
    """
    if is_loopback(interface, address):
        return
    reached = f"{interface}: {address} can be reached from other machines, and"
    if not settings.login:
        raise ConfigError(
            f"{reached} without authentication everyone there could read every dataset; listen on 127.0.0.1, or give "
            "--insecure to allow it"
        )
    if interface == "nfs":
        if settings.nfs.tls == OFF:
            raise ConfigError(
                f"{reached} without TLS all that is read, tokens in paths and the handles of files would cross the "
                "network in the clear; set nfs.tls, or give --insecure where the network itself is safe"
            )
        return
    if interface == "grpc":
        if not settings.grpc_certificate[0]:
            raise ConfigError(
                f"{reached} without TLS passwords and tokens would cross the network in the clear; set grpc.tls_cert "
                "and grpc.tls_key (aetherfs cert self-signed makes a pair), or put a proxy that speaks TLS before it "
                "and give --insecure"
            )
        return
    if not settings.http.tls_cert:
        raise ConfigError(
            f"{reached} without TLS passwords and tokens would cross the network in the clear; set http.tls_cert and "
            "http.tls_key (aetherfs cert self-signed makes a pair), or put a proxy that speaks TLS before it and give "
            "--insecure"
        )


def warn_of_exposure(settings: Settings) -> None:
    """Say what is allowed and yet not advised."""
    if settings.auth_basic.htpasswd and not settings.http.tls_cert:
        _log.warning(
            "http: users log in by passwords, and without TLS these cross in the clear; Windows sends none so. Set "
            "http.tls_cert and http.tls_key (aetherfs cert self-signed makes a pair), if no proxy speaks TLS for it"
        )
