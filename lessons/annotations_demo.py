"""A Dataset from a list.

Often a text file says what is in the pictures, in a line for each: the
picture's file name, a space, and the label. Such a line is an annotation,
    image_06734.jpg 0
and the text file is called a list here. (It is not one of Python's lists.)
The lines are read once. A picture is opened when its example is asked for;
a transform, a function that you choose, makes a tensor of it: the image.
Look at some images, with their labels, before a network learns from them.

    python cli.py annotations-demo --step
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from shared import console
from shared.board import board
from shared.datasets.as_files import PAPER, annotation_files, written
from shared.datasets.checks import Annotations, annotations
from shared.datasets.pictures import load_picture
from shared.figures import pictures_figure
from shared.options import LOGS, LogDir

WORDS = {
    "annotation": "what is noted about a picture: here, a line of the list",
    "int64": "a whole number of 64 bits; long and Long are other names",
}
MEAN, STD = 0.5, 0.25  # transforms-demo says which to take
LIST = "list.txt: pieces of two photos, 0 for a temple, 1 for a flower"
ListFile = Annotated[Path | None, typer.Option("--data", help="Your own list.")]
Count = Annotated[
    int, typer.Option("--batch-size", min=1, max=8, help="Images to look at.")
]


# ---- By hand ----------------------------------------------------------------
def parse(text: str, folder: Path) -> tuple[Annotations, dict[int, str]]:
    """Pairs (path, label) of good lines; {number: fault} of bad ones."""
    found, problems = [], {}
    for number, line in enumerate(text.split("\n"), start=1):
        parts = line.strip().rsplit(maxsplit=1)  # split at the last space
        if not parts:
            continue  # a blank line
        if len(parts) == 1:
            problems[number] = "no space, so no label"
        elif not re.fullmatch("[0-9]{1,9}", parts[1]):  # 1 to 9 digits
            problems[number] = f"{parts[1]!r} is no label"
        elif not (folder / parts[0]).is_file():
            problems[number] = f"there is no file {parts[0]!r}"
        else:
            found.append((folder / parts[0], int(parts[1])))
    return found, problems


class Listed(Dataset):
    """The pictures of a list, each with its label."""

    def __init__(self, found: Annotations, transform: Callable) -> None:
        self.found, self.transform = found, transform

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        path, label = self.found[index]
        image = self.transform(load_picture(path))
        return image, torch.tensor(label)  # a whole number: int64


def prepare(picture: Image.Image) -> Tensor:
    """64 x 64 pixels, numbers from 0 to 1, then normalised."""
    small = picture.resize((64, 64), Image.Resampling.BILINEAR)
    image = torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255
    return (image - MEAN) / STD  # (3, 64, 64)


def denormalise(images: Tensor) -> Tensor:
    """Back to numbers from 0 to 1."""
    return images * STD + MEAN


# ---- Mistakes ---------------------------------------------------------------
def wrong_batch(dataset: Dataset) -> Tensor:
    """Older notes have it so. What iter gives has no method next any more."""
    loader = DataLoader(dataset, batch_size=4)
    _, labels = iter(loader).next()  # images, and their labels
    return labels


def right_batch(dataset: Dataset) -> Tensor:
    """call Python's next. (All batches: for images, labels in loader.)"""
    loader = DataLoader(dataset, batch_size=4)
    _, labels = next(iter(loader))
    return labels


def wrong_tidy(found: Annotations) -> str:
    """Sorted apart, they are no pairs any more. The labels were 1 0 1 0 0 1 0 1
    and are 0 0 0 0 1 1 1 1: four are in place, by luck. No error says so. (Had
    all files of label 0 come first by name, all would be right.)"""
    paths = sorted(path for path, _ in found)
    labels = sorted(label for _, label in found)
    pairs = [*zip(paths, labels, strict=True)]
    return f"{sum(pair in found for pair in pairs)} of {len(pairs)} are right"


def right_tidy(found: Annotations) -> str:
    """sort the pairs. And look at some, with their labels, before training."""
    pairs = sorted(found)
    return f"{sum(pair in found for pair in pairs)} of {len(pairs)} are right"


def wrong_view(greys: Tensor) -> Tensor:
    """Of five greys, black and white are left. They had become -2, -1, 0, 1, 2.
    TensorBoard, too, draws what is below 0 as 0, and what is above 1 as 1."""
    normalised = (greys - MEAN) / STD
    return normalised.clamp(0, 1)  # as a picture is drawn


def right_view(greys: Tensor) -> Tensor:
    """multiply by STD, add MEAN: those that it was normalised with."""
    normalised = (greys - MEAN) / STD
    return denormalise(normalised).clamp(0, 1)


# ---- The lesson -------------------------------------------------------------
def show_list(path: Path) -> None:
    console.section("A list of six lines, small enough for paper")
    console.table(["line", "what it says"], enumerate(PAPER, start=1))
    console.say("image_1.png to image_4.png and my flower.png are there.")
    console.ask("Which lines can't be used, and why?")
    console.code(parse)
    found, problems = parse(path.read_text("utf-8-sig"), path.parent)
    console.table(["line", "what is wrong"], problems.items())
    names = " and ".join(f"{path.name}: {label}" for path, label in found)
    marked = parse(path.read_text("utf-8"), path.parent)[1]
    console.say(
        f"Left are {names}. Line 2 is blank. On Windows, some programs write "
        "an invisible byte-order mark in front, as here. It was left out by "
        'path.read_text("utf-8-sig"). With "utf-8", it would belong '
        f"to line 1: {marked[1]}."
    )


def some_of(dataset: Dataset, places: list[int]) -> list[Tensor]:
    """A batch of these examples: images (N, 3, H, W), labels (N,)."""
    return next(iter(DataLoader([dataset[k] for k in places], len(places))))


def show_dataset(dataset: Dataset, places: list[int], name: str) -> None:
    console.section(f"Listed: {len(places)} of its {len(dataset):,} examples")
    console.say(
        f"Listed is a Dataset, here of {name}. prepare is the transform: it "
        "makes all images one size, and normalises them. That is to subtract "
        f"MEAN, then to divide by STD, here {MEAN} and {STD}."
    )
    console.code(Listed, prepare, denormalise)
    console.ask("What does prepare make of 51, and denormalise of that?")
    images, labels = some_of(dataset, places)
    console.say(
        "51 / 255 = 0.2, and (0.2 - 0.5) / 0.25 = -1.2. Back: -1.2 * 0.25 + 0.5"
        f" = 0.2. A DataLoader stacks examples {', '.join(map(str, places))} to"
        f" a batch: images {tuple(images.shape)}, labels {labels.tolist()}, "
        f"{labels.dtype}. (Of 1.0, torch.tensor would make a float32. But a "
        'label is a place: ["temple", "flower"][1] is "flower", [1.0] fails.)'
    )


def show_look(dataset: Listed, places: list[int]) -> dict[str, Tensor]:
    """Compare with torchvision; return the images, normalised and not."""
    from torchvision.transforms import Compose, Normalize, Resize, ToTensor

    console.section("torchvision's transforms, and a look before you train")
    steps = [Resize((64, 64)), ToTensor(), Normalize([MEAN] * 3, [STD] * 3)]
    full, grey = Compose(steps), Image.new("RGB", (9, 9), (51, 51, 51))
    console.agrees("51: prepare = torchvision", prepare(grey), full(grey), 1e-6)
    images, labels = some_of(dataset, places)
    three = some_of(Listed(dataset.found, full), places)[0]
    console.agrees("prepare = Resize, ToTensor, Normalize", images, three, 1e-6)
    two = some_of(Listed(dataset.found, Compose(steps[:2])), places)[0]
    back = denormalise(images)
    console.agrees("denormalised = Resize, ToTensor", back, two, 1e-6)
    console.ask("How will the normalised images look?")
    shown = {f"{i}: normalised": images[k] for k, i in enumerate(places)}
    shown |= {f"{i}: label {labels[k]}": back[k] for k, i in enumerate(places)}
    console.pictures(shown, "batch", width=18)
    outside = ((images < 0) | (images > 1)).float().mean()
    console.say(
        f"Normalised, {outside:.0%} of the numbers are below 0 or above 1; the "
        "last mistake shows how they are drawn. Denormalised, none is. Does "
        "each label fit its picture? (In list.txt, each does.)"
    )
    return shown


def run(data: ListFile = None, count: Count = 4, logdir: LogDir = LOGS) -> None:
    """Read a list of labels; look before you train."""
    own = data and annotations(data, parse)
    with written(annotation_files()) as folder:
        embedded = annotations(folder / "list.txt", parse)
        dataset = Listed(own or embedded, prepare)
        places = sorted({k * len(dataset) // count for k in range(count)})
        some_of(dataset, places)  # a damaged one of these is named here
        console.opening(__doc__)
        console.words(WORDS)
        show_list(folder / "paper.txt")
        show_dataset(dataset, places, "your list" if own else LIST)
        shown = show_look(dataset, places)
        given = {"dataset": Listed(embedded, prepare), "found": embedded}
        given["greys"] = torch.arange(5) / 4
        console.mistakes(__name__, AttributeError, **given)
    console.remember(
        'name, label = "my dog.jpg 1".rsplit(maxsplit=1)  # of a line',
        "label = torch.tensor(int(label))  # int64, in __getitem__",
        "back = images * std + mean  # two numbers, or both (3, 1, 1)",
    )
    console.say(
        'Exercise: for labels that are words, numbered(["a dog", "b c cat", '
        '"d dog"]) == [("a", 1), ("b c", 0), ("d", 1)] must be True: a word '
        "becomes its place among the sorted words. Start Python three times: "
        "it must stay True. (A set's order may change.)"
    )
    with board("annotations-demo", logdir, "IMAGES: batch") as writer:
        title = "Above: normalised\nBelow: denormalised"
        writer.add_figure("batch", pictures_figure(shown, title, len(places)))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
