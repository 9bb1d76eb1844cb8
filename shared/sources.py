"""Where a lesson's images come from: what --data may say."""

from pathlib import Path

import torch

from shared.console import fail
from shared.datasets import ImageSet, photo_digits
from shared.downloads import is_there, mend
from shared.image_folder import image_folder
from shared.options import DATA


def load_images(source: str) -> tuple[ImageSet, ImageSet]:
    """The training and the test set that cifar10, photo-digits or a folder's path names."""
    if source == "photo-digits":
        return photo_digits()
    if source == "cifar10":
        return _cifar10(train=True), _cifar10(train=False)
    return image_folder(Path(source), DATA / "cache")


def _cifar10(train: bool) -> ImageSet:
    from torchvision.datasets import CIFAR10  # here, because importing it takes seconds

    try:
        dataset = CIFAR10(str(DATA), train=train)
    except RuntimeError:
        if is_there("cifar10", DATA):
            fail(f"CIFAR-10 in {DATA} is damaged.", mend("cifar10", DATA))
        fail(f"CIFAR-10 is not in {DATA}.", "python cli.py data get cifar10")
    images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()  # (N, 3, 32, 32)
    return ImageSet(images, torch.tensor(dataset.targets), dataset.classes, "CIFAR-10")
