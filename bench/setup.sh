#!/bin/sh
# Install what bench/ compares with and drives: as root on Debian or its kin; says what is missing elsewhere.
set -eu
PACKAGES="restic nfs-ganesha nfs-ganesha-vfs rpcbind nginx-light libnginx-mod-http-dav-ext apache2-bin
    wrk curl gcc libc6-dev libnfs-dev libssl-dev zlib1g-dev unzip"
command -v npm >/dev/null || PACKAGES="$PACKAGES npm"       # Node from elsewhere brings its own
missing=$(for p in $PACKAGES; do dpkg -s "$p" >/dev/null 2>&1 || echo "$p"; done)
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get -qq update
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $missing >/dev/null
else
    echo "bench/setup.sh: needed from apt:" $missing >&2
fi
