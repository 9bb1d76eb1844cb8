"""sequential-demo: its networks, its mistakes, and what it says."""

import re

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from cli import app
from lessons import sequential_demo as lesson
from shared import models

SEEDS = range(5)
BY_LAYER = [2_432, 25_632, 51_264, 65_600, 650]


@pytest.fixture(scope="module")
def said(ran) -> str:
    """The output in one line: a sentence may be broken anywhere."""
    return " ".join(ran[0].split())


def built(build, *arguments, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(*arguments)


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("act", "activation"), [(nn.Identity, "none"), (nn.ReLU, "relu")]
)
@pytest.mark.parametrize("seed", SEEDS)
def test_cifar_net_is_the_one_in_models(act, activation, seed):
    images = torch.rand(64, 3, 32, 32)
    ours = built(lesson.cifar_net, act, seed=seed)
    theirs = built(models.CifarNet, 10, activation, seed=seed)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [str(layer) for layer in ours] == [str(layer) for layer in theirs]
    assert torch.equal(ours(images), theirs(images))
    theirs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("seed", SEEDS)
def test_named_layers_hold_the_same_under_other_names(seed):
    images = torch.rand(64, 3, 32, 32)
    named = built(lesson.NamedNet, seed=seed)
    row = built(models.CifarNet, seed=seed)
    pairs = [*zip(named.state_dict(), row.state_dict(), strict=True)]
    assert pairs[0] == ("conv1.weight", "0.weight")
    assert pairs[-1] == ("linear2.bias", "12.bias")
    assert torch.equal(named(images), row(images))
    assert named(images).shape == (64, 10)
    by_hand = lesson.Sequential(*row)
    assert list(by_hand.state_dict()) == list(row.state_dict())
    assert torch.equal(by_hand(images), row(images))


@pytest.mark.parametrize("seed", SEEDS)
def test_in_another_order_the_same_seed_gives_other_weights(seed):
    class LinearFirst(lesson.NamedNet):
        def __init__(self):
            linear1 = nn.Linear(1024, 64)
            super().__init__()
            self.linear1 = linear1

    images = torch.rand(8, 3, 32, 32)
    usual, other = (
        built(kind, seed=seed)(images)
        for kind in (lesson.NamedNet, LinearFirst)
    )
    assert (usual - other).abs().max() > 0.01


def test_parameters_by_layer_and_in_all():
    for net in (lesson.NamedNet(), lesson.cifar_net()):
        layers = [layer for layer in net.modules() if "weight" in dir(layer)]
        assert [parameters(layer) for layer in layers] == BY_LAYER
        assert parameters(net) == sum(BY_LAYER) == 145_578


def test_conv2d_at_3_multiplies_most_and_linear_at_10_a_hundredth(ran):
    net, x, products = lesson.cifar_net(), torch.rand(1, 3, 32, 32), {}
    for place, layer in enumerate(net):
        x = layer(x)
        if parameters(layer):
            products[place] = layer.weight.numel() * x.shape[2:].numel()
    assert max(products, key=products.get) == 3
    assert products[3] == 32 * 32 * 5 * 5 * 16 * 16 == 100 * products[10]
    for place, count in products.items():
        assert re.search(rf"^ +{place} .* {count:,} *$", ran[0], re.MULTILINE)


@pytest.mark.parametrize("size", [8, 9, 15, 16, 24, 28, 31, 32, 33, 50])
def test_sides_of_the_same_eighth_give_the_same_width(size):
    features = lesson.cifar_net()[:10]
    width = lesson.dry_run(features, size)
    assert width == 64 * (size // 8) ** 2
    lazy = nn.Sequential(*features, nn.LazyLinear(64))
    assert lazy(torch.rand(2, 3, size, size)).shape == (2, 64)
    assert lazy[10].in_features == width


def test_a_lazy_layer_counts_its_inputs_once():
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(64))
    with pytest.raises(ValueError, match="uninitialized"):
        parameters(lazy)
    lazy(torch.zeros(1, 64, 3, 3))
    assert type(lazy[1]) is nn.Linear and parameters(lazy) == 577 * 64
    with pytest.raises(RuntimeError, match="1x1024 and 576x64"):
        lazy(torch.zeros(1, 64, 4, 4))


def test_a_wrong_count_fails_and_its_mends_work():
    pooled = lesson.cifar_net()[:9](torch.rand(12, 3, 32, 32))
    assert pooled.shape == (12, 64, 4, 4)
    with pytest.raises(RuntimeError, match=r"12x1024 and 4096x64"):
        lesson.wrong_pictures(pooled)
    assert lesson.tempting_pictures(pooled) == (3, 64)
    assert torch.equal(pooled.reshape(-1, 4096)[0], pooled[:4].flatten())
    assert lesson.right_pictures(pooled) == (12, 64)
    assert lesson.dry_run(lesson.cifar_net()[:10], 32) == 1024


def test_without_flatten_the_number_in_the_error_is_a_row_s_length():
    pooled = torch.rand(12, 64, 4, 4)
    with pytest.raises(RuntimeError, match=r"3072x4 and 4096x64"):
        nn.Linear(64 * 8 * 8, 64)(pooled)
    assert nn.Linear(4, 64)(pooled).shape == (12, 64, 4, 64)
    assert nn.LazyLinear(64)(pooled).shape == (12, 64, 4, 64)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_linear_are_one_unless_an_activation_stands_between(seed):
    net = built(lesson.cifar_net, seed=seed)
    images = lesson.photo_digits()[0].images[:64] / 255
    given = net[:10](images), net[10], net[12]
    assert 0.05 < net(images).abs().max() < 0.2  # "outputs reach 0.1"
    wrong, right = lesson.wrong_last_two(*given), lesson.right_last_two(*given)
    assert float(wrong.split()[-1]) < 1e-6
    assert float(right.split()[-1]) > 0.02


def test_the_two_linear_on_paper():
    f, g = nn.Linear(1, 1), nn.Linear(1, 1)
    for layer, weight, bias in ((f, 2.0, 1.0), (g, 3.0, 4.0)):
        nn.init.constant_(layer.weight, weight)
        nn.init.constant_(layer.bias, bias)
    x = torch.tensor([[-2.0], [-1], [0]])
    assert torch.equal(nn.Sequential(f, g)(x), 6 * x + 7)
    assert nn.Sequential(f, nn.ReLU(), g)(x).flatten().tolist() == [4, 4, 7]
    assert lesson.wrong_last_two(x, f, g).endswith(" 0")
    assert lesson.right_last_two(x, f, g).endswith(" 9")  # 4 and -5, at -2


@pytest.mark.parametrize("size", [31, 32, 39, 40])
def test_cifar_net_takes_sides_from_32_to_39(size):
    images = torch.zeros(1, 3, size, size)
    if 32 <= size <= 39:
        assert lesson.cifar_net()(images).shape == (1, 10)
    else:
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            lesson.cifar_net()(images)


def test_an_activation_changes_no_name():
    plain, bent = lesson.cifar_net(), lesson.cifar_net(nn.ReLU)
    assert [*plain.state_dict()] == [*bent.state_dict()]


def test_the_formula_for_one_linear_in_place_of_two():
    f, g = nn.Linear(1024, 64), nn.Linear(64, 10)
    one = nn.Linear(1024, 10)
    with torch.no_grad():
        one.weight.copy_(g.weight @ f.weight)
        one.bias.copy_(g.weight @ f.bias + g.bias)
    x = torch.rand(64, 1024)
    torch.testing.assert_close(g(f(x)), one(x), atol=1e-5, rtol=1e-5)


def test_the_exercise_has_the_answer_that_it_names():
    layers = list(lesson.cifar_net())
    features = nn.Sequential(*layers[:6], nn.Flatten())
    width = lesson.dry_run(features, 32)
    net = nn.Sequential(*features, nn.Linear(width, 64), *layers[11:])
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert parameters(net) == 159_850 > 145_578  # it ends in 850


def test_by_hand_a_layer_that_stands_twice_is_called_twice():
    layer = nn.Linear(3, 3)
    by_hand, pytorchs = (
        kind(layer, nn.ReLU(), layer)
        for kind in (lesson.Sequential, nn.Sequential)
    )
    x = torch.randn(5, 3)
    assert torch.equal(by_hand(x), pytorchs(x))
    assert len([*by_hand.children()]) == 2
    assert list(by_hand.state_dict()) == list(pytorchs.state_dict())
    assert parameters(by_hand) == parameters(pytorchs) == 12


def test_command_prints_the_worked_case_and_the_layers(ran, said, width):
    output = ran[0]
    for line in (
        "[ -2   5 ]  [ 3  1 ]          [ 4 ]",
        "Out of Linear: 3 * 0 + 1 * 5 + 4 = 9.",
        "[ 9 ]",
        "✓ Sequential = nn.Sequential: largest difference 0",
        "Parameters: 1.weight, 1.bias. In PyTorch: 1.weight, 1.bias.",
        "✓ NamedNet and our Sequential = cifar_net: largest difference 0",
        "✓ sides, inputs = PyTorch's own: largest difference 0",
        "Mistake 2 of 2",
        "Next lesson: python cli.py",
    ):
        assert line in output
    for sentence in (
        "145,578 parameters.",
        "64 * (1024 + 1), the 1 for a bias.",
        "net.parameters()); it ends in 850.",
        "1 + (28 + 2 * 2 - 5) // 1 = 28.",
        "1 + (28 + 2 * 0 - 2) // 2 = 14. After the three poolings: 14, 7, 3.",
        "64 * 3 * 3 = 576 inputs. dry_run(net[:10], 28), "
        "with places 0 to 9, finds 576.",
        "on it is Linear(in_features=576, out_features=64, bias=True).",
        "(Sides from 24 to 31 all end as 3: // rounds down.",
    ):
        assert sentence in said
    assert width(output) <= 80


def test_the_table_has_each_layer_s_shape_and_parameters(ran):
    cells = r"^ +(\d+) +(\w+) +(\([\d, ]+\)) +([\d,]+) +[\d,]+ *$"
    rows = re.findall(cells, ran[0], re.MULTILINE)
    assert [row[0] for row in rows] == [*"0235689", "10", "12"]
    counts = [int(row[3].replace(",", "")) for row in rows]
    assert [count for count in counts if count] == BY_LAYER
    shapes = [row[2] for row in rows]
    assert shapes[0] == "(64, 32, 32, 32)" and shapes[5] == "(64, 64, 4, 4)"
    assert shapes[6:] == ["(64, 1024)", "(64, 64)", "(64, 10)"]


def test_the_graph_has_each_layer_at_its_place(ran, read_events, only_run):
    events = read_events(only_run(ran[1], "sequential-demo"))
    assert events.Tags()["graph"]
    names = " ".join(node.name for node in events.Graph().node)
    for layer in ("Conv2d[0]", "MaxPool2d[8]", "Flatten[9]", "Linear[12]"):
        assert f"Sequential/{layer}" in names
    assert "Identity" not in names  # "a box for each layer but Identity"


@pytest.mark.parametrize(
    ("size", "shown"),
    [(8, "= 64 inputs"), (32, "= 1,024 inputs"), (256, "= 65,536 inputs")],
)
def test_another_size_changes_the_width(run_cli, tmp_path, size, shown):
    result = run_cli("sequential-demo", "--size", size, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    assert shown in output and f"Pictures of {size} x {size}" in output
    low, side = size // 8 * 8, size // 8
    assert f"from {low} to {low + 7} all end as {side}: //" in output


def test_the_lines_to_remember_run(ran):
    first, second, third = re.findall(r"│ • (.*?) *│", ran[0])
    exec(f"{first}\n{second}", names := {})
    shape, advice = third.split("  # (1, 512): ")
    assert eval(shape, names) == (1, 512)
    assert advice == "append nn.Linear(512, 10)"
    names["net"].append(nn.Linear(512, 10))
    assert names["net"](torch.rand(5, 3, 16, 16)).shape == (5, 10)


@pytest.mark.parametrize("size", [7, 257, "big"])
def test_wrong_options_exit_2(run_cli, size):
    assert run_cli("sequential-demo", "--size", size).exit_code == 2


def test_a_folder_that_can_t_be_written_exits_1(tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder")
    words = ["sequential-demo", "--logdir", str(file)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "Can't write to" in result.stderr
