"""A section for RESULTS.md out of the rows of a run: medians, spread, ratio of ours to the peer.

python -m bench.table RESULTS.jsonl
"""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from bench.targets import Row, standings

HEAD = (
    "| work | input | ours wall s | peer wall s | peer/ours | ours CPU s | peer CPU s | ours/peer CPU "
    "| ours MB/s | ours peak MB | peer peak MB |"
)


def main() -> None:
    """Print it."""
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    print(section(rows))


def section(rows: list[Row]) -> str:
    """Return the section of one run."""
    about = next(row for row in rows if row["work"] == "about")
    parts = [
        f"## {about['date']}: {about['command']}",
        f"Commit {about['commit']}; {about['versions']}; {about['machine']}.",
        _aims(rows, about),
        _times(rows),
        _far(rows),
        _stored(rows),
        _facts(rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _aims(rows: list[Row], about: Row) -> str:
    """Return the rows of the table at the head of RESULTS.md that this run gives."""
    lines = ["| work | aim | figure | | `--only` | measured |", "|---|---|---|---|---|---|"]
    measured = f"{about['date'][:10]}, {about['commit']}"
    for at in standings(rows):
        cells = [at.work, at.aim, at.figure, "met" if at.met else "**missed**", at.by, measured]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _times(rows: list[Row]) -> str:
    groups: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if "wall_s" in row:
            groups[row["work"], row["input"]][row["tool"]].append(row)
    if not groups:
        return ""
    lines = [HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
    others = []
    for (work, source), tools in groups.items():
        ours, peer = tools.get("ours", []), next((found for name, found in tools.items() if name != "ours"), [])
        wall, cpu = _median(ours, "wall_s"), _median(ours, "cpu_s")
        size = ours[0].get("bytes") if ours else None
        cells = [
            work, source, _spread(ours, "wall_s"), _spread(peer, "wall_s"), _ratio(_median(peer, "wall_s"), wall),
            _spread(ours, "cpu_s"), _spread(peer, "cpu_s"), _ratio(cpu, _median(peer, "cpu_s")),
            f"{size / 1e6 / wall:.0f}" if size and wall else "", _peak(ours), _peak(peer),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
        others += [row["others"] for row in (*ours, *peer)]
    note = (
        f"Medians, with least and most in brackets; runs of the tools alternate. Other processes used "
        f"{statistics.median(others):.0%} of the machine while measuring (median; at most {max(others):.0%})."
    )
    return "\n".join(lines) + "\n\n" + note


def _far(rows: list[Row]) -> str:
    lines = [
        "| far store | tool | of what 8 connections carry (least-most) | they carry, MB/s | the last run |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        if row["work"] == "far":
            share = f"{row['share']:.0%} ({row['least']:.0%}-{row['most']:.0%})"
            cells = [f"{row['what']}, {row['input']}", row["tool"], share, f"{row['line_mb_s']:.0f}", row["shape"]]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _stored(rows: list[Row]) -> str:
    last = {(row["input"], row["tool"]): row for row in rows if row["work"] == "stored"}
    inputs = list(dict.fromkeys(source for source, _ in last))
    if not inputs:
        return ""
    lines = ["| corpus | versions | plain MB | ours MB | restic MB | ours/restic |", "|---|---|---|---|---|---|"]
    total = {"plain": 0, "ours": 0, "restic": 0}
    for source in inputs:
        ours, peer = last[source, "ours"], last.get((source, "restic"))
        total["plain"] += ours["plain"]
        total["ours"] += ours["stored"]
        total["restic"] += peer["stored"] if peer else 0
        lines.append(
            _stored_line(source, ours["versions"], ours["plain"], ours["stored"], peer["stored"] if peer else None)
        )
    lines.append(_stored_line("all", "", total["plain"], total["ours"], total["restic"]))
    return "\n".join(lines)


def _stored_line(source: str, versions: object, plain: int, ours: int, peer: int | None) -> str:
    there = f"{peer / 1e6:.1f} | {ours / peer:.2f}" if peer else " | "
    return f"| {source} | {versions} | {plain / 1e6:.1f} | {ours / 1e6:.1f} | {there} |"


def _facts(rows: list[Row]) -> str:
    facts = [row for row in rows if row["work"] == "fact"]
    told = [f"- pushing {row['input']}: {row['puts']} PUTs" for row in rows if row["work"] == "ours"]
    return "\n".join(told + [f"- {row['what']}: {row['value']}" for row in facts])


def _peak(rows: list[Row]) -> str:
    return f"{max(row['peak_mb'] for row in rows):.0f}" if rows else ""


def _median(rows: list[Row], field: str) -> float | None:
    return statistics.median(row[field] for row in rows) if rows else None


def _spread(rows: list[Row], field: str) -> str:
    values = sorted(row[field] for row in rows)
    if not values:
        return ""
    return f"{statistics.median(values):.2f}" + (f" ({values[0]:.2f}-{values[-1]:.2f})" if len(values) > 1 else "")


def _ratio(above: float | None, below: float | None) -> str:
    return f"{above / below:.2f}" if above is not None and below else ""


if __name__ == "__main__":
    main()
