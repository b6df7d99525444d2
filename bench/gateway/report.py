#!/usr/bin/env python3
"""Tables (Markdown) out of the JSON lines of run.sh, limits.sh, nfsload and davload.

    report.py RESULTS.jsonl... [--reps 3] [--peers A,B,...] [--replace STRING=TEXT]

Of the repetitions of a measure the --reps with the least CPU use by others are
taken, and their median is shown: "value (server CPU us per unit)".  "~" marks a
median for which others used more than a tenth of the CPUs.  A share of CPUs at
"niced" is in the last table: such processes give way, yet are not free.
"""

import argparse
import json
import statistics
from collections import defaultdict

# measure -> field shown, unit, what the CPU is counted by, the limit to compare with
NFS = [
    ("null", "ops_s", "ops/s", "op", "rpcnull"),
    ("getattr", "ops_s", "ops/s", "op", "rpcnull"),
    ("lookup", "ops_s", "ops/s", "op", "rpcnull"),
    ("access", "ops_s", "ops/s", "op", "rpcnull"),
    ("getattr-late", "ops_s", "ops/s", "op", "rpcnull"),
    ("rand4k", "ops_s", "ops/s", "op", "rpcnull"),
    ("read1m", "mb_s", "MB/s", "op", "tcp_stream"),
    ("read128k", "mb_s", "MB/s", "op", "tcp_stream"),
    ("read32k", "mb_s", "MB/s", "op", "tcp_stream"),
    ("readdirplus", "entries_s", "entries/s", "entry", "local_listing"),
    ("cattree", "files_s", "files/s", "file", "local_cattree"),
]
DAV = [
    ("get", "mb_s", "MB/s", "MB", "tcp_sendfile"),
    ("small", "req_s", "req/s", "req", ""),
    ("range64k", "req_s", "req/s", "req", ""),
    ("head", "req_s", "req/s", "req", ""),
    ("options", "req_s", "req/s", "req", ""),
    ("propfind0", "req_s", "req/s", "req", ""),
    ("propfind1_1k", "ms", "ms", "entry", ""),
    ("propfind1_10k", "ms", "ms", "entry", ""),
    ("allprop1_10k", "ms", "ms", "entry", ""),
    ("copytree", "secs", "s", "file", ""),
]
UNITS = {
    "memcpy": "GB/s",
    "tcp_stream": "MB/s",
    "tcp_sendfile": "MB/s",
    "local_pread1m": "MB/s",
    "local_listing": "entries/s",
    "local_cattree": "files/s",
    "aes-128-gcm": "MB/s",
    "aes-256-gcm": "MB/s",
    "sha256": "MB/s",
}


def num(v):
    if v is None:
        return ""
    a = abs(v)
    return f"{v:,.0f}" if a >= 100 else f"{v:.1f}" if a >= 10 else f"{v:.2f}"


class Results:
    def __init__(self, files, reps):
        self.rows, self.errors, self.info = defaultdict(list), {}, defaultdict(dict)
        self.limits = defaultdict(list)
        self.order = []
        for name in files:
            with open(name) as f:
                for line in f:
                    try:
                        r = json.loads(line)
                    except ValueError:
                        continue
                    self.add(r)
        for rows in self.rows.values():
            rows.sort(key=lambda r: max(r.get("other_cpu", 0), 0))
            del rows[reps:]

    def add(self, r):
        m, peer = r["measure"], r["peer"]
        if r["tool"] == "limits":
            self.limits[m].append(next(v for k, v in r.items() if k not in ("tool", "peer", "measure")))
        elif m in ("version", "flags", "setup") or m.startswith("verify"):
            self.info[m].setdefault(peer, r)
        elif "error" in r:
            self.errors[peer, m, r.get("k", r.get("conns", 1))] = r["error"]
        elif peer == "rpcnull":
            self.limits[f"rpcnull@{r['k']}"].append(r["ops_s"])
        else:
            if peer not in self.order:
                self.order.append(peer)
            self.rows[r["tool"], peer, m, r["k"] if "k" in r else r["conns"]].append(r)

    def med(self, key, field):
        v = [r[field] for r in self.rows.get(key, []) if r.get(field) is not None]
        return statistics.median(v) if v else None

    def limit(self, name, k):
        v = self.limits.get(f"rpcnull@{k}" if name == "rpcnull" else name)
        return statistics.median(v) if v else None


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("files", nargs="+")
    ap.add_argument("--reps", type=int, default=3)
    ap.add_argument("--peers", default="", help="these, in this order")
    ap.add_argument("--replace", action="append", default=[], help="STRING=TEXT in the flags (paths)")
    a = ap.parse_args()
    res = Results(a.files, a.reps)
    order = [p for p in a.peers.split(",") if p] or res.order

    for tool, title, spec in (("nfsload", "NFSv3", NFS), ("davload", "WebDAV", DAV)):
        peers = [p for p in order if any(t == tool and q == p for t, q, _, _ in res.rows)]
        if not peers:
            continue
        for part in ("value", "latency"):
            print(
                f"\n### {title}: "
                + ("medians, in brackets server CPU in us per unit" if part == "value" else "latency p50 / p99, ms")
                + "\n"
            )
            with_limit = part == "value" and tool == "nfsload"
            head = ["measure", "outst." if tool == "nfsload" else "conns"]
            head += (["unit", "CPU per"] if part == "value" else []) + peers
            print("| " + " | ".join(head + (["limit"] if with_limit else [])) + " |")
            print("|" + "---|" * (len(head) + with_limit))
            for m, field, unit, per, lim in spec:
                for k in sorted({k for t, _, mm, k in res.rows if t == tool and mm == m}):
                    cells = []
                    for p in peers:
                        key = (tool, p, m, k)
                        if key not in res.rows:
                            err = res.errors.get((p, m, k))
                            cells.append("error" if err else "-")
                        elif part == "value":
                            cpu, other = res.med(key, "server_us_per_unit"), res.med(key, "other_cpu") or 0
                            cells.append(
                                ("~" if other > 0.10 else "")
                                + num(res.med(key, field))
                                + (f" ({num(cpu)})" if cpu is not None else "")
                            )
                        else:
                            p50, p99 = res.med(key, "p50_us"), res.med(key, "p99_us")
                            cells.append("-" if p50 is None else f"{p50 / 1e3:.2f} / {p99 / 1e3:.2f}")
                    if part == "latency" and not any(c not in ("-", "error") for c in cells):
                        continue
                    row = [m, str(k)] + ([unit, per] if part == "value" else []) + cells
                    print("| " + " | ".join(row + ([num(res.limit(lim, k))] if with_limit else [])) + " |")
    if res.limits:
        print("\n### Limits of the machine (medians)\n\n| what | value |\n|---|---|")
        for m, v in res.limits.items():
            print(f"| {m} ({UNITS.get(m, 'ops/s')}) | {num(statistics.median(v))} |")
    if res.errors:
        print("\n### Errors\n")
        for (p, m, k), e in res.errors.items():
            print(f"- {p} {m}@{k}: {e}")
    print("\n### Correctness checks and answers\n")
    for m in sorted(x for x in res.info if x.startswith("verify") or x == "setup"):
        for p, r in res.info[m].items():
            show = {k: v for k, v in r.items() if k not in ("tool", "peer", "measure", "conns", "rep", "k")}
            print(f"- {p} {m}: " + ", ".join(f"{k} {v}" for k, v in show.items()))
    print("\n### Versions and flags\n")
    for p, r in res.info["version"].items():
        print(f"- {p}: {r['value']}")
    for p, r in res.info["flags"].items():
        text = r["value"]
        for rep in a.replace:
            old, _, new = rep.partition("=")
            text = text.replace(old, new)
        print(f"- {p}: `{text}`; {r.get('rss_mb')} MB resident at the end")
    print(
        "\n### Use of the machine by others while timing\n\n| peer | others, median | niced, median | client CPU, max share of one CPU |\n|---|---|---|---|"
    )
    for p in order:
        rows = [r for (t, q, _, _), rs in res.rows.items() if q == p for r in rs]
        if rows:
            print(
                f"| {p} | {statistics.median(max(r.get('other_cpu', 0), 0) for r in rows):.2f} "
                f"| {statistics.median(r.get('niced_cpu', 0) for r in rows):.2f} "
                f"| {max(r['client_cpu_s'] / r['secs'] for r in rows):.2f} |"
            )


if __name__ == "__main__":
    main()
