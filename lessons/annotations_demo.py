"""A Dataset from a list.

Often a list, a text file, says what is in the pictures: a line for each,
with the file's name, a space, and the label. Such a line is an annotation.
The lines are read once; those that can't be used are named. A picture is
opened when it is asked for, and a transform, a function that you choose,
makes an image of it. Look at some images before a network learns from them.
    image_06734.jpg 0

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
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from shared import console
from shared.board import board
from shared.datasets.as_files import PAPER, annotation_files, written
from shared.datasets.checks import Annotations, annotations, list_text
from shared.datasets.pictures import load_picture
from shared.figures import pictures_figure
from shared.options import LOGS, LogDir

WORDS = {
    "annotation": "what a person wrote about a picture: here, its label",
    "int64": "whole numbers of 64 bits, for labels; errors call it Long",
}
MEAN, STD = 0.5, 0.25
ListFile = Annotated[Path | None, typer.Option("--data", help="Your own list.")]
Count = Annotated[
    int, typer.Option("--batch-size", min=1, max=8, help="Images to look at.")
]


# ---- By hand ----------------------------------------------------------------
def parse(text: str, folder: Path) -> tuple[Annotations, dict[int, str]]:
    """Each good line's path and label; each bad line's number and fault."""
    found, problems = [], {}
    for number, line in enumerate(text.split("\n"), start=1):
        parts = line.strip().rsplit(maxsplit=1)  # split at the last space
        if not parts:
            continue  # a blank line
        if len(parts) == 1:
            problems[number] = "no label"
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
        return image, torch.tensor(label)  # of a whole number it makes int64


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
    """call Python's next. (Each iter begins anew, so in a loop this gives the
    same four again. To go through all: for images, labels in loader.)"""
    loader = DataLoader(dataset, batch_size=4)
    _, labels = next(iter(loader))
    return labels


def wrong_table() -> str:
    """NumPy reads numbers as float64: Double. A loss, which tells how wrong the
    scores of a network are, wants labels, its target, as int64: Long."""
    labels = torch.from_numpy(np.loadtxt(["1", "0"]))
    scores = torch.zeros(2, 2)  # two pictures, two classes
    return f"{F.cross_entropy(scores, labels):.2f}"


def right_table() -> str:
    """make them long. (0.69 is ln 2: the scores prefer neither class.)"""
    labels = torch.from_numpy(np.loadtxt(["1", "0"])).long()
    scores = torch.zeros(2, 2)
    return f"{F.cross_entropy(scores, labels):.2f}"


def wrong_tidy(found: Annotations) -> str:
    """Each half was sorted alone. Half of the labels are wrong, as many as by
    throwing a coin, and nothing complains."""
    paths = sorted(path for path, _ in found)
    labels = sorted(label for _, label in found)
    pairs = [*zip(paths, labels, strict=True)]
    return f"{sum(pair in found for pair in pairs)} of {len(pairs)} are right"


def right_tidy(found: Annotations) -> str:
    """sort the pairs. And look at some, with their labels, before training."""
    pairs = sorted(found)
    return f"{sum(pair in found for pair in pairs)} of {len(pairs)} are right"


def wrong_view(greys: Tensor) -> Tensor:
    """Five greys, and two are left. A viewer, such as TensorBoard, shows all
    below 0 as black and all above 1 as white."""
    normalised = (greys - MEAN) / STD
    return normalised.clamp(0, 1)  # what is to be seen of it


def right_view(greys: Tensor) -> Tensor:
    """multiply by STD, then add MEAN, with those that were used before."""
    normalised = (greys - MEAN) / STD
    return denormalise(normalised).clamp(0, 1)


# ---- The lesson -------------------------------------------------------------
def show_list(path: Path) -> None:
    console.section("A list of six lines, small enough for paper")
    console.table(["line", "what it says"], enumerate(PAPER, start=1))
    console.say("image_1.png to image_4.png and my flower.png are there.")
    console.ask("Which lines can't be used, and why?")
    console.code(parse)
    found, problems = parse(list_text(path), path.parent)
    console.table(["line", "what is wrong"], problems.items())
    names = " and ".join(f"{path.name}: {label}" for path, label in found)
    console.say(
        f"Left are {names}. Line 2 is blank. The list was written on Windows, "
        "with an invisible mark in front and its own line ends: "
        'path.read_text(encoding="utf-8-sig") takes care of both.'
    )


def some_of(dataset: Dataset, places: range) -> list[Tensor]:
    """A batch of them: images (N, 3, H, W), labels (N,)."""
    return next(iter(DataLoader(dataset, len(places), sampler=places)))


def show_dataset(images: Tensor, labels: Tensor, total: int) -> None:
    console.section(f"The Dataset, and {len(images)} of its {total:,} examples")
    console.code(Listed, prepare, denormalise)
    console.say(
        "prepare is the transform. To normalise is to take MEAN off, then to "
        f"divide by STD, here {MEAN} and {STD}: 0 to 1 becomes -2 to 2."
    )
    console.ask("What becomes of 0.75 then, and of that in denormalise?")
    console.say(
        "(0.75 - 0.5) / 0.25 = 1, and 1 * 0.25 + 0.5 = 0.75. A DataLoader "
        f"stacks the images to {tuple(images.shape)}, and the labels to "
        f"{labels.tolist()}, {labels.dtype}: a batch."
    )


def show_look(dataset: Listed, places: range) -> dict[str, Tensor]:
    """Compare with torchvision; return the images, normalised and not."""
    from torchvision.transforms import Compose, Normalize, Resize, ToTensor

    console.section("torchvision's transforms, and a look before you train")
    steps = [Resize((64, 64)), ToTensor(), Normalize([MEAN] * 3, [STD] * 3)]
    images, labels = some_of(dataset, places)
    three = some_of(Listed(dataset.found, Compose(steps)), places)[0]
    console.agrees("prepare = Resize, ToTensor, Normalize", images, three, 1e-6)
    two = some_of(Listed(dataset.found, Compose(steps[:2])), places)[0]
    back = denormalise(images)
    console.agrees("denormalised = Resize, ToTensor", back, two, 1e-6)
    console.ask("How will the normalised images look?")
    shown = {f"{i}: normalised": images[k] for k, i in enumerate(places)}
    shown |= {f"{i}: label {labels[k]}": back[k] for k, i in enumerate(places)}
    console.pictures(shown, "batch", width=18)
    console.say("In our list, 0 is a temple, 1 a flower. Do the labels fit?")
    return shown


def run(data: ListFile = None, count: Count = 4, logdir: LogDir = LOGS) -> None:
    """Read a list of labels; look before you train."""
    own = data and annotations(data, parse)
    with written(annotation_files()) as folder:
        embedded = annotations(folder / "list.txt", parse)
        dataset = Listed(own or embedded, prepare)
        places = range(0, len(dataset), max(1, len(dataset) // count))[:count]
        images, labels = some_of(dataset, places)
        console.opening(__doc__)
        console.words(WORDS)
        show_list(folder / "paper.txt")
        show_dataset(images, labels, len(dataset))
        shown = show_look(dataset, places)
        given = {"dataset": Listed(embedded, prepare), "found": embedded}
        errors = AttributeError, RuntimeError
        console.mistakes(__name__, errors, greys=torch.arange(5) / 4, **given)
    console.remember(
        'import torch; lines = ["image_06734.jpg 0", "my dog.jpg 1"]',
        "pairs = [line.rsplit(maxsplit=1) for line in lines]  # the last space",
        "labels = torch.tensor([int(label) for _, label in pairs])  # int64",
    )
    console.say(
        'Exercise: labels are names now. Write numbered(["a.png dog", "b c.png '
        'cat", "d.png dog"]), which gives [("a.png", 1), ("b c.png", 0), '
        '("d.png", 1)], and the same each time that Python is started.'
    )
    with board("annotations-demo", logdir, "IMAGES: batch") as writer:
        title = "Above: normalised, drawn as they are; below: denormalised"
        writer.add_figure("batch", pictures_figure(shown, title, len(places)))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
