"""What train-temperature says of a table, and of how far off answers are."""

from dataclasses import dataclass

import torch
from torch import Tensor

from shared import console
from shared.datasets.temperatures import Split, doubtful, doubtful_from

SEVERAL = 2  # standard errors; a smaller difference may well be chance
WEEK = 7
FEWEST_WEEKS = 5  # from fewer means their spread can't be told
SAID = dict[str, Tensor]  # of each method: its answers (seeds, sets, N)


def show_checks(split: Split) -> None:
    """The first rows, and what is odd about a table of days."""
    table = split.table
    console.section(f"The table: {len(table)} days of {split.name}")
    rows = table.head(3).map(lambda v: v if isinstance(v, str) else f"{v:g}")
    console.table(list(table), rows.to_numpy().tolist())
    console.say(
        "actual, the warmest of the day, is the target; temp_1 and temp_2 are "
        "that of one and of two days before. Checks for any table of days:"
    )
    days = (table.index[-1] - table.index[0]).days + 1
    gone = days - len(table)
    weekday = table.index.day_name().str[:3] != table["week"].str[:3]
    console.say(
        f"  {gone} days are missing in between; {weekday.sum()} weekdays are "
        "not those of their dates."
    )
    for column, back in (("temp_1", 1), ("temp_2", 2)):
        there = table["actual"].reindex(table.index.shift(-back, "D"))
        there.index = table.index
        known = there.notna()
        off = table[known & (there != table[column])]
        found = ", ".join(f"{day:%Y-%m-%d}" for day in off.index[:2])
        more = f": {found}" if found else ""
        console.say(
            f"  {column} differs from the actual of its day in {len(off)} of "
            f"{known.sum()} rows{more}."
        )
    show_doubtful(split)


def show_doubtful(split: Split) -> None:
    usual = (split.table["actual"] - split.table["average"]).abs().median()
    found = split.table[doubtful(split.table)]
    console.say(
        f"Half of the days are within {usual:.1f} °F of their average. temp_1 "
        f"or temp_2 is more than {doubtful_from(split.table):.0f} °F from it "
        f"(ten times that; at least 10) in {len(found)} rows."
    )
    for day, row in found.head(3).iterrows():
        console.say(
            f"  {day:%Y-%m-%d}: temp_2 {row['temp_2']:g}, temp_1 "
            f"{row['temp_1']:g}, average {row['average']:g}"
        )
    if len(found):
        console.say(
            "Nothing is learned from such rows; test days are "
            "counted with and without them."
        )
    too_few = min(split.rows("held out").sum(), split.tested.sum() - 1) < 1
    if too_few:
        problem = f"Of {split.name} too few days are left to learn and to test"
        console.fail(f"{problem}.", "look at the values named above")


def say_parts(split: Split) -> None:
    console.ask("Why not test on days drawn from the whole year?")
    parts = ("training", "held out", "test", "left out")
    counts = {name: int(split.rows(name).sum()) for name in parts}
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    console.say(
        f"Days: {said}. The last fifth is to test: whoever asks for tomorrow "
        "has no later days to learn from. Of the others every tenth is held "
        "out, from all their seasons. One-hot (Tues is 0 1 0 0 0 0 0), "
        f"{split.table.shape[1] - 1} columns become {split.inputs.shape[1]} "
        "inputs. Mean and std are those of the training days alone."
    )
    say_new_weekdays(split)


def say_new_weekdays(split: Split) -> None:
    """A weekday that no training day is: its column is 0 in training."""
    known = split.table["week"][split.part == "training"]
    for day in sorted({*split.table["week"]} - {*known}):
        console.say(
            f"No training day is a {day}: the weight of that column learns "
            "nothing, and what it adds on such days is chance."
        )


def say_training() -> None:
    """How it differs from the steps by hand, and what its columns mean."""
    console.say(
        "Unlike by hand, the first weights are smaller, Adam takes the steps, "
        "batch by batch, the best epoch is kept, and the targets are in "
        "standard units too. So a loss of 1 is what answering with the mean "
        "of the training days costs on them."
    )
    console.say(
        "train loss: the mean squared error while it learns, in standard "
        "units; val loss: that of the held-out days, after the epoch; val "
        "error: their MAE in °F. An answer in °F is mean + std * output."
    )


@dataclass
class Gap:
    """How much further off one method is than another, on the same days.

    margin is what the choice of weeks may make of it. It is sure where it is
    larger, and where no seed of the one is as good as a seed of the other.

    Days are no independent draws: a warm week surprises a method on all of
    its days. So it is the means of whole weeks whose spread is taken.
    """

    mean: float
    margin: float
    apart: bool

    @classmethod
    def between(cls, one: Tensor, other: Tensor) -> "Gap":
        """Of absolute errors (seeds, N) and (seeds, N)."""
        gap = one.mean(0) - other.mean(0)
        margin, count = float("inf"), len(gap) // WEEK
        if count >= FEWEST_WEEKS:
            weeks = [some.mean() for some in gap.tensor_split(count)]
            margin = SEVERAL * torch.stack(weeks).std().item() / count**0.5
        ends = [some.mean(1).aminmax() for some in (one, other)]
        apart = ends[0].min > ends[1].max or ends[1].min > ends[0].max
        return cls(gap.mean().item(), margin, bool(apart))

    @property
    def sure(self) -> bool:
        return self.apart and abs(self.mean) > self.margin

    def __str__(self) -> str:
        known = f"{self.margin:.2f}" if self.margin < float("inf") else "?"
        return f"{self.mean:+.2f} ± {known}"


def say_verdict(what: str, errors: SAID) -> None:
    """Who is nearest, and from whom that can't be told: (seeds, N) each."""
    finite = {n: e for n, e in errors.items() if e.isfinite().all()}
    best = min(finite, key=lambda name: finite[name].mean())
    gaps = {
        name: Gap.between(error, finite[best])
        for name, error in finite.items()
        if name != best
    }
    near = [f"{n} ({gap})" for n, gap in gaps.items() if not gap.sure]
    worse = [f"{n} ({gap})" for n, gap in gaps.items() if gap.sure]
    lost = [name for name in errors if name not in finite]
    console.say(
        f"{what}, {best} is the least off: {finite[best].mean():.2f} °F. "
        f"Not to be told from it: {', '.join(near) or 'none'}. "
        f"Further off: {', '.join(worse) or 'none'}."
        + (f" Its steps ran away: {', '.join(lost)}." if lost else "")
    )


def show_errors(split: Split, said: SAID) -> None:
    """A row for each method: its MAE on the test days."""
    console.ask("Of six methods, which is nearest, which furthest off?")
    errors = _errors(split, said)
    test, tested = split.rows("test"), split.tested
    columns = {f"{tested.sum()} days": (0, tested), "3 inputs": (3, tested)}
    if test.sum() > tested.sum():
        columns = {f"all {test.sum()} days": (0, test)} | columns
    rows = [
        [name, *(_cell(error[:, s][:, days]) for s, days in columns.values())]
        for name, error in errors.items()
    ]
    console.table(["MAE in °F", *columns], rows)
    console.say(
        "The mean of five seeds (lowest to highest, where these differ). "
        f"3 inputs (temp_2, temp_1, average): on the {tested.sum()} days, too. "
        "Sequential keeps the held-out days to choose by; by hand, linear and "
        "forest learn from them, too."
    )
    one = {name: error[:, 0][:, tested] for name, error in errors.items()}
    few = {name: error[:, 3][:, tested] for name, error in errors.items()}
    say_verdict(f"With all {split.inputs.shape[1]} inputs", one)
    say_verdict("With 3 inputs", few)
    say_against_yesterday(one, few)
    console.say(_what_margin_is(int(tested.sum()) // WEEK))


def say_against_yesterday(all_inputs: SAID, three: SAID) -> None:
    """The opening's question: is the network better than yesterday's value?"""
    gaps = [
        Gap.between(errors["Sequential"], errors["yesterday"])
        for errors in (all_inputs, three)
        if errors["Sequential"].isfinite().all()
    ]
    if len(gaps) < 2:
        return
    better = [gap.sure and gap.mean < 0 for gap in gaps]
    verdict = {0: "no", 1: "with one of the two"}.get(sum(better), "yes")
    console.say(
        f"Sequential minus yesterday: {gaps[0]}; with 3 inputs {gaps[1]}. "
        f"Is it surely better? {verdict.capitalize()}."
    )


def _what_margin_is(weeks: int) -> str:
    if weeks < FEWEST_WEEKS:
        return f"± ?: {FEWEST_WEEKS} weeks are needed to tell what is chance."
    return (
        f"± is roughly what chance may do: {SEVERAL} * std / √{weeks} of the "
        f"gap's means in {weeks} weeks (single days err like neighbours). "
        "Further off: more than ±, and no seeds overlap."
    )


def _errors(split: Split, said: SAID) -> SAID:
    return {name: (some - split.actual).abs() for name, some in said.items()}


def _cell(errors: Tensor) -> str:
    """Of errors (seeds, N): the mean, and that of the seeds' extremes."""
    each = errors.mean(1)
    if errors.shape[1] == 0:
        return "-"
    if not each.isfinite().all():
        return "ran away"
    low, high = f"{each.min():.1f}", f"{each.max():.1f}"
    return f"{each.mean():.2f}" + f" ({low} to {high})" * (low != high)


def show_dates(split: Split, said: SAID) -> None:
    """By hand: months that it knows and months that it doesn't."""
    console.section("What the date does to the network by hand; the friend")
    known, tested = split.rows("training", "held out"), split.tested
    months = torch.tensor(split.table["month"].to_numpy())
    new = ~torch.isin(months, months[known])
    if (tested & new).any():
        console.ask("Some test months are new to it. Does the date help there?")
    days = [known, tested & ~new, tested & new]
    errors = _errors(split, said)["by hand"]  # (seeds, sets, N)
    names = [f"{split.inputs.shape[1]} inputs", "without date"]
    rows = [
        [name, *(_cell(errors[:, s][:, some]) for some in days)]
        for name, s in zip(names, (0, 2), strict=True)
    ]
    headings = ["MAE in °F", "days it knows", "test, months known", "test, new"]
    console.table(headings, rows)
    if not (tested & new).any():
        console.say("No month is new to it: all were among the days it knows.")
        return
    mean, std = (
        months[known].double().mean(),
        months[known].double().std(correction=0),
    )
    ends = months[known].max(), months[new].max()
    top, far = ((end - mean) / std.clamp(min=1e-9) for end in ends)
    dated, without = (errors[:, s][:, tested & new] for s in (0, 2))
    gap = Gap.between(dated, without)
    verdict = "No difference that chance could not make"
    if gap.sure:
        verdict = f"The date makes it {'worse' if gap.mean > 0 else 'better'}"
    console.say(
        f"{verdict} in new months: {gap} °F. In standard units one of its "
        f"columns is at most {top:.2f} in the days it knows, and up to "
        f"{far:.2f} there: no step has met such a number."
    )


def show_friend(split: Split, said: SAID) -> None:
    """Does the friend's guess help? Correlation, and with and without it."""
    console.ask("Does it help to know what the friend says?")
    table, errors = split.table, _errors(split, said)
    guess, deviation = (
        table[n] - table["average"] for n in ("friend", "actual")
    )
    kept = ~doubtful(table)
    together = float(guess[kept].corr(deviation[kept]))
    chance = SEVERAL / int(kept.sum()) ** 0.5
    console.say(
        f"friend − average: {guess.min():.0f} to {guess.max():.0f}. Its "
        f"correlation with actual − average: {together:.2f} (1: they go "
        f"together, 0: they don't; in {kept.sum()} days chance often gives "
        f"±{chance:.2f})."
    )
    for method in ("linear", "Sequential"):
        having, lacking = (
            errors[method][:, s][:, split.tested] for s in (0, 1)
        )
        gap = Gap.between(lacking, having)
        said_so = "that may be chance"
        if abs(gap.mean) > gap.margin:
            said_so = "but their seeds overlap: that may be chance"
        if gap.sure:
            said_so = "the friend helps" if gap.mean > 0 else "the friend harms"
        console.say(
            f"{method}: MAE {_cell(having)} with friend, {_cell(lacking)} "
            f"without: {gap}, {said_so}."
        )


def show_use() -> None:
    console.say(
        "A table of your own, say loaves sold: actual today's, temp_1 "
        "yesterday's, temp_2 two days ago, average the usual, friend any "
        "number: --data FILE.csv."
    )
