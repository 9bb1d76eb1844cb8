"""Everything the course prints: results to stdout, errors to stderr.

screen      the two consoles, and the plainest ways to print on them
outline     a lesson's opening, words, sections and end
steps       --step: pause after each section, guess before you see
tables      tables and small matrices
checks      do two tensors agree? which way is faster?
code        a function as it stands in the lesson
pictures    images as pixels in the terminal, each below its kernel
mistakes    make every mistake of the lesson for real, and mend it
bars        progress bars
"""

from .bars import progress
from .checks import agrees, speeds
from .code import code
from .mistakes import mistakes
from .outline import (
    lesson_name,
    next_lesson,
    opening,
    remember,
    section,
    term_grid,
    words,
)
from .pictures import pictures
from .screen import command, console, errors, fail, note, say, short, warn
from .steps import ask, step_by_step
from .tables import confusion_table, growing_table, matrices, table

__all__ = [
    "agrees",
    "ask",
    "code",
    "command",
    "confusion_table",
    "console",
    "errors",
    "fail",
    "growing_table",
    "lesson_name",
    "matrices",
    "mistakes",
    "next_lesson",
    "note",
    "opening",
    "pictures",
    "progress",
    "remember",
    "say",
    "section",
    "short",
    "speeds",
    "step_by_step",
    "table",
    "term_grid",
    "warn",
    "words",
]
