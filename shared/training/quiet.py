"""A run without files or table: the same loop again, with another seed."""

import copy
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from shared.datasets.examples import Batch, Examples


class Quiet:
    """What a loop asks of a Training; on the CPU it gives the same weights."""

    def __init__(
        self, model: nn.Module, seed: int, epochs: int, batch_size: int
    ) -> None:
        self._model, self._seed = model, seed
        self._epochs, self._batch_size = epochs, batch_size
        self._best, self._kept = math.inf, {}

    def parallel(self, model: nn.Module) -> nn.Module:
        return model

    def epochs(self) -> Iterator[int]:
        yield from range(1, self._epochs + 1)

    def batches(self, examples: Examples, epoch: int) -> Iterator[Batch]:
        """Shuffled as Training's: chance depends on seed and epoch alone."""
        seed = self._seed * 1_000_003 + epoch
        torch.manual_seed(seed)
        chance = torch.Generator().manual_seed(seed)
        yield from examples.batches(self._batch_size, chance)

    def track(self, loss: Tensor) -> None:
        pass

    def end_epoch(self, val_loss: float, **_: float) -> None:
        if val_loss < self._best:
            self._best = val_loss
            self._kept = copy.deepcopy(self._model.state_dict())

    def load_best(self) -> None:
        """Give the model the weights of the best epoch, by val_loss."""
        if self._kept:
            self._model.load_state_dict(self._kept)
