"""`aetherfs cert self-signed`: makes a certificate for a gateway."""

from pathlib import Path

import click

from gateway.cli.common import Command, Common, LocalPath, keep_examples, pass_common


@click.group()
def cert() -> None:
    """Make certificates for gateways.

    Example:
      aetherfs cert self-signed --host data.example.org
    """


cert.help = keep_examples(cert.help)


@cert.command("self-signed", cls=Command)
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="A name or address that clients use; repeatable.")
@click.option("--days", default=365, show_default=True, metavar="N", help="How long it is good.")
@click.option("--out", type=LocalPath(), metavar="DIR", help="Where cert.pem and key.pem go.")
@click.option("--force", is_flag=True, help="Replace those that are there.")
@pass_common
def self_signed(common: Common, hosts: tuple[str, ...], days: int, out: Path | None, force: bool) -> None:
    """Make a key and a certificate that nobody but itself vouches for, and say how to use them.

    Without --host it is for this machine's name, localhost, 127.0.0.1 and ::1; without --out it goes to the folder tls
    beside the configuration file. Clients trust it once they are given cert.pem, or have compared the fingerprint that
    is printed. The key can be read by you alone.

    Example:
      aetherfs cert self-signed --host data.example.org --host 192.0.2.7 --out /etc/aetherfs/tls
    """
    from gateway.config import default_config_file
    from gateway.selfsigned import make_certificate, own_hosts, write_certificate

    folder = (out or default_config_file().parent / "tls").absolute()
    made = make_certificate(hosts or own_hosts(), days)
    cert_file, key_file = write_certificate(made, folder, force=force)
    until = made.certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = [
        f"certificate: {cert_file}",
        f"key: {key_file}",
        f"for: {', '.join(made.hosts)}",
        f"good until: {until}",
        f"SHA-256: {made.fingerprint}",
        "",
        "to be put into the configuration:",
        "  [http]",
        f'  tls_cert = "{cert_file}"',
        f'  tls_key = "{key_file}"',
    ]
    document = {
        "cert": str(cert_file),
        "key": str(key_file),
        "hosts": list(made.hosts),
        "not_after": until,
        "sha256": made.fingerprint,
    }
    common.result(document, lines)
