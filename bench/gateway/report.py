"""Markdown tables out of the JSON lines of run.sh: medians, ratios to ours, correctness, versions.

    report.py RESULTS.jsonl [--reps 3] [--replace STRING=TEXT]

Of the repetitions of a measure, the --reps with the least CPU use by others are taken. A cell is the median, then in
brackets the server's CPU in us a unit; "~" marks a median while which others used more than a tenth of the CPUs.
"""

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]
BUSY = 0.10


class Measure(NamedTuple):
    """How a measure is shown."""

    name: str
    field: str
    unit: str
    per: str  # what the server's CPU is counted by


NFS = (
    *(
        Measure(name, "ops_s", "ops/s", "op")
        for name in ("null", "getattr", "lookup", "access", "getattr-late", "rand4k")
    ),
    *(Measure(name, "mb_s", "MB/s", "op") for name in ("read1m", "read128k", "read32k")),
    Measure("readdirplus", "entries_s", "entries/s", "entry"),
    Measure("cattree", "files_s", "files/s", "file"),
)
DAV = (
    Measure("get", "mb_s", "MB/s", "MB"),
    *(Measure(name, "req_s", "req/s", "req") for name in ("small", "range64k", "head", "options", "propfind0")),
    *(Measure(name, "ms", "ms", "entry") for name in ("propfind1_1k", "propfind1_10k", "allprop1_10k")),
    Measure("copytree", "secs", "s", "file"),
)


class Results:
    """All rows of a run, sorted by what they are."""

    def __init__(self, lines: list[str], reps: int) -> None:
        self.rows: dict[tuple[str, str, str, int], list[Row]] = defaultdict(list)
        self.errors: dict[tuple[str, str, int], str] = {}
        self.info: dict[str, dict[str, Row]] = defaultdict(dict)
        for line in lines:
            self._add(json.loads(line))
        for rows in self.rows.values():
            rows.sort(key=lambda row: max(row.get("other_cpu", 0), 0))
            del rows[reps:]

    def _add(self, row: Row) -> None:
        measure, peer = row["measure"], row["peer"]
        at = int(row.get("k") or row.get("conns") or 1)
        if measure in ("version", "flags", "setup") or measure.startswith("verify"):
            self.info[measure].setdefault(peer, row)
        elif "error" in row:
            self.errors[peer, measure, at] = row["error"]
        else:
            self.rows[row["tool"], peer, measure, at].append(row)

    def peers(self, tool: str) -> list[str]:
        """Return who was measured by one tool, in order."""
        return list(dict.fromkeys(peer for kind, peer, _, _ in self.rows if kind == tool))

    def median(self, key: tuple[str, str, str, int], field: str) -> float | None:
        """Return the median of a field, where there is one."""
        values = [row[field] for row in self.rows.get(key, []) if row.get(field) is not None]
        return statistics.median(values) if values else None


def number(value: float | None) -> str:
    """Spell a number with about three digits."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def tables(results: Results, tool: str, title: str, measures: tuple[Measure, ...]) -> None:
    """Print what was measured by one tool: values, then latencies."""
    peers = results.peers(tool)
    for part in ("medians, in brackets server CPU in us a unit", "latency p50 / p99, ms"):
        lines = []
        for measure in measures:
            for at in sorted({k for kind, _, name, k in results.rows if kind == tool and name == measure.name}):
                keys = [(tool, peer, measure.name, at) for peer in peers]
                if part.startswith("medians"):
                    cells = [_value(results, key, measure) for key in keys]
                    lines.append([measure.name, str(at), measure.unit, measure.per, *cells])
                elif any(cells := [_latency(results, key) for key in keys]):
                    lines.append([measure.name, str(at), *cells])
        if lines:
            head = ["measure", "at a time", *(["unit", "CPU per"] if part.startswith("medians") else []), *peers]
            print(f"\n### {title}: {part}\n")
            for cells in (head, ["---"] * len(head), *lines):
                print("| " + " | ".join(cells) + " |")


def _value(results: Results, key: tuple[str, str, str, int], measure: Measure) -> str:
    if key not in results.rows:
        return "error" if key[1:] in results.errors else "-"
    cpu, others = results.median(key, "server_us_per_unit"), results.median(key, "other_cpu") or 0
    shown = ("~" if others > BUSY else "") + number(results.median(key, measure.field))
    return shown + (f" ({number(cpu)})" if cpu is not None else "")


def _latency(results: Results, key: tuple[str, str, str, int]) -> str:
    half, most = results.median(key, "p50_us"), results.median(key, "p99_us")
    return "" if half is None or most is None else f"{half / 1e3:.2f} / {most / 1e3:.2f}"


def rest(results: Results, replace: list[str]) -> None:
    """Print errors, checks, versions, and how busy others were."""
    for (peer, measure, at), error in results.errors.items():
        print(f"- error: {peer} {measure}@{at}: {error}")
    print("\n### Checks\n")
    for name in sorted(name for name in results.info if name.startswith("verify") or name == "setup"):
        for peer, row in results.info[name].items():
            said = {
                key: value for key, value in row.items() if key not in ("tool", "peer", "measure", "conns", "rep", "k")
            }
            print(f"- {peer} {name}: " + ", ".join(f"{key} {value}" for key, value in said.items()))
    print("\n### Versions and command lines\n")
    for name, row in results.info["version"].items():
        print(f"- {name}: {row['value']}")
    for peer, row in results.info["flags"].items():
        text = row["value"]
        for pair in replace:
            old, _, new = pair.partition("=")
            text = text.replace(old, new)
        print(f"- {peer}: `{text}`; {row.get('rss_mb')} MB resident at the end")
    print("\n### Share of the machine that others used while timing, median\n")
    for peer in dict.fromkeys(peer for _, peer, _, _ in results.rows):
        shares = [
            row.get("other_cpu", 0) for (_, who, _, _), rows in results.rows.items() if who == peer for row in rows
        ]
        print(f"- {peer}: {max(statistics.median(shares), 0):.2f}")


def main() -> None:
    """Print it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--replace", action="append", default=[], help="STRING=TEXT in the command lines (paths)")
    given = parser.parse_args()
    results = Results(given.file.read_text(encoding="utf-8").splitlines(), given.reps)
    tables(results, "nfsload", "NFSv3", NFS)
    tables(results, "davload", "WebDAV and HTTP", DAV)
    rest(results, given.replace)


if __name__ == "__main__":
    main()
