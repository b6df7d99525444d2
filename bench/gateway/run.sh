#!/bin/bash
# Run the load generators against the servers of peers.sh, one after another, all over one tree.
#
#   run.sh [--full] [--dir FOLDER] [PEER...]
#
# The quick edition has a tree of 128 MiB and one repetition of 1 s of the main measures; --full has 1 GiB, and three of
# 2 s of all. Everything is written below FOLDER (default: .aetherfs/bench/gateway). Rows go to FOLDER/results, the
# tables for RESULTS.md to stdout. aetherfs and rclone are those of .venv, unless AETHERFS and RCLONE name others.
set -u
HERE=$(cd "$(dirname "$0")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
FOLDER=$TOP/.aetherfs/bench/gateway MIB=128 SECS=1 REPS=1 PORT=21500
NFS=verify,getattr@1,getattr@16,lookup@16,read1m@4,read128k@8,rand4k@16,readdirplus,cattree@16
DAV=verify,get@1,get@4,small@16,range64k@16,propfind1_10k,propfind0@16,head@16
GET=verify,get@1,get@4,small@16,range64k@16,head@16
while [ $# -gt 0 ]; do
    case $1 in
    --full)
        MIB=1024 SECS=2 REPS=3 DAV=all GET=get
        NFS=verify,null@16,getattr@1,getattr@16,lookup@1,lookup@16,access@16,read1m@1,read1m@4,read128k@8,read32k@16
        NFS=$NFS,rand4k@1,rand4k@16,cattree@1,cattree@16,readdirplus,getattr:getattr-late@16 ;;
    --dir) FOLDER=$2; shift ;;
    -*) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    *) break ;;
    esac
    shift
done
mkdir -p "$FOLDER/bin" "$FOLDER/scratch" "$FOLDER/results"
FOLDER=$(cd "$FOLDER" && pwd)
STATE=$FOLDER/state-$MIB DATA=$FOLDER/tree-$MIB RESULTS=$FOLDER/results/gateway-$(date -u +%Y%m%dT%H%M%S).jsonl
export AETHERFS=${AETHERFS:-$TOP/.venv/bin/aetherfs} RCLONE=${RCLONE:-$TOP/.venv/bin/rclone}
mkdir -p "$STATE"
for name in nfsload httpload; do
    [ "$FOLDER/bin/$name" -nt "$HERE/$name.c" ] ||
        cc -O2 -pthread -o "$FOLDER/bin/$name" "$HERE/$name.c" $([ $name = nfsload ] && echo -lnfs -lcrypto -lz) || exit 1
done
export HTTPLOAD=$FOLDER/bin/httpload
python3 "$HERE/testtree.py" "$DATA" --big-mib "$MIB" || exit 1

field() { python3 -c "import json; print(json.load(open('$DATA.manifest.json'))['$1']['$2'])"; }
nfs_options=(-t "$SECS" -r "$REPS" -m "$NFS" --quiet-wait 3 --sha256 "$(field big sha256)" --list-count "$(field dir10k files)"
    --tree-count "$(field tree files)" --tree-bytes "$(field tree bytes)" --tree-crc "$(field tree crc32_sum)")
dav_options=(--manifest "$DATA.manifest.json" --local "$DATA" -t "$SECS" -r "$REPS" --quiet-wait 3 --scratch "$FOLDER/scratch")

running=
trap '[ -z "$running" ] || "$HERE/peers.sh" stop "$running" "$STATE"' EXIT
trap 'exit 1' INT TERM
[ $# -gt 0 ] || set -- $("$HERE/peers.sh" list | cut -d' ' -f1)
"$HERE/peers.sh" versions |
    sed 's/"/ /g; s/^\([^:]*\): \(.*\)/{"tool":"run","measure":"version","peer":"\1","value":"\2"}/' >>"$RESULTS"
for peer in "$@"; do
    where=
    read -r _ kind arg where < <("$HERE/peers.sh" list | grep "^$peer ")
    find "$DATA" -type f -print0 | xargs -0 cat >/dev/null        # all of it in the page cache
    pid=$("$HERE/peers.sh" start "$peer" "$DATA" "$PORT" "$STATE") || {
        echo "{\"tool\":\"run\",\"peer\":\"$peer\",\"measure\":\"start\",\"error\":\"did not start\"}" >>"$RESULTS"
        continue
    }
    running=$peer
    echo "$(date +%T) $peer" >&2
    if [ "$kind" = nfs ]; then
        mount=$PORT; [ "$peer" = ganesha-vfs ] && mount=$((PORT + 1))
        "$FOLDER/bin/nfsload" -p "$PORT" -M "$mount" -e "$arg" "${nfs_options[@]}" --peer "$peer" --server-pid "$pid" >>"$RESULTS"
    else
        [ "$arg" = get ] && measures=$GET || measures=$DAV
        trusted=()
        [ "$kind" = tls ] && measures=verify,get@1,get@4 trusted=(--cacert "$STATE/tls/cert.pem")
        python3 "$HERE/davload.py" "127.0.0.1:$PORT" --prefix "$where" -m "$measures" "${dav_options[@]}" ${trusted[@]+"${trusted[@]}"} \
            --peer "$peer" --server-pid "$pid" >>"$RESULTS"
    fi
    rss=$(ps -o rss= --ppid "$pid" --pid "$pid" | awk '{s+=$1} END {print s+0}')
    "$HERE/peers.sh" flags "$peer" "$STATE" | python3 -c "import json,sys; print(json.dumps({'tool':'run','measure':'flags','peer':'$peer','value':sys.stdin.read().strip(),'rss_mb':round($rss/1024,1)}))" >>"$RESULTS"
    "$HERE/peers.sh" stop "$peer" "$STATE"
    running=
    PORT=$((PORT + 10))      # no waiting for TIME_WAIT
done
python3 "$HERE/report.py" "$RESULTS" --reps "$REPS" --replace "$TOP=." --replace "$FOLDER=FOLDER"
