"""`aetherfs serve`."""

import click

from gateway.cli.common import Common, PlainCommand, pass_common


@click.command(cls=PlainCommand)
@click.option("--http", metavar="HOST:PORT", help="Where HTTP and WebDAV answer; port 0 picks one, off: not.")
@click.option("--nfs", metavar="HOST:PORT", help="Where NFS, MOUNT and NLM answer; port 0 picks one, off: not.")
@click.option("--grpc", metavar="HOST:PORT", help="Where gRPC answers; port 0 picks one, off: not.")
@click.option("--portmap", is_flag=True, help="Tell clients the port of NFS, by port 111 or a running rpcbind.")
@click.option("--workers", default=1, show_default=True, metavar="N", help="Processes for HTTP, and for NFS.")
@click.option("--insecure", is_flag=True, help="Allow addresses that other machines reach, without login or TLS.")
@pass_common
def serve(
    common: Common, http: str | None, nfs: str | None, grpc: str | None, portmap: bool, workers: int, insecure: bool
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Prints one line when all interfaces accept connections.

    Example:
      aetherfs serve
      aetherfs serve --http 127.0.0.1:0 --nfs off --workers 2
    """
    from gateway import app, logs, stores

    settings = common.settings(
        http_listen=http, nfs_listen=nfs, grpc_listen=grpc, nfs_portmap="true" if portmap else None
    )
    logs.set_up(common.log_level)
    if not settings.store.url:
        # Made here, once, before several workers could find it missing at the same time.
        stores.open_store(settings, stores.Options(create=True)).objects.close()
    app.serve(settings, click.echo, workers=workers, insecure=insecure, log_level=common.log_level)
