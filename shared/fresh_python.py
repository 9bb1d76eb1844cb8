"""A program in a file of its own, run by a new Python."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent


def run_program(program: str) -> str:
    """Write a program to a file, run the file, and return what it prints.

    Raises RuntimeError if it fails, with the last line that it then says.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(dedent(program), encoding="utf-8")
        command = [sys.executable, str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1]
        raise RuntimeError(last.partition(": ")[2])
    return done.stdout.strip()
