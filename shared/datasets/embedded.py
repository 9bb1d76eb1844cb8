"""The embedded image sets, made from files that scikit-learn ships."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from shared.datasets.image_set import ImageSet

DIGITS = [str(digit) for digit in range(10)]
TRAIN_DIGITS = 1500  # of the 1,797 digits; the other 297 are for testing


def photograph(name: str) -> Tensor:
    """scikit-learn's sample photograph "china" or "flower".

    It comes as (3, 427, 640) floats in [0, 1].
    """
    return torch.from_numpy(_photograph(name)).permute(2, 0, 1) / 255


def framed(images: Tensor) -> Tensor:
    """Images (N, 3, 32, 32) uint8, in the middle of a photograph each.

    The frames (N, 3, 101, 101) are ten times as large in area.
    """
    flower = 255 * photograph("flower")[:, 100:201, 200:301]
    frames = flower.to(images).repeat(len(images), 1, 1, 1)
    frames[:, :, 34:66, 34:66] = images
    return frames


def digits(size: int = 8) -> tuple[ImageSet, ImageSet]:
    """scikit-learn's 1,797 handwritten digits, 1,500 of them for training.

    The images are (N, 1, size, size).
    """
    images, labels = _handwriting()
    pixels = torch.from_numpy(_resized(images, size))
    pixels = pixels[:, None]  # (N, 1, size, size)
    targets = torch.from_numpy(labels)
    name = f"digits {size}x{size}"
    train, test = (
        ImageSet(pixels[part], targets[part], DIGITS, name)
        for part in (slice(TRAIN_DIGITS), slice(TRAIN_DIGITS, None))
    )
    return train, test


def photo_digits(seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Handwritten digits over patches of photographs, in CIFAR-10's shape.

    10,000 training and 2,000 test images (3, 32, 32) in 10 classes, made in
    about a second. No handwritten digit is in both sets. The same seed makes
    the same images on every machine.
    """
    images, labels = _handwriting()
    # its numbers are the same in every version of NumPy
    rng = np.random.RandomState(seed)
    train = _over_photographs(
        images[:TRAIN_DIGITS], labels[:TRAIN_DIGITS], 10_000, rng
    )
    test = _over_photographs(
        images[TRAIN_DIGITS:], labels[TRAIN_DIGITS:], 2_000, rng
    )
    return train, test


def _over_photographs(
    images: np.ndarray,
    labels: np.ndarray,
    count: int,
    rng: np.random.RandomState,
) -> ImageSet:
    """Blend digits in bright ink over darkened patches.

    This is done in integers, so that nothing rounds.
    """
    photographs = [_photograph("china"), _photograph("flower")]
    inks = {size: _resized(images, size) for size in (24, 28)}
    by_class = [np.flatnonzero(labels == label) for label in range(10)]
    blended = np.empty((count, 32, 32, 3), np.uint8)
    source = np.empty(count, np.int64)
    for index in range(count):
        photo = photographs[rng.randint(2)]
        top = rng.randint(photo.shape[0] - 32)
        left = rng.randint(photo.shape[1] - 32)
        patch = photo[top : top + 32, left : left + 32].astype(np.int32)
        patch = patch * 96 // 256
        size = (24, 28)[rng.randint(2)]
        y, x = (32 - size) // 2 + rng.randint(-2, 3, 2)
        source[index] = rng.choice(by_class[index % 10])
        digit = inks[size][source[index]].astype(np.int32)
        alpha = digit * rng.randint(220, 257) // 256
        alpha = alpha[:, :, None]  # (size, size, 1)
        under = patch[y : y + size, x : x + size]
        colour = rng.randint(192, 256, 3)
        under[:] = (under * (255 - alpha) + colour * alpha) // 255
        blended[index] = patch
    return ImageSet(
        torch.from_numpy(blended).permute(0, 3, 1, 2).contiguous(),
        torch.arange(count) % 10,
        DIGITS,
        "photo-digits",
        torch.from_numpy(source),
    )


def _handwriting() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 digits (N, 8, 8) uint8 and their labels (N,).

    Their order was mixed once for all.
    """
    with gzip.open(_sklearn_file("data/digits.csv.gz"), "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.int64)
    rows = rows[np.random.RandomState(0).permutation(len(rows))]
    pixels = np.minimum(rows[:, :64] * 16, 255)  # 0..16 in the file
    return pixels.astype(np.uint8).reshape(-1, 8, 8), rows[:, 64]


def _resized(images: np.ndarray, size: int) -> np.ndarray:
    if size == images.shape[1]:
        return images
    bicubic = Image.Resampling.BICUBIC
    pictures = map(Image.fromarray, images)
    resized = [picture.resize((size, size), bicubic) for picture in pictures]
    return np.stack([np.asarray(picture) for picture in resized])


def _photograph(name: str) -> np.ndarray:
    with Image.open(_sklearn_file(f"images/{name}.jpg")) as image:
        return np.array(image.convert("RGB"))  # (427, 640, 3)


def _sklearn_file(name: str) -> Path:
    """A file of scikit-learn's, found without the two seconds of its import."""
    package = find_spec("sklearn")
    assert package and package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "datasets" / name
