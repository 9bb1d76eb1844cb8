"""Ready-made data sets: what their files hold, and what an item is.

torchvision knows famous sets by name. It downloads one if you ask for that,
checks that all of it came, and reads its files. One call makes a Dataset:
    MNIST(root, train=True, transform=None, download=False)
root is a folder; train says which of the two parts of a set you want. Write
the names, as here. MNIST has 60,000 and 10,000 handwritten digits. It is
not downloaded: this lesson writes other digits into files of the same kind.

    python cli.py datasets-demo --limit 10
"""

import runpy
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from torchvision.datasets import MNIST
from torchvision.datasets.utils import calculate_md5, check_integrity
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
}
Limit = Annotated[int, typer.Option(min=1, max=1500, help="Training digits.")]
IMAGES = [0, 0, 8, 3, *[0, 0, 0, 2] * 3, 1, 2, 3, 4, 5, 6, 7, 8]
LABELS = [0, 0, 8, 1, 0, 0, 0, 2, 7, 3]


# ---- By hand ----------------------------------------------------------------
def read_idx(content: bytes) -> Tensor:
    """The numbers in a file of MNIST's kind, which is called IDX."""
    zeros, kind, dimensions = content[:2], content[2], content[3]
    assert zeros == bytes(2) and kind == 8, "it is not IDX, or not of uint8"
    start = 4 + 4 * dimensions  # the header's length
    shape = []
    for place in range(4, start, 4):
        a, b, c, d = content[place : place + 4]
        shape.append(a * 256**3 + b * 256**2 + c * 256 + d)
    numbers = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return numbers[start:].reshape(shape)


def nearest(known: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    """Give each of images the label of the known image most like it."""
    rows = images.reshape(len(images), -1).float()  # an image in each row
    others = known.reshape(len(known), -1).float()
    distances = torch.cdist(rows, others)  # of each row from each other
    return labels[distances.argmin(1)]  # argmin: the place of the least one


# ---- Mistakes ---------------------------------------------------------------
def wrong_score(root: Path) -> str:
    """Both are the training set. train=True is the default."""
    train, test = MNIST(root), MNIST(root)
    labels = nearest(train.data, train.targets, test.data)
    return f"{(labels == test.targets).float().mean():.1%} right"


def right_score(root: Path) -> str:
    """train=False is the test set. Write train= each time."""
    train, test = MNIST(root, train=True), MNIST(root, train=False)
    labels = nearest(train.data, train.targets, test.data)
    return f"{(labels == test.targets).float().mean():.1%} right"


def wrong_stack(root: Path) -> torch.Size:
    """An item holds a picture, no tensor. Image is Pillow's class for it."""
    train = MNIST(root, train=True)
    return torch.stack([image for image, label in train]).shape


def right_stack(root: Path) -> torch.Size:
    """a transform makes a tensor of each. (train.data stays without it.)"""
    train = MNIST(root, train=True, transform=ToTensor())
    return torch.stack([image for image, label in train]).shape


def wrong_names(root: Path) -> list[str]:
    """A download began. Importing a file runs what is outside of functions."""
    (root / "sets.py").write_text(f"""
from torchvision.datasets import MNIST
class Offline(MNIST): mirrors = ["file:///nowhere/"]  # its servers
TRAIN = Offline(r"{root}", download=True)
NAMES = ["zero", "one"]""")
    return runpy.run_path(str(root / "sets.py"))["NAMES"]  # as import does


def right_names(root: Path) -> list[str]:
    """put it in a function, which runs when it is called, not when imported."""
    (root / "sets.py").write_text("""
from torchvision.datasets import MNIST
def train_set(root): return MNIST(root, download=True)
NAMES = ["zero", "one"]""")
    return runpy.run_path(str(root / "sets.py"))["NAMES"]


def wrong_byte(root: Path, path: Path) -> str:
    """The label was 2, and nobody says so. A checksum is made of all bytes of a
    file. MNIST compares it after a download, and not when it reads."""
    content = bytearray(path.read_bytes())
    content[8] = 9 - content[8]  # the test set's first label
    path.write_bytes(content)
    return f"first label: {MNIST(root, train=False)[0][1]}"


def right_byte(path: Path, md5: str) -> bool:
    """keep md5 = calculate_md5(path), a checksum, and compare. False: delete
    the changed file, and download again. (CIFAR10 compares each time.)"""
    return check_integrity(path, md5)


# ---- The lesson -------------------------------------------------------------
def show_paper_case(root: Path) -> None:
    console.section("Two files small enough for paper, of 24 and 10 bytes")
    for name, content in {"IMAGES": IMAGES, "LABELS": LABELS}.items():
        console.say(f"{name}: {' '.join(map(str, content))}")
    console.code(read_idx)
    console.ask("IMAGES begins with a header of 16 bytes. What does it say?")
    files = bytes(IMAGES), bytes(LABELS)
    images, labels = map(read_idx, files)
    console.matrices({f"image {n}": image for n, image in enumerate(images)})
    console.say(
        "0 0 8: numbers of type uint8. 3: of three dimensions. Their sizes, in "
        "four bytes each: 2 images, 2 rows, 2 columns. (0 0 1 4 would be 1 * "
        "256 + 4 = 260.) LABELS has a header of 8 bytes, and the labels 7, 3."
    )
    write_mnist(root, *files, *files)
    console.say("torchvision reads them as data (uint8) and targets (int64):")
    console.agrees("read_idx = data", images, MNIST(root).data, 0)
    console.agrees("read_idx = targets", labels, MNIST(root).targets, 0)


def show_items(root: Path, limit: int) -> dict[str, Any]:
    console.section(f"Other digits: training set {limit}, test set 297")
    train, test = digits(28)
    numbers = [train.images[:limit, 0], train.labels[:limit]]
    numbers += [test.images[:, 0], test.labels]
    paths = write_mnist(root, *map(to_idx, numbers))
    sizes = [(path.name, f"{path.stat().st_size:,}") for path in paths]
    console.table(["file", "bytes"], sizes)
    images = torch.stack([i for i, _ in MNIST(root, transform=ToTensor())])
    console.say(
        "These digits are scikit-learn's, enlarged to MNIST's 28 x 28. The "
        f"first file: header 16 + {limit} * 28 * 28 = {sizes[0][1]}. "
        f"MNIST(root)[0] is a picture and its label, {MNIST(root)[0][1]}. "
        f"ToTensor() makes it {tuple(images[0].shape)}, and divides by 255:"
    )
    ours = read_idx(paths[0].read_bytes())[:, None] / 255
    console.agrees("read_idx / 255 = each item's tensor", ours, images, 0)
    return {"path": paths[3], "md5": calculate_md5(paths[3])}


def show_two_parts(root: Path) -> None:
    console.section("Why two parts: what is a score of 100 % worth?")
    console.code(nearest)
    new = torch.tensor([[[2, 2], [3, 4]]])
    label = nearest(*map(read_idx, (bytes(IMAGES), bytes(LABELS))), new)
    console.say(
        "A distance is the root of a sum of squared differences. From 2 2 3 4 "
        "to image 0 it is the root of 1 + 0 + 0 + 0, to image 1 that of 9 + 16 "
        "+ 16 + 16. Image 0 is nearer, so its label is given, 7:"
    )
    console.agrees("nearest = 7", label, torch.tensor([7]), 0)
    console.ask("With labels by chance: what share of them will come back?")
    train, test = MNIST(root, train=True), MNIST(root, train=False)
    true, drawn = train.targets[:, None], torch.randint(10, (len(train), 20))
    rows = []
    for name, labels in {"true": true, "by chance": drawn}.items():
        known = nearest(train.data, labels, train.data) == labels
        new = nearest(train.data, labels, test.data) == test.targets[:, None]
        rows.append((name, *[f"{s.float().mean():.1%}" for s in (known, new)]))
    console.table(["labels", "right in training set", "in test set"], rows)
    console.say(
        "A known image is nearest to itself (no two are the same): 100 %, even "
        "with labels by chance (20 draws), where nothing can be learned. Only "
        "the test set tells. Guessing one of ten labels gets about 10 %."
    )


def show_ten() -> dict[str, Tensor]:
    here = is_there("cifar10", DATA)
    train, test = (cifar10(True), cifar10(False)) if here else photo_digits()
    console.section(f"{train.name}: {len(train):,} and {len(test):,} images")
    if not here:
        console.say("CIFAR-10 is not here: ", "python cli.py data get cifar10")
        console.say("In its place: handwritten digits over photographs.")
    places = [train.labels.tolist().index(label) for label in range(10)]
    ten = zip(train.classes, train.images[places] / 255, strict=True)
    named = {f"{k}: {name}": image for k, (name, image) in enumerate(ten)}
    console.pictures(named, "ten", width=14)
    console.say(
        "One of each class, label: name. The names are the set's classes: "
        f"classes[3] is {train.classes[3]!r} (MNIST: {MNIST.classes[3]!r})."
    )
    return named


def run(limit: Limit = 50, logdir: LogDir = LOGS) -> None:
    """Read MNIST by hand, and see why a set has two parts."""
    torch.manual_seed(0)
    console.opening(__doc__)
    console.words(WORDS)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "small"
        show_paper_case(Path(folder) / "paper")
        labels = show_items(root, limit)
        show_two_parts(root)
        ten = show_ten()
        console.mistakes(__name__, raises=Exception, root=root, **labels)
    console.remember(
        "from torchvision.datasets import MNIST  # or CIFAR10, or many others",
        "train = MNIST('data', train=True, download=True)  # 12 MB, once",
        "test = MNIST('data', train=False)  # transform=ToTensor(): tensors",
    )
    console.say(
        "Exercise: which four bytes of a header say 60,000? How many bytes has "
        "a file of 60,000 images of 28 x 28? Check: int.from_bytes(bytes([...])"
        ", 'big'); the digits of the second answer add up to 22."
    )
    with board("datasets-demo", logdir, "IMAGES: ten") as writer:
        writer.add_figure("ten", pictures_figure(ten, "label: class", 5))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
