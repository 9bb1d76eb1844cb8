"""train-mnist: five stages that agree, its networks, its runs, bad input."""

import csv
import inspect
import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader

from lessons import train_mnist as lesson
from shared import comparison
from shared.datasets.embedded import digits
from shared.datasets.sources import load_grey
from shared.figures import show_guesses
from shared.models import MnistNet, unit_range
from shared.options import ROOT
from shared.practice import handwriting
from shared.training.checkpoint import load_checkpoint
from shared.training.run_folder import best

CPU = torch.device("cpu")
SEEDS = range(5)
NAME = "train-mnist"
SMALL = ("--data", "digits", "--limit", 128, "--device", "cpu")


@pytest.fixture(autouse=True)
def quietly(monkeypatch, tmp_path):
    """Decoded pictures are kept in the test's own folder.

    The four ways race for one epoch, but in the default run.
    """
    monkeypatch.setattr(handwriting, "EPOCHS", 1)
    monkeypatch.setattr("shared.datasets.sources.DATA", tmp_path / "data")


@pytest.fixture(scope="module")
def sets():
    return load_grey("digits", CPU, None, 0)


@pytest.fixture(scope="module")
def said(ran) -> str:
    return " ".join(ran[0].split())


@pytest.fixture
def small_run(run_cli, only_run, tmp_path):
    """small_run("--lr", 1) runs it on few images: the result, its folder."""

    def run(*words: object, logdir: Path = tmp_path / "logs"):
        if "--resume" not in words:
            words = (*SMALL, *words)
        result = run_cli(NAME, *words, "--logdir", logdir)
        assert result.exit_code == 0, result.output
        return result, only_run(logdir, NAME)

    return run


def weights(folder: Path, name: str = "last.pt") -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / name)["model"]


def assert_same(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


# ---- the five stages ---------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_five_stages_leave_the_same_weights(seed, sets):
    """21 batches, the last one short; the weights move by far more."""
    few = sets[0].in_rows()
    batches = [*zip(*(part.split(64) for part in few.tensors), strict=True)]
    models = handwriting.copies(lesson.mlp, 10, seed)
    bare = [list(model.parameters()) for model in models]
    start = parameters_to_vector(bare[0]).detach().clone()
    movers = [SGD(some, lr=0.1) for some in bare]
    loaders = DataLoader(few, 64), DataLoader(sets[1].in_rows(), 128)
    results = [
        lesson.stage_1(bare[0], batches, 0.1),
        lesson.stage_2(bare[1], batches, 0.1),
        lesson.stage_3(models[2], batches, movers[2]),
        lesson.stage_4(models[3], few, movers[3]),
    ]
    lesson.fit(models[4], movers[4], loaders)
    first, *others = map(parameters_to_vector, [*results, bare[4]])
    assert (first - start).abs().max() > 1e-2
    for other in others:
        assert (first - other).abs().max() < 1e-6


def test_stages_that_differ_are_refused(sets):
    ones, other = [torch.ones(3)], [torch.tensor([1, 1, 1.00001])]
    with pytest.raises(AssertionError):
        handwriting.compare([ones, ones, other], updates=1)


def test_stage_1_overflows_where_stage_2_does_not():
    rows, labels = torch.zeros(1, 784), torch.tensor([0])
    models = handwriting.copies(lesson.mlp, 2, 0)
    for model, stage in zip(
        models, (lesson.stage_1, lesson.stage_2), strict=False
    ):
        bare = list(model.parameters())
        with torch.no_grad():
            bare[-1][:] = torch.tensor([89.0, 0])
        stage(bare, [(rows, labels)], 0.1)
        finite = bare[-1].isfinite().all()
        assert finite == (stage is lesson.stage_2)
    assert torch.tensor(89.0).exp().isinf()
    assert torch.tensor(88.0).exp().isfinite()


@pytest.mark.parametrize("size", [128, 7, 150])
def test_the_val_loss_is_a_mean_over_images_not_over_batches(size, sets):
    torch.manual_seed(0)
    model = unit_range(lesson.mlp(), sets[1].images)
    loss, predictions = lesson.evaluate(model, sets[1].batches(size))
    with torch.no_grad():
        logits = model(sets[1].images)
    exact = F.cross_entropy(logits, sets[1].labels).item()
    assert loss == pytest.approx(exact, rel=1e-5)
    assert torch.equal(predictions, logits.argmax(1))


# ---- the networks ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count"), [("mlp", 136_074), ("cnn", 121_514)]
)
def test_the_networks_are_those_in_models(name, count):
    for seed, classes in ((0, 10), (1, 3)):
        images = torch.rand(5, 1, 28, 28)
        torch.manual_seed(seed)
        ours = getattr(lesson, name)(classes)
        torch.manual_seed(seed)
        theirs = MnistNet(name, classes)
        assert [str(layer) for layer in ours] == [str(x) for x in theirs]
        assert list(ours.state_dict()) == list(theirs.state_dict())
        assert torch.equal(ours(images), theirs(images))
        assert ours(images).shape == (5, classes)
    total = sum(p.numel() for p in getattr(lesson, name)().parameters())
    assert total == count


def test_models_has_no_third_network():
    with pytest.raises(ValueError, match="mlp or cnn"):
        MnistNet("lstm")


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_a_checkpoint_has_all_that_rebuilds_its_network(
    small_run, model, tmp_path
):
    _, folder = small_run("--epochs", 2, "--model", model)
    kept = load_checkpoint(folder / "best.pt")
    assert kept["settings"]["model"] == model
    net = MnistNet(kept["settings"]["model"], len(kept["classes"]))
    *_, test = load_grey("digits", CPU, 128, 0)
    whole = unit_range(net, test.images)
    whole.load_state_dict(kept["model"])
    _, predictions = lesson.evaluate(whole, test.batches(500))
    about = json.loads((folder / "run.json").read_text())
    assert about["test_accuracy"] == test.accuracy(predictions)
    assert whole.normalize(test.images).max() <= 1


# ---- the rate ----------------------------------------------------------------


def test_the_rate_falls_along_the_cosine_or_stays(
    small_run, read_events, tmp_path
):
    for name in ("cosine", "constant"):
        words = ("--epochs", 3, "--batch-size", 32, "--schedule", name)
        _, folder = small_run(*words, logdir=tmp_path / name)
        logged = read_events(folder).Scalars("optimizer/lr")
        last = [lesson.cosine(4 * epoch - 1, 0.001, 12) for epoch in (1, 2, 3)]
        wanted = last if name == "cosine" else [0.001] * 3
        assert [event.value for event in logged] == pytest.approx(wanted)


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_the_rate_that_is_small_not_the_network(seed, sets):
    """The same network: SGD at 0.001 still guesses, the other ways don't."""
    few, _, loaders = handwriting.few_images(sets)
    few = handwriting.small(sets, 1280)
    loaders = DataLoader(few, 64), loaders[1]
    losses = []
    for make in (
        lambda p: SGD(p, 0.001),
        lambda p: SGD(p, 0.1),
        lambda p: Adam(p, 0.001),
    ):
        model, *_ = handwriting.copies(lesson.mlp, 10, seed)
        losses.append(lesson.fit(model, make(model.parameters()), loaders, 5))
    assert losses[0] > 2.2
    assert max(losses[1:]) < 0.8


@pytest.mark.parametrize(
    ("losses", "rate"),
    [
        ({"slow": 2.25, "fast": 0.2}, True),
        ({"slow": 2.25, "fast": 2.2}, False),  # the network may be too small
        ({"slow": 0.3, "fast": 0.2}, False),  # neither is
        ({"slow": 2.25, "fast": math.nan, "good": 0.2}, True),
        ({"slow": math.nan, "fast": 0.2}, False),
    ],
)
def test_the_answer_follows_from_the_losses(losses, rate):
    answer = handwriting.too_small(losses, math.log(10))
    assert ("the learning rate is too small" in answer) == rate
    assert ("don't tell" in answer) != rate


def test_images_are_moved_by_at_most_so_many_pixels_and_not_mirrored(sets):
    train = sets[0].subset(torch.arange(20))
    train.images[:] = 0
    train.images[:, :, 10, 12] = 1
    handwriting.shift(train, 1)
    ((images, _),) = train.batches(20, torch.Generator().manual_seed(0))
    _, _, rows, columns = images.nonzero(as_tuple=True)
    assert len(rows) == 20
    assert set(rows.tolist()) == {9, 10, 11}
    assert set(columns.tolist()) == {11, 12, 13}
    handwriting.shift(still := sets[1].subset(torch.arange(20)), 0)
    assert still.transform is None


def test_a_rate_that_is_too_large_names_the_one_to_try(run_cli, tmp_path):
    """Not the one to which the schedule had let it fall."""
    words = ("--optimizer", "sgd", "--lr", 1000, "--epochs", 1)
    result = run_cli(NAME, *SMALL, *words, "--logdir", tmp_path)
    assert result.exit_code == 1
    assert "the loss ran away" in result.stderr
    assert result.stderr.splitlines()[-1] == "Next: try --lr 0.001"


# ---- baselines ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "word"),
    [
        (3, 3, "tied"),
        (0, 0, "tied"),
        (6, 2, "too close to call"),
        (4, 0, "too close to call"),
        (5, 0, "ahead"),
        (17, 1, "ahead"),
        (1, 17, "behind"),
    ],
)
def test_the_verdict_follows_from_the_counts(ours, theirs, word):
    assert comparison.verdict(ours, theirs) == word


@pytest.mark.parametrize(
    ("right", "sentence"),
    [
        (range(297), "the network beats nearest class mean"),
        (range(0), "the network loses to nearest class mean"),
    ],
)
def test_the_last_sentence_follows_from_the_table(
    sets, capsys, right, sentence
):
    train, _, test = sets
    predictions = (test.labels + 1) % 10
    predictions[list(right)] = test.labels[list(right)]
    images = train, test
    handwriting.show_baselines(lesson.nearest_mean, {}, images, predictions)
    assert f"So {sentence}." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("taken", "sentence"),
    [
        ([1], "Most often taken for 1: once."),
        ([1, 1], "Most often taken for 1: 2 times."),
        ([1, 8], "Most often taken for 1 and 8: once each."),
        ([1, 1, 8], "Most often taken for 1: 2 times."),
    ],
)
def test_the_hardest_class_is_taken_for_all_that_tie(
    sets, capsys, taken, sentence
):
    test, predictions = sets[2], sets[2].labels.clone()
    nines = (test.labels == 9).nonzero()[:, 0][: len(taken)]
    predictions[nines] = torch.tensor(taken)
    writer = types.SimpleNamespace(add_figure=lambda *_: None)
    show_guesses(writer, test, predictions, 0)
    assert sentence in capsys.readouterr().out


def test_a_baseline_with_the_same_answers_is_a_tie(sets, capsys):
    (rows, labels), (new, _) = (sets[k].in_rows().tensors for k in (0, 2))
    same = lesson.nearest_mean(rows, labels, new)
    images = sets[0], sets[2]
    handwriting.show_baselines(lesson.nearest_mean, {}, images, same)
    out = " ".join(capsys.readouterr().out.split())
    assert "0 0 tied" in out
    assert "can't be told from nearest class mean" in out


def test_the_exercise_s_number(sets):
    (rows, labels), (new, truth) = (sets[k].in_rows().tensors for k in (0, 2))
    found = labels[torch.cdist(new, rows).argmin(1)]
    assert (found == truth).sum() == 293


# ---- the command -------------------------------------------------------------


def test_the_default_run_says_what_it_promised(ran, said, width, only_run):
    output, logdir = ran
    assert width(output) <= 80
    about = json.loads((only_run(logdir, NAME) / "run.json").read_text())
    assert about["test_accuracy"] >= 0.97
    assert f"It gets {about['test_accuracy']:.2%} of the test images" in said
    assert "stages 2, 3, 4, 5 = stage 1: largest difference" in said
    pattern = r"\(128 \* ([\d.]+) \+ 22 \* ([\d.]+)\) / 150 = ([\d.]+),"
    long, short, mean = map(float, re.search(pattern, said).groups())
    assert (128 * long + 22 * short) / 150 == pytest.approx(mean, abs=1e-4)
    plain = float(re.search(r"plain mean of the means is ([\d.]+)\.", said)[1])
    assert (long + short) / 2 == pytest.approx(plain, abs=1e-4)
    assert "rates 0.001, 0.000854, 0.0005, 6.22e-09" in said
    table = re.findall(r"^ +(\d+)(?:  +\d\.\d{4}){2} ", output, re.MULTILINE)
    assert table == ["1", "5", "10", "15", "20", "25", "30"]
    assert "136,074 parameters" in said
    assert "So the learning rate is too small, not the network." in said
    assert "@@" not in said
    for function in (lesson.network, lesson.stage_1, lesson.train):
        first = inspect.getsource(function).splitlines()[-1].strip()
        assert " ".join(first.split()) in said


def test_the_table_names_who_gets_right_what_the_other_does_not(
    said, ran, only_run
):
    kept = load_checkpoint(only_run(ran[1], NAME) / "best.pt")
    model = unit_range(MnistNet("mlp"), torch.zeros(1, 1, 28, 28))
    model.load_state_dict(kept["model"])
    train, _, test = load_grey("digits", CPU, None, 0)
    _, predictions = lesson.evaluate(model, test.batches(500))
    ours = predictions == test.labels
    rows, labels = train.in_rows().tensors
    new = test.in_rows().tensors[0]
    theirs = lesson.nearest_mean(rows, labels, new) == test.labels
    only = (ours & ~theirs).sum().item(), (theirs & ~ours).sum().item()
    share = theirs.double().mean().item()
    row = f"nearest class mean {share:.2%} {only[0]} {only[1]}"
    assert f"{row} {comparison.verdict(*only)}" in said


def test_the_run_leaves_its_files_and_curves(ran, read_events, only_run):
    folder = only_run(ran[1], NAME)
    last = load_checkpoint(folder / "last.pt")
    assert len(last["history"]) == 30
    chosen = min(last["history"], key=lambda row: row["val_loss"])
    assert best(last["history"], "val_loss") == chosen
    assert load_checkpoint(folder / "best.pt")["history"][-1] == chosen
    about = json.loads((folder / "run.json").read_text())
    assert about["best"] == chosen
    assert about["chosen_by"] == "val_loss"
    with (folder / "metrics.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 30
    events = read_events(folder)
    for tag in ("loss/train", "loss/val", "accuracy/val", "optimizer/lr"):
        assert len(events.Scalars(tag)) == 30
    (tested,) = events.Scalars("accuracy/test")
    assert tested.value == pytest.approx(about["test_accuracy"])
    pictures = {"images/input", "figures/confusion", "figures/predictions"}
    assert pictures <= set(events.Tags()["images"])


def test_each_option_changes_the_weights(small_run, tmp_path):
    options = {
        "plain": (),
        "cnn": ("--model", "cnn"),
        "sgd": ("--optimizer", "sgd"),
        "momentum": ("--optimizer", "sgd", "--momentum", 0.9),
        "constant": ("--schedule", "constant"),
        "unmoved": ("--shift", 0),
    }
    sums = set()
    for name, words in options.items():
        _, folder = small_run("--epochs", 1, *words, logdir=tmp_path / name)
        sums.add(sum(w.double().sum().item() for w in weights(folder).values()))
    assert len(sums) == len(options)


# ---- resuming ----------------------------------------------------------------

DYING = """
import os, signal, sys
from shared.training.run import Training
whole = Training.track
def track(self, loss):
    whole(self, loss)
    if self.step == 10:
        os.kill(os.getpid(), signal.SIGKILL)
Training.track = track
sys.argv = ["cli.py", *{words!r}]
from cli import app
app()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(
    "more", [(), ("--optimizer", "sgd", "--momentum", 0.9, "--model", "cnn")]
)
def test_a_killed_run_resumes_to_the_same_weights(small_run, tmp_path, more):
    """Killed with kill -9 in the third of four epochs of four steps."""
    words = ("--epochs", 4, "--batch-size", 32, *more)
    _, never_stopped = small_run(*words, logdir=tmp_path / "a")
    line = [NAME, *SMALL, *words, "--logdir", tmp_path / "b"]
    code = DYING.format(words=[str(word) for word in line])
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=300
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    result, resumed = small_run("--resume", logdir=tmp_path / "b")
    assert "Going on after epoch 2" in result.output
    assert_same(weights(resumed), weights(never_stopped))
    assert_same(weights(resumed, "best.pt"), weights(never_stopped, "best.pt"))


def test_a_finished_run_reports_again_and_a_constant_rate_goes_on(
    small_run, tmp_path
):
    words = ("--schedule", "constant", "--epochs")
    _, whole = small_run(*words, 2, logdir=tmp_path / "a")
    _, parts = small_run(*words, 1, logdir=tmp_path / "b")
    small_run("--resume", "--epochs", 2, logdir=tmp_path / "b")
    assert_same(weights(parts), weights(whole))
    result, _ = small_run("--resume", logdir=tmp_path / "b")
    assert "of the test images right" in result.output
    assert_same(weights(parts), weights(whole))


# ---- bad input ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--model", "lstm"), "'--model'"),
        (("--optimizer", "lbfgs"), "'--optimizer'"),
        (("--schedule", "step"), "'--schedule'"),
        (("--momentum", 0.9), "it goes with --optimizer sgd"),
        (("--momentum", "nan", "--optimizer", "sgd"), "'--momentum'"),
        (("--lr", "inf"), "'--lr'"),
        (("--lr", -1), "'--lr'"),
        (("--epochs", 0), "'--epochs'"),
        (("--shift", -1), "'--shift'"),
        (("--limit", 0), "'--limit'"),
        (("--batch-size", 129), "129 is more than the 128 training images"),
        (("a-folder",), "goes with --resume"),
    ],
)
def test_wrong_options_exit_2_and_leave_nothing(
    run_cli, tmp_path, words, problem
):
    logs = tmp_path / "logs"
    result = run_cli(NAME, *SMALL, *words, "--logdir", logs)
    assert result.exit_code == 2, result.output
    assert problem in " ".join(result.stderr.replace("│", " ").split())
    assert not logs.exists()


def assert_mendable(result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    problem, following = result.stderr.splitlines()[-2:]
    assert problem.startswith("Error: ")
    assert following.startswith("Next: ")
    assert all(word in problem for word in words), problem


def write_mnist(root: Path, labels: torch.Tensor, test: torch.Tensor) -> Path:
    """MNIST's four files: digits with these labels. Returns their folder."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, own in (("train", labels), ("t10k", test)):
        images = digits(28)[0].images[: len(own)].numpy().tobytes()
        head = struct.pack(">4I", 2051, len(own), 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + images)
        head = struct.pack(">2I", 2049, len(own))
        numbers = own.byte().numpy().tobytes()
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(head + numbers)
    return raw


@pytest.mark.parametrize(
    ("file", "harm"),
    [
        ("train-images-idx3-ubyte", "empty"),
        ("t10k-labels-idx1-ubyte", "empty"),
        ("train-labels-idx1-ubyte", "cut"),
        ("t10k-images-idx3-ubyte", "gone"),
    ],
)
def test_damaged_or_missing_idx_files(run_cli, tmp_path, file, harm):
    raw = write_mnist(tmp_path, digits(28)[0].labels[:90], torch.arange(10))
    if harm == "gone":
        (raw / file).unlink()
    else:
        content = (raw / file).read_bytes()
        (raw / file).write_bytes(content[: 50 if harm == "cut" else 0])
    words = ("--data", tmp_path, "--logdir", tmp_path / "logs")
    assert_mendable(run_cli(NAME, *words), str(raw), "damaged or not whole")


@pytest.mark.parametrize(
    ("label", "count", "words"),
    [
        (10, 90, ("labels-idx1-ubyte has the label 10, of image 4",)),
        (3, 89, ("90 images, but 89 labels",)),
    ],
)
def test_labels_that_are_none(run_cli, tmp_path, label, count, words):
    labels = digits(28)[0].labels[:90].clone()
    labels[3] = label
    raw = write_mnist(tmp_path, labels, torch.arange(10))
    if count < 90:
        numbers = labels[:count].byte().numpy().tobytes()
        head = struct.pack(">2I", 2049, count)
        (raw / "train-labels-idx1-ubyte").write_bytes(head + numbers)
    result = run_cli(NAME, "--data", tmp_path, "--logdir", tmp_path / "logs")
    assert_mendable(result, *words)


@pytest.mark.parametrize("kind", ["only in test", "single", "one class"])
def test_odd_labels_are_no_reason_to_stop(run_cli, tmp_path, kind):
    labels, test = digits(28)[0].labels[:90].clone(), torch.arange(10)
    if kind == "only in test":
        labels[labels == 7] = 1
    elif kind == "single":
        labels = torch.where(labels == 7, 1, labels)
        labels[5] = 7
    else:
        labels[:] = 2
    write_mnist(tmp_path, labels, test)
    words = ("--data", tmp_path, "--epochs", 1, "--batch-size", 16)
    result = run_cli(NAME, *words, "--logdir", tmp_path / "logs")
    assert result.exit_code == 0, result.output
    assert "So the network" in result.output
    few = "Too few training images" in result.output
    assert few == (kind == "one class")


def make_pictures(root: Path, test: bool = True) -> Path:
    """Pictures of your own, in colour: dark ink on white, two classes."""
    images, count = digits(28)[0], 0
    for split in ("train", "valid", "test")[: 3 if test else 2]:
        for digit in (0, 1):
            chosen = images.images[images.labels == digit][count : count + 12]
            for place, image in enumerate(chosen):
                path = root / split / "ab"[digit] / f"{place}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = 255 - np.repeat(image[0].numpy()[..., None], 3, 2)
                Image.fromarray(pixels).resize((40, 40)).save(path)
        count += 12
    return root


def test_your_own_pictures(run_cli, only_run, tmp_path):
    folder = make_pictures(tmp_path / "own")
    words = ("--data", folder, "--batch-size", 8, "--epochs", 4)
    result = run_cli(NAME, *words, "--logdir", tmp_path / "logs")
    assert result.exit_code == 0, result.output
    kept = load_checkpoint(only_run(tmp_path / "logs", NAME) / "best.pt")
    assert kept["classes"] == ["a", "b"]
    assert math.isfinite(kept["history"][-1]["val_loss"])


def test_pictures_without_a_test_set_go_untested(run_cli, tmp_path):
    folder = make_pictures(tmp_path / "own", test=False)
    words = ("--data", folder, "--batch-size", 8, "--epochs", 1)
    result = run_cli(NAME, *words, "--logdir", tmp_path / "logs")
    assert result.exit_code == 0, result.output
    assert "they go untested" in result.output


def test_an_empty_picture_ends_the_command_where_it_is_too_many(
    run_cli, tmp_path
):
    folder = make_pictures(tmp_path / "own")
    for place in range(12):
        (folder / "train" / "a" / f"{place}.png").write_bytes(b"")
    result = run_cli(NAME, "--data", folder, "--logdir", tmp_path / "logs")
    assert_mendable(result, "pictures can't be read")


def test_a_folder_that_is_not_there_or_has_no_pictures(run_cli, tmp_path):
    logs = ("--logdir", tmp_path / "logs")
    result = run_cli(NAME, "--data", tmp_path / "no", *logs)
    assert_mendable(result, "There is no data folder", str(tmp_path / "no"))
    (tmp_path / "empty").mkdir()
    result = run_cli(NAME, "--data", tmp_path / "empty", *logs)
    assert_mendable(result, "has no folder train")
    assert_mendable(run_cli(NAME, "--data", "mnist", *logs), "MNIST is not in")


# ---- the real MNIST ----------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("words", "lowest", "highest"),
    [
        (("--model", "cnn"), 0.95, 1),
        (("--model", "mlp"), 0.9, 1),
        (("--optimizer", "sgd", "--schedule", "constant"), 0.05, 0.4),
    ],
)
def test_the_real_mnist(
    real_data, run_cli, only_run, tmp_path, words, lowest, highest
):
    """A twelfth of an epoch's images, twice; a rate of 0.001 is too small."""
    few = ("--data", real_data, "--limit", 10_000, "--epochs", 2)
    result = run_cli(NAME, *few, *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    about = json.loads((only_run(tmp_path, NAME) / "run.json").read_text())
    assert about["data"] == "MNIST"
    assert lowest < about["test_accuracy"] < highest
