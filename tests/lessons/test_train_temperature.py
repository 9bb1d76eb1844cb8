"""train-temperature: its tables, its figures, its files, and stopped runs."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LinearRegression
from typer.testing import CliRunner

from cli import app
from lessons import train_temperature as lesson
from shared import temperature_tables as tables
from shared.datasets import temperatures
from shared.datasets.temperatures import COLUMNS, Split
from shared.options import ROOT
from shared.training import Quiet
from shared.training.checkpoint import load_checkpoint

NAME = "train-temperature"
SUMS = [704352.0, 2289.0, 5451.0, 21760.0, 21740.0, 20869.7, 21662.0, 21125.0]
QUICK = ("--epochs", "2", "--device", "cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    fewer_steps(monkeypatch)


def fewer_steps(monkeypatch: pytest.MonkeyPatch, figures: bool = False) -> None:
    """What is measured at full size, is measured in tests of its own."""
    monkeypatch.setattr(lesson, "STEPS", 20)
    seeds = lesson.over_seeds
    monkeypatch.setattr(
        lesson, "over_seeds", lambda m, names, s: seeds(m, names, s[:1])
    )
    if not figures:
        monkeypatch.setattr(lesson, "keep_figures", lambda *_: None)
    forest = lesson.RandomForestRegressor
    monkeypatch.setattr(
        lesson,
        "RandomForestRegressor",
        lambda random_state: forest(5, random_state=random_state),
    )


def split_of(table: pd.DataFrame) -> Split:
    return Split(table, lesson.one_hot(table), lesson.parts(table), "a table")


@pytest.fixture(scope="module")
def generated() -> pd.DataFrame:
    return temperatures.generated()


# ---- The table and what it becomes -------------------------------------------


def test_the_generated_year_is_the_same_everywhere(generated):
    assert list(generated) == COLUMNS
    assert generated.shape == (348, 9)
    assert (generated.index.day_name().str[:3] == generated.week.str[:3]).all()
    first = [2024, 1, 1, "Mon", 47, 50, 45.4, 52, 62]
    assert generated.iloc[0].tolist() == first
    numbers = generated.drop(columns="week").sum().round(1).tolist()
    assert numbers == SUMS
    off = generated.friend - generated.average
    assert -20 <= off.min() < -18 and 18 < off.max() <= 20


def test_its_planted_reading_is_found_and_nothing_else(generated):
    found = generated[temperatures.doubtful(generated)]
    assert found.index.strftime("%m-%d").tolist() == ["11-01", "11-02"]
    assert found.temp_1.iloc[0] == found.temp_2.iloc[1] == 117
    assert not (generated.index == "2024-10-31").any()


def test_eight_columns_become_fourteen_inputs(generated):
    inputs = lesson.one_hot(generated)
    assert inputs.shape == (348, 14)
    weekdays = inputs.filter(like="week_")
    assert (weekdays.sum(axis=1) == 1).all()
    assert list(weekdays) == [f"week_{d}" for d in temperatures.WEEKDAYS]
    monday = generated[generated.week != "Mon"]
    assert lesson.one_hot(monday).shape[1] == 14, "whoever is there"


def test_the_split_is_by_time_and_scale_comes_from_training_days(generated):
    split = split_of(generated)
    counts = {n: int(split.rows(n).sum()) for n in split.part.unique()}
    assert counts == {"training": 251, "held out": 27, "test": 70}
    learned = generated.index[split.part != "test"]
    assert learned.max() < generated.index[split.part == "test"].min()
    known = split.rows("training")
    before = lesson.scaled(split, list(split.inputs), known)
    other = generated.copy()
    other.loc[split.part != "training", "temp_1"] += 50
    after = lesson.scaled(split_of(other), list(split.inputs), known)
    assert torch.equal(before[known], after[known])
    torch.testing.assert_close(before[known].mean(0), torch.zeros(14).double())
    train_set, val_set, test_set = split.sets(before, torch.device("cpu"))
    assert [len(s) for s in (train_set, val_set, test_set)] == [251, 27, 68]
    degrees = train_set.mean + train_set.std * train_set.labels[:, 0]
    torch.testing.assert_close(degrees, split.actual[known].float())


def test_a_doubtful_row_is_never_learned_from(generated):
    table = generated.copy()
    table.iloc[5, COLUMNS.index("temp_1")] = 170
    split = split_of(table)
    assert split.part.iloc[5] == "left out"
    assert split.part.value_counts()["test"] == 70


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("days", "inputs", "hidden"), [(1, 1, 1), (30, 5, 64)])
def test_by_hand_and_autograd_go_down_step_by_step_alike(
    monkeypatch, seed, days, inputs, hidden
):
    monkeypatch.setattr(lesson, "STEPS", 200)
    torch.manual_seed(seed)
    x = torch.randn(days, inputs, dtype=torch.float64)
    y = 60 + torch.randn(days, 1, dtype=torch.float64)
    shapes = (inputs, hidden), (hidden,), (hidden, 1), (1,)
    start = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    ways = (lesson.descend(x, y, start, f) for f in FINDERS)
    for ours, theirs in zip(*ways, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


FINDERS = lesson.gradients, lesson.by_autograd


# ---- What is said of the numbers ---------------------------------------------


def gap_of(one: torch.Tensor, other: torch.Tensor) -> tables.Gap:
    return tables.Gap.between(one, other)


def test_a_gap_is_sure_where_neither_days_nor_seeds_explain_it():
    chance = torch.Generator().manual_seed(0)
    same = torch.rand(5, 70, generator=chance, dtype=torch.float64)
    assert not gap_of(same[:, :34] + 1, same[:, :34]).sure, "too few weeks"
    assert gap_of(same + 1, same).sure
    assert gap_of(same, same + 1).mean == pytest.approx(-1)
    assert not gap_of(same, same).sure
    noisy = torch.rand(5, 70, generator=chance, dtype=torch.float64)
    assert not gap_of(noisy, same).sure
    weeks = torch.randn(10, generator=chance).repeat_interleave(7)
    alike = gap_of(same + 0.45 + weeks, same)  # by single days it is sure
    by_days = 2 * weeks.std().item() / 70**0.5
    assert by_days < alike.mean < alike.margin and not alike.sure
    shift = torch.tensor([-9.0, 0, 0, 0, 20])[:, None]
    assert not gap_of(same + 1 + shift, same).sure, "one seed is better"


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (0.0, "yesterday is the least off: 3.00 °F. Not to be told from it: n"),
        (-2.0, "net is the least off: 1.00 °F. Not to be told from it: none"),
        (2.0, "Further off: net (+2.00 ± 0.00)"),
        (float("nan"), "Its steps ran away: net."),
    ],
)
def test_the_verdict_follows_from_the_numbers(capsys, own, words):
    errors = torch.full((5, 68), 3.0)
    tables.say_verdict("Here", {"yesterday": errors, "net": errors + own})
    assert words in " ".join(capsys.readouterr().out.split())


def test_quiet_gives_the_weights_that_the_run_gives(trained, only_run):
    logdir, _ = trained
    best = load_checkpoint(only_run(logdir, NAME) / "best.pt")
    split = split_of(temperatures.generated())
    inputs = lesson.scaled(split, list(split.inputs), split.rows("training"))
    train_set, val_set, _ = split.sets(inputs, torch.device("cpu"))
    model = lesson.build(14, seed=0)
    quiet = Quiet(model, seed=0, epochs=2, batch_size=16)
    optimizer = torch.optim.Adam(model.parameters(), 0.001)
    lesson.train(quiet, model, optimizer, train_set, val_set)
    quiet.load_best()
    assert_same_weights(model.state_dict(), best["model"])


# ---- The command -------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A log folder with one run of two epochs, and what it said."""
    logdir = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        fewer_steps(patch, figures=True)
        words = [NAME, *QUICK, "--logdir", str(logdir)]
        result = CliRunner(env={"COLUMNS": "80"}).invoke(app, words)
    assert result.exit_code == 0, result.output
    return logdir, result.output


@pytest.fixture
def said(trained) -> str:
    return " ".join(trained[1].split())


def test_the_screen(trained, said, width):
    assert width(trained[1]) <= 80
    for words in (
        "These temperatures are generated:",
        "planted false reading",
        "18 days are missing",
        "differs from the actual of its day in 0 of 329 rows",
        "one_hot(week) = F.one_hot: largest difference 0",
        "2024-11-01: temp_2 58, temp_1 117, average 57.2",
        "251 training, 27 held out, 70 test, 0 left out",
        "8 columns become 14 inputs",
        "standardise = StandardScaler: largest difference",
        "these four = autograd: largest difference 0",
        "every step: by hand = autograd: largest difference",
        "Linear (16, 128) 1,920",
        "epoch train loss val loss val error seconds",
        "Is it surely better? No.",
        "in new months:",
        "Its correlation with actual − average:",
        "A table of your own",
        "Remember",
        "which of year, month, day does the harm?",
    ):
        assert words in said, words
    for row in ("[ -7 -2 ] [ -4 -2 ] ┌ -7.00 ┐ [ -4 ]", "└ -0.50 ┘"):
        assert row in said
    for name in lesson.METHODS:
        assert re.search(rf"^ {name} +[\d.]+", trained[1], re.MULTILINE), name


def test_the_run_leaves_everything_behind(
    trained, said, only_run, read_events, drawn
):
    folder = only_run(trained[0], NAME)
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    about = json.loads((folder / "run.json").read_text())
    assert about["examples"] == {"training": 251, "held-out": 27, "test": 68}
    assert about["data"] == "generated temperatures"
    lowest = min(rows, key=lambda row: float(row["val_loss"]))
    assert about["best"]["epoch"] == int(lowest["epoch"])
    assert f"{about['test_error']:.2f} °F off on 68 days" in said
    for name in ("columns", "year", "errors"):
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.width > 900
    events = read_events(folder)
    tags = {"figures/columns", "figures/year", "figures/errors"}
    assert set(drawn(events)) == tags
    for tag in ("loss/train", "loss/val", "error/val"):
        assert [e.step for e in events.Scalars(tag)] == [15, 30]
    assert [e.step for e in events.Scalars("error/test")] == [31]


@pytest.mark.parametrize(
    "words",
    [
        ("--epochs", 0),
        ("--batch-size", 252),
        ("--lr", "nan"),
        ("--limit", 29),
        ("--seed", -1),
        ("--device", "tpu"),
    ],
)
def test_wrong_options_exit_2(run_cli, tmp_path, words):
    result = run_cli(NAME, *words, "--logdir", tmp_path / "logs")
    assert result.exit_code == 2, result.output
    assert words[0] in result.stderr
    assert not (tmp_path / "logs").exists()


def test_limit_takes_the_last_days(run_cli, tmp_path):
    words = ("--epochs", 6, "--device", "cpu", "--limit", 100)
    result = run_cli(NAME, *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    rows = re.findall(r"^ +(\d+)  +\d\.\d{4} ", result.output, re.MULTILINE)
    assert rows == ["1", "5", "6"], "every fifth epoch, the first, the last"
    assert "The table: 100 days of generated" in result.output
    parts = "71 training, 7 held out, 20 test, 2 left out"
    assert parts in " ".join(result.output.split())


# ---- Tables of one's own -----------------------------------------------------


@pytest.fixture
def lines(generated) -> list[str]:
    """80 days as the lines of a CSV."""
    text = generated.iloc[-80:].to_csv(index=False, lineterminator="\n")
    return text.splitlines()


@pytest.fixture
def read(tmp_path, capsys):
    """read(lines) is the table, and what was said in reading it."""

    def read(content: bytes | list[str]) -> tuple[pd.DataFrame, str]:
        path = tmp_path / "own.csv"
        if not isinstance(content, bytes):
            content = "\n".join([*content, ""]).encode()
        path.write_bytes(content)
        table, _ = temperatures.read_table(path)
        return table, " ".join(capsys.readouterr().out.split())

    return read


def test_a_table_of_one_s_own_is_read_as_it_stands(read, lines, generated):
    table, said = read(lines)
    pd.testing.assert_frame_equal(
        table.astype({"week": object}),
        generated.iloc[-80:].astype({"week": object}),
        check_dtype=False,
        check_freq=False,
        check_names=False,
        check_index_type=False,
    )
    assert not said


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"\n", b"\r"),
        lambda text: text.replace(b"\n", b"\n\n"),
        lambda text: text.replace(b",", b" , "),
        lambda text: text.replace(b"Tues", b"Tuesday"),
        lambda text: text.replace(b"Thurs", b"THU"),
        lambda text: text.rstrip(),
    ],
)
def test_what_makes_no_difference(read, lines, change):
    plain, _ = read(lines)
    table, said = read(change("\n".join([*lines, ""]).encode()))
    pd.testing.assert_frame_equal(table, plain)
    assert not said


def with_cell(lines: list[str], row: int, column: str, cell: str) -> list[str]:
    """Row 1 is the line of names."""
    cells = lines[row - 1].split(",")
    cells[COLUMNS.index(column)] = cell
    return [*lines[: row - 1], ",".join(cells), *lines[row:]]


def test_missing_values_are_left_out_and_named(read, lines):
    for row, cell in ((5, ""), (7, "NA"), (9, "nan")):
        lines = with_cell(lines, row, "temp_1", cell)
    table, said = read(lines)
    assert len(table) == 77
    assert "Left out, for a value is missing: rows 5, 7 and 9." in said


def test_duplicate_lines_are_left_out_and_named(read, lines):
    table, said = read([*lines, lines[3]])
    assert len(table) == 80
    assert "Left out, for they are there before: row 82." in said


def test_rows_out_of_order_are_sorted(read, lines):
    plain, _ = read(lines)
    table, said = read([lines[0], *lines[:0:-1]])
    pd.testing.assert_frame_equal(table, plain)
    assert "they are sorted by date" in said


def test_a_column_more_is_named_and_may_be_used(read, lines, monkeypatch):
    more = [f"{line},{i}" for i, line in enumerate(lines)]
    more[0] = lines[0] + ",rain"
    table, said = read(more)
    assert list(table) == COLUMNS
    assert "Not used: 'rain'." in said
    monkeypatch.setattr(temperatures, "COLUMNS", [*COLUMNS, "rain"])
    table, said = read(more)
    assert not said
    assert lesson.one_hot(table).shape[1] == 15
    assert table["rain"].tolist() == list(range(1, 81))


BAD = {
    "text in a number column": (
        lambda ls: with_cell(ls, 6, "temp_1", "warm"),
        "row 6: temp_1 is 'warm', not a number",
    ),
    "infinity": (
        lambda ls: with_cell(ls, 6, "friend", "inf"),
        "row 6: friend is 'inf', too large",
    ),
    "half a day": (
        lambda ls: with_cell(ls, 6, "day", "2.5"),
        "row 6: day is '2.5', not a whole number",
    ),
    "no such day": (
        lambda ls: with_cell(with_cell(ls, 6, "month", "2"), 6, "day", "30"),
        "row 6: there is no day 2024-2-30",
    ),
    "no such weekday": (
        lambda ls: with_cell(ls, 6, "week", "Funday"),
        "row 6: week is 'Funday', not a weekday",
    ),
    "a day twice, and not the same": (
        lambda ls: [*ls, with_cell(ls, 6, "actual", "1")[5]],
        "twice, in rows 6 and 82, and they differ",
    ),
    "columns missing": (
        lambda ls: [line.rsplit(",", 2)[0] for line in ls],
        "lacks the columns actual, friend",
    ),
    "a column twice": (
        lambda ls: [f"{ls[0]},day", *(line + ",1" for line in ls[1:])],
        "has the column day twice",
    ),
    "semicolons": (
        lambda ls: [line.replace(",", ";") for line in ls],
        "lacks the columns year",
    ),
    "a short row": (
        lambda ls: [*ls[:5], "2024,1", *ls[6:]],
        "row 6 has 2 cells; there are 9 columns",
    ),
    "one row": (lambda ls: ls[:2], "has 1 whole rows of days"),
    "the names alone": (lambda ls: ls[:1], "has 0 whole rows of days"),
    "a long line": (
        lambda ls: with_cell(ls, 6, "friend", "9" * 100_000),
        "row 6: friend is '999999999999999999999999999999…' (100,000 char",
    ),
    "a longer line": (
        lambda ls: with_cell(ls, 6, "friend", "x" * 200_000),
        "row 6 is no CSV",
    ),
    "a long first line": (lambda ls: ["x" * 100_000, *ls], "lacks the columns"),
    "another text": (lambda ls: ["Dear diary", "it rained"], "'Dear diary'"),
    "nothing": (lambda ls: b"", "is empty"),
    "empty lines": (lambda ls: b"\n \n", "is empty"),
    "Latin-1": (
        lambda ls: "\n".join([*ls[:4], "é", *ls]).encode("latin-1"),
        "is not UTF-8: byte 0xe9 in row 5",
    ),
    "UTF-16": (lambda ls: "\n".join(ls).encode("utf-16"), "is UTF-16"),
    "an Excel file": (lambda ls: b"PK\x03\x04rest", "is a ZIP or Excel file"),
    "a picture": (lambda ls: b"\x89PNG\r\n\x00\x00", "is not a text file"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_tables_end_with_one_sentence(run_cli, tmp_path, lines, what):
    make, words = BAD[what]
    content, path = make(lines), tmp_path / "own.csv"
    if not isinstance(content, bytes):
        content = "\n".join([*content, ""]).encode()
    path.write_bytes(content)
    assert_mendable(run_cli, tmp_path, path, words)


def assert_mendable(run_cli, tmp_path: Path, path: Path, words: str) -> None:
    logs = tmp_path / "logs"
    result = run_cli(NAME, "--data", path, "--logdir", logs)
    assert result.exit_code == 1, result.output
    problem, next_step = result.stderr.splitlines()
    assert problem.startswith("Error: ") and str(path) in problem
    assert words in problem
    assert len(problem) < 400
    assert next_step.startswith("Next: ")
    assert not logs.exists()


def test_paths_that_are_no_file(run_cli, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    assert_mendable(run_cli, tmp_path, folder, "is a folder, not a CSV")
    assert_mendable(run_cli, tmp_path, tmp_path / "no.csv", "There is no file")


def test_a_table_where_most_is_odd_says_so(run_cli, tmp_path, lines):
    for row in range(2, 78):
        lines = with_cell(lines, row, "temp_1", "900")
    path = tmp_path / "own.csv"
    path.write_text("\n".join(lines))
    result = run_cli(NAME, "--data", path, "--logdir", tmp_path)
    assert result.exit_code == 1
    assert "too few days are left" in result.stderr


@pytest.mark.parametrize("what", ["sunday is new", "all the same", "sales"])
def test_odd_tables_that_work(run_cli, tmp_path, lines, what):
    table = pd.read_csv(pd.io.common.StringIO("\n".join(lines)))
    if what == "sunday is new":
        table = table[(table.week != "Sun") | (table.index > 70)]
    elif what == "all the same":
        table[["temp_1", "temp_2", "average", "actual", "friend"]] = 45.6
    else:
        table[["temp_1", "temp_2", "average", "actual", "friend"]] *= 1000
    path = tmp_path / "own.csv"
    table.to_csv(path, index=False)
    words = (*QUICK, "--data", path, "--logdir", tmp_path)
    result = run_cli(NAME, *words)
    assert result.exit_code == 0, result.output
    if what == "sunday is new":
        assert "No training day is a Sun" in result.output


# ---- Stopped runs ------------------------------------------------------------

DYING = """
import os, signal, sys
from cli import app
from lessons import train_temperature as lesson
from shared.training.run import Training

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def dying(self, loss):
    track(self, loss)
    if self.step == 40:
        die()

lesson.STEPS, track = 2, Training.track
for moment, logdir in {folders!r}.items():
    child = os.fork()  # all is imported once
    if child:
        status = os.waitpid(child, 0)[1]
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, moment
        continue
    if moment == "epoch":
        Training.track = dying
    else:
        Training.load_best = die
    sys.argv = ["cli.py", *{words!r}, "--logdir", logdir]
    app()
"""
WORDS = [NAME, "--epochs", "4", "--device", "cpu", "--seed", "1"]


def killed(folders: dict[str, str]) -> None:
    """Runs of WORDS, ended by kill -9 in an epoch and before the report."""
    process = subprocess.run(
        [sys.executable, "-c", DYING.format(folders=folders, words=WORDS)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr


def assert_same_weights(ours: dict, theirs: dict) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL and no fork")
def test_a_killed_run_resumes_to_the_same_weights(
    run_cli, only_run, tmp_path, monkeypatch
):
    def kept(logdir: Path, *words: str) -> tuple[dict, float]:
        """The weights of a run that comes to its end, and its test error."""
        result = run_cli(*words, "--logdir", logdir)
        assert result.exit_code == 0, result.output
        folder = only_run(logdir, NAME)
        last = load_checkpoint(folder / "last.pt")
        assert len(last["history"]) == 4
        about = json.loads((folder / "run.json").read_text())
        return last["model"], about["test_error"]

    weights, error = kept(tmp_path / "whole", *WORDS)
    moments = "epoch", "report"
    killed({moment: str(tmp_path / moment) for moment in moments})
    for moment in moments:
        resumed = kept(tmp_path / moment, NAME, "--resume")
        assert_same_weights(resumed[0], weights)
        assert resumed[1] == error


def test_resume_goes_on_and_refuses_another_table(
    run_cli, trained, only_run, tmp_path, lines
):
    logdir = shutil.copytree(trained[0], tmp_path / "logs")
    again = (NAME, "--resume", "--epochs", 3, "--logdir", logdir)
    result = run_cli(*again)
    assert result.exit_code == 0, result.output
    assert "Going on after epoch 2" in result.output
    assert (
        len(load_checkpoint(only_run(logdir, NAME) / "last.pt")["history"]) == 3
    )
    path, own = tmp_path / "own.csv", tmp_path / "own"
    path.write_text("\n".join(lines))
    words = (*QUICK, "--data", path, "--logdir", own)
    assert run_cli(NAME, *words).exit_code == 0
    path.write_text("\n".join(with_cell(lines, 6, "friend", "1")))
    result = run_cli(NAME, "--resume", "--logdir", own)
    assert result.exit_code == 1
    assert "This run began with data own.csv (CRC" in result.stderr


# ---- The claims, at full size ------------------------------------------------


DEFAULTS = SimpleNamespace(
    settings={"epochs": 30, "batch_size": 16, "lr": 0.001}
)


def full_size(
    split: Split, method: str, columns: list[str], seeds: range, steps: int
) -> torch.Tensor:
    """Each seed's answers (seeds, N), with all of the steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lesson, "STEPS", steps)
        answers = [
            lesson.answers(split, method, columns, DEFAULTS, s) for s in seeds
        ]
    return torch.stack(answers)


def test_the_month_ruins_the_network_by_hand_in_new_months(generated):
    """Five seeds; with the other date columns back, it stays mended."""
    split = split_of(generated)
    months = torch.tensor(generated["month"].to_numpy())
    new = split.tested & (months > 10)
    columns = list(split.inputs)
    undated = [c for c in columns if c not in ("year", "month", "day")]
    monthless = [c for c in columns if c != "month"]
    mean = {}
    for name, some in (
        ("all", columns),
        ("undated", undated),
        ("monthless", monthless),
    ):
        said = full_size(split, "by hand", some, range(5), 1000)
        mean[name] = (said - split.actual).abs()[:, new].mean(1)
    assert mean["all"].min() > mean["undated"].max() + 1, mean
    assert mean["monthless"].mean() < mean["all"].mean() - 3, mean


@pytest.mark.real_data
def test_the_real_table(real_data):
    """The figures that were asked for, or those measured in their place."""
    table, _ = temperatures.read_table(real_data / "temps.csv")
    assert table.shape == (348, 9)
    split = split_of(table)
    found = table.index[temperatures.doubtful(table)]
    assert found.strftime("%Y-%m-%d").tolist() == ["2016-10-31", "2016-11-01"]
    test, tested = split.rows("test"), split.tested
    assert (test.sum(), tested.sum()) == (70, 68)

    def errors(method: str, columns: list[str], days) -> torch.Tensor:
        steps = 1000
        said = full_size(split, method, columns, range(5), steps)
        return (said - split.actual).abs()[:, days].mean(1)

    columns = list(split.inputs)
    three = ["temp_2", "temp_1", "average"]
    for method, some, with_, without in (
        ("yesterday", columns, 3.91, 3.15),
        ("average", columns, 5.32, 5.38),
        ("linear", columns, 3.86, 3.27),
        ("linear", three, 4.05, 3.47),
    ):
        measured = [errors(method, some, d)[0] for d in (test, tested)]
        assert measured == pytest.approx([with_, without], abs=0.006)
    assert errors("by hand", columns, tested).min() > 6
    assert errors("by hand", three, tested).mean() == pytest.approx(
        3.46, abs=0.1
    )
    few = errors("Sequential", three, tested)
    assert few.mean() == pytest.approx(3.23, abs=0.1)
    many = errors("Sequential", columns, tested)
    said = full_size(split, "Sequential", columns, range(5), 1)
    off, before = (
        (some - split.actual).abs()[:, tested]
        for some in (said, full_size(split, "yesterday", columns, range(5), 1))
    )
    gap = gap_of(off, before)
    assert (gap.mean, gap.margin) == pytest.approx((0.85, 1.19), abs=0.1)
    assert many.min() > errors("yesterday", columns, tested)[0] and not gap.sure
    assert few.min() > 3.1, "no network beats yesterday by more than chance"
    guess, kept = table.friend - table.average, ~temperatures.doubtful(table)
    deviation = table.actual - table.average
    assert guess[kept].corr(deviation[kept]) == pytest.approx(-0.04, abs=0.01)
    known = split.rows("training", "held out").numpy()
    fits = []
    for some in (columns, [c for c in columns if c != "friend"]):
        inputs = split.inputs[some].to_numpy(float)
        fitted = LinearRegression().fit(inputs[known], table.actual[known])
        off = np.abs(fitted.predict(inputs) - table.actual.to_numpy())
        fits.append(off[tested.numpy()].mean())
    assert fits == pytest.approx([3.27, 3.31], abs=0.006)


@pytest.mark.parametrize(
    ("network", "expected"),
    [(1.0, "Yes."), (9.0, "No."), (float("nan"), "")],
)
def test_the_question_of_the_opening_is_answered(network, expected, capsys):
    errors = {
        "Sequential": torch.full((2, 70), network),
        "yesterday": torch.full((2, 70), 5.0),
    }
    tables.say_against_yesterday(errors, errors)
    out = capsys.readouterr().out.strip()
    assert out.endswith(expected)
    assert bool(out) == bool(expected)
