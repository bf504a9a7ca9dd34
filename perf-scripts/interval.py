"""What pairs of runs say of two servers, with a confidence interval.

    interval.py AB.json

Reads what `warren-bench ab --json` has written. Ratios are taken of each pair, which ran one after the
other, and averaged as logarithms: half as much and twice as much are equally far from the same. The
interval is Student's, 95 %. Standard library only.
"""

import json
import math
import sys
from dataclasses import dataclass
from statistics import fmean, stdev

FIGURES = {
    "server_cpu_us_per_user_s": "CPU per user and second",
    "p50_us": "latency, median",
    "p99_us": "latency, 99th percentile",
    "server_memory_per_session_bytes": "memory per session",
}
# Student's t for 95 %, two-sided, by degrees of freedom: NIST/SEMATECH e-Handbook, 1.3.6.7.2.
STUDENT = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]
STUDENT += [2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086]
STUDENT_MANY = 2.086


@dataclass(frozen=True)
class Interval:
    """New to old."""

    mean: float
    low: float
    high: float
    pairs: int

    def verdict(self) -> str:
        if self.low > 1:
            return "more"
        return "less" if self.high < 1 else "no difference shown"


def interval(ratios: list[float]) -> Interval | None:
    """None for fewer than two pairs, of which nothing can be said."""
    if len(ratios) < 2:
        return None
    logarithms = [math.log(ratio) for ratio in ratios]
    mean, freedom = fmean(logarithms), len(ratios) - 1
    student = STUDENT[freedom - 1] if freedom <= len(STUDENT) else STUDENT_MANY
    half = student * stdev(logarithms) / math.sqrt(len(ratios))
    return Interval(math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(ratios))


def ratios(runs: list[dict], figure: str) -> list[float]:
    """New to old of each pair that has the figure on both sides."""
    found = []
    for first, second in zip(runs[::2], runs[1::2]):
        by_side = {run["side"]: run[figure] for run in (first, second)}
        old, new = by_side.get("old"), by_side.get("new")
        if old and new:
            found.append(new / old)
    return found


def report(comparison: dict) -> str:
    lines = [f"{'new / old, 95 %':<28}{'mean':>8}{'from':>9}{'to':>9}{'pairs':>7}"]
    for figure, title in FIGURES.items():
        found = interval(ratios(comparison["runs"], figure))
        if found:
            lines.append(
                f"{title:<28}{found.mean:>8.4f}{found.low:>9.4f}{found.high:>9.4f}{found.pairs:>7}"
                f"  {found.verdict()}"
            )
        else:
            lines.append(f"{title:<28}{'-':>8}  too few pairs")
    return "\n".join(lines) + "\n"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        print(report(json.load(file)), end="")


if __name__ == "__main__":
    main()
