"""train-flowers: two phases in one loop, on digits and on pictures."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18
from typer.testing import CliRunner, Result

from cli import app
from lessons import train_flowers as lesson
from shared.datasets import few_pictures
from shared.datasets.image_set import ImageSet
from shared.models import CifarNet, flower_net
from shared.options import ROOT
from shared.practice import few_digits, rivals
from shared.training import weights as weights_module
from shared.training.checkpoint import load_checkpoint

NAME = "train-flowers"


def one_line(text: str) -> str:
    return " ".join(text.split())


def make_pictures(
    root: Path, counts: dict[str, int], classes: str = "abc"
) -> Path:
    """Write train/, valid/, test/: so many noisy pictures of each class."""
    chance = np.random.default_rng(0)
    for split, each in counts.items():
        for label, name in enumerate(classes):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(each):
                pixels = chance.integers(0, 60, (40, 50, 3), np.uint8)
                pixels[..., label % 3] += np.uint8(190)
                Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return root


@pytest.fixture
def pictures(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("shared.datasets.sources.DATA", tmp_path / "data")
    return make_pictures(tmp_path / "p", {"train": 6, "valid": 3, "test": 2})


SMALL = ("--epochs", 2, "--head-epochs", 1, "--batch-size", 9)


def assert_mendable(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    said = one_line(result.stderr)
    for word in (*words, "Next:"):
        assert word in said, said
    assert "Traceback" not in result.output


# ---- by hand -----------------------------------------------------------------


def test_a_frozen_backbone_stays_to_the_last_bit_with_its_statistics():
    torch.manual_seed(0)
    model = lesson.resnet(3)
    before = {n: v.clone() for n, v in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    for only in (lesson.HEAD, None):
        lesson.begin_epoch(model, only)
        learning = [n for n, p in model.named_parameters() if p.requires_grad]
        optimizer.zero_grad()
        F.cross_entropy(model(images), torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
        after = model.state_dict()
        same = [n for n in before if torch.equal(before[n], after[n])]
        if only:
            assert learning == ["net.fc.weight", "net.fc.bias"]
            assert set(before) - set(same) == set(learning)
        else:
            assert "net.bn1.running_mean" not in same
            assert "net.conv1.weight" not in same


def test_in_train_mode_the_statistics_would_move_and_the_check_finds_it():
    torch.manual_seed(0)
    model, start = lesson.resnet(3), lesson.resnet(3)
    start.load_state_dict(model.state_dict())
    lesson.check_frozen(model, start)
    lesson.begin_epoch(model, lesson.HEAD)
    model.train()  # the mistake
    model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    with pytest.raises(AssertionError, match="left the backbone as it was"):
        lesson.check_frozen(model, start)


def test_the_head_of_the_digits_network_is_both_linear_layers():
    model = few_digits.network()
    lesson.begin_epoch(model, lesson.HEAD)
    learning = {n for n, p in model.named_parameters() if p.requires_grad}
    layers = ("net.10.weight", "net.10.bias", "net.12.weight", "net.12.bias")
    assert learning == {*layers}
    assert not model.training


def test_a_later_program_builds_the_same_networks():
    torch.manual_seed(0)
    ours = lesson.new_network("folder", 4)
    theirs = flower_net(4)
    theirs.load_state_dict(ours.state_dict())
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(ours.eval()(images), theirs.eval()(images))


def test_a_version_is_64_pixels_wide_and_depends_on_chance_alone():
    images = torch.randint(0, 256, (5, 3, 96, 96), dtype=torch.uint8)
    labels = torch.arange(5)

    def versions(seed: int) -> torch.Tensor:
        chance = torch.Generator().manual_seed(seed)
        torch.randn(seed)  # the one generator of PyTorch doesn't count
        changed, same = few_pictures.augment((images, labels), chance)
        assert torch.equal(same, labels)
        return changed

    assert versions(1).shape == (5, 3, 64, 64)
    assert versions(1).dtype == torch.uint8
    torch.manual_seed(9)
    assert torch.equal(versions(1), versions(1))
    assert not torch.equal(versions(1), versions(2))


def test_no_handwriting_is_in_two_sets_or_twice_in_training():
    for seed in range(3):
        some, held_out, test = few_digits.new_digits(20, seed)
        assert some.labels.bincount().tolist() == [20] * 5
        assert len(held_out) == 100 and len(test) == 1000
        assert len(some.source.unique()) == 100
        assert not torch.isin(some.source, held_out.source).any()
        assert some.classes == ["5", "6", "7", "8", "9"]
        assert test.labels.bincount().tolist() == [200] * 5


# ---- pictures of your own ----------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Result, Path]:
    """A log folder with a run of both phases, what it said, its pictures."""
    root = tmp_path_factory.mktemp("trained")
    counts = {"train": 6, "valid": 3, "test": 2}
    pictures = make_pictures(root / "p", counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.datasets.sources.DATA", root / "data")
        words = [NAME, "--data", pictures, *SMALL, "--logdir", root / "logs"]
        runner = CliRunner(env={"COLUMNS": "80"})
        result = runner.invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return root / "logs", result, pictures


def test_the_screen_shows_both_phases_and_checks_the_frozen(trained, width):
    _, result, _ = trained
    said = one_line(result.output)
    assert "phase one left the backbone as it was: largest difference 0" in said
    first, second = result.output.split("phase one left the backbone")
    assert "\n      1 " in first and "\n      2 " in second
    assert "18 training, 9 held-out and 6 test images of p" in said
    assert "In phase one 1,539 of the 11,178,051 parameters learn" in said
    for row in ("the commonest class", "nearest mean", "from scratch"):
        assert row in said
    assert "33.3%" in said, "the commonest of three classes"
    assert "This run is" in said and "may be chance" in said
    assert width(result.output) <= 80


def test_the_run_s_folder_rebuilds_the_network(trained, only_run):
    logdir, _, pictures = trained
    folder = only_run(logdir, NAME)
    names = json.loads((folder / "class_names.json").read_text())
    kept = load_checkpoint(folder / "best.pt")
    assert names == kept["classes"] == ["a", "b", "c"]
    model = flower_net(len(names))
    model.load_state_dict(kept["model"])
    sets = few_pictures.load_pictures(str(pictures), "cpu", None, 0)
    accuracy = lesson.validate(model, sets[2])["val_accuracy"]
    about = json.loads((folder / "run.json").read_text())
    assert about["test_accuracy"] == accuracy
    assert kept["settings"]["data"] == str(pictures)
    assert kept["settings"]["weights"] is None


def test_tensorboard_has_the_curves_and_the_pictures(
    trained, only_run, read_events, drawn
):
    logdir, *_ = trained
    events = read_events(only_run(logdir, NAME))
    tags = {"images/input", "images/versions"}
    tags |= {"figures/predictions", "figures/confusion"}
    assert tags <= drawn(events).keys()
    assert len(events.Scalars("accuracy/val")) == 2
    rates = [event.value for event in events.Scalars("optimizer/lr")]
    assert rates == pytest.approx([0.001, 0.0001])


def test_class_folders_get_their_names_from_a_file(
    run_cli, only_run, pictures, tmp_path
):
    text = json.dumps({"a": "fire lily", "c": "Löwenzahn"})
    (pictures / "class_names.json").write_text(text, "utf-8")
    words = ("--data", pictures, "--epochs", 1, "--batch-size", 9)
    result = run_cli(NAME, *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    folder = only_run(tmp_path, NAME)
    names = json.loads((folder / "class_names.json").read_text("utf-8"))
    assert names == ["fire lily", "b", "Löwenzahn"]
    assert "phase one left the backbone" in one_line(result.output)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON, line 1"),
        ("[1]", "doesn't give each class folder a name"),
        ('{"a": 3}', "doesn't give each class folder a name"),
        ('{"a": "b"}', "two class folders the name b"),
    ],
)
def test_a_class_names_file_that_cant_be_used(
    run_cli, pictures, tmp_path, text, said
):
    (pictures / "class_names.json").write_text(text)
    words = ("--data", pictures, "--logdir", tmp_path)
    assert_mendable(run_cli(NAME, *words), said, "class_names.json")


# ---- bad input ---------------------------------------------------------------


def test_a_folder_that_is_not_there(run_cli, tmp_path):
    words = ("--data", tmp_path / "no", "--logdir", tmp_path)
    assert_mendable(run_cli(NAME, *words), "There is no data folder", "no")


def test_an_empty_class_folder(run_cli, pictures, tmp_path):
    for split in ("train", "valid", "test"):
        (pictures / split / "d").mkdir()
    words = ("--data", pictures, "--logdir", tmp_path)
    assert_mendable(run_cli(NAME, *words), "holds no picture")


def test_a_class_that_only_the_test_part_has(run_cli, pictures, tmp_path):
    folder = pictures / "test" / "d"
    folder.mkdir()
    Image.new("RGB", (40, 40)).save(folder / "1.png")
    words = ("--data", pictures, "--logdir", tmp_path)
    assert_mendable(run_cli(NAME, *words), "different classes", "d")


def test_a_damaged_picture_and_a_class_of_one_and_no_test_folder(
    run_cli, monkeypatch, tmp_path
):
    monkeypatch.setattr("shared.datasets.sources.DATA", tmp_path / "data")
    root = make_pictures(tmp_path / "q", {"train": 8, "valid": 2})
    for path in sorted((root / "train" / "c").iterdir())[1:]:
        path.unlink()
    (root / "train" / "a" / "00.png").write_bytes(b"\x89PNG cut short")
    words = ("--data", root, "--epochs", 1, "--batch-size", 4)
    result = run_cli(NAME, *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert "left out, not a picture that can be read" in result.stderr
    assert "There is no folder test/" in one_line(result.output)


def test_a_class_that_is_held_out_whole_is_said(run_cli, monkeypatch, tmp_path):
    monkeypatch.setattr("shared.datasets.sources.DATA", tmp_path / "data")
    root = make_pictures(tmp_path / "q", {"train": 4, "test": 2})
    words = ("--data", root, "--epochs", 1, "--batch-size", 1, "--limit", 2)
    result = run_cli(NAME, *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert "is left to train on" in result.stderr


def test_a_batch_larger_than_the_set(run_cli, pictures, tmp_path):
    words = ("--data", pictures, "--batch-size", 19, "--logdir", tmp_path)
    assert run_cli(NAME, *words).exit_code == 2


@pytest.mark.parametrize("weights", ["imagenet", "none", "some.pth"])
def test_weights_without_pictures(run_cli, tmp_path, weights):
    result = run_cli(NAME, "--weights", weights, "--logdir", tmp_path)
    assert result.exit_code == 2
    assert "add --data" in one_line(result.stderr)


# ---- weights -----------------------------------------------------------------


def load(path: Path) -> nn.Module:
    torch.manual_seed(1)
    net = resnet18(num_classes=3)
    said = weights_module.load_backbone(net, "fc", str(path))
    assert said == f"pretrained, from {path.name}"
    return net


def test_weights_from_a_file_fill_all_but_the_head(tmp_path):
    torch.manual_seed(5)
    whole = resnet18().state_dict()
    older = {n: v for n, v in whole.items() if "num_batches" not in n}
    ours = {f"net.{name}": value for name, value in whole.items()}
    ours["normalize.mean"] = torch.zeros(3, 1, 1)
    kinds = {"whole": whole, "older": older, "ours": {"model": ours}}
    kinds["parallel"] = {f"module.{n}": v for n, v in whole.items()}
    for name, state in kinds.items():
        torch.save(state, tmp_path / f"{name}.pth")
        net = load(tmp_path / f"{name}.pth")
        assert torch.equal(
            net.layer4[1].conv2.weight, whole["layer4.1.conv2.weight"]
        )
        assert net.fc.weight.shape == (3, 512)
    torch.save(whole, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    load(tmp_path / "b.pth")


def bad(path: Path, kind: str) -> None:
    state = resnet18().state_dict()
    if kind == "another":
        state = CifarNet().state_dict()
    if kind == "wider":
        state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    if kind == "nan":
        state["conv1.weight"][0] = float("nan")
    torch.save([1] if kind == "list" else state, path)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-5000])
    if kind == "flipped":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    if kind == "text":
        path.write_text("hello")
    if kind == "empty":
        path.write_bytes(b"")
    if kind in ("gone", "folder"):
        path.unlink()
    if kind == "folder":
        path.mkdir()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("another", "was made for another network than resnet18: it lacks"),
        ("wider", "conv1.weight has shape (64, 1, 7, 7)"),
        ("nan", "holds nan or infinity, in conv1.weight"),
        ("list", "holds no state_dict"),
        ("cut", "is damaged"),
        ("flipped", "is damaged"),
        ("text", "not a file that torch.save wrote"),
        ("empty", "not a file that torch.save wrote"),
        ("gone", "There is no weights file"),
        ("folder", "Can't read"),
    ],
)
def test_weights_that_do_not_fit(run_cli, pictures, tmp_path, kind, said):
    bad(tmp_path / "w.pth", kind)
    words = ("--data", pictures, "--weights", tmp_path / "w.pth")
    result = run_cli(NAME, *words, "--logdir", tmp_path / "logs")
    assert_mendable(result, said, "w.pth")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("kind", ["zip", "bare"])
def test_a_pickle_of_objects_is_not_run(
    run_cli, pictures, tmp_path, hostile, kind
):
    mark = hostile(tmp_path / "w.pth", kind)
    words = ("--data", pictures, "--weights", tmp_path / "w.pth")
    result = run_cli(NAME, *words, "--logdir", tmp_path / "logs")
    assert_mendable(result, "pickle of whole Python objects", "w.pth")
    assert not mark.exists()


def test_imagenet_without_a_network(run_cli, pictures, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    words = ("--data", pictures, "--weights", "imagenet", "--epochs", 1)
    words += ("--batch-size", 9, "--logdir", tmp_path)
    result = run_cli(NAME, *words)
    assert result.exit_code == 0, result.output
    assert "Can't download weights" in result.stderr
    assert "random, for want of a download" in one_line(result.output)


# ---- stopped runs ------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch) -> None:
    """Leave out what a run draws and says before and after its training."""
    for name in ("show_start", "show_test"):
        monkeypatch.setattr(lesson, name, lambda *_: None)


def test_a_run_on_pictures_goes_on_in_each_phase_and_across_the_turn(
    run_cli, only_run, pictures, tmp_path, quick
):
    """ResNet18's batch norm and the versions of the pictures included."""
    words = (NAME, "--data", pictures, "--head-epochs", 2, "--batch-size", 9)

    def weights(*epochs: int) -> dict[str, torch.Tensor]:
        logdir = tmp_path / f"logs{epochs}"
        for number, count in enumerate(epochs):
            begun = words if number == 0 else (NAME, "--resume")
            result = run_cli(*begun, "--epochs", count, "--logdir", logdir)
            assert result.exit_code == 0, result.output
        return load_checkpoint(only_run(logdir, NAME) / "last.pt")["model"]

    whole = weights(4)
    parts = weights(1, 3, 4)
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


DYING = """
import os, signal, sys
import torch
from shared.practice import few_digits
from shared.training import run_folder
from shared.training.run import Training
import lessons.train_flowers as lesson

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def network(seed):
    torch.manual_seed(seed)
    return few_digits.network()

few_digits.pretrained = network  # it need not know the old digits here
lesson.show_few = lambda: None
{where}
sys.argv = ["cli.py", *{words!r}]
from cli import app
app()
"""
WORDS = [NAME, "--head-epochs", "2", "--epochs", "4", "--device", "cpu"]
IN_EPOCH = """
whole = Training.track
def track(training, loss):
    whole(training, loss)
    if len(training.history) == {0}:
        die()
Training.track = track
"""
MOMENTS = {
    "in the last epoch of phase one, before best.pt": """
whole = run_folder.save_checkpoint
def save(path, kept):
    if path.name == "best.pt" and len(kept["history"]) == 2:
        die()
    whole(path, kept)
run_folder.save_checkpoint = save
""",
    "at the turn": "Training.load_best = die",
    "in the first epoch of phase two": IN_EPOCH.format(2),
}


def started(where: str, logdir: Path) -> int:
    words = [*WORDS, "--logdir", str(logdir)]
    code = DYING.format(where=where, words=words)
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode in (0, -signal.SIGKILL), process.stderr
    return process.returncode


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory) -> Path:
    """The folder of a run on the digits."""
    logdir = tmp_path_factory.mktemp("whole")
    assert started("", logdir) == 0
    return next(logdir.glob("*/*/last.pt")).parent


def test_validate_takes_what_was_trained_on_the_digits(
    run_cli, never_stopped, tmp_path
):
    checkpoint = never_stopped / "best.pt"
    kept = load_checkpoint(checkpoint)
    model = few_digits.network().eval()
    model.load_state_dict(kept["model"])
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    words = ("validate", "--checkpoint", checkpoint, "--logdir", tmp_path)
    result = run_cli(*words, "--image", tmp_path / "a.png", "--json")
    assert result.exit_code == 0, result.output
    with torch.no_grad():
        (logits,) = model(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    answer = json.loads(result.stdout)
    assert kept["classes"][logits.argmax()] in json.dumps(answer)
    assert f"{logits.softmax(0).max():.3f}"[:4] in json.dumps(answer)
    assert_mendable(run_cli(*words), "doesn't say what its test images are")


def test_validate_refuses_a_resnet(run_cli, trained, tmp_path):
    (checkpoint,) = trained[0].glob("*/*/best.pt")
    words = ("validate", "--checkpoint", checkpoint, "--logdir", tmp_path)
    assert_mendable(run_cli(*words), "was made by another lesson")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_at_any_moment_goes_on_to_the_same_weights(
    run_cli, never_stopped, moment, tmp_path, quick
):
    assert started(MOMENTS[moment], tmp_path) == -signal.SIGKILL
    result = run_cli(NAME, "--resume", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    last = load_checkpoint(next(tmp_path.glob("*/*/last.pt")))
    whole = load_checkpoint(never_stopped / "last.pt")
    for part in ("model", "start"):
        for name, value in whole[part].items():
            assert torch.equal(last[part][name], value), name
    old, new = whole["optimizer"], last["optimizer"]
    assert old["state"].keys() == new["state"].keys()
    assert len(last["history"]) == 4


# ---- what is claimed ---------------------------------------------------------


def test_the_sentence_under_the_table_follows_from_the_numbers(capsys):
    scratch = torch.tensor([[60.0, 80, 94]] * 5)
    lead = torch.tensor([10.0, 4, 0])
    right = dict.fromkeys(few_digits.WAYS, scratch - 1)
    right |= {"from scratch": scratch, "head only": scratch + lead}
    few_digits.say_where(right)
    said = one_line(capsys.readouterr().out)
    assert "points on average: 5 a class: head only (10). 10 a class: " in said
    assert "10 a class: head only (4). 20 a class: none; not in every" in said
    assert "seed: head only (ahead in 0 of 5)." in said, "a tie is no lead"
    right["head only"] = scratch + torch.tensor([[-1.0], [9], [9], [9], [9]])
    few_digits.say_where(right)
    said = one_line(capsys.readouterr().out)
    assert "5 a class: none; not in every seed: " in said
    assert "seed: head only (ahead in 4 of 5)." in said


def test_what_phase_two_added_is_said(capsys):
    history = [{"val_accuracy": share} for share in (0.5, 0.8, 0.7, 0.8)]
    best = {"epoch": 2, "val_accuracy": 0.8}
    rivals.say_best(best, history, 2)
    said = one_line(capsys.readouterr().out)
    assert "80.0% right at best, all layers 80.0%: no more." in said
    rivals.say_best(best, history, 1)
    said = one_line(capsys.readouterr().out)
    assert "50.0% right at best, all layers 80.0%: more." in said
    rivals.say_best(best, history, 4)
    said = one_line(capsys.readouterr().out)
    assert said == (
        "Kept are the weights of epoch 2: the highest val accuracy, 80.0%."
    )


def test_differences_that_may_be_chance_are_said_to_be(capsys):
    def found(share: float, count: int) -> torch.Tensor:
        return (torch.arange(count) >= share * count).long()

    def tried(count: int) -> ImageSet:
        labels = torch.zeros(count, dtype=torch.int64)
        return ImageSet(labels, labels, ["a", "b"], "some")

    shares = {"guessing": 0.2, "mean": 0.8, "better": 0.95, "this run": 0.81}
    said = {name: found(share, 1000) for name, share in shares.items()}
    assert rivals.say(said, tried(1000), "test") == pytest.approx(shares)
    said = one_line(capsys.readouterr().out)
    assert 'This run is ahead of "guessing"; behind "better"; ' in said
    assert 'not to be told from "mean". With 1,000 images' in said
    rivals.say({"one": found(1, 5), "this run": found(1, 5)}, tried(5), "test")
    assert 'not to be told from "one"' in one_line(capsys.readouterr().out)
