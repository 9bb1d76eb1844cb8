import math
import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lessons import activation_demo as lesson
from shared.seeds import spread

TOLERANCE = {torch.float16: 4e-3, torch.float32: 2e-6, torch.float64: 1e-14}
EXTREMES = [-1e4, -100, -30, -0.0, 0.0, 30, 100, 1e4]


def pytorch(name, x):
    """PyTorch's value and autograd's slope."""
    x = x.clone().requires_grad_()
    value = getattr(nn, name)()(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), slope


@pytest.fixture(autouse=True)
def one_thread():
    """The command takes one thread; the tests of other lessons get theirs back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def sets():
    return [
        (part.images.flatten(1) / 255, part.labels) for part in lesson.digits()
    ]


def test_worked_case():
    value, slope = lesson.relu(lesson.WORKED_CASE)
    assert value.tolist() == [[1, 0], [0, 3]]
    assert slope.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("name", lesson.BY_HAND)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(), (0,), (500,), (3, 4), (2, 3, 5, 7)])
def test_value_and_slope_agree_with_pytorch(name, dtype, shape):
    x = (5 * torch.randn(shape)).to(dtype)
    ours = lesson.BY_HAND[name](x)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(
        ours, pytorch(name, x), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", lesson.BY_HAND)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_extreme_values_agree_with_pytorch(name, dtype):
    extremes = [*EXTREMES, math.nan]
    if name != "GELU":
        extremes += [-math.inf, math.inf]
    x = torch.tensor(extremes, dtype=dtype)
    ours, theirs = lesson.BY_HAND[name](x), pytorch(name, x)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(
        ours, theirs, rtol=tolerance, atol=tolerance, equal_nan=True
    )
    assert not torch.stack(ours)[:, : len(EXTREMES)].isnan().any()


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_gelu_at_infinity(dtype):
    # -inf * 0 is nan, here and in PyTorch. At +inf PyTorch gives inf or nan, by type and version.
    value, slope = lesson.gelu(torch.tensor([-math.inf, math.inf], dtype=dtype))
    theirs, their_slope = pytorch(
        "GELU", torch.tensor([-math.inf, math.inf], dtype=dtype)
    )
    assert value[0].isnan() and theirs[0].isnan()
    assert value[1] == math.inf and (theirs[1] == math.inf or theirs[1].isnan())
    assert slope.isnan().all() and their_slope.isnan().all()


@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "GELU"])
def test_small_values_keep_their_digits(name):
    x = torch.tensor([1e-6, -1e-6, -4, 4], dtype=torch.float32)
    value, _ = lesson.BY_HAND[name](x)
    exact, _ = pytorch(name, x.double())
    torch.testing.assert_close(value.double(), exact, rtol=2e-6, atol=0)


@pytest.mark.parametrize("name", lesson.BY_HAND)
def test_slope_is_that_of_the_by_hand_function(name):
    x = torch.tensor(
        [-7, -2, -0.5, -0.1, 0.1, 0.5, 2, 7],
        dtype=torch.float64,
        requires_grad=True,
    )
    value, slope = lesson.BY_HAND[name](x)
    assert torch.autograd.gradcheck(lambda x: lesson.BY_HAND[name](x)[0], x)
    torch.testing.assert_close(torch.autograd.grad(value.sum(), x)[0], slope)


@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "GELU"])
def test_autograd_through_the_stable_formula_is_finite_far_out(name):
    x = torch.tensor([-1e4, -100.0, 100.0, 1e4], requires_grad=True)
    (slope,) = torch.autograd.grad(lesson.BY_HAND[name](x)[0].sum(), x)
    assert slope.isfinite().all()


def test_network_has_activations_between_its_layers_only():
    kinds = [type(module) for module in lesson.network("Tanh", [4, 5, 6, 2])]
    assert kinds == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]


@pytest.mark.parametrize("widths", [[3, 2], [3, 4, 2], [3, 7, 5, 6, 2]])
def test_linear_layers_multiply_out_to_one(widths):
    model, images = (
        lesson.network("Identity", widths).double(),
        torch.randn(6, 3).double(),
    )
    weight, bias = lesson.multiply_out(model)
    assert (weight.shape, bias.shape) == ((2, 3), (2,))
    torch.testing.assert_close(model(images), F.linear(images, weight, bias))


@pytest.mark.parametrize("name", lesson.BY_HAND)
def test_layers_with_an_activation_do_not(name):
    model, images = (
        lesson.network(name, [3, 7, 2]).double(),
        torch.randn(50, 3).double(),
    )
    difference = model(images) - F.linear(images, *lesson.multiply_out(model))
    assert difference.abs().max() > 1e-3


def test_sigmoid_gradients_vanish_far_more_than_those_of_relu_and_gelu(sets):
    share = {}
    for name in ("Sigmoid", "ReLU", "GELU"):
        norms = lesson.gradient_norms(name, 0, sets[1])
        assert norms.shape == (10,)
        share[name] = norms[0] / norms[9]
    assert share["Sigmoid"] < share["ReLU"] / 1000
    assert share["Sigmoid"] < share["GELU"] / 100


def test_training_learns_and_the_same_seed_gives_the_same_number(sets):
    train_once = partial(
        lesson.accuracy_after, "Tanh", train=sets[0], test=sets[1], lr=0.1
    )
    assert train_once(0, epochs=0) < 30  # untrained: about one in ten
    trained = train_once(0, epochs=2)
    assert trained > 50
    assert trained == train_once(0, epochs=2) != train_once(1, epochs=2)


def test_verdicts_come_from_the_numbers():
    runs = {
        "a": [90, 94, 95],
        "b": [80, 85, 90],
        "c": [80, 85, 89],
        "d": [93, 94, 99],
    }
    verdicts = lesson.verdicts(
        {name: torch.tensor(v).double() for name, v in runs.items()}
    )
    assert verdicts == {
        "a": "highest median",
        "b": "overlaps",
        "c": "behind",
        "d": "overlaps",
    }


def test_mistake_fails_and_its_mend_works():
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        lesson.wrong_inplace()
    assert lesson.right_inplace() == pytest.approx([0, 1 - math.tanh(2) ** 2])


def test_command_prints_its_numbers_and_logs_them(
    run_cli, read_events, only_run, width, sets, tmp_path
):
    result = run_cli("activation-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    for line in (
        "│  1.0 │ -0.5 │   │ 1.0 │ 0.0 │   │ 1.0 │ 0.0 │",
        "│ -1.0 │  3.0 │   │ 0.0 │ 3.0 │   │ 0.0 │ 1.0 │",
        "✓ GELU = nn.GELU, slope = autograd's: largest difference",
        "✓ no activation: three layers = one matrix: largest difference",
        "✗ RuntimeError: one of the variables needed for gradient computation",
        "Next lesson: python cli.py save-load-demo",
    ):
        assert line in result.output
    assert width(result.output) <= 80

    events = read_events(only_run(tmp_path, "activation-demo"))
    pictures = {
        "function",
        "slope",
        "gradient norm",
        "accuracy at lr 0.05",
        "accuracy at lr 0.2",
    }
    assert set(events.Tags()["images"]) == {
        f"figures/{title}" for title in pictures
    }
    assert set(events.Tags()["scalars"]) == {
        f"gradient norm/{name}" for name in lesson.NAMES
    }
    for name in lesson.NAMES:
        norms = re.findall(rf"^  {name} +(\d.*)", result.output, re.M)[-3]
        curve = events.Scalars(f"gradient norm/{name}")
        assert [event.step for event in curve] == list(range(1, 11))
        assert norms.split()[:4] == [
            f"{curve[layer].value:.0e}" for layer in (9, 6, 3, 0)
        ]
    rows = re.findall(r"^  GELU +(\d.*)", result.output, re.M)[-2:]
    for lr, row in zip(lesson.RATES, rows, strict=True):
        runs = [
            lesson.accuracy_after("GELU", seed, *sets, lr=lr, epochs=5)
            for seed in range(5)
        ]
        assert row.startswith(spread(torch.stack(runs), ".1f"))


@pytest.mark.parametrize(
    "words", [("--seeds", 4), ("--epochs", 0), ("--seed", -1)]
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("activation-demo", *words).exit_code == 2
