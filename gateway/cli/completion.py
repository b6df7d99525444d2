"""`aetherfs completion`."""

import click
from click.shell_completion import get_completion_class

from gateway.cli.common import PlainCommand


@click.command(cls=PlainCommand)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands and options.

    Example:
      aetherfs completion bash >> ~/.bashrc
      aetherfs completion zsh >> ~/.zshrc
      aetherfs completion fish > ~/.config/fish/completions/aetherfs.fish
    """
    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(ctx.find_root().command, {}, "aetherfs", "_AETHERFS_COMPLETE").source())
