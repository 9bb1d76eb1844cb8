"""sgd-demo: its optimizer, its mistakes, what it measures and what it says."""

import inspect
import math
import re
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from lessons import checkpoint_demo, train_cifar
from lessons import sgd_demo as lesson
from shared.graphs import operations
from shared.practice import descent
from shared.practice.descent import network, walk, walks, ways
from shared.seeds import SEEDS, shares_right, spread

RATES = [0.001, 0.01, 0.1, 1, 10]


@pytest.fixture(scope="module")
def data():
    return descent.digit_batches(epochs=5)


@pytest.fixture(scope="module")
def measured(data):
    """The highest loss, the last, % right, dead: (5, 4) for each rate."""
    ends, firsts = descent.try_rates(lesson.learn, RATES, 0.9, data)
    return ends, firsts


def percents(text: str) -> list[int]:
    """Median, smallest and largest of a spread."""
    return [int(n) for n in re.findall(r"(\d+)%", text)]


def one(number: float = 1.0) -> torch.Tensor:
    return torch.tensor([number], dtype=torch.float64)


def test_a_step_is_that_of_train_cifar():
    pair = (inspect.getsource(m.sgd_step) for m in (lesson, train_cifar))
    assert len({*pair}) == 1


def test_the_loop_is_that_of_train_cifar():
    """The lines that a learner will recognise, in the same order."""
    for line in (
        "loss = F.cross_entropy(",
        "optimizer.zero_grad()  # forget the gradients of the last batch\n",
        "loss.backward()  # the gradient of each weight\n",
        "optimizer.step()  # sgd_step, for every weight\n",
    ):
        for function in (lesson.learn, train_cifar.train):
            assert line in inspect.getsource(function)


def test_50_steps_are_those_of_pytorch():
    settings = ways(0.1, 0.9, 0.01)
    ours, theirs = (
        descent.trained(lesson.learn, kind)
        for kind in (lesson.SGD, torch.optim.SGD)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    start = network(0).state_dict()
    assert len(ours) == 4 * len(start)
    for way in settings:
        moved = [(start[n] - ours[f"{way}, {n}"]).abs().max() for n in start]
        assert min(moved) > 0.01
    ends = [ours[f"{way}, 0.weight"] for way in settings]
    assert all((a - b).abs().max() > 1e-3 for a, b in combinations(ends, 2))
    assert sum(tensor.numel() for tensor in start.values()) == 2410


def test_the_four_ways_differ_from_each_other():
    paths = walks(lesson.SGD, ways(0.1, 0.9, 0.5), one(), one())
    second = {n: round(p[2].item(), 4) for n, p in paths.items()}
    assert second == {
        "plain SGD": 0.64,
        "momentum": 0.46,
        "Nesterov": 0.2224,
        "weight decay": 0.5625,
    }


@pytest.mark.parametrize("scale", [1e-3, 1, 1e6])
def test_walks_agree_however_large_the_weights(scale):
    for settings in ways(0.1, 0.9, 0.5).values():
        ours, theirs = (
            walk(lambda w, k=k, s=settings: k(w, **s), one(), one(scale))
            for k in (lesson.SGD, torch.optim.SGD)
        )
        torch.testing.assert_close(ours, theirs, atol=0, rtol=1e-9)


def diverges(settings: dict, steepness: float, steps: int = 3000) -> bool:
    make = partial(lesson.SGD, **settings)
    path = walk(make, one(steepness), one(), steps)
    sizes = path.abs().nan_to_num(math.inf)
    return bool(sizes[-100:].max() > 1e3)


@pytest.mark.parametrize(
    ("name", "momentum", "border"),
    [
        ("plain SGD", 0.9, 0.111),
        ("momentum", 0.9, 0.211),
        ("momentum", 0.5, 0.167),
        ("Nesterov", 0.9, 0.075),
        ("Nesterov", 0.5, 0.083),
        ("Nesterov", 0.1, 0.102),
    ],
)
def test_the_rates_beyond_which_y_diverges_in_the_valley(
    name, momentum, border
):
    shown = (1 + momentum) / 9 / (1 + 2 * momentum)
    assert name != "Nesterov" or f"{shown:.3f}" == f"{border}"
    for lr, expected in ((0.985 * border, False), (1.015 * border, True)):
        assert diverges(ways(lr, momentum)[name], 9) is expected


@pytest.mark.parametrize("momentum", [0, 0.2, 0.5, 0.9])
def test_the_exercise_can_be_checked_as_it_says(momentum):
    for change, further in ((1.01, True), (0.99, False)):
        settings = {"lr": change * (1 + momentum), "momentum": momentum}
        path = walk(lambda w, s=settings: lesson.SGD(w, **s), one(), one())
        assert (path[50].abs() > 1).item() is further


def test_nesterov_is_ahead_in_the_valley_with_the_rate_that_is_named():
    steepness, start = torch.tensor([[0.1, 9], [-9, 1]]).double()
    paths = walks(lesson.SGD, ways(0.05, 0.9), steepness, start)
    losses = {n: (steepness * p[-1] ** 2).sum() for n, p in paths.items()}
    assert min(losses, key=losses.get) == "Nesterov"


def test_without_zero_grad_plain_sgd_is_sgd_with_momentum_1(data):
    batches, _ = data
    forgetful, heavy = network(0), network(0)
    optimizer = torch.optim.SGD(forgetful.parameters(), 0.1)
    for images, labels in batches:
        F.cross_entropy(forgetful(images), labels).backward()
        optimizer.step()
    other = torch.optim.SGD(heavy.parameters(), 0.1, momentum=1)
    lesson.learn(heavy, other, batches)
    pair = forgetful.state_dict(), heavy.state_dict()
    torch.testing.assert_close(*pair, atol=0, rtol=0)


def test_an_optimizer_of_the_whole_old_network_hides_the_mistake(data):
    batches, test = data
    for net in (nets := [network(seed) for seed in SEEDS]):
        optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
        net[2] = nn.Linear(32, 10)
        lesson.learn(net, optimizer, batches)
    found = spread(shares_right(nets, test), ".0%")
    assert percents(found)[0] == 89


@pytest.mark.parametrize("momentum", [0.3, 0.5, 0.99])
def test_the_exercise_has_a_rule(momentum):
    for lr, expected in (
        (0.98 * (1 + momentum), False),
        (1.02 * (1 + momentum), True),
    ):
        assert diverges(ways(lr, momentum)["momentum"], 1) is expected


def test_beyond_its_rate_sgd_diverges_as_the_text_says():
    path = walk(lambda w: lesson.SGD(w, lr=1.1), one(), one(), 2)
    torch.testing.assert_close(
        path.flatten(), torch.tensor([1, -1.2, 1.44]).double()
    )


def test_momentum_loses_on_the_bowl_and_wins_in_the_valley():
    bowl = walks(lesson.SGD, ways(0.1, 0.9), one(), one())
    assert bowl["momentum"][-1].abs() > 1000 * bowl["plain SGD"][-1].abs()
    steepness, start = torch.tensor([[0.1, 9], [-9, 1]]).double()
    valley = walks(lesson.SGD, ways(0.1, 0.9), steepness, start)
    losses = {n: (steepness * p[-1] ** 2).sum() for n, p in valley.items()}
    assert losses["momentum"] < losses["plain SGD"] / 10
    assert losses["Nesterov"] > 1e20


def test_the_five_rates(measured):
    ends, _ = measured
    right = {name: found[:, 2] for name, found in ends.items()}
    assert (right["lr 0.1"] > 94).all()
    for name in ("lr 0.001", "lr 1", "lr 10"):
        assert right[name].max() < right["lr 0.01"].min()
    assert right["lr 0.01"].max() < right["lr 0.1"].min()
    assert ends["lr 0.001"][:, 1].min() > 2.2  # hardly below ln 10
    assert ends["lr 10"][:, 0].min() > 4 * math.log(10)


def test_after_the_largest_rate_nothing_comes_through_relu(measured, data):
    ends, _ = measured
    assert ends["lr 10"][:, 3].tolist() == [32] * 5
    assert ends["lr 0.1"][:, 3].max() < 10
    net = network(0)
    optimizer = torch.optim.SGD(net.parameters(), 10, momentum=0.9)
    lesson.learn(net, optimizer, data[0])
    images, labels = data[0][0]
    F.cross_entropy(net(images), labels).backward()
    assert net[0].weight.grad.abs().max() == net[0].bias.grad.abs().max() == 0
    with torch.no_grad():
        assert net(images).std(0).max() < 1e-4  # one guess for all


def test_without_zero_grad_five_networks_guess(data):
    wrong, right = (f(*data) for f in (lesson.wrong_loop, lesson.right_loop))
    assert max(percents(wrong)) < 20 and min(percents(right)) > 94


def test_without_momentum_the_largest_good_rate_is_larger(data):
    ends, _ = descent.try_rates(lesson.learn, [0.1, 1], 0, data)
    medians = {name: found[:, 2].median() for name, found in ends.items()}
    assert medians["lr 0.1"] < 90 and round(medians["lr 1"].item()) == 95
    heavy, _ = descent.try_rates(lesson.learn, [0.1], 1, data)
    assert round(heavy["lr 0.1"][:, 2].median().item()) == 83


def test_before_training_at_most_one_number_is_dead(data):
    found = {descent.dead(network(seed), data[0]).item() for seed in SEEDS}
    assert found == {0, 1}


def test_if_all_are_dead_only_the_last_biases_get_a_gradient(data):
    net = network(0)
    with torch.no_grad():
        net[0].bias.fill_(-100)
    images, labels = data[0][0]
    F.cross_entropy(net(images), labels).backward()
    moved = [name for name, p in net.named_parameters() if p.grad.any()]
    assert moved == ["2.bias"]


@pytest.mark.parametrize("steepness", [0.1, 9])
def test_momentum_shrinks_swings_along_both_by_its_root(steepness):
    path = walk(
        partial(lesson.SGD, lr=0.1, momentum=0.9), one(steepness), one(), 450
    ).flatten()
    sizes = [path[i : i + 150].abs().max().item() for i in (50, 250)]
    assert (sizes[1] / sizes[0]) ** (1 / 200) == pytest.approx(
        0.9**0.5, abs=2e-3
    )


def test_the_new_layer_never_moves_and_the_rebuilt_optimizer_moves_it(data):
    wrong, right = (f(*data) for f in (lesson.wrong_layer, lesson.right_layer))
    assert max(percents(wrong)) < 25 and min(percents(right)) > 60
    net = network(0)
    optimizer = torch.optim.SGD(net[2].parameters(), 0.1, momentum=0.9)
    net[2] = nn.Linear(32, 10)
    before = net[2].weight.detach().clone()
    lesson.learn(net, optimizer, data[0][:20])
    assert torch.equal(net[2].weight, before)


def test_the_sum_of_losses_holds_every_graph(data):
    batches, _ = data
    said = "operations in the graph of total: "
    assert lesson.wrong_total(network(0), batches) == f"{said}{100 * 8 + 4}"
    assert lesson.right_total(network(0), batches) == f"{said}0"
    net = network(0)
    single = operations(F.cross_entropy(net(batches[0][0]), batches[0][1]))
    assert single == 7 + 4  # and one more to add it up


def test_a_number_has_no_operations():
    assert operations(1.5) == operations(torch.ones(2)) == 0
    leaf = torch.ones(2, requires_grad=True)
    assert operations(leaf) == 0 and operations(leaf * leaf) == 2


def test_a_step_keeps_no_graph():
    weight = torch.ones(1, requires_grad=True)
    optimizer = lesson.SGD([weight], lr=0.1, momentum=0.9)
    (weight * weight).sum().backward()
    optimizer.step()
    assert weight.is_leaf and weight.grad_fn is None
    assert not optimizer.velocities[0].requires_grad


def test_command_prints_the_worked_cases(ran, width):
    output, _ = ran
    said = " ".join(output.split())
    for line in (
        "Step 1, plain SGD and momentum: 1 - 0.1 * 2 = 0.8",
        "0.9 * 2 + 2 * 0.8 = 3.4, and 0.8 - 0.1 * 3.4 = 0.46",
        "0.9 * 2 + 2 = 3.8, 1 - 0.1 * 3.8 = 0.62",
        "the gradient 2 + 0.5 * 1: 1 - 0.1 * 2.5 = 0.75",
        "plain SGD 1 0.8 0.64 0.512 0.4096 1.427e-05",
        "momentum 1 0.8 0.46 0.062 -0.3086 -0.0305",
        "✓ 2 steps in 4 ways = torch.optim.SGD: largest difference",
        "✓ 4 ways, 2,410 parameters each: largest difference",
        "3 (2 to 5)",
        "lr 10 3.55 (2.83 to 5.06) 10.1 (8.42 to 11.8) 32 (32 to 32)",
        "0.111 (plain SGD), 0.211 (momentum 0.9), 0.075 (Nesterov)",
        "Mistake 3 of 3",
        "✗ operations in the graph of total: 804",
    ):
        assert line in said
    assert width(output) <= 80


def test_the_events(ran, read_events, only_run, drawn, measured):
    folder = only_run(ran[1], "sgd-demo")
    events = read_events(folder)
    assert sorted(drawn(events)) == ["rates", "valley"]
    ends, firsts = measured
    runs = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert runs == sorted(firsts)  # and none named by the time
    for name, first in firsts.items():
        events = read_events(folder / name)
        tags = ["loss/train", *descent.RESULTS]
        assert sorted(events.Tags()["scalars"]) == sorted(tags)
        points = events.Scalars("loss/train")
        assert [point.step for point in points] == [*range(115)]
        losses = torch.tensor([point.value for point in points])
        torch.testing.assert_close(losses, first.losses)
        for place, tag in enumerate(descent.RESULTS):
            (point,) = events.Scalars(tag)
            assert point.value == pytest.approx(ends[name][0, place].item())
        assert "_hparams_/session_start_info" in events.summary_metadata


def test_without_run_name_add_hparams_opens_a_run_named_by_the_time(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_hparams({"lr": 0.1}, {"result/right": 1.0})
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert float(folder.name) > 1e9


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--lr", 1.91), ("1 - 1.91 * 2 = -2.82", "lr 191")),
        (("--momentum", 0), ("0.111 (momentum 0), 0.111 (Nesterov)", "lr 10")),
        (("--lr", 2, "--momentum", 1), ("1 - 2 * 2 = -3", "lr 200")),
        (("--lr", 0.001), ("1 - 0.001 * 2 = 0.998", "lr 1e-05")),
    ],
)
def test_options_change_the_screen(ran, run_cli, tmp_path, words, shown):
    result = run_cli("sgd-demo", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output != ran[0]
    said = " ".join(result.output.split())
    assert all(part in said for part in shown)


def test_the_lines_to_remember_run(ran):
    lines = re.findall(r"│ • (.*?) *│", ran[0])
    images, labels = torch.randn(4, 64), torch.arange(4)
    names = {"torch": torch, "F": F, "model": network(0), "lr": 0.1}
    names |= {"momentum": 0.9, "images": images, "labels": labels}
    before = network(0).state_dict()
    exec("\n".join(lines), names)
    after = names["model"].state_dict()
    assert len(lines) == 3
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_the_lenders_lend_no_longer():
    for lender in (checkpoint_demo, train_cifar):
        assert not lesson.WORDS.keys() & lender.WORDS.keys()
    words = "optimizer, step, learning rate, momentum, weight decay, diverge"
    assert [*lesson.WORDS] == words.split(", ")


@pytest.mark.parametrize(
    "words",
    [
        ("--lr", 0),
        ("--lr", 2.1),
        ("--lr", "nan"),
        ("--lr", "inf"),
        ("--momentum", -0.1),
        ("--momentum", 1.1),
        ("--momentum", "nan"),
    ],
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("sgd-demo", *words).exit_code == 2


def test_a_logdir_that_is_a_file_exits_1(run_cli, tmp_path):
    file = Path(tmp_path, "file")
    file.touch()
    result = run_cli("sgd-demo", "--logdir", file)
    assert result.exit_code == 1 and "Can't write to" in result.stderr
