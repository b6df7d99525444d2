"""`aetherfs doctor`."""

import click

from gateway.cli.common import Command, Common, columns, pass_common


@click.command(cls=Command)
@pass_common
@click.pass_context
def doctor(ctx: click.Context, common: Common) -> None:
    """Look at this machine and at the store, and say what to do about what is missing.

    Example:
      aetherfs doctor --store s3://bucket/prefix
    """
    from gateway.doctor import examine

    findings = list(examine(common.settings()))
    bad = [finding for finding in findings if finding.state == "bad"]
    lines = []
    for finding, line in zip(findings, columns([(f.state, f.name, f.found) for f in findings]), strict=True):
        lines += [line] + ([f"    to do: {finding.fix}"] if finding.fix else [])
    common.result({"ok": not bad, "findings": [finding._asdict() for finding in findings]}, lines)
    if bad:
        ctx.exit(bad[0].exit_code)
