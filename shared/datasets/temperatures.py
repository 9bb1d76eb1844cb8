"""Tables of daily temperatures: a CSV of one's own, or a year that is made up.

Whatever is wrong with a file ends the command with a sentence that says where.
"""

import csv
import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from shared.console import fail, note, say
from shared.datasets.examples import Batch, Examples

DATE = ["year", "month", "day"]
NUMBERS = ["temp_2", "temp_1", "average", "actual", "friend"]  # all columns
COLUMNS = [*DATE, "week", *NUMBERS]  # that are read; others are left out
WEEKDAYS = ["Mon", "Tues", "Wed", "Thurs", "Fri", "Sat", "Sun"]
MISSING = {"", "-", "na", "n/a", "nan", "none", "null"}
MANY = 50_000_000  # bytes; more is no table of days
LARGEST = 1_000_000
FEWEST = 30  # rows; of fewer, too few would be left to test with
GENERATED = "generated"  # what --data says for the year that is made up
FORM = f"the first line has to be {','.join(COLUMNS)}"

Row = dict[str, str | int | float | date]


@dataclass
class Days(Examples):
    """Days of a table: inputs (N, C), labels (N, 1) in standard units.

    mean + std * label is the temperature.
    """

    unit = "days"
    inputs: Tensor
    labels: Tensor
    name: str
    mean: float
    std: float
    classes: list[str] = field(default_factory=list)

    def __getitem__(self, index: int | list[int]) -> Batch:
        return self.inputs[index], self.labels[index]


def load(source: str, limit: int | None) -> tuple[pd.DataFrame, str]:
    """A row for each day, in order, its date as the index; and a name.

    source is generated, or the path of a CSV. The columns are COLUMNS. With
    limit only the last days are taken.
    """
    table, name = _load(source)
    return (table.iloc[-limit:] if limit else table), name


def _load(source: str) -> tuple[pd.DataFrame, str]:
    if source != GENERATED:
        return read_table(Path(source))
    note(
        "These temperatures are generated: a wave a year long, weather, chance "
        "and a\nplanted false reading. Your own: [bold]--data FILE.csv[/]"
    )
    return generated(), "generated temperatures"


def generated(seed: int = 0) -> pd.DataFrame:
    """2024, made up: the same of a seed on every machine.

    18 days are missing, as in the real file. In the last fifth one of them
    had the planted reading, 117 °F, which its two neighbours hand on. All is
    reckoned in tenths of a degree, so that nothing rounds differently.
    """
    chance = np.random.RandomState(seed)  # the same in every version of NumPy
    first, weather, actual, rows = date(2024, 1, 1), 0, [], []
    lost = {*(7 + chance.permutation(280)[:17]).tolist(), 304}
    for number in range(-2, 366):
        day = first + timedelta(number)
        angle = 2 * math.pi * (number - 20) / 366
        average = round(10 * (60 - 15.5 * math.cos(angle)))
        weather = 67 * weather // 100 + chance.randint(-23, 24, 12).sum()
        actual.append(int(average + 28 + weather + 5) // 10)
        friend = average // 10 + chance.randint(-19, 21)
        if number in lost:
            actual[-1] = 117 if number == 304 else actual[-1]
        elif number >= 0:
            before = [day.year, day.month, day.day, WEEKDAYS[day.weekday()]]
            cells = [*actual[-3:-1], average / 10, actual[-1], friend]
            rows.append([pd.Timestamp(day), *before, *cells])
    names = ["temp_2", "temp_1", "average", "actual", "friend"]
    table = pd.DataFrame(rows, columns=["date", *DATE, "week", *names])
    return table.set_index("date")


def read_table(path: Path) -> tuple[pd.DataFrame, str]:
    """The rows of a CSV, by date, and its name with a checksum.

    Rows that lack a value or are there twice are left out, and that is said.
    """
    content = _bytes(path)
    rows = list(_rows(path, _text(path, content)))
    whole = [row for row in rows if None not in row.values()]
    lacking = [row["row"] for row in rows if None in row.values()]
    if lacking:
        say(f"Left out, for a value is missing: {_named(lacking)}.")
    kept, twice = {}, []
    for row in whole:
        other = kept.setdefault(row["date"], row)
        if other is not row:
            if any(other[name] != row[name] for name in COLUMNS):
                both = f"rows {other['row']} and {row['row']}"
                problem = f"{path} has {row['date']} twice, in {both}"
                fail(f"{problem}, and they differ.", "keep one of them")
            twice.append(row["row"])
    if twice:
        say(f"Left out, for they are there before: {_named(twice)}.")
    if len(kept) < FEWEST:
        problem = f"{path} has {len(kept)} whole rows of days"
        fail(f"{problem}; at least {FEWEST} are needed.", "add more days")
    if list(kept) != sorted(kept):
        say("The rows were not in order: they are sorted by date.")
    table = pd.DataFrame([kept[day] for day in sorted(kept)])
    table = table.set_index(pd.DatetimeIndex(table["date"]))[COLUMNS]
    return table, f"{path.name} (CRC {zlib.crc32(content):08x})"


def _named(rows: list[int]) -> str:
    """row 5; or rows 5, 7 and 9; of many the first ten."""
    numbers = [str(row) for row in rows[:10]]
    if len(rows) > 10:
        return f"rows {', '.join(numbers)} and {len(rows) - 10} more"
    *most, last = numbers
    return f"rows {', '.join(most)} and {last}" if most else f"row {last}"


def _bytes(path: Path) -> bytes:
    other = "name a CSV with --data, or leave --data out"
    if path.is_dir():
        fail(f"{path} is a folder, not a CSV.", other)
    try:
        if path.stat().st_size > MANY:
            fail(f"{path} has more than {MANY:,} bytes.", "name a shorter one")
        content = path.read_bytes()
    except FileNotFoundError:
        fail(f"There is no file {path}.", other)
    except OSError as error:
        fail(f"Can't read {path}: {error.strerror}.", other)
    if not content.strip():
        fail(f"{path} is empty.", other)
    return content


def _text(path: Path, content: bytes) -> str:
    """UTF-8, with or without a byte-order mark."""
    save = "save it as CSV, UTF-8"
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        fail(f"{path} is UTF-16, not UTF-8.", save)
    if content[:4] == b"PK\x03\x04":
        fail(f"{path} is a ZIP or Excel file, not a CSV.", save)
    if b"\0" in content:
        fail(f"{path} is not a text file, so no CSV.", save)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        found = f"byte 0x{content[error.start]:02x} in row {row}"
        fail(f"{path} is not UTF-8: {found}.", save)


def _rows(path: Path, text: str) -> Iterator[Row]:
    """Each row's cells, read; row 1 is the line with the columns' names."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        names = [name.strip() for name in next(line for line in reader if line)]
        _must_have_columns(path, names)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue  # an empty line
            if len(cells) != len(names):
                found = f"row {reader.line_num} has {len(cells)} cells"
                needed = f"there are {len(names)} columns"
                fail(f"{path}: {found}; {needed}.", "mend that row")
            yield _row(
                path, reader.line_num, dict(zip(names, cells, strict=True))
            )
    except csv.Error as error:
        fail(f"{path}: row {reader.line_num} is no CSV: {error}.", "mend it")


def _must_have_columns(path: Path, names: list[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        begins = _shown(",".join(names))
        problem = f"{path} lacks {_columns(missing)}; it begins with {begins}"
        apart = next((c for c in (";", "\t") if c in names[0]), "")
        hint = f"put commas between the columns, not {apart!r}; "
        fail(f"{problem}.", (hint if apart else "") + FORM)
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        fail(f"{path} has {_columns(twice)} twice.", FORM)
    more = [name for name in names if name not in COLUMNS]
    if more:
        say(f"Not used: {_shown(', '.join(more))}.")


def _columns(names: list[str]) -> str:
    return f"the column{'s' * (len(names) > 1)} {', '.join(names)}"


def _shown(text: str) -> str:
    short = text if len(text) <= 40 else f"{text[:30]}…"
    return f"{short!r}" + (f" ({len(text):,} characters)" * (short != text))


def _row(path: Path, number: int, cells: dict[str, str]) -> Row:
    """The columns that are used, and row and date; a value may be None."""

    def bad(name: str, why: str) -> NoReturn:
        found = f"{path}, row {number}: {name} is {_shown(cells[name])}"
        fail(f"{found}, {why}.", "mend that row, or take it out")

    cells = {name: cells[name].strip() for name in COLUMNS}
    row: Row = {"row": number, "date": date.min}
    for name in COLUMNS:
        if cells[name].lower() in MISSING:
            row[name] = None
        elif name == "week":
            days = [d for d in WEEKDAYS if d[:3] == cells[name][:3].title()]
            row[name] = days[0] if days else bad(name, "not a weekday")
        else:
            try:
                row[name] = float(cells[name])
            except ValueError:
                bad(name, "not a number")
            if not abs(row[name]) <= LARGEST:
                bad(name, "too large")
            if name in DATE:
                if row[name] % 1:
                    bad(name, "not a whole number")
                row[name] = int(row[name])
    parts = [row[name] for name in DATE]
    if None not in parts:
        try:
            row["date"] = date(*parts)
        except ValueError:
            shown = "-".join(map(str, parts))
            problem = f"{path}, row {number}: there is no day {shown}."
            fail(problem, "mend that row, or take it out")
    return row


def doubtful(table: pd.DataFrame) -> pd.Series:
    """True for rows with a temp_2 or temp_1 far from all that is usual."""
    far = table[["temp_2", "temp_1"]].sub(table["average"], axis=0).abs()
    return (far > doubtful_from(table)).any(axis=1)


def doubtful_from(table: pd.DataFrame) -> float:
    """Ten times as far from the average as half of the days are."""
    usual = (table["actual"] - table["average"]).abs().median()
    return 10 * max(usual, 1)


@dataclass
class Split:
    """A table, its inputs as numbers, and what each of its days is for.

    part says "training", "held out", "test" or "left out".
    """

    table: pd.DataFrame
    inputs: pd.DataFrame
    part: pd.Series
    name: str

    def rows(self, *names: str) -> Tensor:
        """(N,), True for the days of these parts."""
        return torch.tensor(self.part.isin(names).to_numpy())

    @property
    def tested(self) -> Tensor:
        """The test days (N,) without the doubtful ones."""
        return self.rows("test") & ~torch.tensor(
            doubtful(self.table).to_numpy()
        )

    @property
    def actual(self) -> Tensor:
        return torch.tensor(self.table["actual"].to_numpy(float))  # (N,)

    def sets(self, inputs: Tensor, device: torch.device) -> list[Days]:
        """The days to train on, to choose by, to test with: inputs (N, C).

        The labels are in standard units of the training days.
        """
        known, actual = self.rows("training"), self.actual[:, None]  # (N, 1)
        mean = actual[known].mean().item()
        std = actual[known].std(correction=0).item()
        std = std or 1.0
        pair = inputs, (actual - mean) / std
        ready, labels = (tensor.float().to(device) for tensor in pair)
        chosen = known, self.rows("held out"), self.tested
        more = self.name, mean, std
        return [Days(ready[some], labels[some], *more) for some in chosen]
