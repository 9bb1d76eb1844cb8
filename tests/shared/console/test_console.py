import inspect
import io
import re
import sys
from types import ModuleType
from unittest.mock import Mock

import pytest
import torch
import typer
from rich.color import ColorSystem
from rich.console import Console

from shared import console


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    """What a terminal of 80 columns with colours would be sent."""
    sent = io.StringIO()
    screen = Console(
        file=sent, force_terminal=True, color_system="truecolor", width=80
    )
    monkeypatch.setattr(console.console, "__dict__", vars(screen))
    return sent


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text)


def test_pictures_stand_side_by_side_in_a_colour_terminal(terminal):
    red = torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 40, 76)
    grey = torch.full((40, 76), 0.5)
    console.pictures({"red": red, "grey": grey, "again": red}, "images")
    lines = terminal.getvalue().splitlines()
    assert plain(lines[0]).split() == ["red", "grey"]
    assert "255;0;0" in lines[1]
    assert "128;128;128" in lines[1]
    assert max(len(plain(line)) for line in lines) <= 80
    assert any(plain(line).split() == ["again"] for line in lines)


def test_pictures_are_shrunk_by_averaging(terminal):
    stripes = torch.tensor([0.0, 1.0]).repeat(38)[None].expand(40, 76)
    console.pictures({"stripes": stripes}, "images")
    assert "128;128;128" in terminal.getvalue()
    assert "255;255;255" not in terminal.getvalue()


def test_16_colours_show_four_greys(terminal):
    console.console._color_system = ColorSystem.STANDARD
    console.pictures({"ramp": torch.linspace(0, 1, 20).expand(4, 20)}, "ramp")
    sent = terminal.getvalue()
    codes = {
        c for m in re.findall(r"\x1b\[([\d;]+)m", sent) for c in m.split(";")
    }
    assert {"30", "90", "37", "97"} <= codes
    assert "This terminal has four greys." in plain(sent)


def test_without_colours_it_says_where_the_pictures_are(capsys):
    console.pictures({"red": torch.ones(3, 4, 4)}, "images/red")
    said = " ".join(capsys.readouterr().out.split())
    assert "in TensorBoard, IMAGES, images/red; the last lines" in said


def test_matrices_stand_in_brackets(capsys):
    console.matrices({"a": torch.eye(2), "row": torch.ones(1, 2)})
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["a         row", "┌ 1  0 ┐  [ 1  1 ]", "└ 0  1 ┘"]


def test_what_rounds_to_zero_has_no_sign(capsys):
    console.matrices({"a": torch.tensor([[-0.001, 0.5]])})
    assert "[ 0.00 0.50 ]" in capsys.readouterr().out


def test_why_a_difference_is_not_0_is_said_once_in_a_lesson(capsys):
    ones = torch.ones(2)
    for _ in range(2):
        console.opening("A lesson.")
        console.agrees("same", ones, ones, 0)
        console.agrees("nearly", ones, ones + 1e-6, 1e-3)
        ours, theirs = {"a": ones, "b": ones}, {"a": ones, "b": ones + 1e-6}
        console.agrees("both", ours, theirs, 1e-3)
        said = capsys.readouterr().out
        assert "✓ same: largest difference 0\n" in said
        assert "✓ both: largest difference 1e-06, allowed 1e-03\n" in said
        assert said.count("seven digits") == 1


def test_speeds_are_taken_on_one_thread_and_then_as_before(capsys):
    before = torch.get_num_threads()
    seen = set()
    ways = dict.fromkeys("ab", lambda: seen.add(torch.get_num_threads()))
    console.speeds(ways)
    assert seen == {1}
    assert torch.get_num_threads() == before
    first, second, ratio = capsys.readouterr().out.splitlines()
    assert first.endswith(" ms  a")
    assert second.endswith(" ms  b")
    assert re.fullmatch(r"On one .* b is about [\d.]+ times as .* a\.", ratio)


def test_agrees_refuses_what_does_not():
    ones = torch.ones(2)
    assert console.agrees("same", ones, ones, 0) == 0
    for other in (ones + 0.1, torch.ones(1), torch.tensor([1.0, float("nan")])):
        with pytest.raises(AssertionError):
            console.agrees("not the same", ones, other, 1e-3)


def test_fail_says_what_and_what_next_on_stderr(capsys):
    with pytest.raises(typer.Exit) as stopped:
        console.fail("The file [x] is missing.", "python cli.py list")
    assert stopped.value.exit_code == 1
    said = capsys.readouterr()
    assert said.out == ""
    error, step = said.err.splitlines()
    assert error == "Error: The file [x] is missing."
    assert step == "Next: python cli.py list"


def wrong_division() -> float:
    """Dividing by nothing. Nobody can."""
    nothing = 0
    return 1 / nothing


def tempting_division() -> float:
    """divide by little."""
    return 1 / 1e-9


def right_division() -> torch.Tensor:
    """leave it.

    Say what should come instead.
    """
    return torch.tensor([[1.0, 0.5]])


def test_a_mistake_shows_its_code_what_came_of_it_and_then_its_name(capsys):
    console.mistakes(__name__, raises=ZeroDivisionError)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1].startswith("Mistake 1 of 1 ─")
    assert lines[2:] == [
        "def wrong_division() -> float:",
        "nothing = 0",
        "return 1 / nothing",
        "✗ ZeroDivisionError: division by zero",
        "Dividing by nothing. Nobody can.",
        "Tempting: divide by little.",
        "def tempting_division() -> float:",
        "return 1 / 1e-9",
        "✗ 999999999.9999999",
        "Instead: leave it. Say what should come instead.",
        "def right_division() -> torch.Tensor:",
        "return torch.tensor([[1.0, 0.5]])",
        "✓ float32, shape (1, 2): [[1, 0.5]]",
    ]


def test_a_mistake_is_given_what_it_names(tmp_path, monkeypatch, capsys):
    """Files, a folder, a data set: the lesson makes them once."""
    lesson = ModuleType("lesson_with_files")
    lesson.wrong_file = lambda folder: (
        "none" if not list(folder.iterdir()) else ""
    )
    lesson.right_file = lambda name, folder: f"{folder / name}"
    monkeypatch.setitem(sys.modules, lesson.__name__, lesson)
    module = sys.modules["shared.console.mistakes"]
    monkeypatch.setattr(module, "code_without_docstring", str)
    console.mistakes(lesson.__name__, folder=tmp_path, name="a.pt")
    said = "".join(capsys.readouterr().out.split())
    assert "✗none" in said
    assert f"✓{tmp_path / 'a.pt'}" in said


def test_an_error_that_was_not_expected_is_a_bug():
    with pytest.raises(ZeroDivisionError):
        console.mistakes(__name__, raises=KeyError)


def guards() -> float:
    """a number over 0 has no value."""
    return 1.5


def test_a_list_in_an_error_is_shown_whole(monkeypatch, capsys):
    lesson = ModuleType("lesson_with_a_long_error")
    text = "two options:\n\t(1) this\n\t(2) that\n\nSee also: docs"
    lesson.wrong_options = Mock(side_effect=ValueError(text), __doc__="Long.")
    lesson.right_options = Mock(return_value=1.5, __doc__="short.")
    for function in (lesson.wrong_options, lesson.right_options):
        function.__signature__ = inspect.Signature()
    monkeypatch.setitem(sys.modules, lesson.__name__, lesson)
    module = sys.modules["shared.console.mistakes"]
    monkeypatch.setattr(module, "code_without_docstring", str)
    console.mistakes(lesson.__name__, raises=(KeyError, ValueError))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[2:5] == [
        "✗ ValueError: two options:",
        "  (1) this",
        "  (2) that",
    ]
    assert lines[-1] == "✓ 1.5"


def test_code_is_shown_whole(capsys):
    console.opening("A lesson.")
    capsys.readouterr()
    console.code(guards, tempting_division)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "def guards() -> float:"
    assert lines[-2] == "return 1 / 1e-9"
    assert lines[-1].endswith("python cli.py show test-console")


def test_growing_table_aligns_rows_as_they_come(capsys):
    print_row = console.growing_table({"epoch": "d", "test accuracy": ".1%"})
    print_row(1, 0.5)
    print_row(12, 1.0)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  epoch  test accuracy",
        "      1          50.0%",
        "     12         100.0%",
    ]


def test_confusion_of_many_classes_names_the_worst_pairs(capsys):
    confusion = torch.eye(12, dtype=torch.long) * 9
    confusion[3, 7] = 5
    classes = [f"class {index}" for index in range(12)]
    console.confusion_table(confusion, classes)
    assert re.search(r"5 +class 3 +class 7", capsys.readouterr().out)


def test_confusion_of_few_classes_is_a_table_with_the_shares(capsys):
    console.confusion_table(torch.tensor([[3, 1], [0, 4]]), ["ant", "bee"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [["ant", "3", "1", "75%"], ["bee", "0", "4", "100%"]]
