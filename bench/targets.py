"""What is aimed at, and how the rows of a run stand to it."""

import statistics
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

Row = dict[str, Any]
LARGE: Final = ("s1-sqlite 347 MB", "timezonefinder 34 MB")
TREE: Final = "20,000 files"
SMALL: Final = "100,000 files of 2 KiB"


class Standing(NamedTuple):
    """One aim, and a figure."""

    work: str
    aim: str
    figure: str
    met: bool
    by: str  # the part of `bench.store` that measures it


def standings(rows: list[Row]) -> Iterator[Standing]:
    """Yield all aims that the rows say something of."""
    yield from _stored(rows)
    for row in rows:
        if row["work"] == "ours":
            per_file = row["manifest_per_file"]
            if row["input"] not in LARGE:  # few files: most of a manifest says where their blocks are
                aim = "< 120 bytes a file"
                by = "small" if row["input"] == SMALL else "unchanged"
                figure = f"{per_file:.1f} bytes a file"
                yield Standing(f"a manifest of {row['input']}", aim, figure, per_file < 120, by)
            if row["input"] == SMALL:
                yield Standing(f"push, new, {SMALL}", "< 50 PUTs", f"{row['puts']} PUTs", row["puts"] < 50, "small")
    for source in LARGE:
        yield from _faster(rows, "push, new", source, 1.5, "new")
        yield from _cheaper(rows, "push, new", source, 0.8, "new")
    yield from _faster(rows, "push, unchanged", TREE, 2.0, "unchanged")
    yield from _faster(rows, "push, new", SMALL, 1.0, "small")
    for source in (*LARGE, TREE, SMALL):
        yield from _faster(rows, "pull", source, 1.5, "small" if source == SMALL else "pull")
    for row in rows:
        if row["work"] == "far" and row["tool"] == "ours" and "no window" not in row["input"]:
            figure = f"{row['share']:.0%} ({row['least']:.0%}-{row['most']:.0%}) of {row['line_mb_s']:.0f} MB/s"
            aim = ">= 70 % of what 8 connections carry"
            yield Standing(f"{row['what']}, far store, {row['input']}", aim, figure, row["share"] >= 0.7, "latency")
    peaks = {
        row["peak_mb"]: f"{row['work']}, {row['input']}"
        for row in rows
        if row.get("tool") == "ours" and "peak_mb" in row
    }
    if peaks:
        most = max(peaks)
        yield Standing(
            "memory of any push or pull", "< 400 MB", f"at most {most:.0f} MB ({peaks[most]})", most < 400, "all"
        )


def _stored(rows: list[Row]) -> Iterator[Standing]:
    found = {(row["input"], row["tool"]): row["stored"] for row in rows if row["work"] == "stored"}
    ratios = {source: found[source, "ours"] / found[source, "restic"] for source, tool in found if tool == "ours"}
    if ratios:
        sums = {tool: sum(size for (_, other), size in found.items() if other == tool) for tool in ("ours", "restic")}
        total, worst = sums["ours"] / sums["restic"], max(ratios, key=lambda source: ratios[source])
        yield Standing("stored bytes, all corpora", "<= 0.93 x restic", f"{total:.3f} x", total <= 0.93, "corpora")
        figure = f"{ratios[worst]:.2f} x ({worst})"
        yield Standing("stored bytes, any one corpus", "<= 1.15 x restic", figure, ratios[worst] <= 1.15, "corpora")


def _faster(rows: list[Row], work: str, source: str, aim: float, by: str) -> Iterator[Standing]:
    ours, peer = _median(rows, work, source, "ours", "wall_s"), _median(rows, work, source, "restic", "wall_s")
    if ours and peer:
        ratio = peer / ours
        yield Standing(f"{work}, {source}", f">= {aim:g} x restic's speed", f"{ratio:.2f} x", ratio >= aim, by)


def _cheaper(rows: list[Row], work: str, source: str, aim: float, by: str) -> Iterator[Standing]:
    ours, peer = _median(rows, work, source, "ours", "cpu_s"), _median(rows, work, source, "restic", "cpu_s")
    if ours and peer:
        ratio = ours / peer
        yield Standing(f"{work}, {source}", f"<= {aim:g} of restic's CPU seconds", f"{ratio:.2f}", ratio <= aim, by)


def _median(rows: list[Row], work: str, source: str, tool: str, field: str) -> float:
    found = [row[field] for row in rows if (row["work"], row.get("input"), row.get("tool")) == (work, source, tool)]
    return statistics.median(found) if found else 0.0
