"""Figures for TensorBoard."""

import math
from collections.abc import Iterable

import torch
from matplotlib.figure import Figure
from torch import Tensor

from shared.datasets import ImageSet


def curves_figure(
    x: Tensor, curves: dict[str, Tensor], xlabel: str, ylabel: str, yscale: str = "linear"
) -> Figure:
    """Draw curves (N,) over x (N,), each under its name; yscale may be "log"."""
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel, yscale=yscale)
    for place, (name, y) in enumerate(curves.items()):
        width = 5 * 0.7**place  # thinner and thinner: a curve shows what it lies upon
        axes.plot(x.numpy(), y.numpy(), label=name, linewidth=width)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def spread_figure(measured: dict[str, Tensor], xlabel: str) -> Figure:
    """One line for each name, with a dot for each of its measured values (N,)."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel)
    for name, values in reversed(measured.items()):
        axes.plot(values.numpy(), [name] * len(values), "o", alpha=0.5)
    axes.grid(alpha=0.3)
    return figure


def sketch(curves: Iterable[Tensor], low: float = -1.2, high: float = 3.1) -> Tensor:
    """Draw curves (N,) of values from low to high as pixels (3, N, N): first white, then orange."""
    colours = torch.tensor([[1, 1, 1], [1, 0.5, 0]])[:, :, None]
    for place, curve in enumerate(curves):
        last = len(curve) - 1
        if place == 0:
            picture = torch.zeros(3, len(curve), len(curve))
            picture[:, round(last * high / (high - low))] = 0.3  # the line of 0
        rows = (last * (high - curve) / (high - low)).round().long().clamp(0, last)
        picture[:, rows, torch.arange(len(curve))] = colours[place]
    return picture


def confusion_matrix(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Count each pair (true, predicted) of classes: (num_classes, num_classes) int64."""
    pairs = labels.cpu() * num_classes + predictions.cpu()  # one number for each pair
    return pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes)


def confusion_figure(confusion: Tensor, classes: list[str]) -> Figure:
    """A confusion matrix (true, predicted) of counts as a heat map of shares by true class."""
    shares = confusion / confusion.sum(1, keepdim=True).clamp(min=1)
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted", ylabel="true")
    picture = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, label="share of the true class", shrink=0.8)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= 12:
        for true, row in enumerate(confusion.tolist()):
            for predicted, count in enumerate(row):
                ink = "white" if shares[true, predicted] > 0.5 else "black"
                axes.text(predicted, true, count, ha="center", va="center", color=ink, fontsize=8)
    return figure


def predictions_figure(images: ImageSet, predictions: Tensor, each: int = 8) -> Figure:
    """Up to each wrongly and each rightly predicted images under the class that was predicted."""
    labels, predictions = images.labels.cpu(), predictions.cpu()
    right = predictions == labels
    some = torch.cat([_spaced(which.nonzero().flatten(), each) for which in (~right, right)])
    figure = Figure(figsize=(6, 6.4), layout="constrained")
    side = math.ceil(math.sqrt(len(some)))
    for place, index in enumerate(some.tolist(), start=1):
        axes = figure.add_subplot(side, side, place)
        axes.imshow(images.images[index].permute(1, 2, 0).cpu().numpy())
        axes.set_axis_off()
        predicted, true = images.classes[predictions[index]], images.classes[labels[index]]
        title = predicted if predicted == true else f"{predicted},\nis {true}"
        axes.set_title(title, color="green" if predicted == true else "red", fontsize=10)
    return figure


def _spaced(indices: Tensor, count: int) -> Tensor:
    """Up to count of the indices (N,), evenly spaced, so that every class has its chance."""
    count = min(count, len(indices))
    return indices[torch.linspace(0, len(indices) - 1, count).round().long()]
