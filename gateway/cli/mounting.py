"""The lines that mount a gateway's tree, for each system: for `make run`, and checked against what clients need.

Where no portmapper answers, Linux needs both ports, and `nolock`, since it would look for the lock manager there; macOS
wants `locallocks`, so that programs which lock files go on working, and no transfer above 1 MiB. Windows' own client
needs a portmapper, and an export that has a name. rclone compares by checksum only with the
vendor `owncloud`, and its pacer would hold it to 100 calls a second.
"""

from gateway.config import Address


def mount_lines(http: Address | None, nfs: Address | None, *, portmap: bool = False) -> list[str]:
    """Return what to type, with the addresses filled in; `portmap`: clients can ask for the port."""
    lines: list[str] = []
    if nfs is not None:
        ports = "" if portmap else f",port={nfs.port},mountport={nfs.port}"
        linux = "" if portmap else f" -o vers=3,tcp,nolock,ro{ports}"
        lines += [
            "Linux (NFS, as root):",
            f"  mount -t nfs{linux} {nfs.host}:/ /mnt",
            "macOS (NFS):",
            f"  mkdir -p ~/aetherfs && mount_nfs -o vers=3,tcp,rdonly,locallocks,rsize=1048576{ports} "
            f"{nfs.host}:/ ~/aetherfs",
        ]
        if portmap:
            lines += [
                "Windows (Services for NFS, one dataset):",
                f"  mount -o anon,nolock,mtype=soft {nfs.host}:/DATASET X:",
            ]
    if http is not None:
        url = f"http://{http}"
        lines += [
            f"macOS (Finder): Go, Connect to Server, {url}/webdav/",
            "Windows (Explorer):",
            f"  net use Z: {url}/webdav/",
            "rclone, any system:",
            f"  rclone mount :webdav: /mnt --read-only --webdav-vendor owncloud --webdav-pacer-min-sleep 0 "
            f"--webdav-url {url}/webdav/",
            "Browse, or read with any program that speaks HTTP:",
            f"  {url}/fs/",
        ]
    return lines
