"""The command suite: every lesson is a subcommand, and none is imported until it is chosen."""

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperCommand

from lessons import LESSONS, TRACKS

ROOT = Path(__file__).resolve().parent
LOGS = ROOT / "logs"

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
app.add_typer(data, name="data", rich_help_panel="Beside the lessons")


class LazyLesson(TyperCommand):
    """Stands in for a lesson in --help; becomes the lesson when it is called."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        try:
            module = import_module(f"lessons.{info_name.replace('-', '_')}")
        except ModuleNotFoundError as error:
            _name_the_missing(error)
        lesson = typer.Typer(add_completion=False, rich_markup_mode="rich")
        lesson.command(info_name, epilog=_example(module.__doc__))(module.run)
        return typer.main.get_command(lesson).make_context(info_name, args, parent, **extra)


def _name_the_missing(error: ModuleNotFoundError) -> NoReturn:
    """End with the command that installs a package; a missing module of our own is a bug."""
    package = str(error.name).partition(".")[0]
    if package in ("lessons", "shared"):
        raise error
    typer.echo(f"Error: the package {package} is not installed here.", err=True)
    typer.echo("Next: python -m pip install -r requirements.txt", err=True)
    raise typer.Exit(1)


def _example(docstring: str) -> str:
    """The command line that a lesson's docstring gives as its example."""
    lines = [line.strip() for line in docstring.splitlines()]
    return "Example: " + next(line for line in lines if line.startswith("python cli.py"))


for track, lessons in TRACKS.items():
    for name, summary in lessons.items():
        app.command(name, cls=LazyLesson, help=summary, rich_help_panel=track)(lambda: None)


@app.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        course_map()


@app.command("list", rich_help_panel="Beside the lessons")
def course_map() -> None:
    """Show the course map: tracks, lessons in teaching order, which have been run here."""
    from rich.table import Table

    from shared.console import console

    for track, lessons in TRACKS.items():
        grid = Table(title=track, title_justify="left", box=None, padding=(0, 1), show_header=False)
        grid.add_column()
        grid.add_column(width=max(map(len, LESSONS)), style="bold")
        for name, summary in lessons.items():
            grid.add_row("✓" if _has_run(name) else "·", name, summary)
        console.print(grid, "")
    start = next((name for name in LESSONS if not _has_run(name)), None)
    advice = (
        f"Start with: [bold]python cli.py {start}[/]" if start else "You have run every lesson."
    )
    console.print(f"✓ has been run here.  {advice}")


def _has_run(name: str) -> bool:
    return (LOGS / name).is_dir()


@app.command(rich_help_panel="Beside the lessons")
def show(lesson: Annotated[str, typer.Argument(help="A lesson of the course map.")]) -> None:
    """Print a lesson's source, highlighted: read from top to bottom, it is the lesson."""
    from rich.syntax import Syntax

    from shared.console import console

    if lesson not in LESSONS:
        matches = get_close_matches(lesson, LESSONS, n=1)
        hint = f"Did you mean {matches[0]!r}?" if matches else "See: python cli.py list"
        raise typer.BadParameter(f"there is no such lesson. {hint}")
    source = (ROOT / "lessons" / f"{lesson.replace('-', '_')}.py").read_text(encoding="utf-8")
    if console.is_terminal:
        console.print(Syntax(source, "python", theme="ansi_dark", word_wrap=True))
    else:
        typer.echo(source, nl=False)


@data.callback(invoke_without_command=True)
def data_sets(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        _list_data_sets()


def _list_data_sets() -> None:
    from shared import downloads
    from shared.console import console, table
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
        raise typer.BadParameter(f"{value} is not more than 0 and at most 3600 seconds.")
    return value


def _web_address(value: str | None) -> str | None:
    import re

    if value is not None and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
        raise typer.BadParameter(f"{value!r} is no address that begins with http:// or https://.")
    return value


@data.command("get", epilog="Example: python cli.py data get cifar10")
def get_data(
    name: Annotated[Literal["cifar10", "mnist"], typer.Argument(help="Which set to download.")],
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL", callback=_web_address, help="Another address that holds the same files."
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", callback=_seconds, help="How long to wait for more bytes."),
    ] = 30,
) -> None:
    """Download CIFAR-10 (170 MB) or MNIST (12 MB), check it, and unpack it in data/."""
    from shared.downloads import download
    from shared.options import DATA

    download(name, DATA, mirror, timeout)


@data.command("check", epilog="Example: python cli.py data check")
def check_data() -> None:
    """Read every set and check that it is whole; a set that is not here is fine."""
    from shared import downloads
    from shared.console import fail, table
    from shared.options import DATA

    states = {name: downloads.state(name, DATA) for name in downloads.SETS}
    marks = {"whole": "✓ whole", "missing": "· not here", "damaged": "✗ damaged"}
    table(["set", "state"], [(name, marks[state]) for name, state in states.items()])
    damaged = [name for name, state in states.items() if state == "damaged"]
    if damaged:
        next_steps = "; ".join(downloads.mend(name, DATA) for name in damaged)
        fail(f"Damaged in {DATA}: {', '.join(damaged)}.", next_steps)


@app.command(rich_help_panel="Beside the lessons", epilog="Example: python cli.py doctor")
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Look at this machine: PyTorch, GPU, data sets, TensorBoard, and what to do about them."""
    from shared.doctor import examine, show_findings

    findings = examine()
    show_findings(findings, as_json)
    if any(finding.verdict == "bad" for finding in findings):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
