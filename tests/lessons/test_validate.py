"""validate: what it says of checkpoints and pictures, good and bad."""

import json
import pickle
import re
import shutil
import zipfile
from functools import cache
from pathlib import Path
from unittest.mock import MagicMock, patch

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from typer.testing import CliRunner

from cli import app
from lessons import validate as lesson
from shared import answers
from shared.datasets.embedded import framed, photo_digits
from shared.datasets.image_folder import small_rgb
from shared.models import CifarNet, normalized
from shared.training import trained
from shared.training.checkpoint import load_checkpoint

made_once = cache(photo_digits)
WHERE = "shared.datasets.sources.photo_digits"


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    """A logdir with a short run of train-cifar."""
    logdir = tmp_path_factory.mktemp("logs")
    words = "--data photo-digits --limit 1000 --epochs 1 --batch-size 8 "
    words += f"--seed 3 --device cpu --logdir {logdir}"
    with patch(WHERE, made_once):
        result = CliRunner().invoke(app, ["train-cifar", *words.split()])
    assert result.exit_code == 0, result.output
    return logdir


@pytest.fixture
def best(logs) -> Path:
    (path,) = logs.glob("train-cifar/*/best.pt")
    return path


@pytest.fixture
def validate(run_cli, logs, monkeypatch):
    monkeypatch.setattr(WHERE, made_once)

    def run(*words, logdir=logs):
        return run_cli(
            "validate", "--device", "cpu", *words, "--logdir", logdir
        )

    return run


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "dog [bold].png"
    Image.fromarray(
        np.arange(40 * 60 * 4, dtype=np.uint8).reshape(40, 60, 4)
    ).save(path)
    return path


def assert_refused(result, *said: str) -> None:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    problem, next_step = result.stderr.strip().splitlines()[-2:]
    assert problem.startswith("Error: ") and problem.endswith(".")
    assert next_step.startswith("Next: ")
    for words in said:
        assert words in problem + next_step, result.stderr


# ---- the lesson --------------------------------------------------------------


def test_the_lesson_prints_the_worked_cases_and_the_run_s_accuracy(
    validate, logs, best, width, read_events, drawn
):
    result = validate()
    assert result.exit_code == 0, result.output
    assert width(result.output) <= 80
    report = json.loads((best.parent / "run.json").read_text())
    accuracy = f"{report['test_accuracy']:.1%}"
    said = " ".join(result.output.split())
    for words in (
        "2 2 1.0000 0.6439",
        "1 / 1.5530 = 0.6439",
        "top3, the three best classes: [2, 0, 1].",
        "No, more: 1 / (0.1353 + 0.0183 + 1 + 0.0025) = 0.8650, for the same",
        "│ 1 2 0 │",
        "1 + 2 + 1 = 4 of 6",
        "✓ confidences = softmax",
        "✓ top3 = topk(3).indices",
        "✓ confusion = scikit-learn's, 1,000 pictures: largest difference 0",
        f"It gets {accuracy} of the test images right, the same as at the end",
        "Mistake 2 of 2",
    ):
        assert words in said, words
    (folder,) = (path for path in (logs / "validate").iterdir())
    events = read_events(folder)
    tags = {"confusion", "predictions", "surest"}
    assert {*drawn(events)} == {f"figures/{tag}" for tag in tags}


def test_the_confusion_matrix_is_that_of_train_cifar(validate, logs, capsys):
    said = validate().output
    words = ("--resume", "--logdir", str(logs))
    with patch(WHERE, made_once):
        again = CliRunner().invoke(
            app, ["train-cifar", *words], env={"COLUMNS": "80"}
        )
    table = re.compile(r" is ↓ .*?Hardest[^\n]*", re.DOTALL)
    assert table.search(said)[0] == table.search(again.output)[0]


def test_json_is_all_that_is_on_stdout_and_equal_to_the_report(validate, best):
    result = validate("--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    report = json.loads((best.parent / "run.json").read_text())
    assert found["test_accuracy"] == report["test_accuracy"]
    counts = torch.tensor(found["confusion"])
    assert counts.sum() == found["test_images"] == 1000
    assert counts.trace().item() / 1000 == pytest.approx(found["test_accuracy"])
    shares = (counts.diag() / counts.sum(1)).tolist()
    assert found["class_accuracy"] == pytest.approx(shares)


@cache
def quick(seed: int) -> nn.Module:
    """A network that has seen 1,000 digits once, trained without a run."""
    torch.manual_seed(seed)
    images = made_once()[0].limited(1000)
    model = normalized(CifarNet(10, "relu"), images.images)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for batch, labels in images.batches(
        10, torch.Generator().manual_seed(seed)
    ):
        optimizer.zero_grad()
        F.cross_entropy(model(batch), labels).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("seed", range(5))
def test_mistakes_cost_accuracy_and_their_mends_do_not(seed):
    test = made_once()[1].limited(500)
    given = {"model": quick(seed), "test": test}
    photos = framed(test.images)

    def share(said: str) -> float:
        return float(said.removesuffix("% right"))

    right = share(lesson.right_bright(**given))
    assert right > 50
    assert share(lesson.wrong_bright(**given)) < 25
    black = lesson.predict(given["model"], test.images // 255 * 0)
    wrong = lesson.predict(given["model"], test.images / 255)
    assert torch.equal(wrong.argmax(1), black.argmax(1))  # so it guesses
    assert share(lesson.tempting_bright(**given)) < right
    assert share(lesson.wrong_far(photos=photos, **given)) < 25
    assert share(lesson.right_far(photos=photos, **given)) == right


def test_pixels_divided_twice_are_black_and_a_tenth_is_a_tenth():
    test = made_once()[1].limited(50)
    seen = quick(0).normalize(test.images / 255)
    black = quick(0).normalize(torch.zeros(1, 3, 1, 1))
    assert (seen - black).abs().max() < 0.02
    assert 32**2 / framed(test.images)[0, 0].numel() == pytest.approx(
        0.1, abs=0.001
    )
    assert round(32 * 32 / 101) == 10


@pytest.mark.parametrize("rows", ["paper", "network"])
def test_the_exercise_has_an_answer(rows):
    test = made_once()[1].limited(500)
    logits = lesson.predict(quick(0), test.images)
    if rows == "paper":
        test.images, test.labels = test.images[:4], torch.tensor([0, 0, 0, 1])
        logits = torch.tensor([[2.0, 0]]).repeat(4, 1)
    accuracy = test.accuracy(logits.argmax(1))
    low, high = 0.01, 100.0
    for _ in range(40):
        number = (low * high) ** 0.5
        sure = (logits / number).softmax(1).amax(1).mean().item()
        low, high = (number, high) if sure > accuracy else (low, number)
    assert sure == pytest.approx(accuracy, abs=1e-4)
    assert test.accuracy((logits / number).argmax(1)) == accuracy
    if rows == "paper":
        assert number == pytest.approx(1.8205, abs=1e-3)


def test_the_lines_to_remember_answer_as_the_lesson(
    validate, tmp_path, picture, monkeypatch, capsys
):
    output = validate("--image", picture).output
    _, _, below = output.partition(" Remember ")
    *_, code = below.partition("as this one does:")
    lines = re.findall(r"│ [• ] (.*?) *│", code)
    monkeypatch.chdir(tmp_path)
    exif = Image.Exif()
    exif[0x112] = 6  # a phone that was held upright
    with Image.open(picture) as image:
        image.convert("RGB").save("a.png", exif=exif)
    seen = torch.from_numpy(small_rgb(Path("a.png"))).permute(2, 0, 1)
    capsys.readouterr()
    exec("\n".join(lines), {"model": quick(0)})
    shares = lesson.confidences(lesson.predict(quick(0), seen[None])[0])
    assert capsys.readouterr().out.strip() == str(shares[None])


def test_it_judges_its_sureness_and_shows_the_surest_mistakes_first(capsys):
    test = made_once()[1].limited(100)
    right = F.one_hot(test.labels, 10).float()
    writer = MagicMock()
    answers.show_sureness(test, right, writer)
    said = " ".join(capsys.readouterr().out.split())
    assert "23.2% sure and 100.0% right: less sure than it should be" in said
    writer.add_figure.assert_not_called()
    sure = right.roll(1, 1) * torch.arange(1, 101)[:, None] / 20  # the last
    answers.show_sureness(test, sure, writer)
    said = capsys.readouterr().out
    assert "0.0% right: more sure than" in " ".join(said.split())
    order = [test.classes[label] for label in test.labels.tolist()]
    rows = re.findall(r"^ +(\d) +(\w+) +\w+ +9[\d.]+%", said, re.M)
    assert rows == [(f"{n}", order[-n]) for n in (1, 2, 3)]


# ---- pictures ----------------------------------------------------------------


def test_a_picture_of_one_s_own(
    validate, picture, tmp_path, logs, width, read_events, drawn
):
    copied = tmp_path / "own"
    shutil.copytree(logs / "train-cifar", copied / "train-cifar")
    result = validate("--image", picture, logdir=copied)
    assert result.exit_code == 0, result.output
    assert width(result.output) <= 80
    assert "dog [bold].png" in result.output
    assert "█" in result.output
    (folder,) = (copied / "validate").iterdir()
    assert [*drawn(read_events(folder))] == ["pictures"]


def test_it_is_seen_as_it_was_in_training(validate, best, tmp_path):
    """Test images saved as files get the answers that the lesson gets."""
    test = made_once()[1].limited(60)
    for k, image in enumerate(test.images):
        pixels = image.permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / f"{k:02}.png")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    result = validate("--image", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["images"]
    surest = [row["top3"][0]["confidence"] for row in rows]
    assert surest == sorted(surest, reverse=True) and surest[0] > surest[-1]
    found = {int(Path(row["image"]).stem): row["top3"] for row in rows}
    model = trained.rebuild(trained.read_trained(best))
    logits = lesson.predict(model, test.images)
    assert len(found) == 60
    for k, row in enumerate(logits):
        assert [t["label"] for t in found[k]] == lesson.top3(row).tolist()
        shares = lesson.confidences(row)[lesson.top3(row)].tolist()
        assert [t["confidence"] for t in found[k]] == pytest.approx(
            shares, rel=1e-4
        )


def test_of_many_pictures_the_damaged_are_named_and_the_others_answered(
    validate, tmp_path, picture, monkeypatch, width
):
    monkeypatch.setattr("shared.datasets.own_pictures.AT_ONCE", 50)
    folder = tmp_path / "many"
    (folder / "deeper").mkdir(parents=True)
    for k in range(205):
        shutil.copy(picture, folder / "deeper" / f"{k:03}.png")
    whole = picture.read_bytes()
    for k in range(5):
        (folder / "deeper" / f"{40 * k:03}.png").write_bytes(whole[: 10 * k])
    result = validate("--image", folder, "--image", picture, "--json")
    assert_refused(result, "5 of 206 pictures can't be read", "040.png (")
    assert len(json.loads(result.stdout)["images"]) == 201
    result = validate("--image", folder, "--image", picture)
    assert_refused(result, "5 of 206 pictures", "160.png")
    assert "201 pictures, the surest above" in " ".join(result.stdout.split())
    assert width(result.stdout) <= 80
    assert len(re.findall(r"png +([\d.]+)% ", result.stdout)) == 20


@pytest.mark.parametrize("kind", ["missing", "empty folder", "text", "empty"])
def test_a_picture_that_is_none_is_refused(validate, tmp_path, kind):
    path = tmp_path / "a.png"
    if kind == "empty folder":
        path.mkdir()
    elif kind != "missing":
        path.write_text("no picture" * (kind == "text"))
    assert_refused(validate("--image", path), "a.png")


# ---- checkpoints -------------------------------------------------------------


def test_without_a_checkpoint_it_says_how_to_make_one(validate, tmp_path):
    result = validate(logdir=tmp_path)
    made = f"python cli.py train-cifar --logdir {tmp_path}"
    assert_refused(result, "no checkpoint", made)
    assert not result.stdout


def test_the_newest_best_is_taken(logs, best, tmp_path):
    for name in ("2020-01-01_00-00-00", "2030-01-01_00-00-00"):
        folder = tmp_path / "train-cifar" / name
        folder.mkdir(parents=True)
        shutil.copy(best, folder)
    (tmp_path / "train-cifar" / "2031-01-01_00-00-00").mkdir()
    assert "2030" in str(trained.newest_best(tmp_path))


def make_bad(kind: str, path: Path, best: Path, hostile) -> str:
    """Write a file that can't be used; what must be said of it?"""
    content, kept = best.read_bytes(), load_checkpoint(best)
    changed = bytearray(content)
    changed[len(content) // 2] ^= 0xFF
    model, classes = kept["model"], kept["classes"]
    states = {
        "other architecture": nn.Linear(2, 1).state_dict(),
        "other layer": model | {"net.0.weight": torch.zeros(32, 3, 3, 3)},
        "other count": CifarNet(7).state_dict(),
        "nan": model | {"net.0.bias": torch.full((32,), torch.nan)},
        "no weights": {"epoch": 3},
        "list": [1, 2],
        "count and names": kept | {"classes": classes[:7]},
    }
    files = {
        "empty": b"",
        "truncated": content[:-1000],
        "short": content[:100],
        "flipped": bytes(changed),
        "text": b"version https://git-lfs\nsize 3",
        "bytes": bytes(range(7, 256)),
        "bare": pickle.dumps(nn.Linear(2, 1)),
    }
    if kind in states:
        torch.save(states[kind], path)
    elif kind in files:
        path.write_bytes(files[kind])
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("word/document.xml", "<xml>")
    elif kind == "program":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("net/code/__torch__.py", "class Net: ...")
    elif kind == "folder":
        path.mkdir()
    elif kind == "whole model":
        torch.save(nn.Linear(2, 1), path)
    return {
        "empty": "is empty",
        "truncated": "damaged",
        "short": "damaged",
        "flipped": "damaged",
        "text": "is a text file; it begins with 'version https://git-lfs'",
        "bytes": "not a file that torch.save wrote",
        "bare": "whole Python objects",
        "zip": "ZIP archive of something else (word/document.xml)",
        "program": "is a TorchScript program",
        "folder": "Can't read",
        "whole model": "calls torch.nn.modules.linear.Linear",
        "missing": "There is no checkpoint",
        "other architecture": (
            "Missing: 0.weight, 0.bias, 3.weight and 7 more. "
            "Unexpected: weight, bias."
        ),
        "other layer": "net.0.weight has shape (32, 3, 3, 3)",
        "other count": "7 outputs for 10 classes",
        "count and names": "10 outputs for 7 classes",
        "nan": "nan or infinity, in net.0.bias",
        "no weights": "no weights",
        "list": "one list",
    }[kind]


KINDS = """empty, truncated, short, flipped, text, bytes, bare, zip, program,
folder, whole model, missing, other architecture, other layer, other count,
count and names, nan, no weights, list"""


@pytest.mark.parametrize("kind", re.split(r",\s+", KINDS))
def test_a_bad_checkpoint_is_one_sentence(
    validate, tmp_path, best, hostile, kind
):
    path = tmp_path / "bad.pt"
    said = make_bad(kind, path, best, hostile)
    result = validate("--checkpoint", path)
    assert_refused(result, said, "bad.pt")
    assert not result.stdout


@pytest.mark.parametrize("kind", ["zip", "bare"])
def test_code_in_a_pickle_is_named_and_never_run(
    validate, tmp_path, hostile, kind
):
    path = tmp_path / "gift.pt"
    mark = hostile(path, kind)
    result = validate("--checkpoint", path)
    assert_refused(
        result,
        "pickle of whole Python objects",
        "so it was not loaded",
        "torch.save(model.state_dict(), 'numbers.pt')",
    )
    assert not mark.exists()


def test_a_checkpoint_from_a_gpu_works_on_the_cpu(validate, best, tmp_path):
    path = tmp_path / "gpu.pt"
    with patch("torch.serialization.location_tag", lambda _: "cuda:99"):
        torch.save(load_checkpoint(best), path)
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(path, weights_only=True)
    ours, theirs = (
        validate("--json", "--checkpoint", p).stdout for p in (path, best)
    )
    assert json.loads(ours)["confusion"] == json.loads(theirs)["confusion"]


@pytest.mark.parametrize("normal", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_plain_state_dict_needs_pictures(
    validate, tmp_path, picture, normal, zipped
):
    model = (
        normalized(CifarNet(), made_once()[1].images) if normal else CifarNet()
    )
    path = tmp_path / "plain.pt"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)
    words = "--checkpoint", path, "--activation", "none"
    result = validate("--image", picture, "--json", *words)
    assert result.exit_code == 0, result.output
    assert "CIFAR-10's classes, activation none" in result.stderr
    assert ("pixels from 0 to 1" in result.stderr) == (not normal)
    found = json.loads(result.stdout)
    assert found["classes"].index("cat") == 3
    assert found["classes"].index("dog") == 5
    shown = Image.open(picture)
    white = Image.new("RGBA", shown.size, "white")
    shown = Image.alpha_composite(white, shown).convert("RGB")
    pixels = np.array(shown.resize((32, 32), Image.Resampling.BILINEAR))
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = model(image if normal else image / 255)[0]
    (row,) = found["images"]
    assert [t["label"] for t in row["top3"]] == logits.topk(3).indices.tolist()
    assert_refused(validate(*words), "doesn't say", "--image")


def test_the_activation_is_said(validate):
    assert "Its activation: relu." in validate().output
    other = validate("--activation", "none").output
    assert "Its activation: none." in other


def test_another_activation_changes_the_answers(validate):
    plain, other = (
        json.loads(validate("--json", *words).stdout)["confusion"]
        for words in ((), ("--activation", "none"))
    )
    assert plain != other


def test_data_that_has_changed_is_said(validate, best, tmp_path):
    kept = load_checkpoint(best)
    path = tmp_path / "other.pt"
    torch.save(kept | {"classes": [*"abcdefghij"]}, path)
    assert_refused(validate("--checkpoint", path), "other classes")
    kept["examples"]["test"] = 77
    torch.save(kept, path)
    result = validate("--checkpoint", path, "--json")
    assert result.exit_code == 0
    assert "77 test images" in result.stderr
    json.loads(result.stdout)


@pytest.mark.parametrize(
    "words", [("--activation", "tanh"), ("--device", "tpu"), ("--json", "x")]
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("validate", *words).exit_code == 2


@pytest.mark.real_data
def test_on_real_cifar10_it_repeats_the_report(run_cli, real_data, tmp_path):
    words = ("--device", "cpu", "--logdir", tmp_path)
    data = ("--data", real_data / "cifar10", "--limit", 2000, "--epochs", 1)
    assert run_cli("train-cifar", *data, *words).exit_code == 0
    (path,) = tmp_path.glob("train-cifar/*/run.json")
    accuracy = json.loads(path.read_text())["test_accuracy"]
    result = run_cli("validate", *words, "--json")
    assert json.loads(result.stdout)["test_accuracy"] == accuracy
    result = run_cli("validate", *words)
    assert "the same as at the end of its run" in result.output
