from itertools import product

import pytest
import torch
from torch.nn import functional as F

from lessons import conv_demo as lesson

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
    assert lesson.conv2d(lesson.IMAGE, lesson.KERNEL, *steps).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [*product((1, 2, 3), (0, 1, 2), (1, 2))]
)
def test_loops_on_one_image_agree_with_pytorch(stride, padding, dilation, dtype):
    image, kernel = torch.randn(9, 12, dtype=dtype), torch.randn(3, 2, dtype=dtype)
    ours = lesson.conv2d(image, kernel, stride, padding, dilation)
    theirs = F.conv2d(image[None, None], kernel[None, None], None, stride, padding, dilation)[0, 0]
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("way", [lesson.conv2d_channels, lesson.conv2d_unfold])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("steps", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 2}])
def test_batches_and_channels_agree_with_pytorch(way, groups, steps):
    images = torch.randn(3, 4, 8, 7, dtype=torch.float64)
    weight = torch.randn(8, 4 // groups, 3, 2, dtype=torch.float64)
    ours = way(images, weight, groups=groups, **steps)
    torch.testing.assert_close(ours, F.conv2d(images, weight, groups=groups, **steps))


def test_kernel_as_large_as_the_image_gives_one_pixel():
    assert lesson.conv2d(torch.ones(3, 3), torch.ones(3, 3)).tolist() == [[9]]


def test_mistakes_fail_and_their_mends_work():
    with pytest.raises(RuntimeError, match="Expected 3D"):
        lesson.two_dimensions()
    assert lesson.four_dimensions() == (1, 1, 3, 3)
    with pytest.raises(RuntimeError, match="Byte"):
        lesson.whole_numbers()
    assert lesson.floats() == torch.float32
    assert lesson.pixels_left_over() == 0
    assert lesson.every_pixel() == 3
    assert lesson.not_flipped() == [3, 2, 1]
    assert lesson.flipped() == [1, 2, 3]


def test_command_prints_the_worked_case_and_logs_the_pictures(
    run_cli, read_events, only_run, tmp_path
):
    result = run_cli("conv-demo", "--stride", 3, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    for line in (
        "stride 3, padding 0",
        "│ 18 │ 16 │ 16 │",
        "1 + 4 + 0 + 0 + 1 + 0 + 2 + 2 + 0 = 10",
    ):
        assert line in result.output
    assert "Next lesson: python cli.py" in result.output

    run = only_run(tmp_path, "conv-demo")
    events = read_events(run)
    tags = {f"images/{name}" for name in ("original", "blur", "sharpen", "edges")}
    assert set(events.Tags()["images"]) == tags
    for tag in tags:
        (image,) = events.Images(tag)
        assert (image.width, image.height) == (320, 214)


@pytest.mark.parametrize("words", [("--stride", 0), ("--padding", -1), ("--stride", "two")])
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("conv-demo", *words).exit_code == 2
