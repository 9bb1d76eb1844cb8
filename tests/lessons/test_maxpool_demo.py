"""maxpool-demo: its mistakes, its claims (its cases: test_exercises.py)."""

import re
from itertools import product
from math import ceil

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18

from lessons import maxpool_demo as lesson
from shared.datasets.embedded import photograph
from shared.datasets.pictures import shrunk
from shared.models import CifarNet
from shared.pooling import how_many, same_after_move


def test_the_mean_of_whole_numbers_fails_or_is_cut_off():
    with pytest.raises(NotImplementedError, match="for 'Byte'"):
        lesson.wrong_bytes()
    assert lesson.tempting_bytes().tolist() == [[[1]]]
    assert lesson.tempting_bytes().dtype == torch.int64
    assert lesson.right_bytes().item() == pytest.approx(10 / 9)
    image = lesson.IMAGE.reshape(1, 5, 5)
    for dtype in (torch.int8, torch.int16, torch.int32, torch.bool):
        with pytest.raises(NotImplementedError):
            F.avg_pool2d(image.to(dtype), 3)
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        largest = F.max_pool2d(image.to(dtype), 3, ceil_mode=True)
        assert largest.tolist() == [[[2, 3], [5, 1]]]


def test_channels_last_are_pooled_silently():
    assert lesson.wrong_orange().tolist() == [[[1]], [[1]]]
    assert lesson.right_orange().tolist() == [[[1]], [[0.5]], [[0]]]


def test_pooling_has_no_weight():
    with pytest.raises(AttributeError, match="no attribute 'weight'"):
        lesson.wrong_count()
    assert lesson.right_count() == 0
    assert not nn.MaxPool2d(2).state_dict()


def test_a_window_that_pytorch_leaves_out_has_no_pixel():
    """Wherever PyTorch has fewer windows than the formula, rounded up, says."""
    fewer = {False: 0, True: 0}
    for size, k, stride in product(range(1, 12), range(1, 7), range(1, 7)):
        for padding in range(k // 2 + 1):
            if 1 + ceil((size + 2 * padding - k) / stride) < 1:
                assert not lesson.starts(size, k, stride, padding, True)
                with pytest.raises(RuntimeError, match="too small"):
                    how_many(size, k, stride, padding)
                continue
            number, windows = how_many(size, k, stride, padding)
            ours = lesson.starts(size, k, stride, padding, True)
            assert windows == len(ours)
            assert ours[-1] < size and ours[0] + k > 0  # each has a pixel
            if windows < number:
                fewer[padding > 0] += 1
                assert windows == number - 1
                assert stride * windows - padding >= size
    assert fewer[False] > 50 and fewer[True] > 50


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_more_padding_than_half_a_window_is_refused_by_both(k):
    image = torch.zeros(1, 9, 9)
    padding = k // 2 + 1
    with pytest.raises(RuntimeError, match="at most half"):
        F.max_pool2d(image, k, 1, padding)
    with pytest.raises(AssertionError):
        lesson.pool(image, torch.amax, k, 1, padding, False)


def test_padding_is_never_the_largest_but_a_zero_in_the_default_mean():
    dark = torch.full((1, 3, 3), -1.0)
    how = 3, 2, 1
    assert (lesson.pool(dark, torch.amax, *how, False) == -1).all()
    assert (lesson.pool(dark, torch.mean, *how, False) == -1).all()
    zeros = F.pad(dark, [1] * 4)  # conv-demo's padding
    assert (lesson.pool(zeros, torch.amax, 3, 2, 0, False) == 0).all()
    default = F.avg_pool2d(dark, *how)
    ninths = torch.full((1, 2, 2), -4 / 9)
    torch.testing.assert_close(default, ninths)
    zeros_counted = lesson.pool(zeros, torch.mean, 3, 2, 0, False)
    torch.testing.assert_close(zeros_counted, default)


def test_as_resnet_pools():
    layer = resnet18(weights=None).maxpool
    assert (layer.kernel_size, layer.stride, layer.padding) == (3, 2, 1)
    image = torch.randn(1, 112, 112)
    ours = lesson.pool(image, torch.amax, 3, 2, 1, layer.ceil_mode)
    assert ours.shape == (1, 56, 56) and torch.equal(ours, layer(image))


@pytest.mark.parametrize("dtype", [torch.float32, torch.half, torch.float64])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_strides_larger_than_a_window_and_pictures_that_are_not_contiguous(
    dtype, ceil_mode
):
    torch.manual_seed(0)
    for k, stride in product((1, 2, 3), (1, 3, 4, 7)):
        image = torch.randn(2, 9, 7, 3).permute(0, 3, 2, 1).to(dtype)
        how = k, stride, k // 2
        ours = lesson.pool(image, torch.amax, *how, ceil_mode)
        theirs = F.max_pool2d(image, *how, ceil_mode=ceil_mode)
        assert torch.equal(ours, theirs)
        ours = lesson.pool(image, torch.mean, *how, ceil_mode)
        theirs = lesson.MEAN(image, *how, ceil_mode=ceil_mode)
        near = 1e-2 if dtype == torch.half else 1e-6
        torch.testing.assert_close(ours, theirs, rtol=near, atol=near)


def test_empty_batches_stay_empty_and_pictures_too_small_have_no_window():
    empty = torch.zeros(0, 3, 5, 5)
    for mode in (False, True):
        ours = lesson.pool(empty, torch.amax, 3, 3, 0, mode)
        assert ours.shape == F.max_pool2d(empty, 3, ceil_mode=mode).shape
    pixel = torch.zeros(1, 1, 1)
    assert lesson.pool(pixel, torch.amax, 2, 2, 0, False).shape == (1, 0, 0)
    with pytest.raises(RuntimeError, match="too small"):
        F.max_pool2d(pixel, 2)
    assert lesson.pool(pixel, torch.amax, 2, 2, 0, True).shape == (1, 1, 1)


@pytest.mark.parametrize(("k", "seed"), [*product((2, 3, 4, 5), range(5))])
def test_of_random_pixels_as_many_stay_as_it_says(k, seed):
    torch.manual_seed(seed)
    noise = torch.rand(3, 60 * k, 60 * k)
    expected = (k - 1) / (k + 1)
    assert same_after_move(noise, k) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_of_slopes_nothing_stays_and_of_both_photographs_less_than_of_noise(k):
    slope = torch.arange(60.0 * k).expand(1, 8, 60 * k)
    assert same_after_move(slope, k) == 0
    for name in ("china", "flower"):
        image = shrunk(photograph(name), 25 * k)
        assert 0.05 < same_after_move(image, k) < (k - 1) / (k + 1)


def numbers(output: str, pattern: str) -> list[float]:
    (found,) = re.findall(pattern, " ".join(output.split()))
    return [float(number) for number in found]


STAY = r"Random pixels: (\d+)% of the outputs\. Picture: (\d+)%\."
LIGHT = r"picture (\d\.\d\d), largest (\d\.\d\d), mean (\d\.\d\d)\."


def test_command_prints_the_worked_case_and_logs_the_pictures(
    run_cli, read_events, only_run, width, tmp_path
):
    result = run_cli("maxpool-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    for line in (
        "[ 2 ]            ┌ 2  3 ┐        [ 1.11 ]         ┌ 1.11 1.33 ┐",
        "                 └ 5  1 ┘                         └ 2.17 1.00 ┘",
        "✓ pool = F.max_pool2d, F.avg_pool2d: largest difference 0",
        "✓ pool = PyTorch's: largest difference 0",
        "✓ pool = PyTorch's, 200 random images: largest difference",
        "Mistake 3 of 3",
        "┌ -1  -1 ┐  ┌ -1  -1 ┐  ┌ -0.44 -0.44 ┐",
        "Next lesson: python cli.py",
    ):
        assert line in result.output
    rows = [line.split() for line in result.output.splitlines()]
    for row in ("3 2 3 0 2 1 0", "5 2 2 1 4 3 -1 1 3", "5 3 2 1 3 3 -1 1 3"):
        assert row.split() in rows  # ..., the formula's, PyTorch's, starts
    assert width(result.output) <= 80
    picture, largest, mean = numbers(result.output, LIGHT)
    assert picture == pytest.approx(mean, abs=0.02) and largest > mean + 0.05
    noise, photo = numbers(result.output, STAY)
    assert 47 <= noise <= 53 and 20 <= photo <= 32
    events = read_events(only_run(tmp_path, "maxpool-demo"))
    assert events.Tags()["images"] == ["pooled"]
    (pooled,) = events.Images("pooled")
    assert (pooled.width, pooled.height) == (880, 300)


def test_what_it_says_of_train_cifar_s_network():
    first, _ = (m for m in CifarNet() if isinstance(m, nn.Linear))
    pools = [m for m in CifarNet() if isinstance(m, nn.MaxPool2d)]
    assert [pool.kernel_size for pool in pools] == [2, 2, 2]
    assert first.weight.shape == (64, 1024)
    assert 64 * 4 * 4 == 1024
    flat = nn.Linear(64 * 32 * 32, 64, device="meta")
    assert flat.weight.numel() == 64 * 32 * 32 * 64 == 4_194_304


@pytest.mark.parametrize("k", [2, 4, 5])
def test_windows_of_another_size_change_the_screen(run_cli, tmp_path, k):
    plain = run_cli("maxpool-demo", "--logdir", tmp_path).output
    words = ("--kernel-size", k, "--logdir", tmp_path)
    result = run_cli("maxpool-demo", *words)
    assert result.exit_code == 0, result.output
    assert f"largest, {k} x {k}" in result.output
    assert "largest, 3 x 3" in result.output  # the worked case stays
    assert numbers(result.output, STAY) != numbers(plain, STAY)
    assert numbers(result.output, LIGHT) != numbers(plain, LIGHT)


@pytest.mark.parametrize("size", [(1, 1), (1, 16), (16, 1), (300, 20), (9, 9)])
def test_a_picture_of_one_s_own_is_pooled(
    run_cli, read_events, only_run, tmp_path, size
):
    path = tmp_path / "own.png"
    Image.new("RGBA", size, (255, 0, 0, 128)).save(path)
    logs = tmp_path / "logs"
    result = run_cli("maxpool-demo", "--image", path, "--logdir", logs)
    assert result.exit_code == 0, result.output
    columns, rows = (max(1, round(min(1, 75 / max(size)) * n)) for n in size)
    said = " ".join(result.output.split())
    assert f" of {rows} x {columns} pixels (0 is" in said
    picture, largest, mean = numbers(result.output, LIGHT)
    assert picture == largest == mean
    assert numbers(result.output, STAY)[1] == 100  # the same everywhere
    assert read_events(only_run(logs, "maxpool-demo")).Images("pooled")


def test_pictures_that_can_t_be_read_exit_1(run_cli, tmp_path):
    narrow = tmp_path / "narrow.png"
    Image.new("RGB", (17, 1)).save(narrow)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(narrow.read_bytes()[:40])
    for path in (narrow, damaged, tmp_path / "none.png", tmp_path):
        result = run_cli("maxpool-demo", "--image", path)
        assert result.exit_code == 1
        problem, next_step = result.stderr.splitlines()
        assert problem.startswith("Error: ") and str(path) in problem
        assert next_step.startswith("Next: ")


@pytest.mark.parametrize(
    "words",
    [("--kernel-size", 1), ("--kernel-size", 6), ("--kernel-size", "x")],
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("maxpool-demo", *words).exit_code == 2


def test_the_lines_to_remember_run(run_cli, tmp_path):
    output = run_cli("maxpool-demo", "--logdir", tmp_path).output
    first, second, third = re.findall(r"│ • (.*?) *│", output)
    exec(first, names := {"torch": torch})
    assert eval(second, names) == (64, 32, 16, 16)
    assert "# (64, 32, 16, 16)" in second
    layer = names["pool"]
    assert (layer.stride, layer.ceil_mode) == (2, False)
    assert not list(layer.parameters())
    assert eval(third, names)(torch.zeros(1, 112, 112)).shape == (1, 56, 56)


def test_the_exercise_has_an_answer():
    image = lesson.IMAGE[None]
    smallest = -F.max_pool2d(-image, 3, ceil_mode=True)
    assert smallest.tolist() == [[[0, 0], [0, 1]]]


def test_of_a_dark_line_the_largest_keeps_nothing():
    dark = torch.tensor([1.0, 0, 1]).expand(1, 3, 3)
    assert F.max_pool2d(dark, 3) == 1
    assert F.avg_pool2d(dark, 3).item() == pytest.approx(2 / 3)


def test_the_mean_of_whole_windows_keeps_the_brightness():
    image = torch.rand(3, 60, 60, dtype=torch.float64)
    for k in (2, 3, 4, 5):
        mean = F.avg_pool2d(image, k).mean()
        torch.testing.assert_close(mean, image.mean())
