"""Everything the course prints: results to stdout, errors and warnings to stderr."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
import textwrap
import timeit
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import typer
from PIL import Image
from rich import box
from rich.columns import Columns
from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.syntax import Syntax
from rich.table import Column, Table
from rich.text import Text
from rich_pixels import Pixels

if TYPE_CHECKING:  # the course map must not wait for torch
    from torch import Tensor

for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")  # a console without × or ✓ shows ? and goes on

FIRST = os.environ.get("RANK", "0") == "0"  # of the processes of torchrun only one speaks
console = Console(highlight=False, quiet=not FIRST)
errors = Console(stderr=True, highlight=False, quiet=not FIRST)


def fail(problem: str, next_step: str) -> NoReturn:
    """End the command with exit code 1: one sentence on what is wrong, one on what to do next."""
    errors.print(f"[bold red]Error:[/] {escape(problem)}", soft_wrap=True)
    errors.print(f"[bold]Next:[/] {escape(next_step)}", soft_wrap=True)
    raise typer.Exit(1)


def short(path: Path) -> str:
    """A path as seen from the current folder where it is inside, else in full."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def command(*words: str) -> str:
    """A command line as the shell of this system wants it, with quotes where they are needed."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def note(message: str) -> None:
    """Print a remark that must not be overlooked, in a frame."""
    console.print(Panel(message, padding=(0, 1)))


def warn(message: str) -> None:
    errors.print(f"[yellow]Note:[/] {escape(message)}", soft_wrap=True)


def say(text: str, command: str = "") -> None:
    """Print text and, behind it in bold and in one line, a command to copy."""
    console.print(Text.assemble(text, (command, "bold")), soft_wrap=bool(command))


def opening(docstring: str | None) -> None:
    """Print a lesson's module docstring: its first line as title, the rest as the idea."""
    title, _, idea = inspect.cleandoc(docstring or "").partition("\n")
    console.print(Panel(escape(idea.strip()), title=f"[bold]{title.rstrip('.')}[/]"))


def section(title: str) -> None:
    console.print()
    console.rule(f"[bold]{title}[/]", align="left")


def table(columns: list[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table; a column that holds numbers is aligned to the right."""
    rows = [[str(value) for value in row] for row in rows]
    grid = Table(box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        numeric = all(row[index][:1] in "-−0123456789" for row in rows)
        grid.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        grid.add_row(*row)
    console.print(grid)


def matrices(named: dict[str, Tensor], digits: int = 0) -> None:
    """Print small matrices (H, W) side by side, each under its name."""
    blocks = [Group(name, _matrix(values, digits)) for name, values in named.items()]
    console.print(Columns(blocks, padding=(0, 3)))


def _matrix(values: Tensor, digits: int) -> Table:
    grid = Table(show_header=False, box=box.SQUARE, padding=(0, 1))
    for row in values.tolist():
        grid.add_row(*(f"{value:.{digits}f}" for value in row))
    for column in grid.columns:
        column.justify = "right"
    return grid


def agrees(what: str, ours: Tensor, theirs: Tensor, allowed: float) -> float:
    """Print and return the largest difference between two tensors of one shape.

    Raises AssertionError when they differ by more than allowed, or in shape.
    """
    assert ours.shape == theirs.shape, f"{what}: {tuple(ours.shape)} is not {tuple(theirs.shape)}"
    difference = (ours.double() - theirs.double()).abs().max().item()
    assert difference <= allowed, f"{what}: differs by {difference}, allowed is {allowed}"
    console.print(f"[green]✓[/] {what}: largest difference {difference:.1e}")
    return difference


def speeds(ways: dict[str, Callable[[], object]]) -> None:
    """Time each way of doing one thing, and print how many times faster than the first it is."""
    seconds = {}
    for name, function in ways.items():
        timer = timeit.Timer(function)
        number = max(1, int(0.02 / timer.timeit(1)))
        seconds[name] = min(timer.repeat(3, number)) / number  # the least disturbed of three
    slowest = next(iter(seconds.values()))
    table(
        ["way", "milliseconds", "times faster"],
        [(name, f"{1000 * t:.3f}", f"{slowest / t:,.0f}") for name, t in seconds.items()],
    )


def pictures(named: dict[str, Tensor], tag: str, width: int = 38) -> None:
    """Show images (H, W) or (3, H, W) in [0, 1]: in a colour terminal as pixels, else by their tag.

    width is the width of one picture in characters; an image narrower than that keeps its size.
    """
    if console.is_terminal and console.color_system and not console.no_color:
        blocks = [Group(name, _pixels(image, width)) for name, image in named.items()]
        abreast = max(1, (console.width + 2) // (width + 2))
        for first in range(0, len(blocks), abreast):
            columns = [Column(width=width) for _ in range(abreast)]
            row = Table.grid(*columns, padding=(0, 2, 1, 0))
            row.add_row(*blocks[first : first + abreast])
            console.print(row)
    else:
        names = ", ".join(named)
        console.print(f"Pictures ({names}): in TensorBoard under IMAGES, {tag}")


def _pixels(image: Tensor, width: int) -> Pixels:
    levels = (image.clamp(0, 1) * 255).round().byte()
    if levels.dim() == 3:
        levels = levels.permute(1, 2, 0)  # (H, W, 3)
    picture = Image.fromarray(levels.contiguous().numpy())
    scale = min(1, width / picture.width)
    return Pixels.from_image(
        picture, resize=(round(picture.width * scale), round(picture.height * scale))
    )


class Mistake(NamedTuple):
    """A mistake that was really made: what it is, what it showed, and what the mend gave."""

    title: str
    symptom: str
    mend: str


def mistake(
    wrong: Callable[..., Any],
    right: Callable[..., Any],
    *args: Any,
    raises: type[Exception] | None = None,
    shows: str = "{}",
) -> Mistake:
    """Make a mistake for real and mend it: run wrong(*args), then right(*args), and show both.

    The docstring of wrong names the mistake, that of right says why it is one and what mends it.
    The code that is shown is the body of the two functions, so it is the code that ran. wrong must
    raise the named exception or, without one, return its silently wrong value; shows is the format
    of what the two return.
    """
    title = (inspect.getdoc(wrong) or "").rstrip(".")
    section(f"Mistake: {title[0].lower()}{title[1:]}")
    _show_body(wrong)
    symptom = _error(wrong, args, raises) if raises else shows.format(wrong(*args))
    console.print(f"[red]✗[/] {escape(symptom)}")
    console.print(f"\n[bold]Instead:[/] {escape(_one_line(inspect.getdoc(right)))}")
    _show_body(right)
    mend = shows.format(right(*args))
    console.print(f"[green]✓[/] {escape(mend)}")
    return Mistake(title, symptom, mend)


def _error(wrong: Callable[..., Any], args: tuple[Any, ...], raises: type[Exception]) -> str:
    try:
        wrong(*args)
    except raises as error:
        lines = re.sub(r"\x1b\[[\d;]*m", "", str(error)).strip().splitlines()
        if not lines[0].endswith(":"):  # else the lines below say what is wrong
            lines = lines[:1]
        return f"{type(error).__name__}: {' '.join(line.strip() for line in lines)}"
    raise AssertionError(f"{wrong.__name__} should have raised {raises.__name__}")


def _one_line(docstring: str | None) -> str:
    return " ".join((docstring or "").split())


def _show_body(function: Callable[..., Any]) -> None:
    """Print the source of a function without its def line and docstring."""
    lines = inspect.getsource(function).splitlines()
    statements = ast.parse(textwrap.dedent("\n".join(lines))).body[0].body
    code = "\n".join(lines[statements[1].lineno - 1 :])  # statements[0] is the docstring
    source = Syntax(textwrap.dedent(code), "python", theme="ansi_dark", word_wrap=True)
    console.print(Padding(source, (0, 2)))


def remember(*lines: str) -> None:
    """Print what is worth keeping, one to three lines."""
    console.print()
    console.print(Panel("\n".join(f"• {line}" for line in lines), title="Remember", padding=(0, 1)))


def next_lesson(name: str) -> None:
    say("Next lesson: ", f"python cli.py {name}")


def growing_table(columns: dict[str, str]) -> Callable[..., None]:
    """Print the heading of a table now, and a row at each call of the function it returns.

    columns gives each heading its format, as in {"epoch": "d", "accuracy": ".1%"}.
    """
    widths = [max(len(heading), 7) for heading in columns]

    def print_row(*values: float) -> None:
        cells = zip(values, widths, columns.values(), strict=True)
        console.print("  ".join(f"{value:>{width}{form}}" for value, width, form in cells))

    headings = zip(columns, widths, strict=True)
    console.print("\n" + "  ".join(f"[bold]{name:>{width}}[/]" for name, width in headings))
    return print_row


def confusion_table(confusion: Tensor, classes: list[str]) -> None:
    """Print a confusion matrix (true, predicted) of counts, or of many classes the worst pairs."""
    counts = confusion.tolist()
    if len(classes) > 10:
        pairs = [
            (counts[true][other], classes[true], classes[other])
            for true in range(len(classes))
            for other in range(len(classes))
            if true != other and counts[true][other]
        ]
        table(["times", "this class", "was taken for"], sorted(pairs, reverse=True)[:10])
        return
    grid = Table(box=None, padding=(0, 0, 0, 1))
    grid.add_column("is ↓  taken for →")
    for name in [*classes, "right"]:
        grid.add_column(escape(name[:5]), justify="right")
    for true, row in enumerate(counts):
        cells = [f"[bold green]{n}[/]" if i == true else f"{n}" for i, n in enumerate(row)]
        right = f"{row[true] / max(1, sum(row)):.0%}"
        grid.add_row(escape(classes[true][:16]), *cells, f"[bold]{right}[/]")
    console.print(grid)


class Speed(ProgressColumn):
    """The speed of a task, such as 1,700 images/s."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {self.unit}/s" if speed else "")


def progress(unit: str) -> Progress:
    """A progress bar with speed and time left that vanishes when done; silent in a file or pipe."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Speed(unit),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
