"""Tables and small matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.columns import Columns
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from .screen import console

if TYPE_CHECKING:  # the course map must not wait for torch
    from torch import Tensor


def table(columns: list[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table; a column that holds numbers is aligned to the right."""
    rows = [[str(value) for value in row] for row in rows]
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for index, column in enumerate(columns):
        numeric = all(row[index][:1] in "-−0123456789" for row in rows)
        grid.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        grid.add_row(*row)
    console.print(grid)


def matrices(named: dict[str, Tensor], digits: int | None = None) -> None:
    """Print small matrices (H, W) side by side, each under its name.

    Whole numbers have no digits after the point, others two.
    """
    blocks = [Group(name, matrix(m, digits)) for name, m in named.items()]
    console.print(Columns(blocks, padding=(0, 2)))


def matrix(values: Tensor, digits: int | None = None) -> Text:
    """Rows of numbers in one pair of brackets."""
    if digits is None:
        digits = 0 if (values == values.round()).all() else 2
    rows = [  # adding 0 makes -0 a 0
        [f"{round(v, digits) + 0:.{digits}f}" for v in row]
        for row in values.tolist()
    ]
    width = max(len(number) for row in rows for number in row)
    gap = " " if digits else "  "
    lines = [gap.join(number.rjust(width) for number in row) for row in rows]
    sides = ["┌┐", *["││"] * (len(rows) - 2), "└┘"] if len(rows) > 1 else ["[]"]
    framed = [
        f"{s[0]} {line} {s[1]}" for s, line in zip(sides, lines, strict=True)
    ]
    return Text("\n".join(framed))


def growing_table(columns: dict[str, str]) -> Callable[..., None]:
    """Print a table's heading now, and a row at each call of what it returns.

    columns gives each heading its format: {"epoch": "d", "accuracy": ".1%"}.
    """
    widths = [max(len(heading), 7) for heading in columns]

    def print_row(*values: float) -> None:
        cells = zip(values, widths, columns.values(), strict=True)
        console.print(
            "  ".join(f"{v:>{width}{form}}" for v, width, form in cells)
        )

    pairs = zip(columns, widths, strict=True)
    heading = "  ".join(f"[bold]{name:>{width}}[/]" for name, width in pairs)
    console.print("\n" + heading)
    return print_row


def confusion_table(confusion: Tensor, classes: list[str]) -> None:
    """Print counts (true, predicted), or of many classes the worst pairs."""
    counts = confusion.tolist()
    if len(classes) > 10:
        pairs = [
            (counts[true][other], classes[true], classes[other])
            for true in range(len(classes))
            for other in range(len(classes))
            if true != other and counts[true][other]
        ]
        worst = sorted(pairs, reverse=True)[:10]
        table(["times", "this class", "was taken for"], worst)
        return
    grid = Table(box=None, padding=(0, 0, 0, 1))
    grid.add_column("is ↓  taken for →")
    for name in [*classes, "right"]:
        grid.add_column(escape(name[:5]), justify="right")
    for true, row in enumerate(counts):
        cells = [str(n) for n in row]
        cells[true] = f"[bold green]{row[true]}[/]"
        right = f"[bold]{row[true] / max(1, sum(row)):.0%}[/]"
        grid.add_row(escape(classes[true][:16]), *cells, right)
    console.print(grid)
