"""--step, at a real pseudo-terminal."""

import os
import re
import select
import subprocess
import sys
import time

import pytest

from shared.options import ROOT

pty = pytest.importorskip("pty")  # Windows has none
LESSON = """
import typer
from shared import console

def wrong_one():
    'A mistake.'
    print('R' + 'AN')

def right_one():
    'not so.'

def run():
    console.step_by_step()
    console.opening('A lesson.')
    console.section('One')
    console.mistakes(__name__)
    console.remember('this')
    print('END')

typer.run(run)
"""


def take_the_terminal() -> None:
    """Before the lesson starts: so that Ctrl-C reaches it."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def lesson(tmp_path, monkeypatch) -> list[str]:
    path = tmp_path / "lesson.py"
    path.write_text(LESSON)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return [sys.executable, str(path)]


@pytest.fixture
def at_a_terminal(lesson):
    """Run it, answer its prompts one by one; what it showed, its exit code."""

    def run(*answers: bytes, command: list[str] = lesson) -> tuple[str, int]:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=take_the_terminal,
        )
        os.close(theirs)
        try:
            return _talk(ours, list(answers)), process.wait(5)
        finally:
            process.kill()
            os.close(ours)

    return run


def _talk(terminal: int, waiting: list[bytes]) -> str:
    seen, answered, end = b"", 0, time.monotonic() + 30
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:  # the other side is closed
                break
        asked = seen.count(b"to go on") + seen.count(b"then Enter:")
        if answered < min(asked, len(waiting)):
            time.sleep(0.3)  # a prompt is on the screen before Python reads
            os.write(terminal, waiting[answered])
            answered += 1
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", seen.decode())


def test_it_stops_after_each_section_and_asks_before_a_mistake_runs(
    at_a_terminal,
):
    shown, code = at_a_terminal(b"\n", b"\n", b"an error\n", b"\n")
    assert code == 0, shown
    parts = ("One", "def wrong", "What will", "an error", "RAN", "END")
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)
    assert shown.count("Enter to go on") == 3


@pytest.mark.parametrize(("key", "expected"), [(b"\x04", 0), (b"\x03", 130)])
def test_ctrl_d_and_ctrl_c_end_it_cleanly(at_a_terminal, key, expected):
    shown, code = at_a_terminal(b"\n", b"\n", key)
    assert "Stopped here" in shown
    assert "RAN" not in shown
    assert "Traceback" not in shown
    assert code == expected


def test_cli_gives_every_lesson_the_option(at_a_terminal, tmp_path):
    words = ["cli.py", "conv-demo", "--step", "--logdir", str(tmp_path)]
    command = [sys.executable, *words]
    shown, code = at_a_terminal(b"\n", b"10\n", b"\x04", command=command)
    parts = ("Convolution by hand", "Enter to go on", "? KERNEL", "= 10")
    places = [shown.index(part) for part in parts]
    assert places == sorted(places)
    assert "Stopped here" in shown
    assert "Remember" not in shown
    assert code == 0
    assert not (tmp_path / "conv-demo").exists()


def test_without_a_terminal_it_does_nothing(lesson):
    done = subprocess.run(
        lesson, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Enter" not in done.stdout
    assert "END" in done.stdout
