"""A Dataset from a list.

Often a text file, a list, says what is in the pictures: a line for each,
with the file's name, a space, and the label. Such a line is an annotation:
    image_06734.jpg 0
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
from shared.datasets.checks import Annotations, annotations, list_text
from shared.datasets.pictures import load_picture
from shared.figures import pictures_figure
from shared.options import LOGS, LogDir

WORDS = {
    "annotation": "what a person wrote about a picture: here, a line",
    "int64": "whole numbers of 64 bits, for labels; errors call it Long",
}
MEAN, STD = 0.5, 0.25  # transforms-demo says which to take
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
    """call Python's next. (These are examples 0 to 3. Each iter begins anew, so
    a second call gives them again. For all: for images, labels in loader.)"""
    loader = DataLoader(dataset, batch_size=4)
    _, labels = next(iter(loader))
    return labels


def wrong_table() -> Tensor:
    """NumPy reads numbers as float64. one_hot makes a row for each label, with
    a 1 at the label's place. A place must be a whole number: int64, Long."""
    labels = torch.from_numpy(np.loadtxt(["1", "0"]))
    return torch.nn.functional.one_hot(labels, num_classes=2)


def right_table() -> Tensor:
    """make them long. (Places count from 0, so label 1 gives [0, 1].)"""
    labels = torch.from_numpy(np.loadtxt(["1", "0"])).long()
    return torch.nn.functional.one_hot(labels, num_classes=2)


def wrong_tidy(found: Annotations) -> str:
    """Sorted apart, labels are right by chance: here half. No error says so."""
    paths = sorted(path for path, _ in found)
    labels = sorted(label for _, label in found)
    pairs = [*zip(paths, labels, strict=True)]
    return f"{sum(pair in found for pair in pairs)} of {len(pairs)} are right"


def right_tidy(found: Annotations) -> str:
    """sort the pairs. And look at some, with their labels, before training."""
    pairs = sorted(found)
    return f"{sum(pair in found for pair in pairs)} of {len(pairs)} are right"


def wrong_view(greys: Tensor) -> Tensor:
    """Five greys, and only black and white are left. TensorBoard, too, draws
    what is below 0 as 0, and above 1 as 1; in colours, each channel alone."""
    normalised = (greys - MEAN) / STD
    return normalised.clamp(0, 1)  # what is to be seen of it


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
    found, problems = parse(list_text(path), path.parent)
    console.table(["line", "what is wrong"], problems.items())
    names = " and ".join(f"{path.name}: {label}" for path, label in found)
    console.say(
        f"Left are {names}. Line 2 is blank. Some programs on Windows write "
        "an invisible mark in front, and end lines their own way, as here: "
        'path.read_text(encoding="utf-8-sig") takes care of both.'
    )


def some_of(dataset: Dataset, places: range) -> list[Tensor]:
    """A batch of these examples: images (N, 3, H, W), labels (N,)."""
    return next(iter(DataLoader(dataset, len(places), sampler=places)))


def show_dataset(dataset: Dataset, places: range) -> None:
    console.section(f"Listed: {len(places)} of its {len(dataset):,} examples")
    console.code(Listed, prepare, denormalise)
    console.say(
        "prepare is the transform. To normalise is to subtract MEAN, then to "
        f"divide by STD, here {MEAN} and {STD}: 0 becomes -2, and 1 becomes 2."
    )
    console.ask("What becomes of 0.75 then, and of that in denormalise?")
    images, labels = some_of(dataset, places)
    console.say(
        "(0.75 - 0.5) / 0.25 = 1, and 1 * 0.25 + 0.5 = 0.75. A DataLoader "
        f"makes a batch of examples {', '.join(map(str, places))}: images "
        f"{tuple(images.shape)}, labels {labels.tolist()}, {labels.dtype}."
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
    console.say(
        "Normalised, 0.5 is 0 and 0.75 is 1: of red, green and blue, all below "
        "0.5 is drawn as none, all above 0.75 as full. In our list, 0 is a "
        "temple and 1 a flower: the labels fit. Look at yours, too."
    )
    return shown


def run(data: ListFile = None, count: Count = 4, logdir: LogDir = LOGS) -> None:
    """Read a list of labels; look before you train."""
    own = data and annotations(data, parse)
    with written(annotation_files()) as folder:
        embedded = annotations(folder / "list.txt", parse)
        dataset = Listed(own or embedded, prepare)
        places = range(0, len(dataset), max(1, len(dataset) // count))[:count]
        some_of(dataset, places)  # a damaged picture is named here
        console.opening(__doc__)
        console.words(WORDS)
        show_list(folder / "paper.txt")
        show_dataset(dataset, places)
        shown = show_look(dataset, places)
        given = {"dataset": Listed(embedded, prepare), "found": embedded}
        errors = AttributeError, RuntimeError
        console.mistakes(__name__, errors, greys=torch.arange(5) / 4, **given)
    console.remember(
        'import torch; name, label = "my dog.jpg 1".rsplit(maxsplit=1)',
        "label = torch.tensor(int(label))  # int64",
        "def denormalise(images, mean, std): return images * std + mean",
    )
    console.say(
        'Exercise: write numbered. Of ["a dog", "b c cat", "d dog"] it makes '
        '[("a", 1), ("b c", 0), ("d", 1)], by the alphabet, at each start.'
    )
    with board("annotations-demo", logdir, "IMAGES: batch") as writer:
        title = "Above: normalised, drawn as they are; below: denormalised"
        writer.add_figure("batch", pictures_figure(shown, title, len(places)))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
