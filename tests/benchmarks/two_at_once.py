"""What two commands at once cost each other, with and without GOMP_SPINCOUNT.

python -m tests.benchmarks.two_at_once

cli.py sets GOMP_SPINCOUNT=1000, unless it is set: so often a thread of PyTorch
looks for work before it goes to sleep. libgomp's own number is 300,000; with
it, the idle threads of each command keep the other's from working.
"""

import csv
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from shared.console import table
from shared.options import ROOT

IMAGES = 9_000  # photo-digits to train on: 10,000 less a tenth held out
SPINS = {"1,000 (ours)": "1000", "300,000 (libgomp's)": "300000"}


def speeds(commands: int, spins: str) -> list[float]:
    """Training images a second of so many commands, begun together."""
    words = ["train-cifar", "--data", "photo-digits", "--epochs", "3"]
    with TemporaryDirectory() as logs:
        environment = os.environ | {"GOMP_SPINCOUNT": spins}
        running = [
            subprocess.Popen(
                [sys.executable, "cli.py", *words, "--logdir", f"{logs}/{n}"],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.DEVNULL,
            )
            for n in range(commands)
        ]
        for process in running:
            assert process.wait() == 0
        return [images_a_second(path) for path in Path(logs).iterdir()]


def images_a_second(logdir: Path) -> float:
    (metrics,) = logdir.glob("*/*/metrics.csv")
    with metrics.open() as file:
        taken = [float(row["seconds"]) for row in csv.DictReader(file)]
    return IMAGES / median(taken)


def main() -> None:
    rows = []
    for name, spins in SPINS.items():
        (alone,) = speeds(1, spins)
        first, second = speeds(2, spins)
        ratio = (first + second) / 2 / alone
        cells = (f"{alone:,.0f}", f"{first:,.0f}, {second:,.0f}")
        rows.append((name, *cells, f"{ratio:.2f}"))
    table(["GOMP_SPINCOUNT", "alone", "two at once", "each / alone"], rows)


if __name__ == "__main__":
    main()
