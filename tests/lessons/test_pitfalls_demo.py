"""pitfalls-demo: both halves of every pair, measured once for all tests."""

import inspect
import re
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from cli import app
from lessons import pitfalls_demo as lesson
from shared import scenes
from shared.datasets.embedded import digits
from shared.datasets.made_up import line, noise, rings
from shared.figures import pairs_figure
from shared.seeds import SEEDS

NAMES = scenes.names_of(lesson.__name__)
LEAKS = ["same", "columns", "twins", "best"]
# the median of the wrong side and of the right one, and how far each may be off
MEDIANS = {
    "zero": (11, 98, 4),
    "optimizer": (9, 82, 8),
    "total": (804, 0, 0),
    "softmax": (36, 93, 12),
    "column": (4.1, 0.26, 0.3),
    "list": (25, 96, 15),
    "calls": (48, 100, 12),
    "sorted": (53, 92, 8),
    "apart": (5, 92, 6),
    "dropout": (73, 91, 6),
    "norm": (21, 98, 3),
    "scale": (79, 98, 8),
    "twice": (13, 98, 4),
    "same": (100, 87, 3),
    "columns": (78, 51, 8),
    "twins": (88, 52, 8),
    "best": (66, 51, 5),
}


@pytest.fixture(scope="module")
def sets():
    train, test = ((s.images.flatten(1) / 255, s.labels) for s in digits())
    return {"train": train, "test": test}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The command, run once: its output, its logs, and what was measured."""
    folder, kept = tmp_path_factory.mktemp("logs"), []
    keep = pytest.MonkeyPatch()

    def measure(*names, **given):
        kept.append(measured(*names, **given))
        return kept[-1]

    measured = scenes.measure
    keep.setattr(scenes, "measure", measure)
    words = ["pitfalls-demo", "--logdir", str(folder)]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    keep.undo()
    assert result.exit_code == 0, result.output
    return result.output, folder, *kept


def test_at_least_sixteen_pairs_over_at_least_three_seeds():
    assert len(NAMES) == 17 and len(SEEDS) == 5
    rights = [n for n in vars(lesson) if n.startswith("right_")]
    assert rights == [f"right_{name}" for name in NAMES]
    assert [*MEDIANS] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_all_wrong_numbers_are_on_one_side_of_all_right_ones(ran, name):
    wrong, right = ran[2][name].T
    if name in (*LEAKS, "column", "total"):
        wrong, right = right, wrong
    assert wrong.max() < right.min()


@pytest.mark.parametrize("name", NAMES)
def test_the_medians_are_those_that_were_measured(ran, name):
    wrong, right, off = MEDIANS[name]
    medians = ran[2][name].median(0).values.tolist()
    assert medians == pytest.approx([wrong, right], abs=off)


def test_the_surprises_are_surprises(sets):
    seen = torch.tensor([lesson.surprises(seed, **sets) for seed in SEEDS])
    gift, *harmless = seen.unbind(1)  # each (seeds, 2)
    assert gift[:, 0].min() > gift[:, 1].max()
    for wrong, right in (pair.T for pair in harmless):
        assert wrong.min() <= right.max() and right.min() <= wrong.max()


def no_zero_grad(seed, sets, epochs):
    net = lesson.mlp(seed)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    optimizer.zero_grad = lambda: None
    some = lesson.batches(sets["train"], epochs)
    lesson.learn(net, some, optimizer=optimizer)
    return lesson.accuracy(net, sets["test"])


def test_the_gift_of_3_epochs_is_none_after_20(sets):
    for seed in SEEDS:
        some = lesson.batches(sets["train"], 20)
        right = lesson.learn(lesson.mlp(seed), some)
        assert no_zero_grad(seed, sets, 20) < 70
        assert lesson.accuracy(right, sets["test"]) > 90


def test_in_3_epochs_longer_steps_are_a_gain(sets):
    for seed in SEEDS:
        found = []
        for lr in (0.1, 0.3):
            net = lesson.mlp(seed)
            some = lesson.batches(sets["train"], 3)
            optimizer = torch.optim.SGD(net.parameters(), lr)
            lesson.learn(net, some, optimizer=optimizer)
            found.append(lesson.accuracy(net, sets["test"]))
        assert found[0] < found[1] - 2


def test_the_numbers_in_the_texts_are_right(sets):
    layers = [nn.Linear(n, 32) for n in (64, 32, 32)]
    for kind, count in ((list, 330), (nn.ModuleList, 4522)):
        net = lesson.Stack(kind(layers))
        assert sum(p.numel() for p in net.parameters()) == count
    images, labels = sets["train"][0][:64], sets["train"][1][:64]
    loss = F.cross_entropy(lesson.mlp(0)(images), labels)
    each = lesson.nodes(0 + loss) - 4  # without the parameters
    assert each == 8
    assert 100 * each + 4 == 804
    assert {n: len(t[1]) for n, t in sets.items()} == {
        "train": 1500,
        "test": 297,
    }
    assert all(t[0].min() >= 0 and t[0].max() <= 1 for t in sets.values())
    inputs, targets = line(0)
    assert (inputs.sum(1) - targets).square().mean() == pytest.approx(
        0.25, abs=0.03
    )


def test_of_the_copies_three_of_four_have_a_twin_in_training():
    shares = []
    for seed in SEEDS:
        noise(seed, rows=400, columns=64)
        mixed = torch.randperm(800) % 400
        twins = torch.isin(mixed[600:], mixed[:600])
        shares.append(twins.float().mean().item())
    assert sum(shares) / len(shares) == pytest.approx(0.75, abs=0.03)


def test_the_best_of_300_is_2_to_3_std_above_chance(ran):
    best = ran[2]["best"][:, 0]
    std = 50 / 50**0.5  # of a share of 50 rows, in %
    assert std == pytest.approx(7, abs=0.1)
    assert (((best - 50) / std).round() >= 2).all()
    assert (((best - 50) / std).round() <= 3).all()


def test_twins_are_all_known_and_the_others_are_guessed():
    known, guessed = [], []
    for seed in SEEDS:
        rows = noise(seed, rows=400, columns=64)
        mixed = torch.randperm(800) % 400
        loader = lesson.batches(lesson.part(rows, mixed[:600]), epochs=40)
        net = lesson.learn(lesson.mlp(seed), loader)
        twin = torch.isin(mixed[600:], mixed[:600])
        for found, some in ((known, twin), (guessed, ~twin)):
            asked = lesson.part(rows, mixed[600:][some])
            found.append(lesson.accuracy(net, asked).item())
    assert min(known) == 100
    assert sum(guessed) / len(guessed) == pytest.approx(50, abs=12)


def test_losses_as_tensors_grow_with_the_batches(sets):
    net, total, sizes = lesson.mlp(0), 0, []
    for images, labels in lesson.batches(sets["train"], 1):
        total += F.cross_entropy(net(images), labels)
        sizes.append(lesson.nodes(total))
    assert {after - before for before, after in pairwise(sizes)} == {8}


def test_softmax_twice_leaves_smaller_gradients(sets):
    images, labels = sets["train"]
    for seed in SEEDS:
        sizes = []
        for net in (
            lesson.mlp(seed),
            lesson.mlp(seed).append(nn.Softmax(1)),
        ):
            loss = F.cross_entropy(net(images), labels)
            found = torch.autograd.grad(loss, [*net.parameters()])
            sizes.append(torch.cat([g.flatten() for g in found]).norm())
        assert sizes[1] < 0.3 * sizes[0]


def test_n_by_n_differences_teach_the_mean_of_the_targets():
    for seed in SEEDS:
        inputs, targets = line(seed)
        torch.manual_seed(seed)
        net, some = nn.Linear(4, 1), lesson.batches((inputs, targets))
        lesson.learn(net, some, lambda out, y: (out - y).square().mean())
        outputs = net(inputs)[:, 0].detach()
        assert outputs.std() < 0.3 < 2 < targets.std()
        assert (outputs.mean() - targets.mean()).abs() < 0.3


def test_sgd_moves_neither_the_new_layer_nor_the_one_that_is_gone(sets):
    net = lesson.mlp(0)
    gone = net[-1]
    optimizer = torch.optim.SGD(gone.parameters(), 0.1)
    net[-1] = nn.Linear(64, 10)
    watched = [*net.parameters(), *gone.parameters()]
    before = [p.clone() for p in watched]
    lesson.learn(net, lesson.batches(sets["train"], 1), optimizer=optimizer)
    assert all(map(torch.equal, before, watched))
    assert all(p.grad is None for p in gone.parameters())


def test_an_old_optimizer_of_all_layers_hides_the_mistake(sets):
    for seed in SEEDS:
        net = lesson.mlp(seed)
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        net[-1] = nn.Linear(64, 10)
        some = lesson.batches(sets["train"])
        lesson.learn(net, some, optimizer=optimizer)
        assert 66 < lesson.accuracy(net, sets["test"]) < 91


def test_labels_of_others_teach_to_guess(sets):
    found = torch.stack([lesson.wrong_apart(n, **sets) for n in range(30)])
    assert found.mean() == pytest.approx(9, abs=2)
    assert found.min() < 5 and 15 < found.max() < 45


def test_the_pixels_are_as_the_texts_say(sets):
    images = sets["test"][0]
    assert images.mean() == pytest.approx(0.31, abs=0.005)
    assert images.std() == pytest.approx(0.38, abs=0.005)
    assert images.max() == 1
    assert (images / 255).max() == pytest.approx(0.004, abs=0.0005)


def test_the_mean_of_the_targets_would_have_their_variance():
    for seed in SEEDS:
        targets = line(seed + 100)[1]
        assert targets.var() == pytest.approx(4.25, abs=0.25)


def test_the_exercise_has_an_answer():
    for side, passes in (("wrong", False), ("right", True)):
        net = lesson.mlp(0)
        if side == "right":
            net[-1] = nn.Linear(64, 10)
        optimizer = torch.optim.SGD(net[-1].parameters(), 0.1)
        if side == "wrong":
            net[-1] = nn.Linear(64, 10)
        moved = {id(p) for p in optimizer.param_groups[0]["params"]}
        assert (moved <= {id(p) for p in net.parameters()}) == passes


def test_command_prints_the_table_and_logs_the_figure(
    ran, width, read_events, only_run, drawn
):
    output, folder, measured = ran
    said = " ".join(output.split())
    for name in NAMES:
        assert re.search(rf"^ {name} +✗ ", output, re.MULTILINE)
        for place, function in enumerate(scenes.pair(lesson.__name__, name)):
            title = scenes.told(function)[0]
            unit = lesson.UNITS.get(name, "%")
            gave = scenes.in_words(measured[name][:, place], unit)
            assert f"{'✗✓'[place]} {title} {gave}" in said
    assert f"In {', '.join(LEAKS)} all the wrong numbers are above" in said
    for line_ in (
        "def mlp(seed: int",
        "804 (804 to 804) nodes",
        "Guessing gets some 10 % of the digits",
        "Row 1: sums of gradients",
        "python cli.py pitfalls-demo --only zero",
        "Exercise:",
        "In TensorBoard:",
    ):
        assert line_ in said
    assert width(output) <= 80
    assert len(output.splitlines()) <= 160
    sizes = drawn(read_events(only_run(folder, "pitfalls-demo")))
    assert [*sizes] == ["mistakes"]


@pytest.mark.parametrize(
    ("name", "common"),
    [
        ("zero", ["mlp", "batches", "accuracy"]),
        ("column", ["batches", "learn", "line"]),
        ("list", ["batches", "learn", "accuracy", "Stack"]),
        ("best", ["accuracy", "part", "noise"]),
    ],
)
def test_only_shows_one_with_all_of_its_code(
    run_cli, tmp_path, read_events, only_run, width, name, common
):
    result = run_cli("pitfalls-demo", "--only", name, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    output = result.output
    place = NAMES.index(name) + 1
    assert f"Mistake {place} of 17: {name}" in output
    shown = re.findall(r"^  (?:def|class) (\w+)", output, re.MULTILINE)
    assert shown == [*common, f"wrong_{name}", f"right_{name}"]
    for function in scenes.pair(lesson.__name__, name):
        *_, last = inspect.getsource(function).strip().splitlines()
        assert last.strip() in output
    assert len(re.findall(r"^[✗✓] .*by seed( [\d.]+,?){5}", output, re.M)) == 2
    unit = lesson.UNITS.get(name, "Accuracy")
    assert f"{unit}: the median of 5 seeds (smallest to largest)." in output
    assert ("train: 1,500" in output) == (name in ("zero", "list"))
    assert width(output) <= 80
    events = read_events(only_run(tmp_path, "pitfalls-demo"))
    assert events.Tags()["images"] == ["mistakes"]


@pytest.mark.parametrize("name", ["zeor", "", "wrong_zero"])
def test_a_name_that_is_none_exits_2_and_lists_them(run_cli, name):
    result = run_cli("pitfalls-demo", "--only", name)
    assert result.exit_code == 2
    listed = " ".join(result.stderr.replace("│", " ").split())
    assert f"is none of {', '.join(NAMES)}." in listed


def test_the_lines_to_remember_refuse_the_mistakes_that_they_name(ran):
    lines = re.findall(r"│ • (.*?) *│", ran[0])
    assert len(lines) == 3
    shapes, mode, count = lines
    layer, targets = nn.Linear(4, 1), torch.rand(9)
    outputs = layer(torch.rand(9, 4))
    exec(shapes, {"outputs": outputs[:, 0], "targets": targets})
    with pytest.raises(AssertionError):
        exec(shapes, {"outputs": outputs, "targets": targets})
    for between in (nn.Dropout(), nn.BatchNorm1d(64)):
        net = lesson.mlp(0, between)
        with pytest.raises(AssertionError):
            exec(mode, {"net": net})
        exec(mode, {"net": net.eval()})
    layers = [nn.Linear(n, 32) for n in (64, 32, 32)]
    for kind, expected in ((list, 330), (nn.ModuleList, 4522)):
        assert eval(count, {"net": lesson.Stack(kind(layers))}) == expected


def test_no_code_that_is_shown_is_wider_than_the_screen():
    functions = [f for n in NAMES for f in scenes.pair(lesson.__name__, n)]
    common = (lesson.mlp, lesson.batches, lesson.learn, lesson.accuracy)
    common += (lesson.part, lesson.normalised, lesson.Stack, lesson.nodes)
    for function in (*functions, *common, noise, line, rings):
        for row in inspect.getsource(function).splitlines():
            text = '"""' in row or row.endswith(".")  # shown as a text
            assert len(row) <= 78 or text


def test_made_up_sets_are_as_they_say():
    points, ring = rings(0)
    radius = points.norm(dim=1)
    assert radius[ring == 0].mean() == pytest.approx(1, abs=0.05)
    assert radius[ring == 1].mean() == pytest.approx(2, abs=0.05)
    inputs, labels = noise(0, 3000, 5)
    assert inputs.shape == (3000, 5)
    assert labels.float().mean() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(noise(1, 4, 5)[0], noise(1, 4, 5)[0])
    assert not torch.equal(noise(1, 4, 5)[0], noise(2, 4, 5)[0])


def test_units_have_scales_of_their_own_in_the_figure():
    values = torch.tensor([[10.0, 90.0]] * 5)
    named = dict.fromkeys(("a", "b", "c"), values)
    figure = pairs_figure(named, {"b": "MSE"})
    assert [axes.get_xlabel() for axes in figure.axes] == ["right, in %", "MSE"]
    assert len(pairs_figure({"b": values}, {"b": "MSE"}).axes) == 1


def test_a_logdir_that_is_a_file_exits_1(run_cli, tmp_path):
    file = tmp_path / "file"
    file.touch()
    words = ("pitfalls-demo", "--only", "total", "--logdir", file)
    result = run_cli(*words)
    assert result.exit_code == 1 and "Can't write to" in result.stderr
