"""A lesson's outline on the screen: opening, words, sections, end."""

import inspect
import sys
from itertools import dropwhile
from pathlib import Path

from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from lessons import LESSONS

from .screen import console, say
from .steps import pause

_said: set[str] = set()  # since the opening


def opening(docstring: str | None) -> None:
    """Print a module docstring: first line as title, the rest as the idea."""
    _said.clear()
    title, _, idea = inspect.cleandoc(docstring or "").partition("\n")
    title = f"[bold]{title.rstrip('.')}[/]"
    console.print(Panel(escape(idea.strip()), title=title))


def words(explained: dict[str, str]) -> None:
    """Print a lesson's new terms, and how to look up an earlier one."""
    console.print(term_grid(explained))
    say(" Other words: ", "python cli.py words")


def term_grid(explained: dict[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for term, meaning in explained.items():
        grid.add_row(f" [bold]{escape(term)}[/]", escape(meaning))
    return grid


def section(title: str) -> None:
    pause()
    console.print()
    console.rule(f"[bold]{escape(title)}[/]", align="left")


def remember(*lines: str) -> None:
    """Print what is worth keeping, one to three lines."""
    pause()
    console.print()
    bullets = Table.grid(padding=(0, 1))  # a long line goes on under itself
    for line in lines:
        bullets.add_row("•", escape(line))
    console.print(Panel(bullets, title="Remember", padding=(0, 1)))


def next_lesson(module: str) -> None:
    """Name the lesson after this one: console.next_lesson(__name__)."""
    this = lesson_name(sys.modules[module].__file__)
    _, *following = dropwhile(lambda name: name != this, LESSONS)
    if not following:
        say("This was the last lesson. All of them: ", "python cli.py")
        return
    say("Next lesson: ", f"python cli.py {following[0]}")


def lesson_name(file: str) -> str:
    """conv-demo for lessons/conv_demo.py, however it was started."""
    return Path(file).stem.replace("_", "-")


def once(text: str, command: str = "") -> None:
    """Say what needs to be said only once in a lesson."""
    if text not in _said:
        _said.add(text)
        say(text, command)
