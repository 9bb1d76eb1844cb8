"""Pictures of train-flowers: versions of a few images, marked predictions."""

from dataclasses import replace

import torch
from rich.markup import escape
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from shared import console
from shared.datasets.image_set import ImageSet
from shared.figures import (
    images_figure,
    show_guesses,
    show_images,
    spaced,
)
from shared.models import layer_table
from shared.training import Training


def show_versions(writer: SummaryWriter, images: ImageSet, step: int) -> None:
    """Show eight images of all classes and, if they are changed, of two more.

    The figure images/versions has eight versions of the first of them.
    """
    some = images.subset(spaced(torch.arange(len(images)), 8))
    show_images(writer, some, step)
    if not images.transform:
        return
    chance = torch.Generator().manual_seed(0)
    first = some.images[:1].expand(8, -1, -1, -1)
    changed, _ = images.transform((first, some.labels), chance)
    versions = replace(some, images=changed)
    titles = {place: f"version {place + 1}" for place in range(len(changed))}
    figure = images_figure(versions, titles, ["black"] * len(titles))
    figure.suptitle("What training sees of the first image")
    writer.add_figure("images/versions", figure, step)
    console.say(
        "In each epoch an image comes in another version: turned by up to 45 "
        "degrees, its middle of 96 x 96 pixels cut out (64 x 64), mirrored or "
        "not, in other colours, now and then grey. Held-out and test images "
        "are only cut. In TensorBoard: IMAGES, images/versions."
    )


def show_network(
    model: nn.Sequential, images: Tensor, begun: str, head: tuple[str, ...]
) -> None:
    """A row for each layer of Normalize and net, and how many will learn."""
    console.section("The network, layer by layer, with some images")
    *layers, last = model.eval().net.children()
    flatten = [nn.Flatten()] if hasattr(model.net, "fc") else []
    rows = []
    steps = [model.normalize, *layers, *flatten, last]
    for name, shape, size in layer_table(steps, images):
        if rows and (rows[-1][1], size) == (shape, "0"):  # a ReLU, say
            before, _, size = rows.pop()
            name = f"{before}, {name}"
        rows.append((name, shape, size))
    console.table(["layer", "shape after it", "parameters"], rows)
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    learn = sum(size for n, size in sizes.items() if n.startswith(head))
    console.say(
        f"The backbone is {begun}. In phase one {learn:,} of the "
        f"{sum(sizes.values()):,} parameters learn: those of the head, "
        f"{'the last layer' if flatten else 'both linear layers'}. Adam has "
        "all of them, and leaves those alone that have no gradient."
    )


def show_marked(
    training: Training,
    images: ImageSet,
    predictions: Tensor,
    kind: str,
    count: int = 8,
) -> None:
    """Show some images under what they were taken for, ✓ green or ✗ red.

    As many wrong ones as right ones, where there are enough of both. Which
    class was taken for which is a table here, and two figures in TensorBoard.
    """
    writer, step = training.writer, training.step
    show_guesses(writer, images, predictions, step, kind)
    labels, predictions = images.labels.cpu(), predictions.cpu()
    right = predictions == labels
    wrong_ones = spaced((~right).nonzero().flatten(), count // 2)
    rest = count - len(wrong_ones)
    some = torch.cat([spaced(right.nonzero().flatten(), rest), wrong_ones])
    named = {}
    for place in some.tolist():
        said = escape(images.classes[predictions[place]])
        is_ = escape(images.classes[labels[place]])
        name = (
            f"[green]✓ {said}[/]"
            if right[place]
            else (f"[red]✗ {said}, is {is_}[/]")
        )
        picture = images.images[place].cpu() / 255
        named[f"[dim]{place + 1}[/] {name}"] = picture
    console.pictures(named, "figures/predictions", width=18)
