"""The options that several lessons share, and the folders of the repository."""

import math
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from shared.datasets.downloads import is_there

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "logs"
DATA = ROOT / "data"
EDGES = "-1 -1 -1 -1 8 -1 -1 -1 -1"  # a kernel, row by row


def finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def _nine_numbers(value: str) -> str:
    numbers = value.replace(",", " ").split()
    try:
        far = any(not abs(float(number)) <= 100 for number in numbers)
    except ValueError:
        far = True
    if far or len(numbers) != 9:
        raise typer.BadParameter(
            f"{value!r} is not nine numbers from -100 to 100, row by row, "
            "such as '0 1 0 1 -4 1 0 1 0'."
        )
    return " ".join(numbers)


def _device_name(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", value):
        raise typer.BadParameter(
            f"{value!r} is not one of auto, cpu, cuda, cuda:N, mps."
        )
    return value


def _image_source(value: str) -> str:
    """Settle what auto means here and now, and where a relative path leads."""
    if value == "auto":
        return "cifar10" if is_there("cifar10", DATA) else "photo-digits"
    by_name = value in ("cifar10", "photo-digits")
    return value if by_name else str(Path(value).resolve())


def _grey_source(value: str) -> str:
    """The same for grey images: auto is MNIST where it is downloaded."""
    if value == "auto":
        return "mnist" if is_there("mnist", DATA) else "digits"
    return value if value in ("mnist", "digits") else str(Path(value).resolve())


def _table_source(value: str) -> str:
    """Settle where a relative path leads."""
    return value if value == "generated" else str(Path(value).resolve())


LogDir = Annotated[
    Path, typer.Option(help="Folder for TensorBoard logs.", show_default="logs")
]
Stride = Annotated[
    int, typer.Option(min=1, max=4, help="Pixels from stop to stop.")
]
Padding = Annotated[
    int, typer.Option(min=0, max=2, help="Rings of zeros round the image.")
]
Dilation = Annotated[
    int, typer.Option(min=1, max=8, help="Pixels from number to number.")
]
Channels = Annotated[
    int, typer.Option(min=2, max=256, help="Channels of the layers to time.")
]
KernelSize = Annotated[int, typer.Option(min=2, max=5, help="Window size.")]
Kernel = Annotated[
    str,
    typer.Option(
        metavar='"9 NUMBERS"',
        callback=_nine_numbers,
        help="A kernel of your own, row by row; the default finds edges.",
    ),
]
Epochs = Annotated[
    int,
    typer.Option(min=1, help="How often to go through the training set."),
]
BatchSize = Annotated[
    int, typer.Option(min=1, help="Examples in one optimizer step.")
]
LearningRate = Annotated[
    float, typer.Option("--lr", min=0, callback=finite, help="Step size.")
]
Momentum = Annotated[
    float,
    typer.Option(
        min=0, max=1, callback=finite, help="Share of the last step to keep."
    ),
]
Activation = Annotated[
    Literal["none", "relu"],
    typer.Option(help="What follows each layer but the last."),
]
Augment = Annotated[
    bool,
    typer.Option(
        "--augment",
        help="Shift training images; mirror them, too (not digits).",
    ),
]
Download = Annotated[
    bool,
    typer.Option(
        "--download", help="With --data cifar10: download it first (170 MB)."
    ),
]
Precision = Annotated[
    Literal["float32", "bf16"],
    typer.Option(help="bf16: half the bits, faster where built in."),
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Same seed, same numbers.")
]
Shift = Annotated[
    int,
    typer.Option(
        min=0, max=9, help="Move training images by up to so many pixels."
    ),
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Use only so many of each set.")
]
Picture = Annotated[
    Path | None,
    typer.Option(
        "--image",
        metavar="PATH",
        help="A picture of your own; a large one is shrunk.",
    ),
]
OwnPictures = Annotated[
    list[Path] | None,
    typer.Option("--image", help="A picture or folder; repeat it for more."),
]
OtherActivation = Annotated[
    Literal["none", "relu"] | None,
    typer.Option("--activation", help="Instead of what the checkpoint says."),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Default: train-cifar's newest best.pt."),
]
ServedCheckpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="PATH",
        help="Default: the newest best.pt of train-cifar, -mnist, -flowers.",
    ),
]
Host = Annotated[
    str, typer.Option(help="Which of this machine's addresses to serve.")
]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Where; 0: any that is free.")
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Walk through it; serve nothing.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON and nothing else.")
]
Images = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="auto|cifar10|photo-digits|PATH",
        callback=_image_source,
        help="auto: CIFAR-10 where it is downloaded, else photo-digits.",
    ),
]
GreyImages = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="auto|mnist|digits|PATH",
        callback=_grey_source,
        help="auto: MNIST where it is downloaded, else the embedded digits.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|cuda:N|mps",
        callback=_device_name,
        help="Where to run.",
    ),
]
Days = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="generated|FILE.csv",
        callback=_table_source,
        help="A table of daily temperatures.",
    ),
]
DayLimit = Annotated[
    int | None,
    typer.Option(min=30, help="Use only the last days of the table."),
]
Sentences = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="docstrings|FILE.tsv",
        callback=lambda given: (
            given if given == "docstrings" else str(Path(given).resolve())
        ),
        help="Lines of your own: a text, a tab, its label; UTF-8.",
    ),
]
Split = Annotated[
    Literal["sentence", "file"],
    typer.Option(help="Keep single sentences apart, or whole files."),
]
Predict = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Ask the newest network; no training."),
]
