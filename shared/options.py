"""The options that several lessons share, and the folders of the repository."""

import math
import re
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "logs"
DATA = ROOT / "data"


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def _device_name(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", value):
        raise typer.BadParameter(f"{value!r} is not one of auto, cpu, cuda, cuda:N, mps.")
    return value


LogDir = Annotated[Path, typer.Option(help="Folder for TensorBoard logs.", show_default="logs")]
Epochs = Annotated[int, typer.Option(min=1, help="How often to go through the training images.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images in one optimizer step.")]
LearningRate = Annotated[float, typer.Option("--lr", min=0, callback=_finite, help="Step size.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same numbers.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only so many images of each set.")]
Device = Annotated[
    str,
    typer.Option(metavar="auto|cpu|cuda|cuda:N|mps", callback=_device_name, help="Where to run."),
]
