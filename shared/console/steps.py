"""--step: pause after each section, and guess before you see.

cli.py gives every lesson the option; a lesson's own code knows nothing of it.
"""

import sys

import typer

from .screen import console

_on = False


def step_by_step() -> None:
    """Wait for Enter from now on, if there is a terminal to press it at."""
    global _on
    _on = sys.stdin.isatty() and console.is_terminal


def pause() -> None:
    """Between two sections: go on when the reader is ready."""
    _wait("\n[dim]Enter to go on [/]")


def ask(question: str) -> None:
    """Before an answer: let the reader write down a guess, which stays there.

    Nobody marks it: what comes next on the screen does.
    """
    _wait(f"[bold yellow]? {question}[/]\n  [dim]Your guess, then Enter:[/] ")


def _wait(prompt: str) -> None:
    if not _on:
        return
    try:
        console.input(prompt)
    except (KeyboardInterrupt, EOFError) as end:
        console.print("\nStopped here. Nothing was lost: begin again any time.")
        code = 130 if isinstance(end, KeyboardInterrupt) else 0
        raise typer.Exit(code) from None
