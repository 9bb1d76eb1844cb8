"""What train-flowers carries over: from the digits 0 to 4 to 5 to 9."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.datasets.embedded import photo_digits
from shared.datasets.image_set import ImageSet
from shared.models import CifarNet, normalized
from shared.seeds import SEEDS, over_seeds, shares_right, spread_table

NEW = 5  # the digits from here on are the new task
EACH = {"5 a class": 5, "10 a class": 10, "20 a class": 20}
COLUMNS = {name: place for place, name in enumerate(EACH)}
LAST = ("net.12.",)  # the last linear layer of CifarNet
WAYS = ["from scratch", "last layer", "head only", "all layers"]
STEPS = 60  # of Adam, for each cell of the table
LR, SCRATCH_LR = 1e-3, 2e-3  # with 4e-3 from scratch does worse
UNSEEN = 500  # test images, 100 of each class
HELD_OUT = 100  # of the digits 5 to 9, to choose an epoch by


def old_digits() -> ImageSet:
    """5,000 images of the digits 0 to 4, over photographs."""
    train, _ = _photo_digits()
    return train.subset(train.labels < NEW)


def new_digits(each: int, seed: int) -> tuple[ImageSet, ImageSet, ImageSet]:
    """The digits 5 to 9: so many of each to learn from, 100 held out, 1,000.

    Which of them is drawn by seed. No handwritten digit is in two sets, or
    twice among those to learn from.
    """
    train, test = (_from_five(some) for some in _photo_digits())
    chance = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=chance).tolist()
    chosen, held_out, used = [], [], set()
    need = {label: each for label in range(NEW)}
    for index in order:
        source, label = int(train.source[index]), int(train.labels[index])
        if source in used:
            continue
        if need[label]:
            need[label] -= 1
            chosen.append(index)
        elif len(held_out) < HELD_OUT:
            held_out.append(index)
        else:
            continue
        used.add(source)
    parts = (train.subset(torch.tensor(some)) for some in (chosen, held_out))
    return *parts, test


def learn(
    model: nn.Module,
    images: ImageSet,
    steps: int,
    lr: float,
    seed: int,
    batch: int = 25,
) -> nn.Module:
    """Steps of Adam, on batches of at most so many shuffled images."""
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learning, lr)
    chance = torch.Generator().manual_seed(seed)
    done = 0
    while done < steps:
        for some, labels in images.batches(min(batch, len(images)), chance):
            if done == steps:
                break
            optimizer.zero_grad()
            F.cross_entropy(model(some), labels).backward()
            optimizer.step()
            done += 1
    return model


def network() -> nn.Sequential:
    """A CifarNet for five digits, its normalisation that of the old ones."""
    return normalized(CifarNet(NEW, "relu"), old_digits().images)


@cache
def pretrained(seed: int) -> nn.Sequential:
    """A network that has learned the digits 0 to 4, two epochs long."""
    torch.manual_seed(seed)
    model, images = network(), old_digits()
    return learn(model, images, 2 * len(images) // 64, 2e-3, seed, batch=64)


def with_new_head(model: nn.Module, head: tuple[str, ...]) -> nn.Module:
    """A copy: random numbers again in the layers whose names begin so."""
    model = deepcopy(model)
    for name, layer in model.named_modules():
        if f"{name}.".startswith(head):
            layer.reset_parameters()
    return model


def ready(
    way: str,
    seed: int,
    begin_epoch: Callable[[nn.Module, tuple[str, ...] | None], None],
    head: tuple[str, ...],
) -> nn.Module:
    """What a row of the table begins with, all but what learns frozen."""
    torch.manual_seed(seed)
    if way == "from scratch":
        return network()
    only = LAST if way == "last layer" else head
    model = with_new_head(pretrained(seed), only)
    begin_epoch(model, None if way == "all layers" else only)
    return model


def sets(
    device: torch.device, limit: int | None, seed: int
) -> tuple[ImageSet, ImageSet, ImageSet]:
    """new_digits(10), on a device; of each set only limit images."""
    found = new_digits(10, seed)
    parts = tuple(some.limited(limit).to(device) for some in found)
    counts = [f"{len(some):,}" for some in parts]
    console.say(
        f"{counts[0]} training, {counts[1]} held-out and {counts[2]} test "
        f"images of {parts[0].name} on {device}"
    )
    return parts


def measured(
    begin_epoch: Callable[[nn.Module, tuple[str, ...] | None], None],
    head: tuple[str, ...],
) -> dict[str, Tensor]:
    """Of each way (seeds, columns): % of 500 unseen digits that are right.

    begin_epoch freezes all but what has one of the names: head's, or LAST.
    Images, order and random numbers depend on the seed.
    """

    def percents(way: str, seed: int) -> list[float]:
        found = []
        for each in EACH.values():
            some, _, unseen = new_digits(each, seed)
            unseen = unseen.subset(torch.arange(UNSEEN))
            model = ready(way, seed, begin_epoch, head)
            lr = SCRATCH_LR if way == WAYS[0] else LR
            learn(model, some, STEPS, lr, seed)
            test = unseen.images, unseen.labels
            found.append(100 * shares_right([model], test, 250).item())
        return found

    right = over_seeds(percents, WAYS)
    console.say(
        f"So many % of {UNSEEN} unseen images are right (guessing: 20):"
    )
    spread_table(COLUMNS, right, ".0f")
    console.say(f"Adam's learning rate is {LR:g}, from scratch {SCRATCH_LR:g}.")
    return right


def say_where(right: dict[str, Tensor]) -> None:
    """In which columns is a way ahead of from scratch, seed by seed?"""
    scratch, *others = WAYS
    for heading, place in COLUMNS.items():
        rival = right[scratch][:, place]
        leads = {way: right[way][:, place] - rival for way in others}
        winners = {way: lead for way, lead in leads.items() if lead.min() > 0}
        said = " and ".join(
            f"{way} (by {lead.mean():.0f} on average)"
            for way, lead in winners.items()
        )
        if winners:
            console.say(f"{heading}: ahead of {scratch} in every seed: {said}.")
        else:
            ahead = {w: int((lead > 0).sum()) for w, lead in leads.items()}
            counts = ", ".join(f"{w} in {n}" for w, n in ahead.items())
            console.say(
                f"{heading}: none is ahead in every seed ({counts} of "
                f"{len(SEEDS)}): here carrying over no longer pays for sure."
            )
    behind = right[WAYS[1]] < right[scratch]
    if behind.all():
        console.say(
            f"{WAYS[1]} is behind {scratch} in every seed. The layer in front "
            "of it learned to tell 0 to 4 apart, and makes little of the rest."
        )


@cache
def _photo_digits() -> tuple[ImageSet, ImageSet]:
    return photo_digits()


def _from_five(images: ImageSet) -> ImageSet:
    """The digits 5 to 9 alone, as classes 0 to 4."""
    some = images.subset(images.labels >= NEW)
    named = f"{images.name}, 5 to 9"
    labels, classes = some.labels - NEW, images.classes[NEW:]
    return replace(some, labels=labels, classes=classes, name=named)
