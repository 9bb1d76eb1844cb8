"""conv-layer-demo: its mistakes, and what it says (see test_exercises.py)."""

import re
from itertools import pairwise

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter
from torchvision.models import mobilenet_v2

from lessons import conv_layer_demo as lesson

STEPS = "stride", "padding", "dilation"


def test_the_mistakes_are_wrong_and_their_mends_are_right():
    assert lesson.wrong_border() == (64, 6, 30, 30)
    assert lesson.right_border() == (64, 6, 32, 32)
    assert lesson.wrong_album() == (128, 3, 30, 30)
    assert lesson.right_album() == (6, 1, 30, 30)


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even")
@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_padding_same_keeps_the_size_with_stride_1_alone(kernel, dilation):
    options = {"padding": "same", "dilation": dilation}
    layer = nn.Conv2d(3, 6, kernel, **options)
    assert layer(torch.rand(2, 3, 32, 32)).shape == (2, 6, 32, 32)
    with pytest.raises(ValueError, match="strided"):
        nn.Conv2d(3, 6, kernel, stride=2, **options)


def test_add_images_takes_grey_maps_as_the_mend_says(tmp_path, read_events):
    maps = nn.Conv2d(3, 6, 3)(torch.rand(2, 3, 12, 18))
    with SummaryWriter(tmp_path) as writer:
        writer.add_images("maps", lesson.as_grey(maps[0])[:, None])
    assert read_events(tmp_path).Tags()["images"] == ["maps"]


def test_as_grey_brings_each_map_to_0_to_1_and_changes_nothing_else():
    maps = (
        torch.randn(6, 9, 7)
        * torch.tensor([1e-3, 1, 9, 1, 1, 0])[:, None, None]
    )
    before = maps.clone()
    grey = lesson.as_grey(maps)
    assert maps.equal(before)
    assert grey.amin((1, 2)).tolist() == [0] * 6
    assert grey.amax((1, 2)).tolist() == [1] * 5 + [0]  # the last one is flat


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_images_of_other_channels_are_refused_by_both(channels):
    images = torch.ones(1, channels, 5, 5)
    for layer in (lesson.Conv2d, nn.Conv2d):
        with pytest.raises((AssertionError, RuntimeError)):
            layer(4, 4, 3, groups=2)(images)
        with pytest.raises((AssertionError, RuntimeError)):
            layer(3, 4, 3)(images)


def test_a_byte_image_with_a_float_kernel_is_refused_by_both():
    white = torch.full((1, 1, 3, 3), 255, dtype=torch.uint8)
    kernel = lesson.KERNEL[None, None]
    with pytest.raises(RuntimeError, match="Byte but found Float"):
        F.conv2d(white, kernel)
    with pytest.raises(AssertionError):
        lesson.conv2d(white, kernel, 1, 0, 1)


@pytest.mark.parametrize("ends", [(3, 4), (4, 3), (6, 8)])
def test_groups_that_do_not_divide_the_channels_are_refused_by_both(ends):
    groups = 4 if ends == (6, 8) else 2
    with pytest.raises(ValueError, match="divisible by groups"):
        nn.Conv2d(*ends, 3, groups=groups)
    with pytest.raises(AssertionError):
        lesson.Conv2d(*ends, 3, groups=groups)


@pytest.mark.parametrize("dilation", [5, 8])
def test_from_dilation_5_on_the_output_is_the_image(dilation):
    pair = lesson.IMAGE[None, None], lesson.KERNEL[None, None]
    out = lesson.conv2d(*pair, 1, dilation, dilation)[0, 0]
    assert out.equal(lesson.IMAGE)
    assert not lesson.conv2d(*pair, 1, 4, 4)[0, 0].equal(lesson.IMAGE)


@pytest.mark.parametrize(
    ("dtype", "allowed"),
    [(torch.float16, 1e-2), (torch.float32, 1e-5), (torch.float64, 1e-12)],
)
def test_random_layers_of_any_dtype_do_as_pytorch_s(dtype, allowed):
    torch.manual_seed(1)
    for _ in range(30):
        groups, a, b, size, *steps = torch.randint(1, 5, (7,)).tolist()
        options = dict(zip(STEPS, steps, strict=True)) | {"groups": groups}
        ours = lesson.Conv2d(a * groups, b * groups, size, **options).to(dtype)
        images = torch.randn(3, a * groups, 14, 13).to(dtype).transpose(2, 3)
        weight, bias = ours.weight.double(), ours.bias.double()
        wanted = F.conv2d(images.double(), weight, bias, **options)
        found = ours(images)
        assert found.dtype == dtype
        assert (found - wanted).abs().max() <= allowed


@pytest.mark.parametrize("size", [1, 2])
def test_a_kernel_that_spans_more_than_the_image_is_refused_by_both(size):
    images, weight = torch.ones(1, 1, size, size), torch.ones(1, 1, 3, 3)
    with pytest.raises(RuntimeError):
        F.conv2d(images, weight)
    with pytest.raises(AssertionError, match="span more than the images"):
        lesson.conv2d(images, weight, 1, 0, 1)


def test_the_same_seed_starts_both_layers_with_the_same_numbers():
    for seed in range(5):
        torch.manual_seed(seed)
        ours = lesson.Conv2d(4, 6, 3, groups=2)
        torch.manual_seed(seed)
        theirs = nn.Conv2d(4, 6, 3, groups=2)
        for one, other in zip(
            ours.parameters(), theirs.parameters(), strict=True
        ):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_that_padding_where_whole_keeps_the_size(kernel, dilation):
    span = dilation * (kernel - 1) + 1
    for size in (7, 10):
        image, weight = (
            torch.ones(1, 1, size, size),
            torch.ones(1, 1, kernel, 1),
        )
        sides = (span - 1) // 2, 0
        out = F.conv2d(image, weight, padding=sides, dilation=dilation)
        assert (out.size(2) == size) == ((span - 1) % 2 == 0)


@pytest.mark.parametrize("dilation", [1, 2, 4, 8])
def test_a_step_in_brightness_makes_a_band_of_twice_the_dilation(dilation):
    image = torch.zeros(3, 40, 60)
    image[..., 30:] = 1
    band = lesson.feature_maps(image, dilation)["2 right-left"]
    middle = band[20, 10:50]  # far from the padding
    assert (middle == middle.max()).sum() == 2 * dilation
    white = torch.ones(3, 40, 60)  # its padding is dark
    band = lesson.feature_maps(white, dilation)["2 right-left"][20]
    assert (band == band.max()).nonzero().flatten().tolist() == [
        *range(dilation)
    ]


def test_red_is_bright_in_map_1_and_white_is_as_grey_and_black_there():
    image = torch.full((3, 30, 40), 0.5)
    colours = [(1.0, 0, 0), (1.0, 1, 1), (0.0, 0, 0), (0.0, 0, 1)]
    for place, colour in enumerate(colours):
        columns = slice(10 * place, 10 * place + 10)
        image[:, 10:20, columns] = torch.tensor(colour)[:, None, None]
    seen = lesson.feature_maps(image, 1)["1 red-blue"][15, 5::10]
    assert seen.tolist() == [1, 0.5, 0.5, 0]
    assert lesson.feature_maps(image, 1)["1 red-blue"][5, 5] == 0.5


def test_mobilenet_s_depthwise_layers_have_kernels_of_1_x_1_behind():
    with torch.device("meta"):
        modules = mobilenet_v2().modules()
    convs = [m for m in modules if isinstance(m, nn.Conv2d)]
    pairs = [(m, n) for m, n in pairwise(convs) if m.groups > 1]
    assert len(pairs) == 17
    assert all(m.groups == m.in_channels for m, _ in pairs)
    assert all(n.kernel_size == (1, 1) for _, n in pairs)


@pytest.mark.parametrize(
    ("dilations", "span", "pixels"), [((2, 2, 2), 13, 49), ((1, 2, 4), 15, 225)]
)
def test_the_exercise_has_an_answer(dilations, span, pixels):
    for seed in range(5):
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 1, 3, dilation=d) for d in dilations]
        image = torch.ones(1, 1, span, span, requires_grad=True)
        nn.Sequential(*layers)(image).backward()
        assert image.grad.count_nonzero() == pixels


@pytest.mark.parametrize("c", [2, 8, 64])
def test_the_weights_and_products_are_counted_as_it_says(c):
    ordinary = nn.Conv2d(c, c, 3, padding=1)
    depthwise = nn.Conv2d(c, c, 3, padding=1, groups=c)
    assert ordinary.weight.numel() == c * c * 9
    assert depthwise.weight.numel() == c * 9
    image = torch.rand(1, c, 32, 32)
    assert ordinary(image).shape == depthwise(image).shape == image.shape


def test_command_prints_the_worked_cases_and_logs_the_maps(
    run_cli, read_events, only_run, width, tmp_path
):
    result = run_cli("conv-layer-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    for line in (
        "1*1 + 0*2 + 1*1 + 1*0 + 1*1 + 0*0 + 2*2 + 0*1 + 1*0 = 7.",
        "[ 7 ]",
        "│ 5 10 7 11 3 │",
        "1+(5+2*2-5)//1 = 5",
        "Outputs, with a bias of 0: [10, 9].",
        "✓ conv2d = F.conv2d: largest difference 0",
        "✓ Conv2d = nn.Conv2d, 50 random options: largest difference",
        "64*64*3*3 = 36,864 weights, with groups=64 64*3*3 = 576.",
        "✗ (64, 6, 30, 30)",
        "✗ (128, 3, 30, 30)",
        "Next lesson: python cli.py",
    ):
        assert line in said
    assert width(result.output) <= 80
    events = read_events(only_run(tmp_path, "conv-layer-demo"))
    assert events.Tags()["images"] == ["maps"]
    lines = re.findall(r"│ • (.*?) *│", result.output)  # to remember
    exec("\n".join(lines), names := {})
    assert names["maps"].shape == (64, 6, 30, 30)
    assert sum(p.numel() for p in names["layer"].parameters()) == 168


def test_the_sum_on_paper_is_that_of_the_numbers_shown():
    patch = lesson.IMAGE[::2, ::2]
    pairs = zip(patch.flatten(), lesson.KERNEL.flatten(), strict=True)
    terms = " + ".join(f"{pixel:.0f}*{number:.0f}" for pixel, number in pairs)
    assert terms == "1*1 + 0*2 + 1*1 + 1*0 + 1*1 + 0*0 + 2*2 + 0*1 + 1*0"
    assert (patch * lesson.KERNEL).sum() == 7


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (("--dilation", 5), "a bright band of 10 pixels, 5 beside the padding"),
        (("--channels", 2), "it would be 2 times."),
    ],
)
def test_each_option_alone_changes_the_screen(run_cli, tmp_path, words, seen):
    result = run_cli("conv-layer-demo", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert seen in " ".join(result.output.split())


def test_a_picture_of_your_own_is_mapped(
    run_cli, read_events, only_run, tmp_path
):
    Image.new("LA", (1, 1)).save(tmp_path / "own.png")
    words = "--image", tmp_path / "own.png", "--logdir", tmp_path / "logs"
    result = run_cli("conv-layer-demo", *words)
    assert result.exit_code == 0, result.output
    events = read_events(only_run(tmp_path / "logs", "conv-layer-demo"))
    assert len(events.Images("maps")) == 1


@pytest.mark.parametrize("size", [(1, 1), (2, 28), (28, 2), (9, 7)])
@pytest.mark.parametrize("dilation", [1, 8])
def test_maps_have_the_size_of_their_image_and_lie_in_0_to_1(size, dilation):
    for image in (torch.rand(3, *size), torch.ones(3, *size)):
        for name, seen in lesson.feature_maps(image, dilation).items():
            assert seen.shape[-2:] == size, name
            assert 0 <= seen.min() <= seen.max() <= 1, name


def test_a_file_that_is_no_picture_ends_with_one_sentence(run_cli, tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        result = run_cli("conv-layer-demo", "--image", path)
        assert result.exit_code == 1
        assert "Error:" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--dilation", 0),
        ("--dilation", 9),
        ("--channels", 1),
        ("--channels", 257),
        ("--channels", "many"),
    ],
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("conv-layer-demo", *words).exit_code == 2
