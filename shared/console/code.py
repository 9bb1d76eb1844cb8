"""Functions as they stand in the lesson: what is shown is what runs."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from rich.padding import Padding
from rich.syntax import Syntax

from .outline import lesson_name, once
from .screen import console


def code(*functions: Callable[..., Any]) -> None:
    """Print functions whole, from the def line on, and where the rest is."""
    _show("\n\n".join(map(_source, functions)))
    lesson = lesson_name(inspect.getfile(functions[0]))
    once("All of the lesson's code: ", f"python cli.py show {lesson}")


def code_without_docstring(function: Callable[..., Any]) -> None:
    source = _source(function)
    docstring = ast.parse(source).body[0].body[0]
    lines = source.splitlines()
    del lines[docstring.lineno - 1 : docstring.end_lineno]
    _show("\n".join(lines))


def _source(function: Callable[..., Any]) -> str:
    return textwrap.dedent(inspect.getsource(function)).strip()


def _show(source: str) -> None:
    lines = Syntax(source, "python", theme="ansi_dark", word_wrap=True)
    console.print(Padding(lines, (0, 0, 0, 2)))
