"""The image sets of the course. The embedded ones are made from files that scikit-learn ships."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
)

DIGITS = [str(digit) for digit in range(10)]
TRAIN_DIGITS = 1500  # of the 1,797 handwritten digits; the other 297 are for testing


@dataclass
class ImageSet(Dataset[tuple[Tensor, Tensor]]):
    """Decoded images, kept in memory: images (N, C, H, W) uint8, labels (N,) int64."""

    images: Tensor
    labels: Tensor
    classes: list[str]
    name: str

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | list[int]) -> tuple[Tensor, Tensor]:
        """One image and its label, or, for a list of indices, a whole batch at once."""
        return self.images[index], self.labels[index]

    def accuracy(self, predictions: Tensor) -> float:
        """The share of the images whose predicted class (N,) is the right one."""
        return (predictions == self.labels.to(predictions.device)).float().mean().item()

    def batches(
        self,
        batch_size: int,
        chance: torch.Generator | None = None,
        change: Callable[[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]] | None = None,
    ) -> DataLoader:
        """Batches in the order of the set or, with a generator, shuffled by it; change alters each.

        The sampler makes the batches (so batch_size=None), and the set hands out each in one piece.
        """
        sampler = RandomSampler(self, generator=chance) if chance else SequentialSampler(self)
        indices = BatchSampler(sampler, batch_size, drop_last=False)
        return DataLoader(self, batch_size=None, sampler=indices, collate_fn=change)

    def limited(self, count: int | None) -> "ImageSet":
        """Only count images, drawn from the whole set; always the same ones."""
        if count is None or count >= len(self):
            return self
        chosen = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))[:count]
        return ImageSet(self.images[chosen], self.labels[chosen], self.classes, self.name)

    def to(self, device: torch.device) -> "ImageSet":
        return ImageSet(self.images.to(device), self.labels.to(device), self.classes, self.name)


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel of (N, C, H, W) uint8 images, in units of [0, 1].

    Counts how often each of the 256 values occurs, so no float copy of the images is made.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in images.cpu().unbind(1):
        share = torch.bincount(channel.flatten(), minlength=256) / channel.numel()
        mean = (share * levels).sum()
        means.append(mean)
        stds.append((share * (levels - mean) ** 2).sum().sqrt())
    return torch.stack(means).float(), torch.stack(stds).float()


def shift_and_flip(
    batch: tuple[Tensor, Tensor], chance: torch.Generator, flip: bool
) -> tuple[Tensor, Tensor]:
    """Move each image (N, C, H, W) by up to 4 pixels and, with flip, mirror half of them."""
    images, labels = batch
    count, height, width = len(images), images.size(2), images.size(3)
    top, left = torch.randint(0, 9, (2, count, 1), generator=chance)
    rows = (top + torch.arange(height))[:, :, None]  # (N, H, 1)
    columns = (left + torch.arange(width))[:, None, :]  # (N, 1, W)
    which = torch.arange(count)[:, None, None]
    images = F.pad(images, (4,) * 4)[which, :, rows, columns].permute(0, 3, 1, 2)
    mirrored = (torch.rand(count, 1, 1, 1, generator=chance) < 0.5) & flip
    return torch.where(mirrored.to(images.device), images.flip(3), images), labels


def photograph(name: str) -> Tensor:
    """scikit-learn's sample photograph "china" or "flower" as (3, 427, 640) floats in [0, 1]."""
    return torch.from_numpy(_photograph(name)).permute(2, 0, 1) / 255


def digits(size: int = 8) -> tuple[ImageSet, ImageSet]:
    """scikit-learn's 1,797 handwritten digits, 1,500 of them for training: (N, 1, size, size)."""
    images, labels = _handwriting()
    pixels = torch.from_numpy(_resized(images, size))[:, None]  # (N, 1, size, size)
    targets = torch.from_numpy(labels)
    name = f"digits {size}x{size}"
    train = ImageSet(pixels[:TRAIN_DIGITS], targets[:TRAIN_DIGITS], DIGITS, name)
    return train, ImageSet(pixels[TRAIN_DIGITS:], targets[TRAIN_DIGITS:], DIGITS, name)


def photo_digits(seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """Handwritten digits over patches of photographs: CIFAR-10's shape, made in about a second.

    10,000 training and 2,000 test images (3, 32, 32) in 10 classes. No handwritten digit is in both
    sets. The same seed makes the same images on every machine.
    """
    images, labels = _handwriting()
    rng = np.random.RandomState(seed)  # its numbers are the same in every version of NumPy
    train = _over_photographs(images[:TRAIN_DIGITS], labels[:TRAIN_DIGITS], 10_000, rng)
    return train, _over_photographs(images[TRAIN_DIGITS:], labels[TRAIN_DIGITS:], 2_000, rng)


def _over_photographs(
    images: np.ndarray, labels: np.ndarray, count: int, rng: np.random.RandomState
) -> ImageSet:
    """Blend digits in bright ink over darkened patches, in integers so that nothing rounds."""
    photographs = [_photograph("china"), _photograph("flower")]
    inks = {size: _resized(images, size) for size in (24, 28)}
    by_class = [np.flatnonzero(labels == label) for label in range(10)]
    blended = np.empty((count, 32, 32, 3), np.uint8)
    for index in range(count):
        photo = photographs[rng.randint(2)]
        top, left = rng.randint(photo.shape[0] - 32), rng.randint(photo.shape[1] - 32)
        patch = photo[top : top + 32, left : left + 32].astype(np.int32) * 96 // 256
        size = (24, 28)[rng.randint(2)]
        y, x = (32 - size) // 2 + rng.randint(-2, 3, 2)
        digit = inks[size][rng.choice(by_class[index % 10])].astype(np.int32)
        alpha = (digit * rng.randint(220, 257) // 256)[:, :, None]  # (size, size, 1)
        under = patch[y : y + size, x : x + size]
        under[:] = (under * (255 - alpha) + rng.randint(192, 256, 3) * alpha) // 255
        blended[index] = patch
    return ImageSet(
        torch.from_numpy(blended).permute(0, 3, 1, 2).contiguous(),
        torch.arange(count) % 10,
        DIGITS,
        "photo-digits",
    )


def _handwriting() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 digits (N, 8, 8) uint8 and their labels (N,), in an order mixed once for all."""
    with gzip.open(_sklearn_file("data/digits.csv.gz"), "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.int64)
    rows = rows[np.random.RandomState(0).permutation(len(rows))]
    pixels = np.minimum(rows[:, :64] * 16, 255).astype(np.uint8)  # 0..16 in the file
    return pixels.reshape(-1, 8, 8), rows[:, 64]


def _resized(images: np.ndarray, size: int) -> np.ndarray:
    if size == images.shape[1]:
        return images
    bicubic = Image.Resampling.BICUBIC
    return np.stack(
        [np.asarray(Image.fromarray(image).resize((size, size), bicubic)) for image in images]
    )


def _photograph(name: str) -> np.ndarray:
    with Image.open(_sklearn_file(f"images/{name}.jpg")) as image:
        return np.array(image.convert("RGB"))  # (427, 640, 3)


def _sklearn_file(name: str) -> Path:
    """A file of scikit-learn's, found without the two seconds that importing it takes."""
    package = find_spec("sklearn")
    assert package and package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "datasets" / name
