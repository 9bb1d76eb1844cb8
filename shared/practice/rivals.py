"""The rivals of train-flowers: who does not beat them has gained nothing."""

import math
from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.datasets.image_set import ImageSet
from shared.datasets.sources import Sets
from shared.training import Training

RATE = 1e-3


def from_scratch(
    training: Training,
    fresh: nn.Module,
    sets: Sets,
    validate: Callable[[nn.Module, ImageSet], dict[str, float]],
) -> None:
    """As many steps as the run took, for all layers, at a rate of its own.

    The held-out images choose the epoch, as in the run.
    """
    train_set, val_set, _ = sets
    size = training.settings["batch_size"]
    optimizer = torch.optim.Adam(fresh.parameters(), RATE)
    best, kept = -1.0, {}
    with console.progress("epochs") as bar:
        epochs = range(1, len(training.history) + 1)
        for epoch in bar.track(epochs, description="from scratch"):
            chance = torch.Generator().manual_seed(epoch)
            fresh.train()
            for images, labels in train_set.batches(size, chance):
                optimizer.zero_grad()
                F.cross_entropy(fresh(images), labels).backward()
                optimizer.step()
            accuracy = validate(fresh, val_set)["val_accuracy"]
            if accuracy > best:
                best, kept = accuracy, deepcopy(fresh.state_dict())
    fresh.load_state_dict(kept)


def say_guessing(val_loss: float, classes: int, digits: bool) -> None:
    """Why the first losses are what they are."""
    said = (
        f"Before any step, val loss is {val_loss:.2f}. Guessing among "
        f"{classes} classes: ln {classes} = {math.log(classes):.2f}."
    )
    if digits:  # measured, seeds 0 to 4
        said += (
            " Adam's first steps move each weight by about lr. With --lr 0.01, "
            "common for a new head, that is far: the train loss of epoch 1 was "
            "1.7 to 3.4 with seeds 0 to 4, with the default 1.3 to 1.5. Of the "
            "test images 87.1 and 90.8 % were right in the end, on average."
        )
    console.say(said)


def say_best(
    best: dict[str, float], history: list[dict[str, float]], head_epochs: int
) -> None:
    """Which epoch is the best, and what phase two added, if there was one."""
    highest = f"the highest val accuracy, {best['val_accuracy']:.1%}."
    console.say(f"Kept are the weights of epoch {best['epoch']}: {highest}")
    rights = [row["val_accuracy"] for row in history]
    one, two = rights[:head_epochs], rights[head_epochs:]
    if not (one and two):
        return
    change = "more" if max(two) > max(one) else "no more"
    console.say(
        f"Of the held-out images, the head alone got {max(one):.1%} right at "
        f"best, all layers {max(two):.1%}: {change}."
    )


def commonest(train_set: ImageSet, tried: ImageSet) -> Tensor:
    """For each image to try (N,): the class with the most training images."""
    return torch.full_like(tried.labels, train_set.labels.mode().values)


def say(
    found: dict[str, Tensor], tried: ImageSet, kind: str
) -> dict[str, float]:
    """Print, and return, which share of the images each found the class of.

    The last is compared with each. Two standard errors may be chance.
    """
    console.say(
        'Its rivals: "nearest mean" takes the outputs of the backbone as it '
        'was at the start, and nothing learns; "from scratch" takes as many '
        f"steps as this run, for all layers, at {RATE:g} whatever --lr says."
    )
    shares = {name: tried.accuracy(said) for name, said in found.items()}
    count = len(tried)
    table = [(name, f"{share:.1%}") for name, share in shares.items()]
    console.table(["", f"right of {count:,} {kind} images"], table)
    *rivals, (ours, share) = shares.items()
    chance = 2 * (2 * max(share * (1 - share), 1 / count) / count) ** 0.5
    places = {"ahead of": [], "behind": [], "not to be told from": []}
    for name, other in rivals:
        near = abs(share - other) <= chance
        where = "ahead of" if share > other else "behind"
        places["not to be told from" if near else where].append(name)
    said = "; ".join(
        f"{where} " + ", ".join(f'"{name}"' for name in names)
        for where, names in places.items()
        if names
    )
    console.say(
        f"{ours[0].upper()}{ours[1:]} is {said}. With {count:,} images, "
        f"differences up to {100 * chance:.1f} points may be chance. This is "
        "one seed."
    )
    return shares
