import io
import re

import pytest
import torch
import typer
from rich.console import Console

from shared import console


@pytest.fixture
def terminal(monkeypatch) -> io.StringIO:
    """What a terminal of 80 columns with colours would be sent."""
    sent = io.StringIO()
    screen = Console(file=sent, force_terminal=True, color_system="truecolor", width=80)
    monkeypatch.setattr(console, "console", screen)
    return sent


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text)


def test_pictures_stand_side_by_side_in_a_colour_terminal(terminal):
    red = torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 40, 76)
    grey = torch.full((40, 76), 0.5)
    console.pictures({"red": red, "grey": grey, "again": red}, "images", width=38)
    lines = terminal.getvalue().splitlines()
    assert plain(lines[0]).split() == ["red", "grey"]
    assert "255;0;0" in lines[1]
    assert "128;128;128" in lines[1]
    assert max(len(plain(line)) for line in lines) <= 80
    assert any(plain(line).split() == ["again"] for line in lines)


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_without_colours_a_line_says_where_the_pictures_are(environment, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    console.pictures({"red": torch.ones(3, 4, 4)}, "images/red")
    assert capsys.readouterr().out == "Pictures (red): in TensorBoard under IMAGES, images/red\n"


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
    assert said.err == "Error: The file [x] is missing.\nNext: python cli.py list\n"


def divides() -> float:
    """Dividing by nothing."""
    nothing = 0
    return 1 / nothing


def guards() -> float:
    """A number over 0 has no value.

    Say what should come instead.
    """
    return 1.5


def test_a_mistake_shows_the_code_that_ran_and_both_outcomes(capsys):
    made = console.mistake(divides, guards, raises=ZeroDivisionError, shows="value {:.2f}")
    assert made == ("Dividing by nothing", "ZeroDivisionError: division by zero", "value 1.50")
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1].startswith("Mistake: dividing by nothing")
    assert lines[2:5] == ["nothing = 0", "return 1 / nothing", f"✗ {made.symptom}"]
    assert "Instead: A number over 0 has no value. Say what should come instead." in lines
    assert lines[-2:] == ["return 1.5", "✓ value 1.50"]


def test_a_mistake_that_no_longer_fails_is_a_bug():
    with pytest.raises(AssertionError, match="should have raised"):
        console.mistake(guards, guards, raises=ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        console.mistake(divides, guards, raises=KeyError)


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
    console.confusion_table(confusion, [f"class {index}" for index in range(12)])
    assert re.search(r"5 +class 3 +class 7", capsys.readouterr().out)


def test_confusion_of_few_classes_is_a_table_with_the_share_that_is_right(capsys):
    console.confusion_table(torch.tensor([[3, 1], [0, 4]]), ["ant", "bee"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == [["ant", "3", "1", "75%"], ["bee", "0", "4", "100%"]]
