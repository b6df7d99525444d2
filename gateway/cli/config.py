"""`aetherfs config check`."""

from pathlib import Path

import click

from gateway.cli.common import Command, Common, keep_examples, pass_common


@click.group()
def config() -> None:
    """Look after configuration files.

    Example:
      aetherfs config check conf/aetherfs.toml
    """


config.help = keep_examples(config.help)


@config.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@pass_common
def check(common: Common, file: Path) -> None:
    """Read FILE as the gateway would and say whether all is well.

    Example:
      aetherfs config check conf/aetherfs.toml
    """
    from gateway.config import check_file, spelled

    settings = check_file(file)
    common.result({"file": str(file), "ok": True, "settings": spelled(settings)}, f"{file}: all is well")
