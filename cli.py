"""The command suite: a lesson is a subcommand, imported once it is chosen."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperCommand

from lessons import LESSONS, TRACKS

ROOT = Path(__file__).resolve().parent
LOGS = ROOT / "logs"
BESIDE = "Beside the lessons"

# PyTorch's threads wait for work by spinning; with two commands at once they
# would spin in each other's way. Read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

app = typer.Typer(
    help="Learn PyTorch by running it. Every lesson is one command.",
    epilog="Example: python cli.py conv-demo",
    add_completion=False,
    rich_markup_mode="rich",
)
data = typer.Typer(
    help="See, download and check the data sets.",
    epilog="Example: python cli.py data get cifar10",
    add_completion=False,
)
app.add_typer(data, name="data", rich_help_panel=BESIDE)


class LazyLesson(TyperCommand):
    """Stands in for a lesson in --help; becomes it when it is called."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: Any = None,
        **extra: Any,
    ) -> Any:
        try:
            module = import_module(f"lessons.{info_name.replace('-', '_')}")
        except ModuleNotFoundError as error:
            _name_the_missing(error)
        lesson = typer.Typer(add_completion=False, rich_markup_mode="rich")
        lesson.command(info_name, epilog=_example(module.__doc__))(module.run)
        command = typer.main.get_command(lesson)
        command.params.append(_step_option())
        return command.make_context(info_name, args, parent, **extra)


def _begin(wanted: bool) -> None:
    if wanted:
        from shared.console import step_by_step

        step_by_step()


def _step_option() -> Any:
    """The option that every lesson has and none knows of, as Typer makes it."""

    def run(
        step: Annotated[
            bool,
            typer.Option(
                "--step",
                callback=_begin,
                expose_value=False,
                help="Pause after each section; guess before you see.",
            ),
        ] = False,
    ) -> None: ...

    command = typer.Typer(add_completion=False)
    command.command()(run)
    return typer.main.get_command(command).params[0]


def _name_the_missing(error: ModuleNotFoundError) -> NoReturn:
    """End with the command that installs a package; ours missing is a bug."""
    package = str(error.name).partition(".")[0]
    if package in ("lessons", "shared"):
        raise error
    typer.echo(f"Error: the package {package} is not installed here.", err=True)
    typer.echo("Next: python -m pip install -r requirements.txt", err=True)
    raise typer.Exit(1)


def _example(docstring: str) -> str:
    """The command line that a lesson's docstring gives as its example."""
    lines = (line.strip() for line in docstring.splitlines())
    commands = (line for line in lines if line.startswith("python cli.py"))
    return f"Example: {next(commands)}"


for track, lessons in TRACKS.items():
    for name, summary in lessons.items():
        about = {"help": summary, "rich_help_panel": track}
        app.command(name, cls=LazyLesson, **about)(lambda: None)


@app.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        course_map()


@app.command("list", rich_help_panel=BESIDE)
def course_map() -> None:
    """Show the course map: the lessons in order, which have been run here."""
    from rich.table import Table

    from shared.console import console

    for track, lessons in TRACKS.items():
        grid = Table(title=track, title_justify="left", box=None)
        grid.show_header = False
        grid.add_column()
        grid.add_column(width=max(map(len, LESSONS)), style="bold")
        for name, summary in lessons.items():
            grid.add_row("✓" if _has_run(name) else "·", name, summary)
        console.print(grid, "")
    start = next((name for name in LESSONS if not _has_run(name)), None)
    advice = "You have run every lesson."
    if start:
        advice = f"Start with: [bold]python cli.py {start}[/]"
    console.print(f"✓ has been run here.  {advice}")


def _has_run(name: str) -> bool:
    return (LOGS / name).is_dir()


def _hint(mistyped: str, known: Iterable[str], otherwise: str) -> str:
    """The nearest known name, or the command that lists them all."""
    plain = {name.lower(): name for name in known}
    nearest = get_close_matches(mistyped.lower(), plain, n=1)
    if nearest:
        return f"Did you mean {plain[nearest[0]]!r}?"
    return f"See: {otherwise}"


@app.command(rich_help_panel=BESIDE)
def show(
    lesson: Annotated[str, typer.Argument(help="A lesson of the course map.")],
) -> None:
    """Print a lesson's source: read from top to bottom, it is the lesson."""
    from rich.syntax import Syntax

    from shared.console import console

    if lesson not in LESSONS:
        hint = _hint(lesson, LESSONS, "python cli.py list")
        raise typer.BadParameter(f"there is no such lesson. {hint}")
    path = ROOT / "lessons" / f"{lesson.replace('-', '_')}.py"
    source = path.read_text(encoding="utf-8")
    if console.is_terminal:
        console.print(Syntax(source, "python", theme="ansi_dark"))
    else:
        typer.echo(source, nl=False)


@app.command(
    rich_help_panel=BESIDE, epilog="Example: python cli.py words kernel"
)
def words(
    term: Annotated[str | None, typer.Argument(help="Only this one.")] = None,
) -> None:
    """Explain the course's words, under the lesson that introduces each."""
    from shared.console import console, term_grid
    from shared.glossary import glossary, look_up

    entries = glossary(ROOT / "lessons", LESSONS)
    found = look_up(entries, term) if term else entries
    if not found:
        known = (entry.term.partition(" (")[0] for entry in entries)
        hint = _hint(str(term), known, "python cli.py words")
        raise typer.BadParameter(f"no lesson explains {term!r}. {hint}")
    for lesson, group in groupby(found, key=lambda entry: entry.lesson):
        console.print(f"[bold]{lesson}[/]")
        console.print(term_grid({e.term: e.meaning for e in group}))


@data.callback(invoke_without_command=True)
def data_sets(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        _list_data_sets()


def _list_data_sets() -> None:
    from shared.console import console, table
    from shared.datasets import downloads
    from shared.options import DATA

    rows, commands = [], []
    for name, what in downloads.SETS.items():
        if name in downloads.EMBEDDED_SHA256:
            rows.append((name, what, "✓ always here"))
        elif downloads.is_there(name, DATA):
            rows.append((name, what, "✓ here"))
        else:
            rows.append((name, what, "· not here"))
            commands.append(f"To get {name}: python cli.py data get {name}")
    table(["set", "what it holds", ""], rows)
    for command in commands:
        console.print(command, soft_wrap=True)


def _seconds(value: float) -> float:
    if not 0 < value <= 3600:
        raise typer.BadParameter(
            f"{value} is not more than 0 and at most 3600 seconds."
        )
    return value


def _web_address(value: str | None) -> str | None:
    import re

    address = r"https?://[^\s/]+(/\S*)?"
    if value is not None and not re.fullmatch(address, value):
        raise typer.BadParameter(
            f"{value!r} is no address that begins with http:// or https://."
        )
    return value


@data.command("get", epilog="Example: python cli.py data get cifar10")
def get_data(
    name: Annotated[
        Literal["cifar10", "mnist"],
        typer.Argument(help="Which set to download."),
    ],
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            callback=_web_address,
            help="Another address that holds the same files.",
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            callback=_seconds,
            help="How long to wait for more bytes.",
        ),
    ] = 30,
) -> None:
    """Download CIFAR-10 (170 MB) or MNIST (12 MB) to data/, and check it."""
    from shared.datasets.downloads import download
    from shared.options import DATA

    download(name, DATA, mirror, timeout)


@data.command("check", epilog="Example: python cli.py data check")
def check_data() -> None:
    """Check that every set is whole; one that is not here is fine."""
    from shared.console import fail, table
    from shared.datasets import downloads
    from shared.options import DATA

    states = {name: downloads.state(name, DATA) for name in downloads.SETS}
    marks = {
        "whole": "✓ whole",
        "missing": "· not here",
        "damaged": "✗ damaged",
    }
    table(
        ["set", "state"],
        [(name, marks[state]) for name, state in states.items()],
    )
    damaged = [name for name, state in states.items() if state == "damaged"]
    if damaged:
        next_steps = "; ".join(downloads.mend(name, DATA) for name in damaged)
        fail(f"Damaged in {DATA}: {', '.join(damaged)}.", next_steps)


@app.command(rich_help_panel=BESIDE, epilog="Example: python cli.py doctor")
def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead.")
    ] = False,
) -> None:
    """Look at this machine: PyTorch, GPU, data, and what to do about them."""
    from shared.doctor import examine, show_findings

    findings = examine()
    show_findings(findings, as_json)
    if any(finding.verdict == "bad" for finding in findings):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
