"""adam-demo: its optimizers, its mistakes, what it measures and says."""

import math
import re
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from cli import app
from lessons import adam_demo as lesson
from lessons import checkpoint_demo
from shared.practice import moments
from shared.practice.moments import learn, network
from shared.seeds import SEEDS, shares_right, within_reach

RATES = lesson.RATES


@pytest.fixture(scope="module")
def draws():
    return moments.digit_draws(epochs=5)


@pytest.fixture(scope="module")
def ran_and_raced(tmp_path_factory):
    """The command, run once: its output, its folder of logs, its races."""
    folder = tmp_path_factory.mktemp("logs")
    words = ["adam-demo", "--logdir", str(folder)]
    with patch.object(moments, "at_best", wraps=moments.at_best) as called:
        result = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output, folder, called.call_args.args[0]


@pytest.fixture
def ran(ran_and_raced):
    return ran_and_raced[:2]


@pytest.fixture
def raced(ran_and_raced):
    return ran_and_raced[2]


def one_weight(kind, gradients, **settings):
    """Where a weight of 1 (double precision) is after each gradient."""
    weight = nn.Parameter(torch.ones(()).double())
    optimizer, path = kind([weight], **settings), []
    for gradient in gradients:
        weight.grad = torch.tensor(float(gradient)).double()
        optimizer.step()
        path.append(weight.item())
    return path


def test_the_worked_case():
    path = one_weight(lesson.Adam, (0.5, -0.5), lr=0.1)
    assert path == pytest.approx([0.9, 0.90526], abs=1e-5)
    _, rows, weight = moments.two_steps(lesson.adam_step, 0.1)
    first = ["1", "0.5", "0.05", "0.00025", "0.5", "0.25", "0.9"]
    second = ["2", "-0.5", "-0.005", "0.00049975", "-0.026316", "0.25"]
    assert rows == [first, [*second, "0.90526"]]
    assert weight.item() == path[1]


@pytest.mark.parametrize("gradient", [0.0005, 0.5, -7, 500, 1e6])
@pytest.mark.parametrize("lr", [0.001, 0.1, 10])
def test_the_first_step_is_lr_whatever_the_gradient(gradient, lr):
    (end,) = one_weight(lesson.Adam, [gradient], lr=lr)
    assert abs(end - 1) == pytest.approx(lr, rel=3e-5)
    assert (end < 1) == (gradient > 0)


def test_weight_decay_in_the_first_step():
    for decay in (0.5, 1e-6):
        some = {"lr": 0.1, "weight_decay": decay}
        for gradient in (0.5, 500):  # lost
            (end,) = one_weight(lesson.Adam, [gradient], **some)
            assert end == pytest.approx(0.9)
        (alone,) = one_weight(lesson.Adam, [0], **some)
        assert alone == pytest.approx(0.9, abs=2e-3)
        (beside,) = one_weight(lesson.AdamW, [0], **some)
        assert beside == pytest.approx(1 - 0.1 * decay)
    defaults = (
        kind([nn.Parameter(torch.ones(1))]).defaults
        for kind in (torch.optim.Adam, torch.optim.AdamW)
    )
    assert [some["weight_decay"] for some in defaults] == [0, 0.01]
    assert lesson.Adam.weight_decay == 0 and lesson.AdamW.weight_decay == 0.01


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("settings", [{}, {"eps": 0.1}, {"lr": 10}])
def test_50_steps_are_those_of_pytorch(name, settings):
    both = getattr(lesson, name), getattr(torch.optim, name)
    ours, theirs = (moments.random_steps(kind, **settings) for kind in both)
    assert len(ours) == 20
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)
    ours, theirs = (moments.trained(kind) for kind in both)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    start = network(0).state_dict()
    assert min((start[n] - ours[n]).abs().max() for n in start) > 0.01
    assert sum(tensor.numel() for tensor in start.values()) == 2410


def test_adam_and_adamw_differ():
    ours = [moments.random_steps(k)["5"] for k in (lesson.Adam, lesson.AdamW)]
    assert (ours[0] - ours[1]).abs().max() > 0.01


def test_gradients_a_thousand_times_as_large_make_the_same_steps():
    gradients = torch.randn(50).double()
    paths = [
        one_weight(lesson.Adam, scale * gradients, lr=0.1)
        for scale in (1, 1000)
    ]
    assert paths[0] == pytest.approx(paths[1], abs=1e-4)


def test_adam_keeps_two_numbers_for_each_parameter():
    net, (batches, _) = network(0), moments.digit_draws(1)[0]
    adam = torch.optim.Adam(net.parameters())
    learn(net, adam, batches[:1])
    names = ("exp_avg", "exp_avg_sq")
    kept = sum(s[n].numel() for s in adam.state.values() for n in names)
    assert kept == 2 * 2410


def digit_images():
    return torch.cat([x for x, _ in moments.digit_draws(epochs=5)[0][0]])


def test_who_moves_the_weights_at_the_rim():
    columns = moments.pixels(lesson.Adam)
    usual, by_adam, by_sgd = columns.values()
    order = usual.argsort()
    few, many = order[:16], order[-16:]
    assert by_sgd[many].mean() > 20 * by_sgd[few].mean()
    assert by_adam[many].mean() < 2 * by_adam[few].mean()
    rows = moments.pixel_rows(columns)
    assert rows[0] == ["16 smallest", "0.00016", "0.16", "0.004"]
    assert rows[1] == ["16 largest", "0.012", "0.23", "0.14"]
    at_the_rim = (few % 8 == 0) | (few % 8 == 7)
    assert at_the_rim.sum() >= 14
    (black,) = (digit_images().sum(0) == 0).nonzero(as_tuple=True)
    assert len(black) == 3 and (by_adam[black] == 0).all()
    assert f"{usual[many].mean() / usual[few].mean():.0f}" == "75"
    moving = few[by_adam[few] > 0]
    assert len(moving) == 13
    assert f"{by_adam[many].mean() / by_adam[moving].mean():.1f}" == "1.2"
    assert ((by_adam == 0) == (usual == 0)).all() and (usual == 0).sum() == 3


def test_on_digits_none_wins_and_on_units_adam_does(raced):
    right = moments.at_best(raced)
    digits, units = (
        {name: values[:, place] for name, values in right.items()}
        for place in (0, 1)
    )
    assert within_reach(digits) == ["SGD", "momentum", "Adam"]
    assert within_reach(units) == ["Adam"]
    assert units["Adam"].min() > 91
    assert max(units["SGD"].max(), units["momentum"].max()) < 90
    assert min(values.min() for values in digits.values()) > 93


def test_each_rate_is_chosen_by_the_loss_and_is_inside_the_table(raced):
    chosen = moments.chosen(RATES, raced)
    assert chosen == (
        "for digits SGD 1, momentum 0.3, Adam 0.03; "
        "for units SGD 0.3, momentum 0.1, Adam 0.03"
    )
    beyond = moments.race([3], moments.digit_draws(epochs=5))
    best = moments.best_places(raced["digits"])
    for name, values in beyond.items():  # SGD's 1 is the table's last
        at_best = raced["digits"][name][:, best[name]]
        assert values[:, 0, 1].min() > at_best[:, 1].max()
    assert f"{beyond['SGD'][:, 0, 0].median():.1f}" == "9.4"


def test_a_rate_of_nan_is_not_the_best():
    losses = torch.tensor([[math.nan, 2.0, 1.0]]).T.expand(3, 2)
    assert moments.best_places({"Adam": losses.expand(5, 3, 2)}) == {"Adam": 2}


def test_in_half_precision_eps_is_0_and_the_network_nan(draws):
    assert torch.tensor(1e-8).half() == 0
    smallest = torch.finfo(torch.half).smallest_normal * 2**-10
    assert f"{smallest:.8f}" == "0.00000006"
    assert (
        torch.tensor(smallest).half() > 0 == torch.tensor(smallest / 2.1).half()
    )
    for wrong, right in zip(
        [lesson.wrong_half([d]) for d in draws],
        [lesson.right_half([d]) for d in draws],
        strict=True,
    ):
        assert math.isfinite(wrong[0]) and all(map(math.isnan, wrong[1:]))
        assert all(map(math.isfinite, right))


def test_a_larger_eps_in_half_precision_fails_too(draws):
    for seed, (batches, _) in enumerate(draws):
        net = network(seed).half()
        adam = torch.optim.Adam(net.parameters(), lr=0.01, eps=1e-7)
        losses = learn(net, adam, [(x.half(), y) for x, y in batches])
        assert losses[-1].isnan()
    weight = nn.Parameter(torch.ones(1).half())
    weight.grad = torch.tensor([0.005]).half()
    adam = torch.optim.Adam([weight], lr=0.01, eps=1e-7)
    adam.step()
    assert adam.state[weight]["exp_avg_sq"] == 0
    assert 415 < 1 - weight.item() < 425


def numbers(text):
    """Median, smallest and largest of a spread."""
    return [float(n) for n in re.findall(r"\d+\.\d+", text)]


def test_new_moments_each_epoch_raise_the_loss(draws):
    wrong, right = (
        numbers(f(draws)) for f in (lesson.wrong_epoch, lesson.right_epoch)
    )
    assert len(wrong) == len(right) == 3
    assert min(wrong) > max(right)


def test_a_new_adams_first_step_moves_a_fifth_to_a_third_far(draws):
    for seed, (batches, _) in enumerate(draws):
        shares = {}
        for new in (True, False):
            net = network(seed)
            adam = torch.optim.Adam(net.parameters(), lr=0.1)
            for i in range(0, 115, 23):
                if new:
                    adam = torch.optim.Adam(net.parameters(), lr=0.1)
                before = nn.utils.parameters_to_vector(net.parameters())
                learn(net, adam, batches[i : i + 1])
                after = nn.utils.parameters_to_vector(net.parameters())
                learn(net, adam, batches[i + 1 : i + 23])
            shares[new] = ((after - before).abs() > 0.09).float().mean()
        assert 0.2 < shares[True] < 0.34 and shares[False] == 0


def test_adam_leads_in_other_units_too():
    for seed in (1, 2, 3):
        raced = moments.race(RATES, moments.digit_draws(5, moments.units(seed)))
        best = moments.best_places(raced)
        right = {n: v[:, best[n], 0] for n, v in raced.items()}
        assert within_reach(right) == ["Adam"]


def test_units_are_left_in_what_a_step_does(raced):
    """Divide weights and steps by the factor: the digits' run comes back."""
    factors = moments.units(0)

    class Divided(lesson.Adam):
        @torch.no_grad()
        def step(self):
            before = self.weights[0].clone()
            super().step()
            move = self.weights[0] - before
            self.weights[0].copy_(before + move / factors)

    digit_draws = moments.digit_draws(epochs=5)
    in_units = moments.digit_draws(epochs=5, factors=factors)
    for seed in (0, 1):
        plain, net = network(seed), network(seed)
        with torch.no_grad():
            net[0].weight.div_(factors)
        adam = lesson.Adam(plain.parameters(), lr=0.03)
        losses = learn(plain, adam, digit_draws[seed][0])
        divided = Divided(net.parameters(), lr=0.03)
        same = learn(net, divided, in_units[seed][0])
        torch.testing.assert_close(losses, same, atol=0.01, rtol=0)
    digits, units = moments.at_best(raced)["Adam"].unbind(1)
    assert units.max() < digits.min()


def test_a_restart_with_the_state_dict_changes_nothing(draws):
    batches, _ = draws[0]
    net, resumed = network(0), network(0)
    losses = learn(net, torch.optim.Adam(net.parameters(), lr=0.1), batches)
    before, parts = None, []
    for i in range(0, 115, 23):
        adam = torch.optim.Adam(resumed.parameters(), lr=0.1)
        if before:
            adam.load_state_dict(before.state_dict())
        parts.append(learn(resumed, adam, batches[i : i + 23]))
        before = adam
    torch.testing.assert_close(torch.cat(parts), losses)


def test_at_a_small_rate_new_moments_drown_in_the_spread(draws):
    highest = {}
    for new in (True, False):
        found = []
        for seed, (batches, _) in enumerate(draws):
            net = network(seed)
            adam = torch.optim.Adam(net.parameters(), lr=0.01)
            for i in range(0, 115, 23):
                if new:
                    adam = torch.optim.Adam(net.parameters(), lr=0.01)
                losses = learn(net, adam, batches[i : i + 23])
            found.append(losses.max())
        highest[new] = torch.stack(found)
    assert highest[True].min() <= highest[False].max()


def test_a_network_in_half_learns_with_a_large_eps(draws):
    nets = []
    for seed in SEEDS:
        net, (batches, test) = network(seed).half(), draws[seed]
        adam = torch.optim.Adam(net.parameters(), lr=0.01, eps=1e-4)
        learn(net, adam, [(x.half(), y) for x, y in batches])
        nets.append(net)
    assert shares_right(nets, (test[0].half(), test[1])).min() > 0.9


def test_the_exercise_has_an_answer():
    gradients = torch.randn(50)
    weight = nn.Parameter(torch.ones(1))
    adam, ours = (
        torch.optim.Adam([weight], 0.1, betas=(0.0, 0.0)),
        torch.ones(1),
    )
    for gradient in gradients[:, None]:
        weight.grad = gradient
        adam.step()
        ours = ours - 0.1 * gradient.sign()
    assert (weight - ours).abs().max() < 1e-4


def test_the_command_says_what_was_measured(ran, width, read_events, only_run):
    output, folder = ran
    said = " ".join(output.split())
    for line in (
        "1 - 0.1 = 0.9. n = 2: first is 0.9 * 0.05 - 0.1 * 0.5 = -0.005",
        "0.9 + 0.1 * 0.026316 / 0.5 = 0.90526",
        "0.5 0.95 0.9 0.9 0.85",
        "500 -49 0.9 0.9 0.85",
        "SGD goes to 1 - 0.1 * 500 = -49",
        "divided by anything: 1 - 0.1 * 0.5 * 1 = 0.95",
        "✓ 2 steps = torch.optim.Adam: largest difference",
        "✓ this table = torch.optim: largest difference",
        "✓ Both, 50 steps of 20 random shapes: largest difference",
        "✓ Both, 50 steps of a network: largest difference",
        "after 115 steps",
        "digits: SGD, momentum, Adam lead. units: Adam lead.",
        '"Adam is best" fails',
    ):
        assert line in said, line
    assert width(output) <= 80
    events = read_events(only_run(folder, "adam-demo"))
    assert sorted(events.Tags()["images"]) == ["rates", "usual"]
    for tag in ("rates", "usual"):
        (image,) = events.Images(tag)
        assert image.width > 400


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--lr", 10), ("1 - 10 = -9", "-9 + 10 * 0.026316 / 0.5 = -8.4737")),
        (("--lr", 0.001), ("1 - 0.001 = 0.999", "0.999 + 0.001 *")),
        (("--epochs", 1), ("after 23 steps", "digits: momentum, Adam lead.")),
    ],
)
def test_options_change_the_screen(run_cli, tmp_path, words, shown):
    few = () if "--epochs" in words else ("--epochs", 1)
    result = run_cli("adam-demo", *words, *few, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert all(part in said for part in shown)


def test_the_lines_to_remember(ran, draws):
    lines = re.findall(r"│ • (.*?) *│", ran[0])
    assert len(lines) == 3
    right = {}
    for lr in (0.001, 0.03):
        found = []
        for seed, (batches, test) in enumerate(draws):
            names = {"torch": torch, "model": network(seed)}
            exec(lines[0].replace("0.03", str(lr)), names)
            learn(names["model"], names["optimizer"], batches)
            found.append(100 * shares_right([names["model"]], test))
        right[lr] = torch.cat(found)
    middle = {lr: f"{found.median():.1f}" for lr, found in right.items()}
    assert middle == {0.001: "86.5", 0.03: "97.0"}
    assert right[0.001].max() < right[0.03].min()
    default = torch.optim.AdamW([nn.Parameter(torch.ones(1))]).defaults["lr"]
    assert default == 0.001


def test_the_lender_lends_no_longer():
    assert [*lesson.WORDS] == ["moment", "Adam", "AdamW"]
    assert not lesson.WORDS.keys() & checkpoint_demo.WORDS.keys()


@pytest.mark.parametrize(
    "words",
    [
        ("--lr", 0),
        ("--lr", 11),
        ("--lr", "nan"),
        ("--lr", "inf"),
        ("--epochs", 0),
        ("--epochs", 51),
        ("--epochs", 1.5),
    ],
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("adam-demo", *words).exit_code == 2


def test_a_logdir_that_is_a_file_exits_1(run_cli, tmp_path):
    file = Path(tmp_path, "file")
    file.touch()
    result = run_cli("adam-demo", "--logdir", file)
    assert result.exit_code == 1 and "Can't write to" in result.stderr
