"""linear-demo: its mistakes and what it says (its cases: test_exercises.py)."""

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from lessons import linear_demo as lesson
from shared.datasets.embedded import digits
from shared.models import CifarNet


@pytest.fixture(scope="module")
def train() -> list[Tensor]:
    return in_rows(0)


@pytest.fixture(scope="module")
def test() -> list[Tensor]:
    return in_rows(1)


def in_rows(part: int) -> list[Tensor]:
    images = digits(16)[part]
    return [images.images.flatten(1) / 255, images.labels]


def percent(
    layer: tuple[Tensor, Tensor], rows: Tensor, labels: Tensor
) -> float:
    answers = lesson.linear_product(rows, *layer).argmax(1)
    return 100 * (answers == labels).double().mean().item()


def test_a_flattened_batch_fails_with_the_last_one_and_not_before():
    with pytest.raises(RuntimeError, match="49152 and 196608x10"):
        lesson.wrong_last()
    assert lesson.tempting_last() == (10,)  # no error, and not (64, 10)
    with pytest.raises(ValueError, match="64"):  # the error that comes later
        F.cross_entropy(torch.zeros(10), torch.zeros(64, dtype=torch.int64))
    assert lesson.right_last() == (16, 10)
    batch, last = (
        torch.zeros(64, 3, 32, 32),
        torch.zeros(10_000 % 64, 3, 32, 32),
    )
    assert lesson.flatten(batch, 1).shape == (64, 3072)
    assert torch.flatten(batch).shape == (196_608,) == (64 * 3072,)
    assert torch.flatten(last).shape == (49_152,) == (16 * 3 * 32 * 32,)
    assert nn.Flatten()(last).shape == (16, 3072)
    with pytest.raises(RuntimeError, match="196608 and 49152x10"):
        nn.Linear(49_152, 10)(torch.flatten(batch))


def test_a_permuted_image_has_no_view_in_one_row():
    with pytest.raises(RuntimeError, match=r"Use .reshape\(...\) instead"):
        lesson.wrong_file()
    right = lesson.right_file()
    assert right.tolist() == [[0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]]
    image = torch.arange(12).view(1, 2, 2, 3)
    assert torch.equal(image.permute(0, 3, 1, 2).reshape(1, 12), right)
    assert (
        image.view(1, 12)[0, :3].tolist()
        == [0, 1, 2]
        == image[0, 0, 0].tolist()
    )
    places = image.permute(0, 3, 1, 2).reshape(12)
    assert places.diff()[:4].tolist() == [3, 3, 3, -8]
    kept = torch.zeros(1, 3, 2, 2)
    assert kept.flatten(1).data_ptr() == kept.data_ptr()  # a view where it can


def test_the_place_in_the_row_is_as_it_says():
    row = lesson.flatten(lesson.IMAGES, 1)[0]
    for c, i, j in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
        assert row[c * 4 + i * 2 + j] == lesson.IMAGES[0, c, i, j]


def test_nn_linear_does_the_same_with_its_own_numbers():
    torch.manual_seed(0)
    layer, x = nn.Linear(8, 2), torch.randn(5, 3, 8)
    assert layer.weight.shape == lesson.WEIGHT.shape
    assert layer.bias.shape == lesson.BIAS.shape
    assert sum(p.numel() for p in layer.parameters()) == 18
    ours = lesson.linear_product(x, layer.weight, layer.bias)
    torch.testing.assert_close(ours, layer(x))


def test_the_largest_output_is_the_nearest_average_s(train, test):
    weight, bias = lesson.averages(*train)
    outputs = lesson.linear_product(test[0].double(), weight.double(), bias)
    apart = ((test[0][:, None].double() - weight.double()) ** 2).sum(-1)
    twice = (test[0].double() ** 2).sum(1, keepdim=True) - apart
    torch.testing.assert_close(2 * outputs, twice, rtol=0, atol=1e-4)
    assert 37.5 < outputs.max() < 38.5
    assert torch.equal(outputs.argmax(1), apart.argmin(1))


def test_a_product_stores_no_products_and_the_sums_do():
    x, weight, bias = (
        torch.zeros(64, 1024),
        torch.zeros(64, 1024),
        torch.zeros(64),
    )
    for way, most in (
        (lesson.linear_sums, 4 * 64 * 1024 * 64),  # 17 MB
        (lesson.linear_product, 4 * 64 * 64),
    ):
        with profile(
            activities=[ProfilerActivity.CPU], profile_memory=True
        ) as watched:
            way(x, weight, bias)
        events = watched.key_averages()
        assert max(e.self_cpu_memory_usage for e in events) == most


def test_mixed_alike_as_many_are_right_mixed_alone_it_guesses(train, test):
    weight, bias = lesson.averages(*train)
    right = percent((weight, bias), *test)
    assert 89 < right < 94
    lost = []
    for seed in range(300):  # as the command draws with --seed
        torch.manual_seed(seed)
        nn.Linear(8, 2)
        for size in [(4, 5), (3, 5), (3,)] * 100:
            torch.randn(size)
        order = torch.randperm(256)
        moved = test[0][:, order]
        anew = lesson.averages(train[0][:, order], train[1])
        assert percent(anew, moved, test[1]) == right
        lost.append(percent((weight, bias), moved, test[1]))
    assert 0.5 < min(lost) < 1.5 and 26.5 < max(lost) < 27.5
    assert sum(lost) / 300 == pytest.approx(11, abs=0.5)


def test_train_cifar_s_linear_layers_are_as_it_says():
    net = CifarNet()
    count = [sum(p.numel() for p in layer.parameters()) for layer in net]
    linear = [isinstance(layer, nn.Linear) for layer in net]
    found = [n for n, is_one in zip(count, linear, strict=True) if is_one]
    assert found == [65_600, 650]
    assert sum(found) == 66_250
    assert sum(count) == 145_578
    assert isinstance(net[-1], nn.Linear)


def test_command_prints_the_worked_case_and_logs_the_pictures(
    run_cli, read_events, only_run, width, tmp_path
):
    result = run_cli("linear-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    for words in (
        "┌ 1 2 3 4 5 6 7 8 ┐ └ 0 1 0 2 1 0 3 0 ┘",
        "The 6, at [1, 0, 1], comes to 4 + 0 + 1 = 5",
        "✓ flatten = torch.flatten: largest difference 0",
        "Output 1 of image 1: 1*1 + 2*2 + 3*1 - 1 = 7; its other products",
        "┌ -6 16 ┐ └ 9 7 ┘",
        "✓ linear_loops = nn.Linear(8, 2): largest difference 0",
        "✓ all three = F.linear",
        "✓ outputs = before",
        "(1x49152 and 196608x10)",
        "✗ torch.Size([10])",
        "✓ torch.Size([16, 10])",
        "Mistake 2 of 2",
        "Next lesson: python cli.py",
    ):
        assert words in said, words
    assert width(result.output) <= 80
    events = read_events(only_run(tmp_path, "linear-demo"))
    assert events.Tags()["images"] == ["weights"]
    assert len(events.Images("weights")) == 1


def shares(output: str) -> list[str]:
    return re.findall(r"(\d+\.\d)% are right", " ".join(output.split()))


def test_another_seed_mixes_in_another_way(run_cli, tmp_path):
    plain, mixed, lost = [], [], []
    for seed in range(3):
        words = ["--seed", seed, "--logdir", tmp_path]
        result = run_cli("linear-demo", *words)
        assert result.exit_code == 0, result.output
        for found, share in zip(
            (plain, mixed, lost), shares(result.output), strict=True
        ):
            found.append(float(share))
    assert plain == mixed and len(set(plain)) == 1 and plain[0] > 89
    assert len(set(lost)) > 1 and max(lost) < 28


def test_the_exercise_has_an_answer():
    weight = torch.diag(torch.ones(56), -8)
    assert weight.shape == (64, 64) and weight.count_nonzero() == 56
    moved = (weight @ torch.arange(64.0)).view(8, 8)
    assert moved.flatten().tolist() == [0] * 8 + [*range(56)]
    image = torch.rand(8, 8)
    row = lesson.flatten(image)
    out = lesson.linear_product(row, weight, torch.zeros(64)).view(8, 8)
    assert torch.equal(out[1:], image[:-1])


def test_the_lines_to_remember_run(run_cli, tmp_path):
    output = run_cli("linear-demo", "--logdir", tmp_path).output
    first, second, third = re.findall(r"│ • (.*?) *│", output)
    exec(f"{first}\n{second}", names := {})
    assert "# (64, 3072)" in second and names["rows"].shape == (64, 3072)
    assert "# (64, 10)" in third and eval(third, names) == (64, 10)


@pytest.mark.parametrize("seed", [-1, 2**32, "two"])
def test_wrong_options_exit_2(run_cli, seed):
    assert run_cli("linear-demo", "--seed", seed).exit_code == 2


def test_a_log_folder_that_is_a_file_exits_1(run_cli, tmp_path):
    (tmp_path / "logs").write_text("")
    result = run_cli("linear-demo", "--logdir", tmp_path / "logs")
    assert result.exit_code == 1
    assert "Can't write to" in result.stderr
