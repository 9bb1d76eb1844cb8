"""norm-demo: its mistakes, what it measures, and what it says."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18

from lessons import norm_demo as lesson
from lessons import save_load_demo
from lessons.norm_demo import network
from shared.datasets.embedded import digits
from shared.practice.norms import states
from shared.seeds import SEEDS, say_ahead, shares_right


@pytest.fixture(scope="module")
def sets():
    train, test = ((s.images.flatten(1) / 255, s.labels) for s in digits())
    return {"train": train, "test": (test[0][:296], test[1][:296])}


def percents(text: str) -> list[int]:
    """Median, smallest and largest of each spread in a text."""
    return [int(n) for n in re.findall(r"(\d+)%", text)]


def test_in_pairs_eval_is_missed_and_in_shuffled_batches_of_64_it_is_not(sets):
    wrong, right = lesson.wrong_pairs(**sets), lesson.right_pairs(**sets)
    assert all(45 < n < 65 for n in percents(wrong[2]))
    for good in (wrong[64], right[2], right[64]):
        assert all(n >= 95 for n in percents(good))


def test_sorted_by_class_neither_2_nor_64_hide_it(sets):
    """Why the lesson says mixed."""
    images, labels = sets["test"]
    order = labels.argsort(stable=True)
    by_class = images[order], labels[order]
    nets = [lesson.learn(network(True, s), 0.1, sets["train"]) for s in SEEDS]
    assert 0.55 < shares_right(nets, by_class, 64).median() < 0.7
    assert 0.08 < shares_right(nets, by_class, 2).median() < 0.14


class Follows(nn.Module):
    """In eval mode, but its statistics are the batch's, without gradients."""

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x):
        with torch.no_grad():
            self.norm.running_mean.copy_(x.mean(0))
            self.norm.running_var.copy_(x.var(0, correction=0))
        mean, var = self.norm.running_mean, self.norm.running_var
        return F.batch_norm(
            x, mean.clone(), var.clone(), self.norm.weight, self.norm.bias
        )


def test_it_is_the_statistics_standing_still_that_breaks_them(sets):
    train, test = sets.values()
    for seed in SEEDS:
        net = lesson.learn(network(True, seed), 0.5, train, epochs=1)
        net[1] = Follows(net[1].eval())
        assert shares_right([lesson.learn(net, 0.5, train, 4)], test) > 0.9


def test_train_forgotten_after_a_look_breaks_all_five(sets):
    assert all(n < 30 for n in percents(lesson.wrong_look(**sets)))
    assert all(n > 95 for n in percents(lesson.right_look(**sets)))


def test_at_the_small_rate_none_breaks(sets):
    train, test = sets.values()
    for seed in SEEDS:
        net = lesson.learn(network(True, seed), 0.1, train, epochs=1).eval()
        counted = net[1].num_batches_tracked.item()
        lesson.learn(net, 0.1, train, epochs=4)
        assert net[1].num_batches_tracked == counted == 23
        assert shares_right([net], test) > 0.9


def test_a_batch_of_one_fails_in_training_only(sets):
    images = sets["train"][0]
    with pytest.raises(ValueError, match="Expected more than 1 value"):
        lesson.wrong_last(images)
    assert lesson.right_last(images) == [64, 64]
    twice = [nn.BatchNorm1d(64)(images[[i, i]]) for i in (0, 1)]
    assert all(out.abs().max() < 1e-4 for out in twice)  # bias, whatever it is
    assert nn.BatchNorm2d(3)(torch.rand(1, 3, 1, 2)).shape == (1, 3, 1, 2)
    with pytest.raises(ValueError, match="Expected more than 1 value"):
        nn.BatchNorm2d(3)(torch.rand(1, 3, 1, 1))


def test_frozen_networks_forget_unless_in_eval_mode(sets):
    train, test = sets.values()
    for mode in (True, False):
        nets = [lesson.learn(network(True, s), 0.1, train) for s in SEEDS]
        for net in nets:
            weight = net[0].weight.clone()
            net.requires_grad_(False).train(mode)
            for images in train[0].split(64):
                net(2 * images - 1)
            assert torch.equal(net[0].weight, weight)
        right = shares_right([net.eval() for net in nets], test)
        assert right.max() < 0.92 if mode else right.min() > 0.95


def test_train_undoes_the_eval_of_a_layer():
    net = network(True, 0)
    net[1].eval()
    assert net.train()[1].training


def test_batch_norm_is_above_at_two_rates_and_not_at_the_third(sets):
    train, test = sets.values()
    shares = {
        (norm, lr): shares_right(
            [lesson.learn(network(norm, s), lr, train).eval() for s in SEEDS],
            test,
        )
        for norm in (True, False)
        for lr in (0.1, 1, 2, 10)
    }
    for lr in (0.1, 2):
        assert shares[True, lr].min() > 0.95
        assert shares[True, lr].min() > shares[False, lr].max()
    assert shares[False, 1].min() > 0.93  # "Try --lr 1"
    assert f"{shares[False, 1].median():.0%}" in ("95%", "96%", "97%")
    assert shares[False, 2].max() < 0.4
    assert shares[True, 10].max() < 0.6


def test_who_is_ahead_is_said_only_where_no_spreads_touch(capsys):
    columns = {"a": 0, "b": 1}
    low, high = torch.tensor([[1, 1], [2, 2]]), torch.tensor([[3, 2], [4, 9]])
    say_ahead(columns, {"without": low, "with": high})
    said = " ".join(capsys.readouterr().out.split())
    assert said == 'All 2 "with" are above all 2 "without" at: a. Not at: b.'
    say_ahead(columns, {"without": high, "with": low})
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith(' above all 2 "without" at: none of these.')


@pytest.mark.parametrize("scale", [10, 1000])
def test_a_larger_column_comes_out_the_same(scale):
    pair = lesson.COLUMN, scale * lesson.COLUMN
    one, other = (lesson.BatchNorm(1)(x) for x in pair)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_of_a_pair_only_the_larger_is_left(sets):
    images = sets["train"][0]
    for i in range(0, 40, 2):
        a, b = images[i : i + 2]
        out = lesson.BatchNorm(64)(images[i : i + 2])[0]
        torch.testing.assert_close(out, (a - b).sign(), atol=0.01, rtol=0)


def test_20_batches_agree_through_training_and_evaluation():
    for shape, kind in (
        ((64, 7), nn.BatchNorm1d),
        ((5, 7, 4, 6), nn.BatchNorm2d),
    ):
        batches = [3 * torch.randn(shape) + 1 for _ in range(20)]
        ours, theirs = (
            states(lesson.BatchNorm(7), batches),
            states(kind(7), batches),
        )
        assert len(ours) == 20 * (1 + 5 + 1)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_by_hand_loads_pytorchs_state_dict_and_the_other_way_round():
    ours, theirs = lesson.BatchNorm(4), nn.BatchNorm1d(4)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs(torch.randn(9, 4))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 4)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.half])
def test_dropout_with_the_same_mask_is_pytorchs(p, dtype):
    for x in (torch.randn(40, 30), torch.randn(30, 40).T, torch.zeros(0, 3)):
        results = []
        for function in (lesson.dropout, F.dropout):
            torch.manual_seed(1)
            leaf = x.to(dtype).requires_grad_()
            out = function(leaf, p)
            results.append((out, *torch.autograd.grad(out.sum(), leaf)))
        torch.testing.assert_close(*results, atol=0, rtol=1e-3)
        assert torch.equal(lesson.dropout(leaf, p, False), leaf)


def test_command_prints_the_worked_cases_and_logs_the_figures(
    ran, width, read_events, only_run
):
    output, folder = ran
    said = " ".join(output.split())
    for line in (
        "(2.25 + 0.25 + 0.25 + 2.25) / 4 = 5 / 4 = 1.25",
        "(1 - 2.5) / 1.118 = -1.34",
        "0.9 * 0 + 0.1 * 2.5 = 0.25",
        "0.9 * 1 + 0.1 * 5 / 3 = 1.0667, its root 1.0328",
        "(1 - 0.25) / 1.0328 = 0.73",
        "└ 4.00 ┘ └ 1.34 ┘ └ 3.63 ┘ └ 1.34 ┘",
        "✓ BatchNorm = nn.BatchNorm2d: largest difference",
        "✓ dropout = F.dropout, same seed: largest difference 0",
        "[ 0.75 0.69 ] [ 0.94 0.56 ] [ 0.39 0.54 ] [ -1.00 1.00 ]",
        "487 stayed by chance: 487 * 8 / 1000 = 3.896.",
        'All 5 "with" are above all 5 "without" at: lr 0.1, lr 2. Not at: lr',
        "def network(norm: bool, seed: int)",
        "def learn(net: Net, lr: float",
        "Mistake 3 of 3",
    ):
        assert line in said
    assert said.count("✓ BatchNorm = nn.BatchNorm1d: largest") == 2
    assert width(output) <= 80
    events = read_events(only_run(folder, "norm-demo"))
    assert sorted(events.Tags()["images"]) == ["digit", "rates"]
    assert all(len(events.Images(tag)) == 1 for tag in ("digit", "rates"))


def test_the_numbers_of_the_paper_case_are_right():
    variance = lesson.COLUMN.var(0, correction=0).item()
    assert variance == 1.25 and f"{variance**0.5:.3f}" == "1.118"
    running = 0.9 * 1 + 0.1 * 5 / 3
    assert f"{running:.4f}" == "1.0667" and f"{running**0.5:.4f}" == "1.0328"
    assert f"{(1 - 0.25) / 1.0328:.2f}" == "0.73"


def test_resnet18_has_a_batch_norm_behind_each_of_20_convolutions():
    with torch.device("meta"):
        kinds = [type(module) for module in resnet18().modules()]
    places = [i for i, kind in enumerate(kinds) if kind is nn.Conv2d]
    assert len(places) == kinds.count(nn.BatchNorm2d) == 20
    assert all(kinds[i + 1] is nn.BatchNorm2d for i in places)


def test_another_learning_rate_changes_the_screen(ran, run_cli, tmp_path):
    small = run_cli("norm-demo", "--lr", 0.5, "--logdir", tmp_path)
    assert small.exit_code == 0, small.output
    assert "lr 0.1" in small.output and "lr 2.5" in small.output
    assert "Not at" in ran[0]


def test_a_rate_of_nought_is_guessing_and_none_is_ahead(run_cli, tmp_path):
    result = run_cli("norm-demo", "--lr", 0, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert "at: lr 0.1. Not at: lr 0." in " ".join(result.output.split())


def test_the_lines_to_remember_run(ran):
    first, second, third = re.findall(r"│ • (.*?) *│", ran[0])
    exec(f"{first}\n{second}\n{third}", names := {})
    net = names["net"]
    assert not net.training and net[1].num_batches_tracked == 1
    exec(third, names)  # and again
    zeros = net[2].train()(torch.ones(10_000)) == 0
    assert 0.48 < zeros.float().mean() < 0.52


def test_the_exercise_has_an_answer_that_is_not_the_first_layer(ran):
    lines = re.findall(r"│ • (.*?) *│", ran[0])
    exec("\n".join(lines), names := {})
    net, rand = names["net"], names["rand"]
    net[1].weight.data *= 3
    both, one = net[:2].eval(), nn.Linear(8, 8)
    first, norm = both
    x = rand(9, 8)
    check = "(one(x) - both(x)).abs().max() < 1e-5"
    assert check in " ".join(ran[0].split())
    tried = names | {"both": both, "x": x}  # nothing else is imported
    assert not eval(check, tried | {"one": one})
    assert not eval(check, tried | {"one": first})
    scale = norm.weight / (norm.running_var + 1e-5).sqrt()
    one.weight.data = scale[:, None] * first.weight
    one.bias.data = scale * (first.bias - norm.running_mean) + norm.bias
    assert eval(check, tried | {"one": one})


def test_save_load_demo_lends_its_words_no_longer():
    assert not lesson.WORDS.keys() & save_load_demo.WORDS.keys()


@pytest.mark.parametrize(
    "words", [("--lr", -1), ("--lr", "nan"), ("--lr", "inf"), ("--lr", "two")]
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("norm-demo", *words).exit_code == 2


def test_a_logdir_that_is_a_file_exits_1(run_cli, tmp_path):
    file = Path(tmp_path, "file")
    file.touch()
    result = run_cli("norm-demo", "--logdir", file)
    assert result.exit_code == 1 and "Can't write to" in result.stderr
