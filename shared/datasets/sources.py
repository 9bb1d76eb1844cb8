"""Where a lesson's images come from: what --data may say."""

from pathlib import Path

import torch
import typer

from shared.console import fail, note, say
from shared.datasets.downloads import download, is_there, mend
from shared.datasets.embedded import digits, photo_digits
from shared.datasets.image_folder import SIZE, image_folder
from shared.datasets.image_set import ImageSet
from shared.options import DATA
from shared.training import distributed

Sets = tuple[ImageSet, ImageSet, ImageSet | None]  # to train, choose, test


def load_images(
    source: str,
    device: torch.device,
    limit: int | None,
    seed: int,
    fetch: bool = False,
    size: int = SIZE,
) -> Sets:
    """Images to train on, to choose the best epoch by, and to test with.

    source is cifar10 (with fetch, downloaded first), photo-digits, or the path
    of a folder of pictures, which may lack the test set; they become RGB
    (3, size, size). Where no folder valid/ is there to choose by, a tenth of
    the training images is held out, drawn by seed. Of each set only limit
    images are used.
    """
    if fetch and source != "cifar10":
        problem = "it goes with --data cifar10."
        raise typer.BadParameter(problem, param_hint="--download")
    with distributed.first_alone():
        if fetch:
            download("cifar10", DATA)
        train, val, test = _sets(source, size)
    return _ready(train, val, test, device, limit, seed)


def load_grey(
    source: str, device: torch.device, limit: int | None, seed: int
) -> Sets:
    """Grey images (1, 28, 28), MNIST's kind, in three sets as load_images.

    source is mnist, digits (embedded), or a path: of a folder that holds
    MNIST/raw, or of a folder of pictures, which become grey.
    """
    with distributed.first_alone():
        train, val, test = _grey_sets(source)
    return _ready(train, val, test, device, limit, seed)


def _ready(
    train: ImageSet,
    val: ImageSet | None,
    test: ImageSet | None,
    device: torch.device,
    limit: int | None,
    seed: int,
) -> Sets:
    if val is None:
        train, val = train.hold_out(seed)
    sets = (train, val, test)
    sets = tuple(some and some.limited(limit).to(device) for some in sets)
    counts = [f"{len(some or ()):,}" for some in sets]
    say(
        f"{counts[0]} training, {counts[1]} held-out and {counts[2]} test "
        f"images of {sets[0].name} on {device}"
    )
    return sets


def _sets(
    source: str, size: int
) -> tuple[ImageSet, ImageSet | None, ImageSet | None]:
    """What is there: images to train on, to choose by, to test with."""
    if source == "photo-digits":
        note(
            "These are photo-digits: handwritten digits over photographs, made "
            "here.\nReal CIFAR-10 (170 MB): "
            "[bold]python cli.py data get cifar10[/]"
        )
        train, test = photo_digits()
        return train, None, test
    if source == "cifar10":
        return cifar10(train=True), None, cifar10(train=False)
    return image_folder(Path(source), DATA / "cache", size)


def _grey_sets(source: str) -> list[ImageSet | None]:
    if source == "digits":
        note(
            "These are scikit-learn's handwritten digits, enlarged to 28 x 28."
            "\nReal MNIST (12 MB): [bold]python cli.py data get mnist[/]"
        )
        train, test = digits(28)
        return [train, None, test]
    root = DATA if source == "mnist" else Path(source)
    if source == "mnist" or (root / "MNIST/raw").is_dir():
        return [mnist(root, train=True), None, mnist(root, train=False)]
    sets = image_folder(root, DATA / "cache", size=28)
    return [some and some.grey() for some in sets]


def cifar10(train: bool) -> ImageSet:
    from torchvision.datasets import CIFAR10  # here: importing it takes seconds

    try:
        dataset = CIFAR10(str(DATA), train=train)
    except RuntimeError:
        if is_there("cifar10", DATA):
            fail(f"CIFAR-10 in {DATA} is damaged.", mend("cifar10", DATA))
        problem = f"CIFAR-10 is not in {DATA}."
        fail(problem, "python cli.py data get cifar10")
    images = torch.from_numpy(dataset.data)  # (N, 32, 32, 3)
    images = images.permute(0, 3, 1, 2).contiguous()  # (N, 3, 32, 32)
    labels = torch.tensor(dataset.targets)
    return ImageSet(images, labels, dataset.classes, "CIFAR-10")


def mnist(root: Path, train: bool) -> ImageSet:
    """MNIST from root/MNIST/raw: images (N, 1, 28, 28)."""
    from torchvision.datasets import MNIST  # here: importing it takes seconds

    try:
        dataset = MNIST(str(root), train=train)
    except (RuntimeError, OSError, ValueError, AssertionError):
        folder = root / "MNIST/raw"
        if root == DATA and not is_there("mnist", DATA):
            fail(f"MNIST is not in {DATA}.", "python cli.py data get mnist")
        again = mend("mnist", DATA) if root == DATA else "copy it again"
        fail(f"MNIST in {folder} is damaged or not whole.", again)
    _must_fit(dataset.data, dataset.targets, root / "MNIST/raw", train)
    names = [str(digit) for digit in range(10)]
    return ImageSet(dataset.data[:, None], dataset.targets, names, "MNIST")


def _must_fit(
    images: torch.Tensor, labels: torch.Tensor, folder: Path, train: bool
) -> None:
    """Files of the right format may hold what is not MNIST's kind."""
    which = f"{folder}/{'train' if train else 't10k'}"
    if len(images) != len(labels):
        counts = f"{len(images):,} images, but {len(labels):,} labels"
        fail(f"{which}-* hold {counts}.", "copy both files again")
    if len(images) < 2 or images.shape[1:] != (28, 28):
        shape = " x ".join(map(str, images.shape))
        problem = f"{which}-images-idx3-ubyte holds {shape} numbers"
        fail(f"{problem}, not 2 or more images of 28 x 28.", "copy it again")
    if labels.max() > 9:
        place = int((labels > 9).nonzero()[0])
        problem = f"{which}-labels-idx1-ubyte has the label {labels[place]}"
        fail(f"{problem}, of image {place + 1}.", "use labels from 0 to 9")
