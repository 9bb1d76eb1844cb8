"""A few pictures of the user's own, for train-flowers: versions, and middles.

They are read as (3, 96, 96). Training sees another version of each in every
epoch; all others only lose their edges. What is left is (3, 64, 64).
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from torchvision.transforms import v2

from shared.console import warn
from shared.datasets.class_names import rename
from shared.datasets.image_set import Batch
from shared.datasets.sources import Sets, load_images

SIZE, CROP = 96, 64  # pixels
VERSIONS = (
    v2.RandomRotation(45),  # by up to 45 degrees, to either side
    v2.CenterCrop(64),  # of 96: few black corners are left
    v2.RandomHorizontalFlip(),
    v2.RandomVerticalFlip(),
    v2.ColorJitter(brightness=0.2, contrast=0.1, saturation=0.1, hue=0.1),
    v2.RandomGrayscale(0.025),
)

Pictures = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="FOLDER",
        callback=lambda value: value and str(Path(value).resolve()),
        help="Your pictures: train/<class>/, valid/ or test/ or both.",
        show_default="handwritten digits",
    ),
]
HeadEpochs = Annotated[
    int, typer.Option(min=0, help="So many epochs are the head's alone.")
]


def augment(batch: Batch, chance: torch.Generator) -> Batch:
    """Another version of each image (N, 3, 96, 96): (N, 3, 64, 64).

    v2 draws from PyTorch's one generator: it is seeded from ours, so that a
    run that goes on sees the versions that it would have seen.
    """
    images, labels = batch
    torch.manual_seed(torch.randint(2**62, (), generator=chance).item())
    change = v2.Compose(VERSIONS)
    return torch.stack([change(image) for image in images]), labels


def middle(images: Tensor) -> Tensor:
    """Of images (N, 3, 96, 96) the middle (N, 3, 64, 64); others stay."""
    return images[..., 16:80, 16:80] if images.size(-1) == 96 else images


def load_pictures(
    folder: str, device: torch.device, limit: int | None, seed: int
) -> Sets:
    """Images to train on, to choose by, to test with, of a folder of pictures.

    The first are (N, 3, 96, 96), transformed by augment; others are only cut.
    """
    sets = load_images(folder, device, limit, seed, size=SIZE)
    train_set, *others = rename(sets, Path(folder))
    counts = train_set.labels.bincount(minlength=len(train_set.classes))
    for name, count in zip(train_set.classes, counts.tolist(), strict=True):
        if not count:
            warn(f"no picture of class {name} is left to train on.")
    train_set.transform = augment
    for some in filter(None, others):
        some.images = middle(some.images)
    return train_set, *others
