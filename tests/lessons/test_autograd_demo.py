"""autograd-demo: Value against autograd, its mistakes, and what it says."""

import inspect
import re
from fractions import Fraction

import pytest
import torch
from torch.nn import functional as F

from lessons import autograd_demo as lesson
from lessons.exercises import autograd_demo as exercise
from shared.datasets.embedded import photograph
from shared.models import CifarNet
from shared.practice import programs
from shared.practice.cases import judge


def test_a_thousand_random_programs_agree_with_autograd_and_small_changes():
    for seed in range(1000):
        case = programs.at_random(seed, steps=3 + seed % 6)
        ours = programs.walk(case, lesson.Value)
        theirs = programs.walk(case, programs.leaf)
        y = programs.run(case[0], map(lesson.Value, case[1]))["y"].number
        size = max(1.0, abs(y), *map(abs, theirs))
        assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12 * size)
        near = programs.nudge(case)
        assert near == pytest.approx(theirs, rel=1e-3, abs=1e-3 * size), case


def test_programs_stay_off_relu_s_corner_and_all_in_them_matters():
    lengths = {program.count(";") + 1 for program, _ in programs.some(100)}
    assert lengths == {3, 4, 5, 6, 7}
    for program, inputs in programs.some(100):
        names = programs.run(program, map(lesson.Value, inputs))
        reached = names["y"].visit([])
        for value in names.values():
            assert value in reached
            corner = len(value.parents) == 1 and value.parents[0][0].number == 0
            assert not corner


def test_at_relu_s_corner_autograd_says_0_and_small_changes_a_half():
    case = ("y = a.relu() + b + c", [0.0, 0.0, 0.0])
    assert programs.walk(case, programs.leaf)[0] == 0
    assert programs.walk(case, lesson.Value)[0] == 0
    assert programs.nudge(case)[0] == pytest.approx(0.5)


def test_autograd_leaves_a_gradient_in_every_input():
    for program, inputs in programs.some(100):
        leaves = [programs.leaf(number) for number in inputs]
        programs.run(program, leaves)["y"].backward()
        assert all(leaf.grad is not None for leaf in leaves)


def test_pytorch_keeps_the_gradients_of_leaves_only():
    names = programs.run(lesson.CASE, map(programs.leaf, (2.0, -3.0, 10.0)))
    names["y"].backward()
    assert names["a"].grad == -24
    with pytest.warns(UserWarning, match="not a leaf"):
        assert names["s"].grad is None


def test_the_exercise_s_programs_are_exact_in_any_order():
    for seed in range(30):
        case = programs.at_random(seed, steps=3 + seed % 5)
        assert max(map(abs, programs.walk(case, programs.leaf))) < 2**53
        values = programs.run(case[0], map(lesson.Value, case[1])).values()
        assert max(abs(value.number) for value in values) < 2**53


@pytest.mark.parametrize(
    ("line", "mutant"),
    [
        ("(self, 1.0), (other, 1.0)", "(self, 1.0), (self, 1.0)"),
        ("(self, other.number), (other, self.number)",
         "(self, self.number), (other, other.number)"),
        ("self.number > 0", "self.number >= 0"),
        ("max(self.number, 0.0)", "self.number"),
        ("value.grad += arrived", "value.grad = arrived"),
        ("arrived[parent] += ", "arrived[parent] = "),
        ("| {self: 1.0}", "| {self: 2.0}"),
        ("arrived[value] * local", "arrived[value]"),
        ("arrived[value] * local", "value.grad * local"),
        ("in reversed(order)", "in order"),
        ("in reversed(order)", "in [self, *reversed(order[:-1])][::-1]"),
        ("            order.append(self)", "            order.insert(0, self)"),
    ],
)  # fmt: skip
def test_the_cases_refuse_one_wrong_word_in_value(line, mutant):
    source = inspect.getsource(lesson.Value)
    assert source.count(line) == 1
    exec(source.replace(line, mutant), names := {})
    with pytest.raises(AssertionError):
        judge(names["Value"], exercise.Value)


def test_mistakes_fail_and_their_mends_work():
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        lesson.wrong_row()
    assert lesson.right_row().tolist() == [4, 6]
    assert lesson.wrong_twice() == 8
    assert lesson.right_twice() == 4
    assert lesson.wrong_square() == 2
    assert lesson.right_square() == 4


def test_detach_loses_the_path_that_item_loses_as_it_says():
    a = torch.tensor(2.0, requires_grad=True)
    (a * a.detach()).backward()
    assert a.grad == 2


def test_pytorch_refuses_to_overwrite_a_leaf_as_develop_says():
    source = inspect.getsource(lesson.develop)
    line = next(n for n in source.splitlines() if "torch.no_grad()" in n)
    noted = source.replace(line, line.split("with")[0] + "if True:")
    exec(noted, names := dict(vars(lesson)))
    with pytest.raises(RuntimeError, match="a leaf Variable"):
        names["develop"](1 - a_photo(), a_photo(), 0.3, 1)


def stepped(where: str) -> None:
    """develop(), with numbers = numbers - ... in place of numbers -= ..."""
    source = inspect.getsource(lesson.develop)
    (line,) = (n for n in source.splitlines() if "torch.no_grad()" in n)
    there = source.replace(line, line.split("with")[0] + where)
    made = there.replace("numbers -= lr", "numbers = numbers - lr")
    made = made.replace("        numbers.grad = None", "        pass")
    exec(made, names := dict(vars(lesson)))
    names["develop"](1 - a_photo(), a_photo(), 0.3, 1)


def test_a_new_tensor_in_place_of_the_leaf_stops_at_the_second_step():
    w = torch.tensor(2.0, requires_grad=True)
    ((w - 5) ** 2).backward()
    w = w - 0.1 * w.grad  # noted, so no leaf
    ((w - 5) ** 2).backward()
    assert not w.is_leaf
    with pytest.warns(UserWarning, match="not a leaf"):
        assert w.grad is None
    with (
        pytest.warns(UserWarning, match="not a leaf"),
        pytest.raises(TypeError, match="'float' and 'NoneType'"),
    ):
        stepped("if True:")
    with pytest.raises(RuntimeError, match="does not require grad"):
        stepped("with torch.no_grad():")  # a leaf, but nothing is noted


def a_photo() -> torch.Tensor:
    return F.avg_pool2d(photograph("china")[:, 20:180, 120:280], 8).mean(0)


@pytest.mark.parametrize("lr", [0.01, 0.1, 0.3, 0.6, 1.0])
def test_step_1_takes_contrast_up_with_every_lr(lr):
    path = lesson.develop(1 - a_photo(), a_photo(), lr, 100)
    assert path.shape == (101, 3)
    assert path[1, 0] > 0
    assert (path[100, 2] > path[0, 2]) == (lr == 1.0)


def test_value_finds_the_first_gradients_of_the_photo_too():
    photo = a_photo()  # 20 x 20: the sum nests 400 deep
    contrast, brightness, loss = (lesson.Value(0.0) for _ in range(3))
    for light in photo.flatten().tolist():
        made = contrast * lesson.Value(1 - light) + brightness
        off = made + lesson.Value(-light)
        loss = loss + off * off * lesson.Value(1 / photo.numel())
    loss.backward()
    path = lesson.develop(1 - photo, photo, 0.3, 1)
    taken = [-0.3 * contrast.grad, -0.3 * brightness.grad]
    assert path[1, :2].tolist() == pytest.approx(taken, rel=1e-5)


def test_the_figures_say_what_they_show():
    graph = programs.run(lesson.CASE, map(lesson.Value, (2, -3, 10)))
    graph["y"].backward()
    (axes,) = lesson.graph_figure(lesson.CASE, graph).axes
    assert axes.get_title().startswith("Numbers are made from left to right.")
    texts = [text.get_text() for text in axes.texts]
    for box in (
        "a\n= 2\ngradient -24",
        "b\n= -3\ngradient 16",
        "c\n= 10\ngradient 8",
        "p = a * b\n= -6\ngradient 8",
        "s = p + c\n= 4\ngradient 8",
        "y = s * s\n= 16\ngradient 1",
    ):
        assert texts.count(box) == 1, box
    arrows = sorted(text for text in texts if text.startswith("*"))
    assert arrows == ["* -3", "* 1", "* 1", "* 2", "* 4", "* 4"]


def test_developing_shows_each_step_and_downhill_ends_at_the_photo():
    photo = a_photo()
    path = lesson.develop(1 - photo, photo, 0.3, 100)
    figures = lesson.show_developing(1 - photo, path)
    developing, downhill = figures["developing"], figures["downhill"]
    said = developing.get_suptitle()
    assert said == "contrast * negative + brightness, 0 is black, 1 is white"
    shown = {axes.get_title(): axes.images[0] for axes in developing.axes}
    steps = [f"step {step}" for step in (1, 2, 5, 20, 100)]
    assert [*shown] == ["negative", *steps]
    last = torch.from_numpy(shown["step 100"].get_array().data)
    assert 0 < (last - photo).abs().max() < 0.05
    (axes,) = downhill.axes[:1]
    assert axes.get_title().startswith("The loss over its two numbers")
    labels = axes.get_xlabel(), axes.get_ylabel()
    assert labels == ("contrast", "brightness")
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    way = torch.from_numpy(lines["the path"]).float()
    assert torch.equal(way, path[:, :2])
    assert lines["start: 0, 0"].tolist() == [[0, 0]]
    assert lines["the photo: -1, 1"].tolist() == [[-1, 1]]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == [*lines]


def test_train_cifar_s_network_has_so_many_numbers():
    assert sum(p.numel() for p in CifarNet().parameters()) == 145_578


def test_command_prints_the_worked_case_and_logs_three_figures(
    run_cli, read_events, drawn, only_run, width, tmp_path
):
    result = run_cli("autograd-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    for words in (
        "p = a * b; s = p + c; y = s * s: p is -6, s is 4, y is 16.",
        "(2.001 * -3 + 10)² = 15.976009.",
        "-0.023991 / 0.001 = -23.991.",
        "comes to -24, a's gradient",
        "s = p + c = 4, gradient 1*4 + 1*4 = 8",
        "a = 2, gradient 8*-3 = -24 (leaf)",
        "b = -3, gradient 8*2 = 16 (leaf)",
        "c = 10, gradient 8*1 = 8 (leaf)",
        "✓ 3 gradients = autograd's: largest difference 0",
        "✓ 300 gradients = autograd's: largest difference 0",
        "rounded to 0.01: largest difference 0",
        "negative (2 as in s * s), is -0.337.",
        "d = b + c; e = d.relu(); y = a * e -1 2 3 5 -1 -1",
        "contrast 0 0.101 0.094 -0.0179 -0.46 -0.978 -1",
        "brightness 0 0.316 0.414 0.502 0.727 0.989 1",
        "loss 0.358 0.124 0.101 0.079 0.0239 4.05e-05 0",
        "Step 1 moves contrast to 0 - 0.3 * -0.337 = 0.101: up",
        "✓ contrast after step 1",
        "grad can be implicitly created only for scalar outputs",
        "Mistake 3 of 3",
        "Next lesson: python cli.py",
    ):
        assert words in said, words
    assert width(result.output) <= 80
    events = read_events(only_run(tmp_path, "autograd-demo"))
    assert drawn(events) == {
        "graph": (900, 450),
        "developing": (1140, 260),
        "downhill": (750, 600),
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--a", 99), "a = 99, gradient"),
        (("--b", 0), "p is 0, s is 10, y is 100"),
        (("--c", -99), "c = -99, gradient"),
        (("--lr", 1), "The loss has grown"),
        (("--lr", 0.01), "The loss is still falling"),
        (("--lr", 0.1), "0 - 0.1 * -0.337 = 0.034: up"),
    ],
)
def test_each_option_alone_changes_the_screen(
    run_cli, width, tmp_path, words, said
):
    result = run_cli("autograd-demo", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert said in " ".join(result.output.split())
    assert width(result.output) <= 80


@pytest.mark.parametrize("a", [-99, 0, 1, 99])
def test_small_changes_come_to_the_gradient_at_any_numbers(a, capsys):
    for b, c in ((99, -99), (-99, 99), (0, 0), (1, -1)):
        lesson.show_nudge(a, b, c)
        said = " ".join(capsys.readouterr().out.split())
        (more, change, ratio, comes_to) = re.search(
            r"= (\S+)\. Change .* of a: (\S+) / 0.001 = (\S+)\. "
            r"The .* comes to (\S+), a's",
            said,
        ).groups()
        s = Fraction(a * b + c)
        assert Fraction(more) == s * s + Fraction(change)
        assert Fraction(ratio) == 1000 * Fraction(change)
        assert Fraction(ratio) == 2 * b * s + b * b * Fraction("0.001")
        assert Fraction(comes_to) == 2 * b * s


def test_the_lines_to_remember_run(run_cli, tmp_path):
    output = run_cli("autograd-demo", "--logdir", tmp_path).output
    first, second, third = re.findall(r"│ • (.*?) *│", output)
    exec(f"{first}\n{second}", names := {})
    assert names["w"].grad == -6
    exec(third, names)
    assert names["w"].item() == pytest.approx(2.6)
    assert names["w"].grad is None and names["w"].is_leaf


def test_the_exercise_has_an_answer():
    def div(x: lesson.Value, y: lesson.Value) -> lesson.Value:
        across = -x.number / y.number**2
        return lesson.Value(x.number / y.number, (x, 1 / y.number), (y, across))

    x, y = lesson.Value(12.0), lesson.Value(4.0)
    div(x, y).backward()
    assert (x.grad, y.grad) == (0.25, -0.75)


@pytest.mark.parametrize(
    "words",
    [("--a", 100), ("--b", "x"), ("--c", 1.5), ("--lr", 0), ("--lr", 1.1),
     ("--lr", "nan"), ("--lr", "inf")],
)  # fmt: skip
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("autograd-demo", *words).exit_code == 2
