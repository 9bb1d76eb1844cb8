"""The four files of a training run: last.pt, best.pt, metrics.csv, run.json.

last.pt holds all that the run needs to go on, and is written first. The other
three follow from it; a run that goes on begins by writing all four again, so
whatever a kill left behind catches up. Each file is replaced whole or not at
all (checkpoint.write_whole).
"""

import csv
import io
import json
from pathlib import Path
from typing import Any

import torch

from shared.console import fail, warn
from shared.datasets.examples import Examples
from shared.training.checkpoint import (
    load_checkpoint,
    save_checkpoint,
    write_whole,
)

SETS = ("training", "held-out", "test")
Row = dict[str, float]  # an epoch's: epoch, train_loss, val_loss, …, seconds


def best(history: list[Row], by: str | None = None) -> Row:
    """The epoch that did best on the held-out examples, the first of several.

    By val_accuracy or, where there is none or by says so, by val_loss.
    """
    if by == "val_loss":
        return min(history, key=lambda r: r["val_loss"])
    return max(history, key=lambda r: r.get("val_accuracy", -r["val_loss"]))


def about(settings: dict[str, Any], *sets: Examples | None) -> dict[str, Any]:
    """What there is to say of a run from its beginning on."""
    counts = [len(some or ()) for some in sets]
    return {
        "settings": settings,
        "data": sets[0].name,
        "examples": dict(zip(SETS, counts, strict=True)),
        "classes": sets[0].classes,
        "torch": str(torch.__version__),
    }


def save(folder: Path, kept: dict[str, Any]) -> None:
    """Keep an epoch: last.pt, best.pt where it is the best, metrics.csv."""
    history = kept["history"]
    save_checkpoint(folder / "last.pt", kept)
    if best(history, kept.get("chosen_by")) is history[-1]:
        save_checkpoint(folder / "best.pt", kept)
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, history[0])
    table.writeheader()
    table.writerows(history)
    write_whole(folder / "metrics.csv", text.getvalue().encode())


def describe(
    folder: Path,
    about: dict[str, Any],
    history: list[Row],
    **tested: float,
) -> None:
    """Write run.json: what a person may ask about a run."""
    rows = {}
    if history:
        chosen = best(history, about.get("chosen_by"))
        rows = {"best": chosen, "last": history[-1]}
    text = json.dumps(about | rows | tested, indent=2)
    write_whole(folder / "run.json", text.encode())


def newest(parent: Path) -> Path:
    """The newest of a lesson's run folders that holds a checkpoint."""
    folders = sorted(path.parent for path in parent.glob("*/*.pt"))
    if not folders:
        problem = f"{parent} holds no run to resume."
        fail(problem, "start one, without --resume")
    return folders[-1]


def read(folder: Path, name: str, other: str) -> dict[str, Any]:
    """Load a checkpoint or, where it is damaged or gone, say so and load other.

    Ends the command where neither can be read.
    """
    for path in (folder / name, folder / other):
        try:
            return load_checkpoint(path)
        except (ValueError, OSError):
            if path.name == name and (folder / other).exists():
                problem = f"{path} is missing or damaged"
                warn(f"{problem}: going on from {other} instead.")
    problem = f"{folder} holds no checkpoint that can be read."
    fail(problem, "start again, without --resume")
