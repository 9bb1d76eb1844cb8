"""train-cifar: its functions, the run's folder, and stopped runs.

Above all, a killed run loses nothing.
"""

import csv
import inspect
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner, Result

from cli import app
from lessons import train_cifar as lesson
from shared.datasets.embedded import photo_digits
from shared.datasets.image_set import ImageSet
from shared.options import ROOT
from shared.training.checkpoint import load_checkpoint

made_once = cache(photo_digits)
SMALL = ("--data", "photo-digits", "--limit", 600, "--device", "cpu")
GO_ON = ("train-cifar", "--resume", "--epochs", 3)
STEPS = 600 // 64  # of an epoch: the 24 images left over come in another one


@pytest.fixture(autouse=True)
def images_made_once(monkeypatch):
    monkeypatch.setattr("shared.datasets.sources.photo_digits", made_once)


PIXELS = torch.randint(0, 256, (50, 3, 32, 32), dtype=torch.uint8)
LABELS = torch.arange(50) % 10
NOISE = ImageSet(PIXELS, LABELS, list("0123456789"), "noise")


@pytest.fixture
def images() -> ImageSet:
    return replace(NOISE)


def steps(events: EventAccumulator, tag: str) -> list[int]:
    return [event.step for event in events.Scalars(tag)]


def table_rows(output: str) -> list[list[str]]:
    """The cells of each row of the growing table: epoch 1, epoch 2, …"""
    _, _, below = output.partition("seconds\n")
    rows = re.match(r"(?: +\d+(?: +[\d.]+%?)+\n)*", below)[0]
    return [line.split() for line in rows.splitlines()]


def assert_reported(result: Result, folder: Path, epochs: int) -> None:
    """The whole table and report are on the screen, as in the run's files."""
    assert result.exit_code == 0, result.output
    about = json.loads((folder / "run.json").read_text())
    accuracy, best = about["test_accuracy"], about["best"]["epoch"]
    assert f"{accuracy:.1%} of the test images" in result.output
    assert re.search(rf"weights .*epoch {best}\b", result.output)
    columns = "epoch  train loss  val loss  val accuracy  seconds"
    assert columns in result.output
    history = load_checkpoint(folder / "last.pt")["history"]
    assert len(history) == epochs
    for cells, row in zip(table_rows(result.output), history, strict=True):
        number, loss, val_loss = (
            row["epoch"],
            row["train_loss"],
            row["val_loss"],
        )
        shown = [f"{number}", f"{loss:.4f}", f"{val_loss:.4f}"]
        shown += [f"{row['val_accuracy']:.1%}", f"{row['seconds']:.1f}"]
        assert cells == shown
    for word in ("taken for", "Hardest", "Kept: last.pt", "Remember"):
        assert word in result.output


def build(activation: str) -> nn.Module:
    torch.manual_seed(0)
    return lesson.normalized(lesson.CifarNet(10, activation), NOISE.images)


def test_evaluate_averages_over_images_not_over_batches(images, monkeypatch):
    model = build("none")
    batches = images.batches
    # 16, 16, 16 and 2
    monkeypatch.setattr(images, "batches", lambda size: batches(16))
    loss, predictions = lesson.evaluate(model, images)
    with torch.no_grad():
        logits = model(images.images)
    expected = F.cross_entropy(logits, images.labels).item()
    assert loss == pytest.approx(expected, rel=1e-5)
    assert torch.equal(predictions, logits.argmax(1))


class PlainTraining:
    """What the loop asks of a training, without files.

    There are three batches an epoch, in order.
    """

    def __init__(self, epochs: int) -> None:
        self.rows, self.losses, self.number = [], [], epochs
        self.autocast = torch.autocast("cpu", enabled=False)

    def parallel(self, model):
        return model

    def epochs(self):
        return range(1, self.number + 1)

    def batches(self, images, epoch):
        return images.batches(20)

    def track(self, loss):
        self.losses.append(loss.item())

    def end_epoch(self, **row):
        self.rows.append(row)


def test_the_loop_is_plain_sgd(images):
    model, plain = build("relu"), build("relu")
    training = PlainTraining(epochs=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lesson.train(training, model, optimizer, images, images)
    parameters = list(plain.parameters())
    losses = []
    for start in (0, 20, 40) * 2:
        batch, labels = images[start : start + 20]
        loss = F.cross_entropy(plain(batch), labels)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 0.1 * gradient
        losses.append(loss.item())
    assert training.losses == pytest.approx(losses, rel=1e-5)
    for ours, theirs in zip(model.parameters(), parameters, strict=True):
        torch.testing.assert_close(ours, theirs)
    loss, predictions = lesson.evaluate(model, images)
    accuracy = images.accuracy(predictions)
    assert training.rows[-1] == {"val_loss": loss, "val_accuracy": accuracy}


def test_network_is_the_course_s(images):
    model = build("none")
    assert sum(parameter.numel() for parameter in model.parameters()) == 145_578
    assert not any(isinstance(layer, nn.ReLU) for layer in model.modules())
    assert sum(isinstance(m, nn.ReLU) for m in build("relu").modules()) == 4
    assert model(images.images).shape == (50, 10)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Result]:
    """A log folder with one run of two epochs, and what it said.

    Tests copy the folder before they change anything.
    """
    logdir = tmp_path_factory.mktemp("trained")
    words = ["train-cifar", *map(str, SMALL), "--epochs", "2"]
    words += ["--logdir", str(logdir)]
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, words)
    assert result.exit_code == 0, result.output
    return logdir, result


@pytest.fixture
def screen(trained) -> str:
    return trained[1].output


def test_the_screen_shows_the_network_layer_by_layer(screen):
    layers = [
        ("Conv2d", "(64, 32, 32, 32)", "2,432"),
        ("MaxPool2d", "(64, 32, 16, 16)", "0"),
        ("Conv2d", "(64, 32, 16, 16)", "25,632"),
        ("MaxPool2d", "(64, 32, 8, 8)", "0"),
        ("Conv2d", "(64, 64, 8, 8)", "51,264"),
        ("MaxPool2d", "(64, 64, 4, 4)", "0"),
        ("Flatten", "(64, 1024)", "0"),
        ("Linear", "(64, 64)", "65,600"),
        ("Linear", "(64, 10)", "650"),
    ]
    names = "Normalize|Conv2d|MaxPool2d|Flatten|Linear"
    row = rf"^ ({names}) +(\(.*\)) +([\d,]+) *$"
    found = re.findall(row, screen, re.MULTILINE)
    assert found == [("Normalize", "(64, 3, 32, 32)", "0"), *layers]
    assert len(re.findall(r"^ ReLU +\(.*\) +0 *$", screen, re.MULTILINE)) == 4
    assert "145,578 parameters" in screen


def test_the_screen_says_what_guessing_costs(screen):
    said = " ".join(screen.split())
    assert re.search(r"ln ?(10|\(1/10\)) (=|is) 2\.30", said)
    assert re.search("F.cross_entropy: largest difference", screen)


def test_the_screen_takes_two_steps_by_hand(screen):
    row = r"^ +(?:[12] +)?" + r" +".join([r"(-?\d+\.\d{4,})"] * 5) + " *$"
    first, second = (
        map(float, cells) for cells in re.findall(row, screen, re.MULTILINE)
    )
    loss, weight, gradient, velocity, after = first
    assert loss == pytest.approx(2.3, abs=0.1)
    assert gradient == velocity != 0
    assert after == pytest.approx(weight - 0.01 * velocity, abs=2e-6)
    second_loss, second_weight, gradient, second_velocity, last = second
    assert second_loss < loss
    assert second_weight == after
    expected = pytest.approx(0.9 * velocity + gradient, abs=2e-6)
    assert second_velocity == expected
    assert last == pytest.approx(after - 0.01 * second_velocity, abs=2e-6)
    check = "by hand = SGD.*largest difference"
    assert re.search(check, screen)


@pytest.mark.parametrize("function", [lesson.sgd_step, lesson.train])
def test_the_screen_shows_the_code_that_runs_whole(screen, function):
    source = inspect.getsource(function).strip().splitlines()
    shown = [line.removeprefix("  ").rstrip() for line in screen.splitlines()]
    start = shown.index(source[0])
    assert shown[start : start + len(source)] == source


def test_the_screen_shows_the_table_and_what_its_columns_mean(screen, width):
    before, _, _ = screen.partition("epoch  train loss")
    words = {
        "train loss": "mean over the training images",
        "val loss": "mean over the held-out images",
        "val accuracy": "share of",
    }
    for column, meaning in words.items():
        assert re.search(rf"{column}: .*{meaning}", before), column
        assert f"{column}: {lesson.COLUMNS[column]}" in before
    assert [number for number, *_ in table_rows(screen)] == ["1", "2"]
    assert "Remember" in screen
    assert width(screen) <= 80


def test_the_accuracy_on_the_screen_is_the_one_in_the_run_s_file(
    trained, only_run
):
    logdir, result = trained
    assert_reported(result, only_run(logdir, "train-cifar"), epochs=2)


def make_picture_folder(root: Path) -> dict[str, tuple[torch.Tensor, ...]]:
    """Write train/, valid/ and test/ with 16, 5 and 7 pictures of 3 classes.

    Returns the images and labels of each, as they must be read back.
    """
    chance, sets = np.random.default_rng(0), {}
    for split, each in (("train", 16), ("valid", 5), ("test", 7)):
        labels = torch.arange(3).repeat_interleave(each)
        noise = chance.integers(0, 100, (3 * each, 32, 32, 3), np.uint8)
        pixels = (
            noise + 70 * labels.numpy().astype(np.uint8)[:, None, None, None]
        )
        for number, (picture, label) in enumerate(
            zip(pixels, labels.tolist(), strict=True)
        ):
            path = root / split / "abc"[label] / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
        sets[split] = torch.from_numpy(pixels).permute(0, 3, 1, 2), labels
    return sets


def test_the_command_s_numbers_are_those_of_a_plain_loop(
    run_cli, only_run, tmp_path, monkeypatch
):
    """48 images by 16: none is left out, and none held out from train/."""
    sets = make_picture_folder(tmp_path / "pictures")
    monkeypatch.setattr("shared.datasets.sources.DATA", tmp_path)
    words = ["--data", tmp_path / "pictures", "--activation", "relu"]
    words += ["--momentum", 0.9, "--lr", 0.02, "--batch-size", 16]
    words += ["--epochs", 4, "--seed", 3, "--device", "cpu"]
    result = run_cli("train-cifar", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output

    images, labels = sets["train"]
    torch.manual_seed(3)
    net = lesson.CifarNet(3, "relu")
    model = lesson.normalized(net, images)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    rows = []
    for epoch in (1, 2, 3, 4):
        chance = torch.Generator().manual_seed(3 * 1_000_003 + epoch)
        losses = []
        for batch in torch.randperm(48, generator=chance).split(16):
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        measured = {}
        for split in ("valid", "test"):
            with torch.no_grad():
                logits = model(sets[split][0])
            loss = F.cross_entropy(logits, sets[split][1]).item()
            right = logits.argmax(1) == sets[split][1]
            measured[split] = loss, right.float().mean().item()
        rows.append((sum(losses) / 3, measured))

    folder = only_run(tmp_path, "train-cifar")
    last = load_checkpoint(folder / "last.pt")
    assert_same_weights(last["model"], model.state_dict())
    for ours, (train_loss, measured) in zip(last["history"], rows, strict=True):
        assert ours["train_loss"] == pytest.approx(train_loss, rel=1e-6)
        held_out = (ours["val_loss"], ours["val_accuracy"])
        assert held_out == pytest.approx(measured["valid"], rel=1e-6)
    assert rows[-1][0] < rows[0][0], "it learns something"
    about = json.loads((folder / "run.json").read_text())
    assert about["examples"] == {"training": 48, "held-out": 15, "test": 21}
    _, measured = rows[about["best"]["epoch"] - 1]
    assert about["test_accuracy"] == pytest.approx(measured["test"][1])


def test_run_leaves_everything_behind(run_cli, read_events, only_run, tmp_path):
    words = ("--epochs", 2, "--batch-size", 6, "--logdir", tmp_path)
    result = run_cli("train-cifar", *SMALL, *words)
    assert result.exit_code == 0, result.output
    folder = only_run(tmp_path, "train-cifar")
    counts = "600 training, 600 held-out and 600 test images"
    assert f"{counts} of photo-digits on cpu" in result.output
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    last = load_checkpoint(folder / "last.pt")
    best = load_checkpoint(folder / "best.pt")
    assert last["settings"]["lr"] == 0.01
    assert len(last["history"]) == 2
    top = max(float(row["val_accuracy"]) for row in rows)
    assert best["history"][-1]["val_accuracy"] == top
    about = json.loads((folder / "run.json").read_text())
    assert about["data"] == "photo-digits"
    assert about["examples"] == {"training": 600, "held-out": 600, "test": 600}
    assert about["best"]["val_accuracy"] == top
    accuracy = about["test_accuracy"]
    assert f"{accuracy:.1%} of the test images" in result.output

    events = read_events(folder)
    assert steps(events, "loss/batch") == [100, 200]
    curves = {"loss/train": "train_loss", "loss/val": "val_loss"}
    curves |= {"accuracy/val": "val_accuracy"}
    for tag, column in curves.items():
        assert steps(events, tag) == [100, 200]
        expected = pytest.approx(float(rows[-1][column]), rel=1e-6)
        assert events.Scalars(tag)[-1].value == expected
    assert events.Scalars("optimizer/lr")[-1].value == pytest.approx(0.01)
    for tag in ("accuracy/test", "result/test_accuracy"):
        values = [event.value for event in events.Scalars(tag)]
        assert values == [pytest.approx(accuracy)]
    pictures = {"images/input", "figures/confusion", "figures/predictions"}
    assert pictures <= set(events.Tags()["images"])


def test_the_best_held_out_epoch_is_the_one_that_is_tested(
    run_cli, only_run, tmp_path
):
    # wild: the best is not the last
    words = ("--epochs", 4, "--lr", 0.1, "--seed", 2)
    result = run_cli("train-cifar", *SMALL, *words, "--logdir", tmp_path)
    folder = only_run(tmp_path, "train-cifar")
    assert_reported(result, folder, epochs=4)
    best = load_checkpoint(folder / "best.pt")
    assert len(best["history"]) < 4
    about = json.loads((folder / "run.json").read_text())
    train_set, val_set, test_set = lesson.load_images(
        "photo-digits", torch.device("cpu"), 600, 2
    )
    model = lesson.normalized(lesson.CifarNet(10, "relu"), train_set.images)
    model.load_state_dict(best["model"])
    loss, predictions = lesson.evaluate(model, val_set)
    assert about["best"] == best["history"][-1]
    assert about["best"]["val_loss"] == loss
    assert about["best"]["val_accuracy"] == val_set.accuracy(predictions)
    _, predictions = lesson.evaluate(model, test_set)
    assert about["test_accuracy"] == test_set.accuracy(predictions)


@pytest.mark.parametrize("flip", [True, False])
def test_augmented_images_are_shifted_and_only_flipped_where_asked(flip):
    images = torch.randint(1, 256, (64, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(64)
    chance = torch.Generator().manual_seed(0)
    batch = (images, labels)
    changed, same = lesson.shift_and_flip(batch, chance=chance, flip=flip)
    assert torch.equal(same, labels)
    flips = 0
    for before, after in zip(F.pad(images, (4,) * 4), changed, strict=True):
        windows = before.unfold(1, 32, 1).unfold(2, 32, 1)
        windows = windows.permute(1, 2, 0, 3, 4)  # (9, 9, 3, ...)
        plain = (windows == after).flatten(2).all(2).any()
        mirrored = (windows == after.flip(2)).flatten(2).all(2).any()
        assert plain or mirrored
        flips += int(mirrored)
    assert 15 < flips < 49 if flip else flips == 0


def test_bf16_learns_too(run_cli, only_run, tmp_path):
    words = ("--precision", "bf16", "--epochs", 2, "--lr", 0.02)
    result = run_cli("train-cifar", *SMALL, *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    folder = only_run(tmp_path, "train-cifar")
    history = load_checkpoint(folder / "last.pt")["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


# ---- bad input ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--epochs", 0), "'--epochs'"),
        (("--epochs", -1), "'--epochs'"),
        (("--epochs", "abc"), "'--epochs'"),
        (("--lr", "nan"), "'--lr'"),
        (("--lr", "inf"), "inf is not a finite number"),
        (("--batch-size", 601), "601 is more than the 600 training images"),
        (
            ("--device", "tpu"),
            "'tpu' is not one of auto, cpu, cuda, cuda:N, mps",
        ),
        (("--activation", "gelu"), "'--activation'"),
        (("some-folder",), "goes with --resume"),
        (("--download",), "goes with --data cifar10"),
    ],
)
def test_wrong_options_exit_2_and_leave_nothing(
    run_cli, tmp_path, words, problem
):
    logdir = tmp_path / "logs"
    result = run_cli("train-cifar", *SMALL, *words, "--logdir", logdir)
    assert result.exit_code == 2, result.output
    assert problem in " ".join(result.stderr.replace("│", " ").split())
    assert not logdir.exists()


def assert_mendable(result, *words: str) -> None:
    """Exit code 1 and, at the end of stderr, one sentence and one next step.

    The words are in the sentence.
    """
    assert result.exit_code == 1, result.output
    problem, next_step = result.stderr.splitlines()[-2:]
    assert problem.startswith("Error: ")
    assert next_step.startswith("Next: ")
    for word in words:
        assert word in problem


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("name", ["cuda", "cuda:9"])
def test_cuda_without_cuda(run_cli, tmp_path, name):
    logdir = tmp_path / "logs"
    result = run_cli("train-cifar", "--device", name, "--logdir", logdir)
    assert_mendable(result, f"--device {name}")
    assert not logdir.exists()


@pytest.mark.parametrize(
    "words", [("--lr", 1000, "--activation", "none"), ("--lr", 10)]
)
def test_a_loss_that_runs_away_stops_with_the_next_step(
    run_cli, tmp_path, words
):
    """To nan; or, where the ReLUs have died, to a number far too large."""
    more = ("--epochs", 2, "--logdir", tmp_path)
    result = run_cli("train-cifar", *SMALL, *words, *more)
    assert_mendable(result, "In epoch 1 the loss ran away: ")
    default = "0.01"  # a tenth would be far too large still
    assert result.stderr.splitlines()[-1] == f"Next: try --lr {default}"


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_gpu_learns_and_the_run_goes_on_without_it(
    run_cli, only_run, tmp_path, precision
):
    words = ("--data", "photo-digits", "--epochs", 2, "--augment")
    words += ("--precision", precision, "--device", "cuda")
    result = run_cli("train-cifar", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    folder = only_run(tmp_path, "train-cifar")
    history = load_checkpoint(folder / "last.pt")["history"]
    assert history[-1]["val_accuracy"] > 0.4
    result = run_cli(*GO_ON, "--device", "cpu", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert len(load_checkpoint(folder / "last.pt")["history"]) == 3


@pytest.mark.gpu
def test_a_gpu_that_is_not_there(run_cli, tmp_path):
    words = ("--device", "cuda:99", "--logdir", tmp_path)
    assert_mendable(run_cli("train-cifar", *words), "cuda:99")


def test_data_that_is_not_there(run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr("shared.datasets.sources.DATA", tmp_path)
    words = ("--data", tmp_path / "no", "--logdir", tmp_path)
    assert_mendable(run_cli("train-cifar", *words), "no")
    words = ("--data", "cifar10", "--logdir", tmp_path)
    assert_mendable(run_cli("train-cifar", *words), "CIFAR-10")


def test_a_log_folder_that_cannot_be_written(run_cli, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    result = run_cli("train-cifar", *SMALL, "--epochs", 1, "--logdir", file)
    assert_mendable(result, "Can't write to", str(file))


# ---- resuming ----------------------------------------------------------------


@pytest.fixture
def earlier(trained, tmp_path) -> Path:
    """A copy of the log folder with the run of two epochs."""
    return shutil.copytree(trained[0], tmp_path / "logs")


def test_resume_goes_on_in_the_same_folder_and_the_same_curves(
    run_cli, read_events, only_run, earlier
):
    result = run_cli(*GO_ON, "--logdir", earlier)
    assert result.exit_code == 0, result.output
    assert "Going on after epoch 2" in result.output
    folder = only_run(earlier, "train-cifar")
    assert len((folder / "metrics.csv").read_text().splitlines()) == 4
    events = read_events(folder)
    assert steps(events, "accuracy/val") == [STEPS, 2 * STEPS, 3 * STEPS]
    assert steps(events, "accuracy/test") == [3 * STEPS + 1], "looked at once"
    about = json.loads((folder / "run.json").read_text())
    assert about["settings"]["epochs"] == 3


def test_resume_by_the_folder_s_name(run_cli, only_run, earlier, tmp_path):
    folder = only_run(earlier, "train-cifar")
    elsewhere = tmp_path / "elsewhere"
    words = (folder, "--epochs", 3, "--logdir", elsewhere)
    result = run_cli("train-cifar", "--resume", *words)
    assert result.exit_code == 0, result.output
    assert len(load_checkpoint(folder / "last.pt")["history"]) == 3
    assert not elsewhere.exists()


def test_resume_without_a_run(run_cli, tmp_path):
    result = run_cli("train-cifar", "--resume", "--logdir", tmp_path)
    assert_mendable(result, "no run to resume")


def test_resume_of_a_finished_run_tests_and_reports_again(
    run_cli, read_events, only_run, earlier
):
    folder = only_run(earlier, "train-cifar")
    before = load_checkpoint(folder / "last.pt")
    about = json.loads((folder / "run.json").read_text())
    result = run_cli("train-cifar", "--resume", "--logdir", earlier)
    assert_reported(result, folder, epochs=2)
    after = load_checkpoint(folder / "last.pt")
    assert_same_weights(after["model"], before["model"])
    assert after["history"] == before["history"]
    assert json.loads((folder / "run.json").read_text()) == about
    events = read_events(folder)
    assert steps(events, "accuracy/test") == [2 * STEPS + 1]
    assert steps(events, "accuracy/val") == [STEPS, 2 * STEPS]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_resumed_with_augment_and_in_either_precision_is_never_stopped(
    run_cli, only_run, tmp_path, precision
):
    words = ("train-cifar", *SMALL, "--augment", "--precision", precision)
    whole, parts = ("--logdir", tmp_path / "a"), ("--logdir", tmp_path / "b")
    for command in (
        (*words, "--epochs", 3, *whole),
        (*words, "--epochs", 1, *parts),
        (*GO_ON, *parts),
    ):
        result = run_cli(*command)
        assert result.exit_code == 0, result.output
    never_stopped, resumed = (
        load_checkpoint(only_run(tmp_path / name, "train-cifar") / "last.pt")
        for name in "ab"
    )
    assert_same_weights(resumed["model"], never_stopped["model"])


@pytest.mark.parametrize(
    "words", [("--data", "cifar10"), ("--lr", 0.5), ("--seed", 7)]
)
def test_resume_with_another_setting(run_cli, only_run, earlier, words):
    before = (only_run(earlier, "train-cifar") / "last.pt").read_bytes()
    result = run_cli(*GO_ON, *words, "--logdir", earlier)
    assert result.exit_code == 2, result.output
    assert "was started with" in result.stderr
    assert (only_run(earlier, "train-cifar") / "last.pt").read_bytes() == before


def test_resume_with_the_same_setting_said_again(run_cli, earlier):
    words = ("--data", "photo-digits", "--lr", 0.01, "--epochs", 3)
    result = run_cli("train-cifar", "--resume", *words, "--logdir", earlier)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_resume_falls_back_to_best_where_last_is_damaged(
    run_cli, only_run, earlier, damage
):
    folder = only_run(earlier, "train-cifar")
    content = bytearray((folder / "last.pt").read_bytes())
    content[len(content) // 2] ^= 0xFF
    if damage == "gone":
        (folder / "last.pt").unlink()
    else:
        kept = content if damage == "flipped" else content[:-1000]
        (folder / "last.pt").write_bytes(kept)
    result = run_cli(*GO_ON, "--logdir", earlier)
    assert result.exit_code == 0, result.output
    assert "going on from best.pt instead" in result.stderr
    assert len(load_checkpoint(folder / "last.pt")["history"]) == 3


def test_resume_where_both_are_damaged(run_cli, only_run, earlier):
    for path in only_run(earlier, "train-cifar").glob("*.pt"):
        path.write_bytes(path.read_bytes()[:100])
    result = run_cli(*GO_ON, "--logdir", earlier)
    assert_mendable(result, "no checkpoint that can be read")


@pytest.mark.parametrize("kind", ["zip", "bare"])
def test_resume_from_hostile_pickles_runs_nothing_in_them(
    run_cli, only_run, earlier, hostile, kind
):
    folder = only_run(earlier, "train-cifar")
    mark = hostile(folder / "last.pt", kind)
    result = run_cli(*GO_ON, "--logdir", earlier)
    assert result.exit_code == 0, "best.pt is still good"
    hostile(folder / "last.pt", kind)
    hostile(folder / "best.pt", kind)
    result = run_cli(*GO_ON, "--logdir", earlier)
    assert_mendable(result, "no checkpoint that can be read")
    assert not mark.exists()


@pytest.mark.parametrize("which", ["training", "held-out", "test", "classes"])
def test_resume_when_the_images_have_changed(
    run_cli, earlier, monkeypatch, which
):
    sets = [images.limited(600) for images in (*made_once(), made_once()[1])]
    if which == "classes":
        sets[0] = replace(sets[0], classes=[*"abcdefghij"])
    else:
        place = ["training", "held-out", "test"].index(which)
        sets[place] = sets[place].limited(500)
    monkeypatch.setattr(lesson, "load_images", lambda *words: sets)
    result = run_cli(*GO_ON, "--logdir", earlier)
    assert_mendable(result, "This run began with", "now there are")


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="needs a device that is always full"
)
def test_a_full_disk_while_a_checkpoint_is_written_loses_nothing(
    run_cli, only_run, earlier
):
    folder = only_run(earlier, "train-cifar")
    before = (folder / "last.pt").read_bytes()
    (folder / "last.pt.part").symlink_to("/dev/full")
    result = run_cli(*GO_ON, "--logdir", earlier)
    assert_mendable(result, "The disk is full")
    assert (folder / "last.pt").read_bytes() == before
    assert run_cli(*GO_ON, "--logdir", earlier).exit_code == 0


# ---- stopped runs ------------------------------------------------------------

DYING = """
import os, signal, sys
from pathlib import Path
import shared.training.checkpoint as checkpoint

def die(*_, **__):
    os.kill(os.getpid(), signal.{signal})

{where}
sys.argv = ["cli.py", *{words!r}]
from cli import app
app()
"""
# Each moment replaces one call of the running program by its sudden death.
MOMENTS = {
    "in the first batch": """
from shared.training.run import Training
Training.track = die
""",
    "between writing and renaming the first last.pt": """
whole = Path.replace
def stop_before_renaming(path, to):
    die() if to.name == "last.pt" else whole(path, to)
Path.replace = stop_before_renaming
""",
    "half way through writing the second last.pt": """
whole, writes = checkpoint.write_whole, []
def half(path, content):
    writes.append(path.name)
    if writes.count("last.pt") == 2:
        content = content[: len(content) // 2]
        checkpoint.os.fsync = die
    whole(path, content)
checkpoint.write_whole = half
""",
    "after last.pt, before best.pt": """
from shared.training import run_folder
whole = checkpoint.save_checkpoint
def stop_before_best(path, content):
    die() if path.name == "best.pt" else whole(path, content)
run_folder.save_checkpoint = stop_before_best
""",
    "after the last epoch, before the report": """
from shared.training.run import Training
Training.load_best = die
""",
}
LAST_MOMENT = list(MOMENTS)[-1]
WORDS = ["train-cifar", *map(str, SMALL), "--epochs", "3", "--augment"]


def stopped(
    moment: str, by: signal.Signals, logdir: Path
) -> subprocess.CompletedProcess[str]:
    """Start the run of WORDS, and stop it at that moment."""
    words = [*WORDS, "--logdir", str(logdir)]
    code = DYING.format(signal=by.name, where=MOMENTS[moment], words=words)
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def finish(words: list[str], logdir: Path) -> dict[str, torch.Tensor]:
    """Run a command in a process of its own; return the weights it leaves."""
    command = [sys.executable, "cli.py", *words, "--logdir", str(logdir)]
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    last = max(logdir.glob("*/*/last.pt"), key=os.path.getmtime)
    return load_checkpoint(last)["model"]


def assert_same_weights(
    ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]
) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, torch.Tensor]:
    """The weights of a run that nothing stopped."""
    return finish(WORDS, tmp_path_factory.mktemp("uninterrupted"))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_at_any_moment_resumes_to_the_same_weights(
    moment, uninterrupted, read_events, only_run, tmp_path
):
    process = stopped(moment, signal.SIGKILL, tmp_path)
    assert process.returncode == -signal.SIGKILL, process.stderr
    folder = only_run(tmp_path, "train-cifar")
    # each of them is whole
    kept = [load_checkpoint(path) for path in folder.glob("*.pt")]
    if not kept:
        return
    weights = finish(["train-cifar", "--resume"], tmp_path)
    assert_same_weights(weights, uninterrupted)
    logged = steps(read_events(folder), "accuracy/val")
    expected = [STEPS, 2 * STEPS, 3 * STEPS]
    assert logged == expected, "one curve, without repeats"


def test_a_run_killed_before_its_report_reports_when_it_is_resumed(
    run_cli, read_events, only_run, tmp_path
):
    process = stopped(LAST_MOMENT, signal.SIGKILL, tmp_path)
    assert process.returncode == -signal.SIGKILL, process.stderr
    folder = only_run(tmp_path, "train-cifar")
    assert "test_accuracy" not in json.loads((folder / "run.json").read_text())
    result = run_cli("train-cifar", "--resume", "--logdir", tmp_path)
    assert_reported(result, folder, epochs=3)
    events = read_events(folder)
    assert steps(events, "accuracy/test") == [3 * STEPS + 1]


def test_a_run_killed_at_a_random_moment_resumes_to_the_same_weights(
    uninterrupted, tmp_path
):
    command = [sys.executable, "cli.py", *WORDS, "--logdir", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob("*/*/last.pt")):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(random.random())
    process.kill()
    process.wait()
    weights = finish(["train-cifar", "--resume"], tmp_path)
    assert_same_weights(weights, uninterrupted)


@pytest.mark.skipif(
    os.name == "nt", reason="Windows sends Ctrl-C to a whole console only"
)
@pytest.mark.parametrize("moment", list(MOMENTS)[:3])
def test_ctrl_c_says_what_is_kept_and_exits_130(moment, only_run, tmp_path):
    process = stopped(moment, signal.SIGINT, tmp_path)
    assert process.returncode == 130, process.stderr
    assert "Traceback" not in process.stderr
    folder = only_run(tmp_path, "train-cifar")
    if (folder / "last.pt").exists():
        assert f"python cli.py train-cifar --resume {folder}" in process.stderr
        load_checkpoint(folder / "last.pt")
    else:
        assert "nothing to resume" in process.stderr
    assert not list(folder.glob("*.part"))


def test_two_processes_go_on_as_one_would(trained, run_cli, only_run, tmp_path):
    """Each takes its share of each batch: the same weights but for rounding."""
    for name in ("one", "two"):
        shutil.copytree(trained[0], tmp_path / name)
    words = ["train-cifar", "--resume", "--epochs", "4"]
    assert run_cli(*words, "--logdir", tmp_path / "one").exit_code == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node=2", "cli.py", *words]
    command += ["--logdir", str(tmp_path / "two")]
    process = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    counts = "600 training, 600 held-out and 600 test images"
    assert process.stdout.count(counts) == 1
    alone, together = (
        load_checkpoint(only_run(tmp_path / name, "train-cifar") / "last.pt")
        for name in ("one", "two")
    )
    for name, value in alone["model"].items():
        ours = together["model"][name]
        torch.testing.assert_close(ours, value, rtol=1e-3, atol=1e-5)
    assert len(together["history"]) == 4
    for ours, theirs in zip(together["history"], alone["history"], strict=True):
        expected = pytest.approx(theirs["train_loss"], rel=1e-4)
        assert ours["train_loss"] == expected
