"""`aetherfs init`."""

import click

from gateway.cli.common import Command, Common, pass_common


@click.command(cls=Command)
@click.option("--single-writer", is_flag=True, help="Take a store that ignores conditions: nobody else writes.")
@pass_common
def init(common: Common, single_writer: bool) -> None:
    """Make a store. One that is there already is left as it is.

    Example:
      aetherfs init --store /srv/data
      aetherfs init --store 's3://bucket/prefix?endpoint=http://127.0.0.1:9000'
    """
    from gateway.stores import Options, connect
    from store.root import create_store

    options = Options(single_writer=single_writer, on_wait=common.waiting)
    objects, guard = connect(common.settings(), options, create=True)
    try:
        guard.ensure_writable()
        made = create_store(objects)
        address = objects.address
    finally:
        objects.close()
    said = f"made store {made.root.store}" if made.fresh else f"store {made.root.store} is there already, left as it is"
    common.result({"store": address, "id": made.root.store, "created": made.fresh}, f"{said}: {address}")
