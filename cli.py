"""The command suite: every lesson is a subcommand, and none is imported until it is chosen."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from lessons import LESSONS, TRACKS

ROOT = Path(__file__).resolve().parent

app = typer.Typer(
    help="Learn PyTorch by running it. Every lesson is one command.",
    epilog="Example: python cli.py conv-demo",
    add_completion=False,
    rich_markup_mode="rich",
)
data = typer.Typer(help="See, download and check the data sets.", add_completion=False)
app.add_typer(data, name="data", rich_help_panel="Beside the lessons")


class LazyLesson(TyperCommand):
    """Stands in for a lesson in --help; becomes the lesson when it is called."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        module = import_module(f"lessons.{info_name.replace('-', '_')}")
        lesson = typer.Typer(add_completion=False, rich_markup_mode="rich")
        lesson.command(info_name, epilog=_example(module.__doc__))(module.run)
        return typer.main.get_command(lesson).make_context(info_name, args, parent, **extra)


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
        for name, summary in lessons.items():
            grid.add_row("✓" if _has_run(name) else "·", f"[bold]{name}[/]", summary)
        console.print(grid, "")
    start = next((name for name in LESSONS if not _has_run(name)), None)
    advice = (
        f"Start with: [bold]python cli.py {start}[/]" if start else "You have run every lesson."
    )
    console.print(f"✓ has been run here.  {advice}")


def _has_run(name: str) -> bool:
    return (ROOT / "logs" / name).is_dir()


@app.command(rich_help_panel="Beside the lessons")
def show(lesson: Annotated[str, typer.Argument(help="A lesson of the course map.")]) -> None:
    """Print a lesson's source, highlighted: read from top to bottom, it is the lesson."""
    from rich.syntax import Syntax

    from shared.console import console

    if lesson not in LESSONS:
        raise typer.BadParameter(f"No lesson is called {lesson!r}.{_nearest(lesson)}")
    source = (ROOT / "lessons" / f"{lesson.replace('-', '_')}.py").read_text(encoding="utf-8")
    if console.is_terminal:
        console.print(Syntax(source, "python", theme="ansi_dark", word_wrap=True))
    else:
        typer.echo(source, nl=False)


def _nearest(lesson: str) -> str:
    from difflib import get_close_matches

    matches = get_close_matches(lesson, LESSONS)
    return f" Did you mean {matches[0]!r}?" if matches else " See: python cli.py list"


if __name__ == "__main__":
    app()
