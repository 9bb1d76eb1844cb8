"""A set of images: decoded once, kept in memory, handed out in batches."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from shared.datasets.examples import Batch, Examples


@dataclass
class ImageSet(Examples):
    """Decoded images in memory: images (N, C, H, W) uint8, labels (N,) int64.

    source (N,) numbers the original that each image was made from; without it,
    each is its own. transform(batch, chance) alters the shuffled batches.
    """

    unit = "images"
    images: Tensor
    labels: Tensor
    classes: list[str]
    name: str
    source: Tensor | None = None
    transform: Callable[[Batch, torch.Generator], Batch] | None = None

    def __getitem__(self, index: int | list[int]) -> tuple[Tensor, Tensor]:
        """One image and its label, or, for a list of indices, a whole batch."""
        return self.images[index], self.labels[index]

    def subset(self, chosen: Tensor) -> "ImageSet":
        """Only the chosen images: indices (M,), or (N,), True for chosen."""
        images, labels = self.images[chosen], self.labels[chosen]
        source = self.source if self.source is None else self.source[chosen]
        return replace(self, images=images, labels=labels, source=source)

    def hold_out(self, seed: int) -> tuple["ImageSet", "ImageSet"]:
        """Set a tenth of the originals aside, drawn at random.

        Returns the images left, and those held out.
        """
        source = torch.arange(len(self)) if self.source is None else self.source
        originals = source.unique()
        chance = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(originals), generator=chance)
        drawn = originals[order[: max(1, len(order) // 10)]]
        held_out = torch.isin(source, drawn)
        return self.subset(~held_out), self.subset(held_out)

    def limited(self, count: int | None) -> "ImageSet":
        """Only count images, drawn from the whole set; always the same ones."""
        if count is None or count >= len(self):
            return self
        chance = torch.Generator().manual_seed(0)
        chosen = torch.randperm(len(self), generator=chance)[:count]
        return self.subset(chosen)

    def grey(self) -> "ImageSet":
        """The same, each RGB image (3, H, W) weighted to grey (1, H, W)."""
        some = self.images.split(1000)  # as int64 they take 8 times as much
        return replace(self, images=torch.cat([in_grey(few) for few in some]))

    def in_rows(self) -> TensorDataset:
        """Each image as a row of its numbers, in [0, 1]: (N, C * H * W)."""
        return TensorDataset(self.images.flatten(1) / 255, self.labels)

    def to(self, device: torch.device) -> "ImageSet":
        images, labels = self.images.to(device), self.labels.to(device)
        return replace(self, images=images, labels=labels)


def in_grey(images: Tensor) -> Tensor:
    """RGB images (N, 3, H, W) uint8 as grey ones (N, 1, H, W)."""
    weights = torch.tensor([299, 587, 114]).view(3, 1, 1)
    return ((images * weights).sum(1, keepdim=True) // 1000).byte()


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, in units of [0, 1].

    images is (N, C, H, W) uint8. Counts how often each of the 256 values
    occurs, so no float copy of the images is made.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in images.cpu().unbind(1):
        counts = torch.bincount(channel.flatten(), minlength=256)
        share = counts / channel.numel()
        mean = (share * levels).sum()
        means.append(mean)
        stds.append((share * (levels - mean) ** 2).sum().sqrt())
    return torch.stack(means).float(), torch.stack(stds).float()


def shift_and_flip(
    batch: Batch, chance: torch.Generator, flip: bool, most: int = 4
) -> Batch:
    """Move each image by up to most pixels and, with flip, mirror half of them.

    The images are (N, C, H, W).
    """
    images, labels = batch
    count, height, width = len(images), images.size(2), images.size(3)
    top, left = torch.randint(0, 2 * most + 1, (2, count, 1), generator=chance)
    rows = (top + torch.arange(height))[:, :, None]  # (N, H, 1)
    columns = (left + torch.arange(width))[:, None, :]  # (N, 1, W)
    which = torch.arange(count)[:, None, None]
    moved = F.pad(images, (most,) * 4)[which, :, rows, columns]  # (N, H, W, C)
    images = moved.permute(0, 3, 1, 2)  # (N, C, H, W)
    mirrored = (torch.rand(count, 1, 1, 1, generator=chance) < 0.5) & flip
    mirrored = mirrored.to(images.device)
    return torch.where(mirrored, images.flip(3), images), labels
