"""The `aetherfs` program: finds the command, runs it, and turns every error into one message and one exit code.

Command modules are imported when they are asked for, so that `aetherfs version` waits for no S3 client.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from gateway.cli.common import COMMON_OPTIONS, Common, keep_examples

COMMANDS: Final[Mapping[str, str]] = {  # name -> module:attribute
    "cat": "gateway.cli.cat:cat",
    "cert": "gateway.cli.cert:cert",
    "completion": "gateway.cli.completion:completion",
    "config": "gateway.cli.config:config",
    "diff": "gateway.cli.diff:diff",
    "doctor": "gateway.cli.doctor:doctor",
    "init": "gateway.cli.init:init",
    "key": "gateway.cli.key:key",
    "log": "gateway.cli.log:log",
    "login": "gateway.cli.login:login",
    "logout": "gateway.cli.login:logout",
    "ls": "gateway.cli.ls:ls",
    "policy": "gateway.cli.policy:policy",
    "pull": "gateway.cli.pull:pull",
    "push": "gateway.cli.push:push",
    "rollback": "gateway.cli.tag:rollback",
    "serve": "gateway.cli.serve:serve",
    "show": "gateway.cli.show:show",
    "stats": "gateway.cli.stats:stats",
    "tag": "gateway.cli.tag:tag",
    "token": "gateway.cli.token:token",
    "untag": "gateway.cli.tag:untag",
    "user": "gateway.cli.user:user",
    "verify": "gateway.cli.verify:verify",
    "version": "gateway.cli.version:version",
    "warm": "gateway.cli.warm:warm",
    "whoami": "gateway.cli.login:whoami",
}


class LazyGroup(click.Group):
    """A group whose commands are imported at first use."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.help = keep_examples(self.help)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=list(COMMON_OPTIONS),
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Publish folders as tagged, deduplicated datasets; browse and mount them.

    Example:
      aetherfs push ./data -t maps:1.0.0 -t maps:latest
      aetherfs serve
    """
    ctx.ensure_object(Common)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    common = Common()
    try:
        result = cli.main(list(arguments), prog_name="aetherfs", standalone_mode=False, obj=common)
    except (Exception, KeyboardInterrupt) as error:  # the program's outermost shell: no traceback reaches a user
        from gateway.cli.failures import report

        return report(error, verbosity=common.verbosity)
    return result if isinstance(result, int) else 0


def main() -> None:
    """Run the program."""
    sys.exit(run(sys.argv[1:]))
