"""The figures of train-temperature: PNG files, and in TensorBoard."""

from pathlib import Path

import matplotlib.dates as mdates
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

from shared.datasets.temperatures import Split, doubtful, doubtful_from
from shared.temperature_tables import SAID

TITLES = {
    "actual": "actual: the target",
    "temp_1": "temp_1: one day before",
    "temp_2": "temp_2: two days before",
    "friend": "friend: a friend's guess",
}


def keep_figures(
    writer: SummaryWriter, split: Split, said: SAID, step: int
) -> None:
    figures = {
        "columns": columns_figure(split),
        "year": year_figure(split, said),
        "errors": errors_figure(split, said),
    }
    for name, figure in figures.items():
        figure.savefig(Path(writer.log_dir) / f"{name}.png", dpi=120)
        writer.add_figure(f"figures/{name}", figure, step)


def columns_figure(split: Split) -> Figure:
    """Four columns over the year, each with the average; doubtful in red."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    figure.suptitle(f"Four columns of {split.name}")
    table = split.table
    grid = figure.subplots(2, 2, sharex=True, sharey=True)
    for axes, (column, title) in zip(grid.flat, TITLES.items(), strict=True):
        axes.plot(table.index, table[column], ".", markersize=3, label=column)
        axes.plot(table.index, table["average"], "k-", lw=1, label="average")
        far = (table[column] - table["average"]).abs() > doubtful_from(table)
        odd = table[far]
        if len(odd) and column in ("temp_1", "temp_2"):
            style = {"markerfacecolor": "none", "label": "doubtful"}
            axes.plot(odd.index, odd[column], "ro", **style)
        axes.set_title(title)
        axes.legend(fontsize=8, loc="upper left")
        _dates(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel("temperature (°F)")
    for axes in grid[1]:
        axes.set_xlabel("date")
    return figure


def year_figure(split: Split, said: SAID) -> Figure:
    """Actual and predicted over the whole year, and over the test days."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    figure.suptitle(
        f"Actual and predicted, all inputs, first seed: {split.name}\n"
        "(none has learned from the test days)"
    )
    upper, lower = figure.subplots(2, 1)
    dates, test = split.table.index, split.rows("test").numpy()
    for axes, days in ((upper, test | True), (lower, test)):
        actual = split.actual.numpy()[days]
        axes.plot(dates[days], actual, "k.", markersize=5, label="actual")
        for name, colour in (
            ("by hand", "tab:orange"),
            ("Sequential", "tab:blue"),
        ):
            line = said[name][0, 0].numpy()[days]
            axes.plot(dates[days], line, color=colour, lw=1.2, label=name)
        if axes is upper:
            ends = dates[test][[0, -1]]
            axes.axvspan(*ends, color="grey", alpha=0.15, label="test days")
        odd = dates[days & doubtful(split.table).to_numpy()]
        for place, day in enumerate(odd):
            label = "doubtful row" if place == 0 else None
            axes.axvline(day, color="red", lw=0.8, ls=":", label=label)
        axes.set(ylabel="temperature (°F)", xlabel="date")
        place = "upper left" if axes is upper else "upper right"
        axes.legend(fontsize=8, loc=place, ncols=2)
        _dates(axes)
    upper.set_title("All days", fontsize=10)
    lower.set_title("The test days alone", fontsize=10)
    return figure


def errors_figure(split: Split, said: SAID) -> Figure:
    """The MAE of each method on the test days: a dot for each seed."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="mean absolute error (°F)")
    axes.set_title(
        f"{split.name}: test days\nwithout the doubtful rows; "
        "a dot for each seed"
    )
    for place, answers in enumerate(said.values()):
        errors = (answers - split.actual).abs()[:, :, split.tested].mean(2)
        for s, label, colour, shift in (
            (0, f"all {split.inputs.shape[1]} inputs", "tab:blue", -0.12),
            (3, "3 inputs", "tab:orange", 0.12),
        ):
            values = errors[:, s].where(errors[:, s].isfinite(), torch.nan)
            heights = [place + shift] * len(values)
            label = label if place == 0 else None
            style = {"color": colour, "label": label, "alpha": 0.7}
            axes.plot(values.numpy(), heights, "o", **style)
    axes.set_yticks(range(len(said)), list(said))
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.legend()
    return figure


def _dates(axes: Axes) -> None:
    locator = mdates.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    axes.grid(alpha=0.3)
