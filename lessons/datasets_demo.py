"""Ready-made data sets: what their files hold, and what an item is.

torchvision knows famous sets by name. It can download one, and it reads the
files. One call makes a Dataset of one part of a set:
    MNIST(root, train=True, transform=None, download=False)
root is a folder. train=True is the training set, train=False the test set.
An item, such as MNIST(root)[0], is a picture and its label. Nothing is
downloaded here: the lesson writes other digits into files like MNIST's.

    python cli.py datasets-demo --limit 10
"""

import runpy
import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from torchvision.datasets import MNIST
from torchvision.datasets.utils import calculate_md5
from torchvision.transforms import ToTensor

from shared import console
from shared.board import board
from shared.datasets.downloads import is_there
from shared.datasets.embedded import digits, photo_digits
from shared.datasets.idx import to_idx, write_mnist
from shared.datasets.sources import cifar10
from shared.figures import pictures_figure
from shared.options import DATA, LOGS, LogDir

WORDS = {
    "training set": "the items that a program learns from",
    "test set": "other items, to find out how well it does with new ones",
    "header": "a file's first bytes, which say how to read the others",
    "checksum": "a number made of all of a file's bytes, to notice a change",
}
Limit = Annotated[int, typer.Option(min=1, max=1500, help="Training digits.")]
IMAGES = bytes([0, 0, 8, 3, *[0, 0, 0, 2] * 3, 1, 2, 3, 4, 5, 6, 7, 8])
LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 3])


# ---- By hand ----------------------------------------------------------------
def read_idx(content: bytes) -> Tensor:
    """The numbers in a file of MNIST's format, which is called IDX."""
    zeros, kind, dimensions = content[:2], content[2], content[3]
    assert zeros == bytes(2) and kind == 8, "it is not IDX, or not of uint8"
    start = 4 + 4 * dimensions  # the header's length
    shape = []
    for place in range(4, start, 4):
        a, b, c, d = content[place : place + 4]
        shape.append(a * 256**3 + b * 256**2 + c * 256 + d)
    # each byte is a number; a tensor needs bytes that can change
    numbers = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return numbers[start:].reshape(shape)


def nearest(known: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    """Give each of images the label of the known image most like it."""
    rows = images.flatten(1).float()  # (N, H * W), each image in one row
    known_rows = known.flatten(1).float()  # (K, H * W)
    distances = torch.cdist(rows, known_rows)  # (N, K), from each to each
    return labels[distances.argmin(1)]  # argmin: where a row's least one is


# ---- Mistakes ---------------------------------------------------------------
def wrong_score(root: Path) -> str:
    """Both are the training set. train=True is the default."""
    train, test = MNIST(root), MNIST(root)
    labels = nearest(train.data, train.targets, test.data)
    return f"{(labels == test.targets).float().mean():.1%} right"


def right_score(root: Path) -> str:
    """write train= each time. (Many other sets have split="test" instead.)"""
    train, test = MNIST(root, train=True), MNIST(root, train=False)
    labels = nearest(train.data, train.targets, test.data)
    return f"{(labels == test.targets).float().mean():.1%} right"


def wrong_stack(root: Path) -> torch.Size:
    """An item holds a picture, not a tensor. Image is Pillow's class of it."""
    train = MNIST(root, train=True)
    return torch.stack([image for image, label in train]).shape


def right_stack(root: Path) -> torch.Size:
    """a transform makes tensors of the items. (train.data stays uint8.)"""
    train = MNIST(root, train=True, transform=ToTensor())
    return torch.stack([image for image, label in train]).shape


def wrong_names(root: Path) -> list[str]:
    """A download began. An import runs all that is outside of functions."""
    (root / "sets.py").write_text(f"""
from torchvision.datasets import MNIST
class Offline(MNIST): mirrors = ["file:///nowhere/"]  # no server is there
TRAIN = Offline(r"{root}", train=True, download=True)
NAMES = ["zero", "one"]""")
    return runpy.run_path(str(root / "sets.py"))["NAMES"]  # as import does


def right_names(root: Path) -> list[str]:
    """put the download in a function: it waits there until you call it."""
    (root / "sets.py").write_text("""
from torchvision.datasets import MNIST
def train_set(root): return MNIST(root, train=True, download=True)
NAMES = ["zero", "one"]""")
    return runpy.run_path(str(root / "sets.py"))["NAMES"]


# ---- The lesson -------------------------------------------------------------
def show_paper_case(root: Path) -> None:
    console.section("Two files small enough for paper, of 24 and 10 bytes")
    for name, content in {"IMAGES": IMAGES, "LABELS": LABELS}.items():
        console.say(f"{name}: {' '.join(map(str, content))}")
    console.code(read_idx)
    console.ask("IMAGES begins with a header of 16 bytes. What does it say?")
    images, labels = read_idx(IMAGES), read_idx(LABELS)
    console.matrices({f"image {n}": image for n, image in enumerate(images)})
    console.say(
        "0 0 8 means uint8, and 3 three dimensions. Their sizes have four "
        "bytes each: 2 images, 2 rows, 2 columns. In MNIST's file the first "
        "is 0 0 234 96: 234 * 256 + 96 = 60,000. LABELS has one dimension, of "
        "size 2, and labels 7, 3. torchvision calls them data and targets:"
    )
    write_mnist(root, IMAGES, LABELS, IMAGES, LABELS)
    console.agrees("our images = data", images, MNIST(root).data, 0)
    console.agrees("our labels = targets", labels, MNIST(root).targets, 0)


def show_items(root: Path, limit: int) -> None:
    train, test = digits(28)
    console.section(f"scikit-learn's digits: {limit} to train, 297 to test")
    numbers = [train.images[:limit, 0], train.labels[:limit]]
    numbers += [test.images[:, 0], test.labels]
    paths = write_mnist(root, *map(to_idx, numbers))
    rows = [(p.name, f"{p.stat().st_size:,}", calculate_md5(p)) for p in paths]
    console.table(["file", "bytes", "checksum (MD5)"], rows)
    images = torch.stack([i for i, _ in MNIST(root, transform=ToTensor())])
    console.say(
        f"The first file: 16 + {limit} * 28 * 28 = {rows[0][1]}. t10k is the "
        "test set, of ten thousand in MNIST. torchvision compares checksums "
        "after a download. When they read, CIFAR10 compares them, and MNIST "
        "does not: it believes a changed label. ToTensor() gives each picture "
        f"the shape {tuple(images[0].shape)}, and divides by 255:"
    )
    ours = read_idx(paths[0].read_bytes())[:, None] / 255
    console.agrees("read_idx / 255 = each item's tensor", ours, images, 0)


def show_nearest(root: Path) -> dict[str, Tensor]:
    console.section("A way to read digits: the nearest known image")
    console.code(nearest)
    new = torch.tensor([[[2, 2], [3, 4]]])
    label = nearest(read_idx(IMAGES), read_idx(LABELS), new)
    console.say(
        "A distance is the square root of a sum of squared differences. From "
        "a new image, 2 2 3 4, it is the square root of 1 + 0 + 0 + 0 to image "
        "0, and of 9 + 16 + 16 + 16 to image 1. Image 0 is nearer, label 7:"
    )
    console.agrees("nearest = 7", label, torch.tensor([7]), 0)
    train, test = MNIST(root, train=True), MNIST(root, train=False)
    places = nearest(train.data, torch.arange(len(train)), test.data)
    wrong = (train.targets[places] != test.targets).int().argmax()
    near = places[wrong]
    pair = {f"new: {test.targets[wrong]}": test.data[wrong] / 255}
    pair[f"nearest: {train.targets[near]}"] = train.data[near] / 255
    console.say("It can be wrong. The first such image of the test set:")
    console.pictures(pair, "nearest", width=24)
    return pair


def show_two_parts(root: Path) -> None:
    console.section("Why two parts: what does 100 % right tell you?")
    console.ask("Known labels drawn by chance: what share does nearest repeat?")
    train, test = MNIST(root, train=True), MNIST(root, train=False)
    true, drawn = train.targets[:, None], torch.randint(10, (len(train), 1000))
    rows = []
    for name, labels in {"true": true, "by chance": drawn}.items():
        known = nearest(train.data, labels, train.data) == labels
        new = nearest(train.data, labels, test.data) == test.targets[:, None]
        rows.append((name, *[f"{s.float().mean():.1%}" for s in (known, new)]))
    console.table(["labels", "right in training set", "in test set"], rows)
    console.say(
        "A known image is nearest to itself, so its own label comes back, even "
        "one by chance (mean of 1,000 draws). Only the test set tells what was "
        "learned: 10 % is guessing one of ten. Guess, then try --limit 1500."
    )


def show_ten() -> dict[str, Tensor]:
    here = is_there("cifar10", DATA)
    train, test = (cifar10(True), cifar10(False)) if here else photo_digits()
    counts = f"{len(train):,} images to train, {len(test):,} to test"
    console.section(f"{train.name}: {counts}, in ten classes")
    if not here:
        console.say("CIFAR-10 is not here: ", "python cli.py data get cifar10")
        console.say("(170 MB.) In its place: digits over photographs.")
    places = [train.labels.tolist().index(label) for label in range(10)]
    ten = zip(train.classes, train.images[places] / 255, strict=True)
    named = {f"{k}: {name}": image for k, (name, image) in enumerate(ten)}
    console.pictures(named, "ten", width=14)
    three, mnist = train.classes[3], MNIST.classes[3]
    console.say(f"The name of label 3, classes[3]: {three!r}; MNIST: {mnist!r}")
    return named


def run(limit: Limit = 50, logdir: LogDir = LOGS) -> None:
    """Read MNIST by hand, and see why a set has two parts."""
    torch.manual_seed(0)
    console.opening(__doc__)
    console.words(WORDS)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "small"
        show_paper_case(Path(folder) / "paper")
        show_items(root, limit)
        pair = show_nearest(root)
        show_two_parts(root)
        ten = show_ten()
        console.mistakes(__name__, (TypeError, RuntimeError), root=root)
    console.remember(
        "from torchvision.datasets import MNIST  # CIFAR10: the same arguments",
        'train = MNIST("data", train=True, download=True)  # 12 MB, once',
        'test = MNIST("data", train=False)  # only this tells what was learned',
    )
    console.say(
        "Exercise: write to_idx(numbers) -> bytes, the way back. Check: "
        "to_idx(read_idx(IMAGES)) == IMAGES, and the same with LABELS."
    )
    with board("datasets-demo", logdir, "IMAGES: nearest, ten") as writer:
        writer.add_figure("nearest", pictures_figure(pair, "A wrong answer", 2))
        writer.add_figure("ten", pictures_figure(ten, "label: class", 5))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
