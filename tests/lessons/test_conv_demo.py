"""conv-demo: its mistakes, and what it says (its cases: test_exercises.py)."""

import re
from itertools import product

import pytest
import torch
from torch.nn import functional as F

from lessons import conv_demo as lesson
from shared.datasets.embedded import photograph
from shared.models import CifarNet


@pytest.mark.parametrize("edge", [1, 100])
def test_every_kernel_that_the_option_allows_is_learned(edge):
    torch.manual_seed(0)
    image = torch.randn(1, 40, 40)
    for _ in range(20):
        kernel = edge * torch.randint(-1, 2, (3, 3)).float()
        wanted = F.conv2d(image, kernel[None, None])
        learned = lesson.learn_kernel(image, wanted, 100)
        torch.testing.assert_close(learned, kernel, atol=1e-4, rtol=0)


def test_mistakes_fail_and_their_mends_work():
    with pytest.raises(RuntimeError, match="Expected 3D"):
        lesson.wrong_paper()
    worked = [[10, 12, 12], [18, 16, 16], [13, 9, 3]]
    assert lesson.right_paper().tolist() == [worked]
    with pytest.raises(RuntimeError, match="Byte but found Float"):
        lesson.wrong_white()
    assert lesson.tempting_white().item() == 248 == 2040 - 7 * 256
    assert lesson.right_white().item() == 2040 == 8 * 255
    assert lesson.wrong_column().tolist() == [[[0, 0]]]
    assert lesson.right_column().tolist() == [[[0, 0, 1]]]


@pytest.mark.parametrize(
    ("shape", "said"),
    [((3, 3), "at least three dimensions"), ((1, 3, 3), "expected stride")],
)
def test_filters_of_two_or_three_dimensions_mislead_as_it_says(shape, said):
    with pytest.raises(RuntimeError, match=said):
        F.conv2d(lesson.IMAGE.reshape(1, 5, 5), lesson.KERNEL.reshape(shape))


def test_two_dtypes_are_refused_and_bytes_wrap_as_in_pytorch():
    white = torch.full((3, 3), 255, dtype=torch.uint8)
    with pytest.raises(AssertionError):
        lesson.conv2d(white, lesson.KERNEL)
    assert lesson.conv2d(white, lesson.KERNEL.byte()).item() == 248


def test_with_stride_3_that_padding_would_lose_the_column():
    row = torch.tensor([[[0, 0, 0, 0, 0, 1.0]]])
    ones = torch.ones(1, 1, 1, 3)
    assert F.conv2d(row, ones, stride=3).sum() == 1
    assert F.conv2d(row, ones, stride=3, padding=(0, 1)).sum() == 0
    assert F.conv2d(row, ones, stride=2, padding=1).sum() == 0


@pytest.mark.parametrize("columns", range(3, 12))
@pytest.mark.parametrize("steps", [*product((1, 2, 3), (0, 1, 2))])
def test_the_last_column_is_lost_when_the_rule_says_so(columns, steps):
    stride, padding = steps
    row = torch.zeros(1, 1, columns)
    row[0, 0, -1] = 1
    ones = torch.ones(1, 1, 1, 3)
    out = F.conv2d(row, ones, stride=stride, padding=(0, padding))
    lost = (columns + 2 * padding - 3) % stride > padding
    assert (out.sum() == 0) == lost


def test_train_cifar_s_first_layer_is_as_it_says():
    assert CifarNet()[0].weight.shape == (32, 3, 5, 5)


def test_command_prints_the_worked_case_and_logs_the_pictures(
    run_cli, read_events, only_run, width, tmp_path
):
    result = run_cli("conv-demo", "--stride", 3, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    for line in (
        "│ 18  16  16 │",
        "1*1 + 2*2 + 0*1 + 0*0 + 1*1 + 2*0 + 1*2 + 2*1 + 1*0 = 10",
        "stride 3, padding 0",
        "1+(5+2*0-3)//3 = 1 ",
        "1*1 + 0*0 + 0*2 + 3*2 + 1*1 + 1*1 + 0*1 + 1*0 + 1*0 = 9",
        "10 + 9 = 19",
        "✓ step 100, four decimals = edges: largest difference 0",
        "✓ conv2d = F.conv2d on whole pixels, 0 to 255: largest difference 0",
        "Mistake 3 of 3",
        "Next lesson: python cli.py",
    ):
        assert line in result.output
    assert result.output.count("✓ conv2d = F.conv2d: ") == 2
    assert width(result.output) <= 80
    events = read_events(only_run(tmp_path, "conv-demo"))
    assert events.Tags()["images"] == ["kernels"]


def brightness(output: str) -> list[float]:
    said = " ".join(output.split())
    (named,) = re.findall(r"more white\): (.*?)\. Nine", said)
    return [float(number) for number in re.findall(r"\d\.\d\d", named)]


def test_edges_is_darkest_and_half_a_kernel_halves(run_cli, tmp_path):
    result = run_cli("conv-demo", "--logdir", tmp_path)
    original, blur, sharpen, edges = brightness(result.output)
    assert edges < min(original, blur, sharpen)
    half = "0 0 0 0 .5 0 0 0 0"
    result = run_cli("conv-demo", "--kernel", half, "--logdir", tmp_path)
    halved = brightness(result.output)[3]
    assert halved == pytest.approx(original / 2, abs=0.01)


def test_the_exercise_has_an_answer():
    image = photograph("china").mean(0)[:20, :20]
    down = torch.tensor([[0.0, 1, 0], [0, 0, 0], [0, 0, 0]])
    moved = lesson.conv2d(image, down, padding=1)
    assert torch.equal(moved[1:], image[:-1])


@pytest.mark.parametrize(
    "words", [("--stride", 2), ("--padding", 1), ("--kernel", "0 " * 9)]
)
def test_each_option_alone_changes_the_screen(run_cli, tmp_path, words):
    plain = run_cli("conv-demo", "--logdir", tmp_path).output
    result = run_cli("conv-demo", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert brightness(result.output) != brightness(plain)


def test_the_lines_to_remember_run(run_cli, tmp_path):
    output = run_cli("conv-demo", "--logdir", tmp_path).output
    first, second, third = re.findall(r"│ • (.*?) *│", output)
    exec(f"{first}\n{second}", names := {})
    assert eval(third, names) == (1, 8, 16, 16)
    assert "# (1, 8, 16, 16)" in third
    images, layer = names["images"], names["layer"]
    pairs = zip(layer.weight.detach(), layer.bias.detach(), strict=True)
    ours = [lesson.conv2d(images[0], w, 2, 1) + bias for w, bias in pairs]
    theirs = layer(images)[0].detach()
    torch.testing.assert_close(torch.stack(ours), theirs)


def test_a_kernel_of_your_own_is_filtered_with_and_learned(run_cli, tmp_path):
    numbers = "-1 0 1 -2 0 2 -1 0 1"
    result = run_cli("conv-demo", "--kernel", numbers, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert "│ -2   0   2 │" in result.output
    assert "✓ step 100, four decimals = --kernel" in result.output
    assert "edges" not in result.output


@pytest.mark.parametrize(
    "words",
    [
        ("--stride", 0),
        ("--stride", 100),
        ("--padding", -1),
        ("--padding", 12),
        ("--stride", "two"),
        ("--kernel", "1 2 3"),
        ("--kernel", "a b c d e f g h i"),
        ("--kernel", "nan 0 0 0 0 0 0 0 0"),
        ("--kernel", "1e9 0 0 0 0 0 0 0 0"),
    ],
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("conv-demo", *words).exit_code == 2
