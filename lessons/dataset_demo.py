"""A Dataset by hand.

A network is a program that learns from examples. A Dataset hands them out.
It answers two questions: how many are there, and which is example i? Here
an example is a pair: an image (a tensor) and its label (a number). Ours
keeps a list of files, and opens a file only when its example is asked for.
    len(dataset)  is what its method __len__ returns
    dataset[i]    is what its method __getitem__ returns, given i

    python cli.py dataset-demo --step
    python cli.py dataset-demo --data FOLDER  # of class folders
"""

import os
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from shared import console
from shared.board import board
from shared.datasets.as_files import dataset_files, written
from shared.datasets.checks import class_folders, same, several
from shared.datasets.pictures import load_picture
from shared.figures import pictures_figure, thumbnails
from shared.options import LOGS, LogDir

Own = Annotated[Path | None, typer.Option("--data", help="Your class folders.")]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
WORDS = {
    "Dataset": "what knows how many examples there are, and hands out each",
    "class": "what a picture shows, such as a three (not Python's class)",
    "label": "the number that stands for a class: 0, 1, 2, ...",
}


# ---- By hand ----------------------------------------------------------------
class OneFolder(Dataset):
    """The pictures of one folder, all with the same label."""

    def __init__(self, folder: Path, label: int) -> None:
        names = [n for n in sorted(os.listdir(folder)) if n[0] != "."]
        pictures = [n for n in names if n.lower().endswith(SUFFIXES)]
        self.paths = [folder / name for name in pictures]  # none is open yet
        self.label = label

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = load_picture(self.paths[index])  # grey becomes RGB
        pixels = torch.from_numpy(np.array(picture))  # (H, W, 3), uint8
        return pixels.permute(2, 0, 1), self.label  # (3, H, W)


class Joined(Dataset):
    """Several Datasets, one behind the other, as one."""

    def __init__(self, *parts: Dataset) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        index = range(len(self))[index]  # -1: the last; too large: IndexError
        for part in self.parts:
            if index < len(part):
                return part[index]
            index -= len(part)  # go on counting in the next part


def image_folder(root: Path) -> Joined:
    """Class folders: label 0 for the first of the sorted names, and so on."""
    classes = sorted(path.name for path in root.iterdir() if path.is_dir())
    parts = [OneFolder(root / name, k) for k, name in enumerate(classes)]
    return Joined(*parts)


# ---- Mistakes ---------------------------------------------------------------
def wrong_computer() -> list[int]:
    """One picture, two labels: 0 here, 1 there. os.listdir promises no order. A
    network that has learned here answers a 3 with 0, which there means 8."""
    here, there = ["3", "8"], ["8", "3"]  # os.listdir on two computers
    return [names.index("3") for names in (here, there)]


def right_computer() -> list[int]:
    """sort the names, as text: "10" comes before "2". And keep them with the
    network: with a new folder 5, label 1 means 5, not 8."""
    return [sorted(n).index("3") for n in (["3", "8"], ["8", "3"])]


def wrong_mac(mac: Path) -> list[tuple[int, int]]:
    """Not every file is a picture. A Mac may hide a .DS_Store in a folder.
    Delete it, and the same error comes for ._000.png, hidden there as well."""
    return [Image.open(mac / n).size for n in sorted(os.listdir(mac))]


def right_mac(mac: Path) -> list[tuple[int, int]]:
    """go by the suffix, and take no hidden file, as OneFolder does. One picture
    is left, 28 wide, 28 high. (ImageFolder fails at ._000.png as well.)"""
    return [Image.open(path).size for path in OneFolder(mac, 0).paths]


def wrong_night(files: list[Path]) -> None:
    """One file is cut short. The error comes when chance leads to that file, in
    a long training perhaps after hours, and doesn't name it."""
    for i in torch.randperm(len(files)):  # 0, 1, 2, ... in random order
        np.array(Image.open(files[i]))


def right_night(files: list[Path]) -> list[str]:
    """before training, load each file; delete what is named, or copy it anew.
    (open alone reads the beginning, and would find nothing wrong here.)"""
    damaged = []
    for path in files:
        try:
            Image.open(path).load()
        except Exception:  # Pillow raises many different errors
            damaged.append(path.name)
    return damaged


def wrong_logo(trio: list[Path]) -> Tensor:
    """Three shapes. Colour is (28, 28, 3), grey (28, 28), the logo (28, 28, 4):
    its fourth channel, alpha, is 0 where nothing is to be seen of it."""
    return torch.stack([torch.tensor(np.array(Image.open(p))) for p in trio])


def tempting_logo(trio: list[Path]) -> list[int]:
    """convert each to RGB. All are (28, 28, 3) then. As all show the same
    8, each should use as many of the numbers 0 to 255 as the others."""
    return [len(np.unique(Image.open(p).convert("RGB"))) for p in trio]


def right_logo(trio: list[Path]) -> list[int]:
    """lay each on white first, as load_picture does. Alone, convert drops alpha
    and leaves a black square, all 0. (A white logo needs another ground.)"""
    white = Image.new("RGBA", (28, 28), "white")
    pictures = [Image.open(p).convert("RGBA") for p in trio]
    laid = [Image.alpha_composite(white, picture) for picture in pictures]
    return [len(np.unique(picture.convert("RGB"))) for picture in laid]


# ---- The lesson -------------------------------------------------------------
def show_one_folder(threes: OneFolder) -> None:
    console.section("A case small enough for paper: five picture files")
    console.say(
        "Handwriting, 28 x 28 grey pixels, in two classes: the folder 3 holds "
        "000.png, 001.png and 002.png, the folder 8 holds 000.png and 001.png."
    )
    console.ask("Which label does a picture of a 3 get, and one of an 8?")
    console.say("0 and 1: a label is a class's place among the sorted names.")
    console.code(OneFolder)
    image, label = threes[2]
    console.say(
        "SUFFIXES are .png, .jpg and five more. load_picture opens a file as "
        "RGB of at most 1024 pixels a side. With threes = OneFolder(Path('3'), "
        f"0), len(threes) is {len(threes)}. The last one, threes[2], is an "
        f"image {tuple(image.shape)}, grey (equal channels), and label {label}."
    )


def show_joined(threes: OneFolder, eights: OneFolder) -> None:
    console.section("joined = Joined(threes, eights), of 3 and 2 examples")
    console.ask("What is joined[3]? What is joined[-1]?")
    console.code(Joined)
    joined = Joined(threes, eights)
    console.say(
        "joined[3]: index 3 is not below len(threes), so that goes off: 3 - 3 "
        f"= 0. It is eights[0], label {joined[3][1]}. joined[-1]: the index is "
        "5 - 1 = 4, and 4 - 3 = 1: eights[1]. A for loop over joined asks for "
        "joined[0], joined[1], ... until an IndexError comes, at joined[5], "
        "and never for the length. Dataset gives OneFolder a +: it makes a "
        "ConcatDataset, PyTorch's Joined. All five examples must be equal:"
    )
    same("joined = PyTorch's threes + eights", joined, threes + eights)


def show_folder(root: Path) -> dict[str, Tensor]:
    dataset = image_folder(root)
    console.section(f"A whole folder: {len(dataset):,} pictures")
    console.code(image_folder)
    names = [part.paths[0].parent.name for part in dataset.parts]
    seam = len(dataset.parts[0])
    console.say(f"Classes: {several(names)}. Pictures of the first: {seam:,}.")
    console.ask(f"Which label has dataset[{seam - 1}], which dataset[{seam}]?")
    shown = thumbnails(dataset, range(seam - 4, seam + 4))
    console.pictures(shown, "dataset", width=18)
    console.say(
        f"dataset[{seam - 1}] has label 0, dataset[{seam}] label 1. Why not "
        "open all at once? A million uint8 images (3, 224, 224) are 1,000,000 "
        "* 3 * 224 * 224 = 150,528,000,000 bytes: more than a laptop's memory. "
        "torchvision's ImageFolder does all this. It takes hidden pictures and "
        "deeper folders too, so the check gives it our files and load_picture:"
    )
    taken = {str(path) for part in dataset.parts for path in part.paths}
    options = {"loader": load_picture, "is_valid_file": taken.__contains__}
    theirs = ImageFolder(root, pil_to_tensor, **options)
    same("dataset = torchvision's ImageFolder", dataset, theirs)
    return shown


def run(data: Own = None, logdir: LogDir = LOGS) -> None:
    """Write a Dataset by hand; compare with ImageFolder."""
    own = data and class_folders(data, OneFolder, right_night)
    with written(dataset_files()) as folder:
        console.opening(__doc__)
        console.words(WORDS)
        threes, eights = image_folder(folder / "five").parts
        show_one_folder(threes)
        show_joined(threes, eights)
        shown = show_folder(own or folder / "all")
        traps = {n: OneFolder(folder / n, 0).paths for n in ("files", "trio")}
        errors = OSError, RuntimeError
        console.mistakes(__name__, errors, mac=folder / "mac", **traps)
    console.remember(
        "from torch.utils.data import Dataset  # yours: __len__, __getitem__",
        "from torchvision.datasets import ImageFolder  # .classes: the names",
        "image, label = ImageFolder('pictures')[0]  # image is no tensor yet",
    )
    console.say(
        "Exercise: write a Dataset Between(dataset, start, stop). For b = "
        'Between("abcde", 1, 3): len(b) is 2, [*b] is ["b", "c"], b[-1] is "c".'
    )
    with board("dataset-demo", logdir, "IMAGES: dataset") as writer:
        writer.add_figure("dataset", pictures_figure(shown, "Index and label"))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
