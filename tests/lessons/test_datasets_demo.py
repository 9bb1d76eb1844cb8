"""datasets-demo: its mistakes, and what it says of torchvision's sets."""

import hashlib
import inspect
import pickle
import re
import socket
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets
from torchvision.datasets import CIFAR10, MNIST
from torchvision.datasets.utils import calculate_md5
from torchvision.transforms import ToTensor

from lessons import datasets_demo as lesson
from shared.datasets.embedded import digits, photo_digits
from shared.datasets.idx import to_idx, write_mnist

made_once = cache(photo_digits)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Whoever tries to reach one fails the test."""

    def connect(*args):
        raise AssertionError("the lesson went to the network")

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture
def root(tmp_path) -> Path:
    """The small MNIST of the lesson."""
    train, test = digits(28)
    numbers = [train.images[:50, 0], train.labels[:50]]
    numbers += [test.images[:, 0], test.labels]
    write_mnist(tmp_path / "small", *map(to_idx, numbers))
    return tmp_path / "small"


@pytest.fixture
def cifar10(monkeypatch, tmp_path) -> Path:
    """Twenty images a file in CIFAR-10's format, where the lesson looks."""
    folder = tmp_path / "data" / CIFAR10.base_folder
    folder.mkdir(parents=True)
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    pixels = np.random.RandomState(0).randint(0, 256, (20, 3072), np.uint8)
    batch = pickle.dumps({"data": pixels, "labels": [*range(10)] * 2})
    sums = {}
    contents = {f"data_batch_{n}": batch for n in range(1, 6)}
    contents |= {"test_batch": batch}
    contents |= {"batches.meta": pickle.dumps({"label_names": names.split()})}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    train = [[n, s] for n, s in sums.items() if n.startswith("data")]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    test = [["test_batch", sums["test_batch"]]]
    monkeypatch.setattr(CIFAR10, "test_list", test)
    meta = {**CIFAR10.meta, "md5": sums["batches.meta"]}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    monkeypatch.setattr("lessons.datasets_demo.DATA", folder.parent)
    monkeypatch.setattr("shared.datasets.sources.DATA", folder.parent)
    return folder


@pytest.fixture
def no_cifar10(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("lessons.datasets_demo.DATA", tmp_path / "nothing")
    monkeypatch.setattr("lessons.datasets_demo.photo_digits", made_once)


def test_mistakes_are_wrong_and_their_mends_are_right(root):
    assert lesson.wrong_score(root) == "100.0% right"
    assert lesson.right_score(root) == "83.8% right"
    with pytest.raises(TypeError, match="expected Tensor as element 0"):
        lesson.wrong_stack(root)
    assert lesson.right_stack(root) == (50, 1, 28, 28)
    with pytest.raises(RuntimeError, match="Error downloading"):
        lesson.wrong_names(root)
    assert lesson.right_names(root) == ["zero", "one"]


def test_mnist_reads_a_changed_byte_and_the_checksum_finds_it(root):
    path = root / "MNIST/raw/t10k-labels-idx1-ubyte"
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    assert calculate_md5(path) == md5
    assert MNIST(root, train=False)[0][1] == 2
    content = bytearray(path.read_bytes())
    content[8] = 7
    path.write_bytes(content)
    assert MNIST(root, train=False, download=True)[0][1] == 7
    assert calculate_md5(path) != md5


def test_cifar10_looks_at_its_checksums_each_time(cifar10):
    assert len(CIFAR10(cifar10.parent)) == 100
    path = cifar10 / "test_batch"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match="corrupted"):
        CIFAR10(cifar10.parent, train=True)


def test_the_paper_case_is_mnist_to_torchvision(tmp_path):
    files = lesson.IMAGES, lesson.LABELS
    assert [len(content) for content in files] == [24, 10]
    write_mnist(tmp_path, *files, *files)
    dataset = MNIST(tmp_path, transform=ToTensor())
    assert dataset.data.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert dataset.targets.tolist() == [7, 3]
    assert lesson.read_idx(files[0]).tolist() == dataset.data.tolist()
    assert dataset.data.dtype == torch.uint8
    assert dataset.targets.dtype == torch.int64
    assert dataset[1][1] == 3


def test_the_arguments_are_written_with_their_names(root):
    with pytest.raises(TypeError, match="'bool' object is not callable"):
        MNIST(root, True, None, True)[0]  # the fourth is target_transform


def test_no_two_known_images_are_the_same():
    train, _ = digits(28)
    assert len(torch.unique(train.images.flatten(1), dim=0)) == 1500


@pytest.mark.parametrize("first", [0, 1, 2])
def test_what_is_not_idx_of_uint8_is_refused(first):
    content = bytearray(lesson.IMAGES)
    content[first] += 1
    with pytest.raises(AssertionError, match="not IDX"):
        lesson.read_idx(bytes(content))


@pytest.mark.parametrize("limit", [1, 2, 10, 50, 1500])
def test_chance_labels_get_100_percent_and_10(limit):
    train, test = digits(28)
    known = train.images[:limit]
    places = lesson.nearest(known, torch.arange(limit), known)
    assert torch.equal(places, torch.arange(limit))  # 100 %, whatever labels
    places = lesson.nearest(known, torch.arange(limit), test.images)
    for seed in range(5):
        torch.manual_seed(seed)
        drawn = torch.randint(0, 10, (1000, limit))
        share = (drawn[:, places] == test.labels).float().mean().item()
        assert 0.09 < share < 0.11
    # at least one new image is read wrong, which the lesson then shows
    assert (train.labels[places] != test.labels).any()


def test_many_other_sets_say_split_and_cifar10_says_train():
    sets = [getattr(datasets, name) for name in datasets.__all__]
    classes = [one for one in sets if isinstance(one, type)]
    given = [inspect.signature(one.__init__).parameters for one in classes]
    assert sum("split" in names for names in given) > len(given) / 3
    assert sum("train" in names for names in given) < len(given) / 5
    assert str(inspect.signature(CIFAR10)) == str(inspect.signature(MNIST))


def flat(output: str) -> str:
    return " ".join(output.split())


def test_command_prints_the_worked_case_and_logs_ten_images(
    run_cli, read_events, drawn, only_run, width, tmp_path, no_cifar10
):
    result = run_cli("datasets-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    for line in (
        "IMAGES: 0 0 8 3 0 0 0 2 0 0 0 2 0 0 0 2 1 2 3 4 5 6 7 8",
        "└ 3  4 ┘  └ 7  8 ┘",
        "✓ our images = data: largest difference 0",
        "✓ our labels = targets: largest difference 0",
        "✓ nearest = 7: largest difference 0",
        "✓ read_idx / 255 = each item's tensor: largest difference 0",
        "CIFAR-10 is not here: python cli.py data get cifar10",
        "photo-digits: 10,000 images to train, 2,000 to test, in ten classes",
        "✗ 100.0% right",
        "✓ 83.8% right",
        "TypeError: expected Tensor as element 0",
        "RuntimeError: Error downloading",
        "Mistake 3 of 3",
        "Next lesson: python cli.py",
    ):
        assert line in result.output
    rows = re.findall(r"(true|by chance) +(\S+)% +(\S+)%", result.output)
    assert [row[:2] for row in rows] == [
        ("true", "100.0"),
        ("by chance", "100.0"),
    ]
    assert "The first file: 16 + 50 * 28 * 28 = 39,216." in flat(result.output)
    assert width(result.output) <= 80
    events = read_events(only_run(tmp_path, "datasets-demo"))
    assert drawn(events) == {"nearest": (440, 300), "ten": (1100, 540)}


def test_cifar10_is_shown_where_it_is(run_cli, tmp_path, cifar10):
    result = run_cli("datasets-demo", "--logdir", tmp_path / "logs")
    assert result.exit_code == 0, result.output
    assert "CIFAR-10: 100 images to train, 20 to test" in result.output
    assert "classes[3]: 'cat'; MNIST: '3 - three'" in flat(result.output)
    assert "is not here" not in result.output


def test_a_damaged_cifar10_exits_1_with_one_sentence(
    run_cli, tmp_path, cifar10
):
    (cifar10 / "test_batch").write_bytes(b"")
    result = run_cli("datasets-demo", "--logdir", tmp_path / "logs")
    assert result.exit_code == 1
    problem, next_step = result.stderr.splitlines()
    assert problem == f"Error: CIFAR-10 in {cifar10.parent} is damaged."
    assert "python cli.py data get cifar10" in next_step


def test_limit_changes_the_files_and_the_score(run_cli, tmp_path, no_cifar10):
    scores = []
    for limit in (1, 10, 300):
        words = ("--limit", limit, "--logdir", tmp_path)
        result = run_cli("datasets-demo", *words)
        assert result.exit_code == 0, result.output
        assert f"= {16 + limit * 784:,}." in flat(result.output)
        assert f"torch.Size([{limit}, 1, 28, 28])" in result.output
        (score,) = re.findall(r"true +100.0% +(\S+)%", result.output)
        scores.append(float(score))
    assert scores == sorted(scores)
    assert scores[0] < 15 and scores[-1] > 90


@pytest.mark.parametrize("limit", [0, 1501, "all"])
def test_wrong_options_exit_2(run_cli, limit):
    assert run_cli("datasets-demo", "--limit", limit).exit_code == 2


def test_the_lines_to_remember_run(
    run_cli, root, tmp_path, monkeypatch, no_cifar10
):
    output = run_cli("datasets-demo", "--logdir", tmp_path / "logs").output
    lines = re.findall(r"│ • (.*?) *│", output)
    root.rename(tmp_path / "data")  # so that there is nothing to download
    monkeypatch.chdir(tmp_path)
    exec("\n".join(lines), names := {})
    assert len(names["train"]) == 50
    assert len(names["test"]) == 297


def test_the_exercise_has_an_answer():
    for content in (lesson.IMAGES, lesson.LABELS):
        assert to_idx(lesson.read_idx(content)) == content


def test_the_header_of_mnist_begins_with_60_000():
    assert int.from_bytes(bytes([0, 0, 234, 96]), "big") == 60_000


@pytest.mark.real_data
def test_the_real_mnist_is_read_as_torchvision_reads_it(real_data):
    raw = real_data / "MNIST" / "raw"
    for part, train in (("train", True), ("t10k", False)):
        dataset = MNIST(real_data, train=train)
        content = (raw / f"{part}-images-idx3-ubyte").read_bytes()
        assert len(content) == 16 + len(dataset) * 28 * 28
        if train:
            assert content[4:8] == bytes([0, 0, 234, 96])
        assert torch.equal(lesson.read_idx(content), dataset.data)
        content = (raw / f"{part}-labels-idx1-ubyte").read_bytes()
        assert torch.equal(lesson.read_idx(content).long(), dataset.targets)
