"""The options that several lessons share, and the folders of the repository."""

import math
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from shared.downloads import is_there

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


def _image_source(value: str) -> str:
    """Settle what auto means here and now, and where a relative path leads."""
    if value == "auto":
        return "cifar10" if is_there("cifar10", DATA) else "photo-digits"
    return value if value in ("cifar10", "photo-digits") else str(Path(value).resolve())


LogDir = Annotated[Path, typer.Option(help="Folder for TensorBoard logs.", show_default="logs")]
Epochs = Annotated[int, typer.Option(min=1, help="How often to go through the training images.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images in one optimizer step.")]
LearningRate = Annotated[float, typer.Option("--lr", min=0, callback=_finite, help="Step size.")]
Momentum = Annotated[
    float, typer.Option(min=0, max=1, callback=_finite, help="Share of the last step to keep.")
]
Precision = Annotated[
    Literal["float32", "bf16"], typer.Option(help="bf16: half the bits, faster where built in.")
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Same seed, same numbers.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Use only so many images of each set.")]
Images = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="auto|cifar10|photo-digits|PATH",
        callback=_image_source,
        help="Which images: auto is CIFAR-10 where it is downloaded, else photo-digits.",
    ),
]
Device = Annotated[
    str,
    typer.Option(metavar="auto|cpu|cuda|cuda:N|mps", callback=_device_name, help="Where to run."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on after the last whole epoch of the newest run.")
]
RunFolder = Annotated[
    Path | None, typer.Argument(metavar="RUN", help="With --resume: go on with this run instead.")
]
