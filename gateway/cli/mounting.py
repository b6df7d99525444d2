"""The lines that mount a gateway's tree, for each system: for `make run`, and checked against what clients need.

Linux needs `nolock` (there is no lock manager) and both ports, since no portmapper answers; macOS wants `locallocks`,
so that programs which lock files go on working, and no transfer above 1 MiB. rclone compares by checksum only with the
vendor `owncloud`, and its pacer would hold it to 100 calls a second.
"""

from gateway.config import Address


def mount_lines(http: Address | None, nfs: Address | None) -> list[str]:
    """Return what to type, with the addresses filled in."""
    lines: list[str] = []
    if nfs is not None:
        ports = f"port={nfs.port},mountport={nfs.port}"
        lines += [
            "Linux (NFS, as root):",
            f"  mount -t nfs -o vers=3,tcp,nolock,ro,{ports} {nfs.host}:/ /mnt",
            "macOS (NFS):",
            f"  mkdir -p ~/aetherfs && mount_nfs -o vers=3,tcp,rdonly,locallocks,rsize=1048576,{ports} "
            f"{nfs.host}:/ ~/aetherfs",
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
