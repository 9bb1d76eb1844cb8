import inspect
import re
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lessons import conv_demo as lesson
from shared.datasets.embedded import photograph

WORKED_CASE = {
    (1, 0): [[10, 12, 12], [18, 16, 16], [13, 9, 3]],
    (2, 0): [[10, 12], [13, 3]],
    (1, 1): [
        [1, 3, 4, 10, 8],
        [5, 10, 12, 12, 6],
        [7, 18, 16, 16, 8],
        [11, 13, 9, 3, 4],
        [14, 13, 9, 7, 4],
    ],
}


@pytest.mark.parametrize(("steps", "expected"), WORKED_CASE.items())
def test_worked_case(steps, expected):
    out = lesson.conv2d(lesson.IMAGE, lesson.KERNEL, *steps)
    assert out.tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [*product((1, 2, 3), (0, 1, 2))])
def test_one_channel_agrees_with_pytorch(steps, dtype):
    image = torch.randn(9, 12, dtype=dtype)
    kernel = torch.randn(3, 2, dtype=dtype)
    theirs = F.conv2d(image[None], kernel[None, None], None, *steps)[0]
    torch.testing.assert_close(lesson.conv2d(image, kernel, *steps), theirs)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("steps", [(1, 0), (2, 1)])
def test_channels_agree_with_pytorch(channels, steps):
    image = torch.randn(channels, 8, 7, dtype=torch.float64)
    kernels = torch.randn(channels, 3, 2, dtype=torch.float64)
    theirs = F.conv2d(image, kernels[None], None, *steps)[0]
    torch.testing.assert_close(lesson.conv2d(image, kernels, *steps), theirs)


def test_kernel_as_large_as_the_image_gives_one_pixel():
    assert lesson.conv2d(torch.ones(3, 3), torch.ones(3, 3)).tolist() == [[9]]


def test_a_kernel_is_learned_from_what_it_makes():
    kernel, image = torch.randn(3, 3), torch.randn(1, 30, 30)
    wanted = F.conv2d(image, kernel[None, None])
    before, after = (lesson.learn_kernel(image, wanted, n) for n in (0, 20))
    assert (before - kernel).abs().max() > 0.1
    torch.testing.assert_close(after, kernel, atol=1e-4, rtol=0)


@pytest.mark.parametrize("edge", [1, 100])
def test_every_kernel_that_the_option_allows_is_learned(edge):
    torch.manual_seed(0)
    image = torch.randn(1, 40, 40)
    for _ in range(20):
        kernel = edge * torch.randint(-1, 2, (3, 3)).float()
        wanted = F.conv2d(image, kernel[None, None])
        learned = lesson.learn_kernel(image, wanted, 20)
        torch.testing.assert_close(learned, kernel, atol=1e-4, rtol=0)


def test_on_the_photograph_such_steps_overshoot_as_the_lesson_says():
    image = F.avg_pool2d(photograph("china")[:, 20:180, 120:280], 8)
    image, kernel = image.mean(0, keepdim=True), lesson.KERNELS["sharpen"]
    wanted = F.conv2d(image, kernel[None, None])
    off = [
        (lesson.learn_kernel(image, wanted, n) - kernel).abs().max()
        for n in (0, 10, 100)
    ]
    assert off[0] < off[1] < off[2]


def test_mistakes_fail_and_their_mends_work():
    with pytest.raises(RuntimeError, match="Expected 3D"):
        lesson.wrong_paper()
    assert lesson.right_paper().tolist() == [WORKED_CASE[1, 0]]
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


def test_a_layer_says_unsigned_char():
    with pytest.raises(RuntimeError, match="unsigned char"):
        nn.Conv2d(1, 1, 3)(torch.ones(1, 3, 3, dtype=torch.uint8))


def test_two_dtypes_are_refused_and_bytes_wrap_as_in_pytorch():
    white = torch.full((3, 3), 255, dtype=torch.uint8)
    with pytest.raises(AssertionError):
        lesson.conv2d(white, lesson.KERNEL)
    assert lesson.conv2d(white, lesson.KERNEL.byte()).item() == 248


@pytest.mark.parametrize("columns", range(3, 12))
@pytest.mark.parametrize("steps", [*product((1, 2, 3, 4), (0, 1, 2))])
def test_the_last_column_is_lost_when_the_rule_says_so(columns, steps):
    stride, padding = steps
    row = torch.zeros(1, 1, columns)
    row[0, 0, -1] = 1
    ones = torch.ones(1, 1, 1, 3)
    out = F.conv2d(row, ones, stride=stride, padding=(0, padding))
    lost = (columns + 2 * padding - 3) % stride > padding
    assert (out.sum() == 0) == lost


def test_the_terms_on_the_screen_are_those_of_the_first_stop():
    source = inspect.getsource(lesson.show_paper_case)
    (terms,) = re.findall(r'terms = "(.*)"', source)
    pairs = [tuple(map(int, term.split("*"))) for term in terms.split(" + ")]
    pixels, numbers = lesson.IMAGE[:3, :3], lesson.KERNEL
    assert [pixel for pixel, _ in pairs] == pixels.flatten().tolist()
    assert [number for _, number in pairs] == numbers.flatten().tolist()


def by_numbers(image, weight, stride=1, padding=0):
    """Exercise 3: one turn for each number of the kernel."""
    image = F.pad(image, [padding] * 4)
    kh, kw = weight.shape[-2:]
    height, width = image.size(-2) - kh + 1, image.size(-1) - kw + 1
    out = 0
    for i, j in product(range(kh), range(kw)):
        under = image[..., i : i + height : stride, j : j + width : stride]
        out = out + under * weight[..., i, j, None, None]
    return out.sum(0) if out.dim() == 3 else out


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("steps", [(1, 0), (2, 1), (3, 2)])
def test_exercise_3_can_be_done(channels, steps):
    image = torch.randn(*channels, 9, 12, dtype=torch.float64)
    weight = torch.randn(*channels, 3, 2, dtype=torch.float64)
    ours = lesson.conv2d(image, weight, *steps)
    torch.testing.assert_close(by_numbers(image, weight, *steps), ours)


def test_every_mistake_has_its_mend():
    names = [n for n in vars(lesson) if n.startswith(("wrong_", "tempting_"))]
    assert len(names) == 4
    for name in names:
        assert "right_" + name.partition("_")[2] in vars(lesson)


def test_command_prints_the_worked_case_and_logs_the_pictures(
    run_cli, read_events, only_run, width, tmp_path
):
    result = run_cli("conv-demo", "--stride", 3, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    for line in (
        "stride 3, padding 0",
        "│ 18  16  16 │",
        "1*1 + 2*2 + 0*1 + 0*0 + 1*1 + 2*0 + 1*2 + 2*1 + 1*0 = 10",
        "(5+2*0-3)//3+1 = 1",
        "✓ conv2d = F.conv2d: largest difference 0",
        "(1*1 + 3*2 + 1*1 + 1*1) = 19",
        "✓ learned = edges: largest difference 0",
        "Mistake 3 of 3",
        "Next lesson: python cli.py conv-layer-demo",
    ):
        assert line in result.output
    assert result.output.count("✓ conv2d = F.conv2d") == 2
    assert width(result.output) <= 80
    events = read_events(only_run(tmp_path, "conv-demo"))
    assert events.Tags()["images"] == ["kernels"]


def brightness(output: str) -> list[float]:
    (said,) = re.findall(r"as drawn: ([\d., ]*\d)\.", output)
    return [float(number) for number in said.split(",")]


def test_edges_is_darkest_and_half_a_kernel_halves(run_cli, tmp_path):
    result = run_cli("conv-demo", "--logdir", tmp_path)
    original, blur, sharpen, edges = brightness(result.output)
    assert edges < min(original, blur, sharpen)
    half = "0 0 0 0 .5 0 0 0 0"
    result = run_cli("conv-demo", "--kernel", half, "--logdir", tmp_path)
    halved = brightness(result.output)[3]
    assert halved == pytest.approx(original / 2, abs=0.01)


@pytest.mark.parametrize("stride", [3, 4])
def test_exercise_1_has_two_answers(run_cli, tmp_path, stride):
    result = run_cli("conv-demo", "--stride", stride, "--logdir", tmp_path)
    assert f"(5+2*0-3)//{stride}+1 = 1" in result.output


@pytest.mark.parametrize(
    "words", [("--stride", 1), ("--padding", 0), ("--padding", 2)]
)
def test_each_option_alone_changes_a_table(run_cli, tmp_path, words):
    plain = run_cli("conv-demo", "--logdir", tmp_path).output
    result = run_cli("conv-demo", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output != plain


def test_the_three_lines_to_remember_run(run_cli, tmp_path, capsys):
    output = run_cli("conv-demo", "--logdir", tmp_path).output
    lines = re.findall(r"│ • (.*?) *│", output)
    assert len(lines) == 3
    exec("\n".join(lines), names := {})
    assert "[1, 8, 30, 30]" in capsys.readouterr().out
    images, conv = names["images"], names["conv"]
    pairs = zip(conv.weight.detach(), conv.bias.detach(), strict=True)
    ours = [lesson.conv2d(images[0], weight) + bias for weight, bias in pairs]
    torch.testing.assert_close(torch.stack(ours), conv(images)[0].detach())


def test_a_kernel_of_your_own_is_filtered_with_and_learned(run_cli, tmp_path):
    numbers = "-1 0 1 -2 0 2 -1 0 1"
    result = run_cli("conv-demo", "--kernel", numbers, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert "│ -2   0   2 │" in result.output
    assert "✓ learned = --kernel" in result.output
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
