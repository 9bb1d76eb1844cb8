"""train-text: its sentences, its network, its runs, and files of one's own."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lessons import train_text as lesson
from shared import text_reports as reports
from shared.datasets import sentences
from shared.options import ROOT
from shared.training.checkpoint import load_checkpoint

COLOURS = ["red", "green", "blue", "grey"]


def lines(count: int = 120) -> list[str]:
    """Easy ones: an animal and a colour give the label away."""
    return [
        f"Number {n} is {COLOURS[n % 4]}, a {('cat', 'dog')[n % 2]}.\t"
        f"{('cats', 'dogs')[n % 2]}"
        for n in range(count)
    ]


@pytest.fixture
def tsv(tmp_path):
    """tsv(content) writes a file, of lines or of bytes."""

    def write(content: list[str] | bytes) -> Path:
        path = tmp_path / "own.tsv"
        if isinstance(content, list):
            content = "\n".join(content).encode()
        path.write_bytes(content)
        return path

    return write


QUICK = ("--epochs", 2, "--batch-size", 16, "--device", "cpu")


# ---- the network -------------------------------------------------------------
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size, hidden, steps", [(1, 1, 1), (3, 5, 7)])
def test_the_cell_is_pytorchs_in_both_directions(seed, size, hidden, steps):
    torch.manual_seed(seed)
    lstm = nn.LSTM(size, hidden, bidirectional=True)
    x = torch.randn(steps, size)
    for direction, weights in enumerate(lstm.all_weights):
        h = c = torch.zeros(hidden)
        outputs = []
        for token in x.flip(0) if direction else x:
            h, c = lesson.lstm_cell(token, h, c, weights)
            outputs.append(h)
        ours = torch.stack(outputs[::-1] if direction else outputs)
        theirs = lstm(x)[0][:, direction * hidden :][:, :hidden]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_padding_changes_no_logit(seed):
    torch.manual_seed(seed)
    model = lesson.Reader({f"w{n}": n for n in range(2, 50)}, 4).eval()
    rows = [torch.randint(1, 50, (n,)).tolist() for n in (5, 17, 60, 1)]
    batch = lesson.pad(rows)
    with torch.no_grad():
        logits = model(batch)
        assert torch.equal(model(F.pad(batch, (0, 200))), logits), "bit for bit"
        for row, ours in zip(rows, logits, strict=True):
            # alone, its products are summed in another order
            alone = model(torch.tensor([row]))[0]
            torch.testing.assert_close(alone, ours, rtol=0, atol=1e-6)


def test_max_over_time_never_sees_padding():
    outputs, tokens = torch.full((1, 3, 2), -5.0), torch.tensor([[4, 0, 0]])
    outputs[0, 1:] = 100
    assert lesson.max_over_time(outputs, tokens).tolist() == [[-5, -5]]


# ---- the docstrings ----------------------------------------------------------
@pytest.fixture(scope="module")
def docstrings():
    return sentences.docstring_sentences()


def test_the_sentences_are_what_they_are_said_to_be(docstrings):
    assert docstrings.classes == [
        *("torch", "pandas", "scikit-learn", "matplotlib"),
    ]
    for label in range(4):
        assert 1000 < docstrings.labels.count(label) < 6000
    assert len(set(docstrings.texts)) == len(docstrings)
    for text, source in zip(docstrings.texts, docstrings.source, strict=True):
        assert len(re.findall("[A-Za-z]{2,}", text)) >= 15
        assert not re.search("torch|pandas|sklearn|matplotlib|>>>", text, re.I)
        assert "test" not in source


def test_no_sentence_of_one_part_is_nearly_in_another(docstrings):
    rest, test = docstrings.set_aside(0.1, "text", 0)

    def runs(text):
        words = re.findall("[a-z]+", text.lower())
        return set(zip(*(words[n:] for n in range(8)), strict=False))

    seen = set().union(*map(runs, rest.texts))
    near = sum(
        2 * len(own & seen) > len(own) for own in map(runs, test.texts) if own
    )
    assert near < 0.02 * len(test)


def test_the_split_does_not_depend_on_order_nor_on_pythons_hash(docstrings):
    _, test = docstrings.set_aside(0.1, "text", 0)
    back = docstrings.subset(list(range(len(docstrings)))[::-1])
    _, again = back.set_aside(0.1, "text", 0)
    assert sorted(test.texts) == sorted(again.texts)
    code = (
        "import hashlib; from shared.datasets.sentences import *;"
        "texts = [f'text {n}' for n in range(200)];"
        "t = Texts(texts, [0] * 200, ['a'], 'a', texts);"
        "print(t.set_aside(0.1, 'text', 0)[1].texts)"
    )
    out = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": number},
            capture_output=True,
            text=True,
        ).stdout
        for number in "12"
    ]
    assert out[0] == out[1] != ""


@pytest.mark.parametrize("by", ["text", "source"])
def test_each_part_has_its_share_of_each_class(docstrings, by):
    rest, test = docstrings.set_aside(0.1, by, 0)
    assert not set(rest.texts) & set(test.texts)
    if by == "source":
        assert not set(rest.source) & set(test.source)
    for label in range(4):
        share = test.labels.count(label) / docstrings.labels.count(label)
        assert 0.07 < share < 0.13


# ---- files of one's own ------------------------------------------------------
def test_own_lines_are_learned_and_asked_without_them(
    run_cli, only_run, tsv, tmp_path
):
    path = tsv(lines())
    words = ("--data", path, *QUICK, "--lr", 0.05, "--logdir", tmp_path)
    result = run_cli("train-text", *words)
    assert result.exit_code == 0, result.output
    about = json.loads(
        (only_run(tmp_path, "train-text") / "run.json").read_text()
    )
    assert about["test_accuracy"] == 1
    assert "tied" in result.output or "too close to call" in result.output
    path.unlink()
    text = "Number 7 is a zebra, a dog."
    result = run_cli("train-text", "--predict", text, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert "Unknown: 7, zebra" in result.output
    table = result.output.partition("confidence")[2]
    assert table.index("dogs") < table.index("cats")


def test_chinese_is_read_character_by_character(run_cli, tsv, tmp_path):
    rows = [f"第{n}个很{'好坏'[n % 2]}\t{'正负'[n % 2]}" for n in range(120)]
    words = ("--data", tsv(rows), *QUICK, "--lr", 0.05, "--logdir", tmp_path)
    result = run_cli("train-text", *words)
    assert result.exit_code == 0, result.output
    result = run_cli("train-text", "--predict", "这很坏", "--logdir", tmp_path)
    assert "这 | 很 | 坏" in result.output
    table = result.output.partition("confidence")[2]
    assert table.index("负") < table.index("正")


def test_predict_without_a_network_or_a_word(run_cli, tmp_path):
    result = run_cli("train-text", "--predict", "Hello.", "--logdir", tmp_path)
    assert_mendable(result, "holds no network of train-text")


def assert_mendable(result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    problem, next_step = result.stderr.splitlines()[-2:]
    assert problem.startswith("Error: ")
    assert next_step.startswith("Next: ")
    for word in words:
        assert word in problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n\n", "is empty"),
        (["one row\ta"], "one label only"),
        ([*lines(20), "no tab here"], "line 21 has no tab"),
        (["a\tb", "a\tb\tc"], "line 2 has 2 tabs"),
        (["a\tb", "\tb"], "line 2 has no text"),
        (["a\tb", "c\t  "], "line 2 has no label"),
        ([f"text {n}\ta" for n in range(50)], "one label only, 'a'"),
        (["one\ta", "two\tb"], "too few lines"),
        (
            "eins\ta\nzwölf\tb\n".encode("latin-1"),
            "line 2, is not UTF-8: byte 10",
        ),
        ("eins\ta".encode("utf-16"), "line 1, is not UTF-8: byte 1 "),
    ],
)
def test_bad_files_end_with_one_sentence(
    run_cli, tsv, tmp_path, content, problem
):
    logdir = tmp_path / "logs"
    words = ("--data", tsv(content), "--logdir", logdir)
    assert_mendable(run_cli("train-text", *words), problem)
    assert not logdir.exists()


def test_no_such_file(run_cli, tmp_path):
    words = ("--logdir", tmp_path, "--data")
    result = run_cli("train-text", *words, tmp_path / "no.tsv")
    assert_mendable(result, "There is no file", "no.tsv")
    assert_mendable(run_cli("train-text", *words, tmp_path), "is a folder")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_mark_and_windows_line_ends_change_nothing(tsv, mark, end):
    plain = sentences.read_tsv(tsv(lines(8)))
    content = mark + end.join(line.encode() for line in lines(8)) + end
    assert sentences.read_tsv(tsv(content)) == plain
    assert plain.classes == ["cats", "dogs"]


def test_duplicates_go_before_the_split(tsv, capsys):
    rows = [
        *lines(40),
        *lines(40),
        lines(1)[0].upper(),
        "Number 0 is red, a cat.\tdogs",
    ]
    texts = sentences.read_tsv(tsv(rows))
    assert len(texts) == 40
    assert "42 lines repeat an earlier text, 2 with" in capsys.readouterr().err


def test_a_header_is_no_class(tsv, capsys):
    texts = sentences.read_tsv(tsv(["text\tLabel", *lines(40)]))
    assert texts == sentences.read_tsv(tsv(lines(40)))
    assert "is a header: left out" in capsys.readouterr().err
    rows = [f"text {n}\t{('label', 'other')[n % 2]}" for n in range(8)]
    assert len(sentences.read_tsv(tsv(rows))) == 8
    texts = sentences.read_tsv(tsv(["review\tverdict", *lines(40)]))
    assert "verdict" in texts.classes
    said = " ".join(capsys.readouterr().err.split())
    assert "Is the first line a header, 'verdict'? Delete it." in said


def test_every_label_that_is_tested_was_trained(tsv, capsys):
    rows = [*lines(40), "alone\tsingle", "one\ttwo", "other\ttwo"]
    train, val, test = sentences.load_texts(str(tsv(rows)), "sentence", None, 3)
    assert {0, 1, 2, 3} == set(train.labels)
    assert set(test.labels) | set(val.labels) <= set(train.labels)
    assert "fewer than 3" in capsys.readouterr().err
    assert len(train) + len(val) + len(test) == 43


def test_a_small_file_gets_small_batches_and_a_limit_is_said(
    run_cli, tsv, tmp_path
):
    rows = [*lines(), *(f"sky {n}\tbirds" for n in range(9))]
    words = ("--data", tsv(rows), "--epochs", 1, "--logdir", tmp_path)
    result = run_cli("train-text", *words, "--limit", 2)
    assert result.exit_code == 0, result.output
    assert "2 training sentences: batches of 1." in result.stderr
    assert "--limit 2 leaves no training sentence of" in result.stderr


def test_a_very_long_line_is_read_as_its_first_tokens(run_cli, tsv, tmp_path):
    rows = [*lines(), "cat " * 25_000 + "\tcats"]
    words = ("--data", tsv(rows), *QUICK, "--logdir", tmp_path)
    result = run_cli("train-text", *words)
    assert result.exit_code == 0, result.output


def test_wrong_options(run_cli, tsv, tmp_path):
    path = tsv(lines())
    words = ("--data", path, "--batch-size", 999, "--logdir", tmp_path)
    result = run_cli("train-text", *words)
    assert result.exit_code == 2
    words = ("--data", path, "--split", "file", "--logdir", tmp_path)
    assert run_cli("train-text", *words).exit_code == 2


# ---- stopped runs ------------------------------------------------------------
KILLED = """
import os, signal, sys
from shared.training.run import Training
whole = Training.end_epoch
def end_epoch(self, **row):
    whole(self, **row)
    if len(self.history) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
Training.end_epoch = end_epoch
sys.argv = ["cli.py", *{words!r}]
from cli import app
app()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no SIGKILL")
def test_a_killed_run_resumes_to_the_same_weights(
    run_cli, only_run, tsv, tmp_path
):
    path = tsv(lines())
    words = ["train-text", "--data", path, "--epochs", 3, "--batch-size", 16]
    words = [*map(str, words), "--device", "cpu"]
    run_cli(*words, "--logdir", tmp_path / "a")
    killed = [*words, "--logdir", str(tmp_path / "b")]
    process = subprocess.run(
        [sys.executable, "-c", KILLED.format(words=killed)], cwd=ROOT
    )
    assert process.returncode == -signal.SIGKILL
    result = run_cli("train-text", "--resume", "--logdir", tmp_path / "b")
    assert result.exit_code == 0, result.output
    whole, resumed = (
        load_checkpoint(only_run(tmp_path / n, "train-text") / "last.pt")
        for n in "ab"
    )
    for name, value in whole["model"].items():
        same = resumed["model"][name]
        assert (
            torch.equal(same, value)
            if torch.is_tensor(value)
            else same == value
        )
    assert len(resumed["history"]) == 3


# ---- the screen --------------------------------------------------------------
@pytest.fixture(scope="module")
def told(tmp_path_factory):
    from typer.testing import CliRunner

    from cli import app

    folder = tmp_path_factory.mktemp("told")
    (folder / "own.tsv").write_text("\n".join(lines()), "utf-8")
    words = ["--data", folder / "own.tsv", *QUICK, "--logdir", folder]
    words = ["train-text", *map(str, words)]
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.output, folder


def test_paper_numbers_and_checks_are_on_the_screen(told, width):
    screen = told[0]
    for number in ("0.4820", "0.2239", "0.2410"):
        assert number in screen
    for check in ("lstm_cell = nn.LSTM, on paper", "20 more zeros"):
        assert f"✓ {check}" in screen
    assert "looked at once" in screen
    assert width(screen) <= 80


def test_the_events_hold_curves_and_the_confusion_matrix(
    told, only_run, read_events, drawn
):
    events = read_events(only_run(told[1], "train-text"))
    assert len(events.Scalars("accuracy/val")) == 2
    assert len(events.Scalars("accuracy/test")) == 1
    assert "figures/confusion" in drawn(events)


def test_both_halves_of_each_mistake(told):
    screen = told[0]
    changes = re.findall(r"change by ([\d.]+)", screen)
    assert float(changes[0]) > 0.01
    assert float(changes[1]) == 0
    changed = re.findall(r"(\d+) of \d+ answers changed", screen)
    assert len(changed) == 2
    assert changed[1] == "0"
    moved = re.findall(r"largest change of a logit ([\d.]+)", screen)
    assert float(moved[0]) > 1e-3 > float(moved[1]) == 0


def test_a_vocabulary_of_the_held_out_texts_hides_what_is_unknown():
    train, held_out = ["cat", "cat"], ["cat", "dog", "dog"]
    honest = lesson.build_vocabulary([train], 20)
    assert reports.unknown([held_out], honest) == 2 / 3
    both = lesson.build_vocabulary([train, held_out], 20)
    assert reports.unknown([held_out], both) == 0


def test_zeros_that_are_read_change_the_answer():
    torch.manual_seed(0)
    model = lesson.Reader({f"w{n}": n for n in range(2, 50)}, 4).eval()
    tokens = torch.randint(1, 50, (1, 5))
    with torch.no_grad():
        outputs, _ = model.lstm(model.embedding(F.pad(tokens, (0, 200))))
        wrong = model.head(outputs.amax(1))
        assert (wrong - model(tokens)).abs().max() > 1e-3
        assert torch.equal(model(F.pad(tokens, (0, 200))), model(tokens))
