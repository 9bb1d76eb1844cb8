"""activation-demo: its claims, its mistake, and what it says."""

import re
from functools import partial

import pytest
import torch
from matplotlib.colors import to_rgb
from torch import nn
from torch.nn import functional as F

from lessons import activation_demo as lesson
from shared import figures
from shared.datasets.embedded import digits
from shared.seeds import SEEDS, over_seeds, say_leaders, spread, within_reach


def pytorchs(name, x):
    """torch.nn's value and autograd's derivative."""
    x = x.clone().requires_grad_()
    value = getattr(nn, name)()(x)
    return value.detach(), torch.autograd.grad(value.sum(), x)[0]


@pytest.fixture(scope="module")
def images():
    train, test = digits()
    pixels = torch.cat([train.images, test.images]).flatten(1) / 255
    return pixels, torch.cat([train.labels, test.labels])


@pytest.fixture(scope="module")
def rings():
    torch.manual_seed(7)  # other points than the lesson's
    ring = torch.arange(1797) % 2
    circle = F.normalize(torch.randn(1797, 2)) * (1 + ring[:, None])
    return circle + 0.1 * torch.randn(1797, 2), ring


@pytest.mark.parametrize("name", lesson.BY_HAND)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (0,), (500,), (2, 3, 5, 7)])
def test_by_hand_agrees_with_pytorch(name, dtype, shape):
    x = 10 * torch.randn(shape, dtype=dtype)
    torch.testing.assert_close(lesson.BY_HAND[name](x), pytorchs(name, x))


@pytest.mark.parametrize("name", lesson.BY_HAND)
def test_derivative_is_that_of_the_by_hand_function(name):
    x = torch.tensor([-7, -2, -0.5, -0.1, 0.1, 0.5, 2, 7]).double()
    x.requires_grad_()
    by_hand = lesson.BY_HAND[name]
    assert torch.autograd.gradcheck(lambda x: by_hand(x)[0], x)
    value, derivative = by_hand(x)
    theirs = torch.autograd.grad(value.sum(), x)[0]
    torch.testing.assert_close(derivative, theirs)


def test_the_exercise_has_an_answer():
    x = torch.tensor([89.0, 100, -100, 1e4, -1e4])
    assert lesson.tanh(x)[0].isnan().all() and x.abs().exp().isinf().all()
    tempting = (1 - (-2 * x).exp()) / (1 + (-2 * x).exp())
    assert tempting.isnan().tolist() == (x < 0).tolist()
    value = 2 * lesson.sigmoid(2 * x)[0] - 1
    mended = value, 1 - value**2
    torch.testing.assert_close(mended, pytorchs("Tanh", x), rtol=0, atol=0)
    assert value.tolist() == x.sign().tolist()
    small = torch.tensor(88.0)
    assert lesson.tanh(small)[0] == 1 and not lesson.tanh(-small)[0].isnan()


def test_the_paper_case_of_claim_1_also_with_biases(images):
    x = torch.tensor([[-2.0, 0, 3]])
    assert (lesson.W2 @ lesson.W1).tolist() == [[2 * 1 + 1 * -1]]
    bent = lesson.W2 @ lesson.relu(lesson.W1 @ x)[0]
    assert bent.tolist() == [[2, 0, 6]]
    first, second = nn.Linear(64, 32), nn.Linear(32, 10)
    one = nn.Linear(64, 10)
    with torch.no_grad():
        one.weight.copy_(second.weight @ first.weight)
        one.bias.copy_(second.weight @ first.bias + second.bias)
        two, outputs = second(first(images[0])), one(images[0])
        torch.testing.assert_close(two, outputs, atol=1e-5, rtol=0)
        off = second(F.relu(first(images[0]))) - outputs
    assert off.abs().max() > 0.1


def test_of_the_signal_arrives_what_slopes_and_weights_let_through(images):
    share = partial(lesson.gradient_shares, examples=images)
    shares = over_seeds(share, ["Identity", "ReLU", "Sigmoid"])
    none, relu, sigmoid = (s[:, 0] for s in shares.values())
    assert ((none > 5e-3) & (none < 1e-2)).all()
    assert f"{none.median():.0e}" == f"{3**-4.5:.0e}" == f"{0.58**9:.0e}"
    assert (sigmoid < none * 0.25**9).all()
    assert (sigmoid > none * 0.25**9 / 3).all()
    assert (relu > 1000 * sigmoid).all() and (relu < none).all()


def test_weights_times_the_root_of_3_let_through_what_it_says(
    images, monkeypatch, ran
):
    class Larger(nn.Linear):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            with torch.no_grad():
                self.weight *= 3**0.5

    monkeypatch.setattr(nn, "Linear", Larger)
    share = partial(lesson.gradient_shares, examples=images)
    shares = over_seeds(share, ["Identity", "Sigmoid"])
    none, sigmoid = (s[:, 0].median() for s in shares.values())
    said = f"Identity about {none:.1g}, Sigmoid only {sigmoid:.0e}."
    assert said in ran[0]


def test_a_straight_border_gets_a_third_to_two_thirds_of_rings(rings):
    points, ring = rings
    for angle in torch.linspace(0, torch.pi, 13):
        along = points @ torch.stack([angle.cos(), angle.sin()])
        for place in torch.linspace(-2.5, 2.5, 51):
            right = ((along > place) == ring.bool()).double().mean()
            assert 0.33 < right < 0.67


def test_without_an_activation_rings_are_guessed(rings):
    def right(*net):
        return lesson.learn(*net, rings, lr=0.2, epochs=5)[1]

    percent = over_seeds(right, ["Identity", "ReLU"])
    assert (percent["Identity"] < 70).all()
    assert (percent["ReLU"] > 99).all()


def test_sigmoid_is_left_at_guessing_and_20_epochs_help_it(images, rings):
    few = {(images, 0.05): 15, (images, 0.2): 35, (rings, 0.2): 70}
    many = {(images, 0.05): 45, (images, 0.2): 85, (rings, 0.2): 95}
    for epochs, limits in ((5, few), (20, many)):
        for (task, lr), limit in limits.items():
            for seed in SEEDS:
                right = lesson.learn("Sigmoid", seed, task, lr, epochs)[1]
                assert right < limit if epochs == 5 else right > limit


def test_mistake_fails_and_its_mends_work():
    with pytest.raises(RuntimeError, match="at version 1; expected version 0"):
        lesson.wrong_two_in_a_row()
    x = torch.tensor(0.0, requires_grad=True)
    F.relu(torch.sigmoid(x)).backward()  # inplace is left out instead
    slope = lesson.sigmoid(torch.tensor(0.0))[1]
    assert lesson.right_two_in_a_row() == x.grad == slope == 0.25
    y = torch.sigmoid(torch.tensor([-1e4, -100.0, -3, 0, 3, 100]))
    assert torch.equal(F.relu(y), y)


def test_the_hint_leads_to_the_line_with_sigmoid():
    message = "SigmoidBackward"
    with (
        torch.autograd.set_detect_anomaly(True, check_nan=False),
        pytest.warns(UserWarning, match=message) as warned,
        pytest.raises(RuntimeError),
    ):
        lesson.wrong_two_in_a_row()
    (said,) = [str(w.message) for w in warned if message in str(w.message)]
    assert "y = torch.sigmoid(x)" in said and "F.relu" not in said


@pytest.mark.parametrize("layer", [nn.Linear(6, 6), nn.Conv2d(1, 1, 1)])
def test_inplace_behind_layers_does_what_it_says(layer):
    x, gradients = torch.randn(1, 6, 6), []
    for inplace in (False, True):
        layer.zero_grad()
        F.relu(layer(x), inplace=inplace).sum().backward()
        gradients.append(layer.weight.grad.clone())
    assert torch.equal(*gradients)
    y = layer(x)
    before = F.relu(y)
    after = F.relu(y, inplace=True)
    assert after.data_ptr() == y.data_ptr() != before.data_ptr()  # memory
    assert torch.equal(after + y, 2 * before)  # y is max(y, 0) now


def test_inplace_may_fail_where_y_was_used_before():
    y = nn.Linear(3, 3)(torch.randn(2, 3))
    before = y.square().sum()
    with pytest.raises(RuntimeError, match="inplace operation"):
        (F.relu(y, inplace=True).sum() + before).backward()


@pytest.mark.parametrize("epochs", [1, 20])
def test_without_an_activation_most_digits_are_told(images, epochs):
    for seed in SEEDS:
        for lr in (0.05, 0.2):
            right = lesson.learn("Identity", seed, images, lr, epochs)[1]
            assert right > 50


def steps_of(picture):
    """How far white's border moves from row to row, or from column to column.

    None where a row holds two borders: it is no straight line, then.
    """
    white = picture[0] == 1
    if (white[1:] != white[:-1]).sum() < (white[:, 1:] != white[:, :-1]).sum():
        white = white.T  # now it crosses each column once, or none
    changes = (white[1:] != white[:-1]).sum(0)
    ends = white.sum(0)[changes == 1]
    return ends.diff() if (changes <= 1).all() else None


@pytest.mark.parametrize("epochs", [1, 5, 20])
def test_identitys_border_is_straight_or_none(rings, epochs):
    nowhere = torch.full((1, 2), 9.0), torch.zeros(1, dtype=torch.long)
    bordered = 0
    for seed in SEEDS:
        for name in ("Identity", "ReLU"):
            model = lesson.learn(name, seed, rings, 0.2, epochs)[0]
            steps = steps_of(figures.plane(model, *nowhere))
            if name == "Identity":  # one step, rounded up or down
                assert steps is not None
                assert not len(steps) or steps.max() - steps.min() <= 1
                bordered += len(steps) > 0
            elif epochs > 1:
                assert steps is None  # round the inner ring
    assert bordered if epochs < 20 else bordered < len(SEEDS)


def test_command_prints_the_worked_cases(ran, width):
    output, _ = ran
    for line in (
        "┌ 1.0 0.0 ┐  ┌ 1.0 0.0 ┐  ┌ 10.0  0.0 ┐",
        "└ 0.0 1.0 ┘  └ 0.0 3.0 ┘  └  0.0 40.0 ┘",
        "✓ relu = nn.ReLU, gradient = autograd's: largest difference 0",
        "✓ f = torch.nn's, f' = autograd's: largest difference",
        "[ -2   0   3 ]  [ -2   0   3 ]  [ 2  0  6 ]",
        "✓ two layers = one, with biases too: largest difference",
        "0.25 ** 9 = 4e-06",
        "alone: claim 4 fails.",
        "our tanh(100), tanh(-100) are [nan, nan]",
        "Mistake 1 of 1",
        "Next lesson: python cli.py",
    ):
        assert line in output
    assert width(output) <= 80


def test_the_tables_hold_what_was_measured(ran, images):
    output, _ = ran
    shares = [lesson.gradient_shares("GELU", s, images)[0] for s in SEEDS]
    rates = (0.05, 0.2)
    right = [
        torch.stack([lesson.learn("GELU", s, images, lr, 5)[1] for s in SEEDS])
        for lr in rates
    ]
    rows = re.findall(r"^ GELU +(.*?) *$", output, re.M)
    assert rows[-2].endswith(spread(torch.stack(shares), ".0e"))
    for percent in right:
        assert spread(percent, ".1f") in rows[-1]


def test_the_figures_are_logged(ran, read_events, only_run):
    events = read_events(only_run(ran[1], "activation-demo"))
    pictures = {"functions", "signal", "rings", "scores"}
    assert set(events.Tags()["images"]) == pictures


def test_the_figures_show_what_was_measured():
    shares = {"one": torch.rand(5, 10), "two": torch.rand(5, 10)}
    (axes,) = figures.layers_figure(shares).axes
    assert axes.get_xlabel() and axes.get_ylabel() and axes.get_title()
    drawn = [line.get_ydata().tolist() for line in axes.lines]
    assert drawn == [s.median(0).values.tolist() for s in shares.values()]
    right = {"one": torch.tensor([[1.0, 2], [3, 4]])}
    left, other = figures.spread_figure({"a": 0, "b": 1}, right).axes
    dots = [axes.lines[0].get_xdata().tolist() for axes in (left, other)]
    assert dots == [[1, 3], [2, 4]]
    assert (left.get_title(), other.get_title()) == ("a", "b")
    left, other = figures.functions_figure(lesson.BY_HAND).axes
    assert len(left.lines) == len(other.lines) == 5
    assert max(other.lines[2].get_ydata()) == 0.25  # of sigmoid
    assert left.figure.get_suptitle()


def test_each_activation_has_one_colour_in_all_figures():
    shares = {name: torch.rand(5, 10) for name in reversed(lesson.NAMES)}
    drawn = [figures.functions_figure(lesson.BY_HAND)]
    drawn += [figures.layers_figure(shares)]
    drawn += [figures.spread_figure({"a": 0, "b": 1}, shares)]
    seen = set()
    for axes in (axes for figure in drawn for axes in figure.axes):
        names = [line.get_label() for line in axes.lines]
        if names[0].startswith("_"):  # spread_figure's: the y axis names them
            names = [line.get_ydata()[0] for line in axes.lines]
            assert axes.get_xlim() == (-3, 103)
        colours = [line.get_color() for line in axes.lines]
        seen |= set(zip(names, colours, strict=True))
    assert seen == set(figures.COLOURS.items())
    assert len(set(figures.COLOURS.values())) == len(lesson.NAMES)


def test_a_plane_lies_as_an_image_does():
    upper_right = nn.Linear(2, 2, bias=False)  # class 1 where x + y > 0
    with torch.no_grad():
        upper_right.weight.copy_(torch.tensor([[0.0, 0], [1, 1]]))
    points = torch.tensor([[-2.5, 2.5], [2.5, -2.5], [9, 9]])
    classes = torch.tensor([0, 1, 1])
    picture = figures.plane(upper_right, points, classes, size=4)
    rings = [torch.tensor(to_rgb(c)) for c in figures.RINGS.values()]
    assert torch.equal(picture[:, 0, 0], rings[0])
    assert torch.equal(picture[:, 3, 3], rings[1])
    assert (picture[:, 0, 1:] == 1).all() and (picture[:, 3, :3] == 0).all()
    one, two = figures.planes_figure({"one": picture, "two": picture}).axes
    labels = [text.get_text() for text in two.get_legend().get_texts()]
    assert labels == ["inner ring", "outer ring"] and not one.get_legend()


def test_leaders_are_named_from_the_numbers(capsys):
    runs = {"a": [90, 94, 95], "b": [80, 85, 89], "c": [93, 93, 99]}
    runs = {name: torch.tensor(v).double() for name, v in runs.items()}
    assert within_reach(runs) == ["a", "c"]
    columns = {name: torch.stack([v, v], 1) for name, v in runs.items()}
    say_leaders("claim 9", {"one": 0, "two": 1}, columns)
    assert "alone: claim 9 fails." in " ".join(capsys.readouterr().out.split())
    columns["a"] += 10
    say_leaders("claim 9", {"one": 0, "two": 1}, columns)
    said = capsys.readouterr().out
    assert "a leads everywhere and alone: claim 9 holds." in said


def test_more_epochs_change_the_screen(ran, run_cli, tmp_path):
    words = ("activation-demo", "--epochs", 1, "--logdir", tmp_path)
    result = run_cli(*words)
    assert result.exit_code == 0, result.output
    before, after = (o.split("Claims 3, 4") for o in (ran[0], result.output))
    assert before[0] == after[0] and before[1] != after[1]


def test_the_lines_to_remember_run(ran):
    first, second, third = re.findall(r"│ • (.*?) *│", ran[0])
    exec(f"{first}\n{second}", names := {})
    assert eval(third, names) == (8, 2)


@pytest.mark.parametrize("words", [("--epochs", 0), ("--epochs", "few")])
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("activation-demo", *words).exit_code == 2
