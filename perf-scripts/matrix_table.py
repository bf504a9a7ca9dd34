"""The reports of a run matrix as one table and one JSON.

    matrix_table.py FOLDER

Reads FOLDER/SHARDS-USERS-RUN.json, prints a table, and writes FOLDER.json. Standard library only.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median

# The figures of a report: name in the JSON, how it is got, heading and width of its column.
FIGURES = {
    "server_cpu_us_per_user_s": (lambda report: report["server_cpu_us_per_user_s"], "us/user/s", 10),
    "floor_ratio": (lambda report: report["floor_ratio"], "x floor", 8),
    "p50_ms": (lambda report: latency(report, "p50"), "p50 ms", 9),
    "p99_ms": (lambda report: latency(report, "p99"), "p99 ms", 9),
    "server_cpu_cores": (lambda report: report["server_cpu_cores"], "cores", 7),
    "generator_cpu": (lambda report: report["generator_cpu"], "generator", 10),
}
# The worst is the cell's.
VERDICTS = ["pass", "generator-bound", "fail"]


def latency(report: dict, which: str) -> float | None:
    measured = report["latency_us"]
    return measured[which] / 1000 if measured else None


def cell(reports: list[dict]) -> dict:
    """What runs of the same size show: the median of each figure, with the least and the greatest."""
    first = reports[0]
    row = {"shards": first["shards"], "users": first["users"], "runs": len(reports)}
    for name, (get, _, _) in FIGURES.items():
        values = [value for value in map(get, reports) if value is not None]
        row[name] = {"median": median(values), "min": min(values), "max": max(values)} if values else None
    row["verdict"] = max((report["verdict"] for report in reports), key=VERDICTS.index)
    row["reasons"] = sorted({reason for report in reports for reason in report["reasons"]})
    return row


def rows(reports: Iterable[dict]) -> list[dict]:
    cells: dict[tuple[int, int], list[dict]] = {}
    for report in reports:
        cells.setdefault((report["shards"], report["users"]), []).append(report)
    return [cell(cells[key]) for key in sorted(cells)]


def table(rows: list[dict]) -> str:
    """A line for each cell; with several runs, the range of the CPU stands behind."""
    heading = f"{'shards':>6}{'users':>8}"
    heading += "".join(f"{title:>{width}}" for _, title, width in FIGURES.values())
    lines = [heading + "  verdict"]
    for row in rows:
        line = f"{row['shards']:>6}{row['users']:>8}"
        for name, (_, _, width) in FIGURES.items():
            value = row[name]
            line += f"{'-' if value is None else format(value['median'], '.2f'):>{width}}"
        line += f"  {row['verdict']}"
        cpu = row["server_cpu_us_per_user_s"]
        if row["runs"] > 1 and cpu:
            line += f", us/user/s {cpu['min']:.2f} to {cpu['max']:.2f} in {row['runs']} runs"
        lines += [line] + [f"{'':16}{reason}" for reason in row["reasons"]]
    return "\n".join(lines) + "\n"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    reports = [json.loads(file.read_text()) for file in sorted(folder.glob("*-*-*.json"))]
    if not reports:
        sys.exit(f"matrix_table.py: no report in {folder}")
    cells = rows(reports)
    first = reports[0]
    whole = {key: first[key] for key in ("profile", "protocol", "duration_s", "machine")}
    Path(f"{folder}.json").write_text(json.dumps({**whole, "cells": cells}, indent=2) + "\n")
    print(table(cells), end="")


if __name__ == "__main__":
    main()
