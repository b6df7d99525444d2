"""`aetherfs version`."""

import importlib.metadata

import click

from gateway.cli.common import Command, Common, pass_common


@click.command(cls=Command)
@pass_common
def version(common: Common) -> None:
    """Print the version, a calendar version.

    Example:
      aetherfs version
    """
    found = importlib.metadata.version("aetherfs")
    common.result({"version": found}, found)
