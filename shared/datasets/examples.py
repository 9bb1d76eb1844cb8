"""A set of examples with a label each, handed out in batches."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
)

Batch = tuple[Tensor, Tensor]  # inputs (N, ...), labels (N, ...)


class Examples(Dataset[Batch]):
    """What every set here has; a subclass says what an example is.

    set[indices] is a whole batch. transform(batch, chance) alters the shuffled
    batches. classes is empty where the labels are measured numbers.
    """

    unit = "examples"  # what they are called where they are counted
    labels: Tensor
    classes: list[str]
    name: str
    transform: Callable[[Batch, torch.Generator], Batch] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, chance: torch.Generator | None = None
    ) -> DataLoader:
        """All examples in order or, with a generator, shuffled and transformed.

        Shuffled batches are for training, and all of one size: a last one of a
        few examples would undo much of an epoch (on CIFAR-10 a step on 8 images
        took the accuracy from 66 to 58 %). The examples left over come in
        another epoch. The sampler makes whole batches, so batch_size=None.
        """
        sampler, change = SequentialSampler(self), None
        if chance:
            sampler = RandomSampler(self, generator=chance)
            change = self.transform and partial(self.transform, chance=chance)
        whole = BatchSampler(sampler, batch_size, drop_last=chance is not None)
        return DataLoader(
            self, batch_size=None, sampler=whole, collate_fn=change
        )

    def accuracy(self, predictions: Tensor) -> float:
        """The share of the examples whose predicted class (N,) is right."""
        right = predictions == self.labels.to(predictions.device)
        return right.float().mean().item()
