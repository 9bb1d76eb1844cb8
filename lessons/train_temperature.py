"""Regression: a network that answers with a number, from a table.

Each row is a day: its date and weekday, the temperatures of the two days
before, the average of that date in many years, and a friend's guess. The
network reads these and says how warm the day was, in °F. It learns from
the earlier days of the year and is tested on later ones, which it has
never seen. Is it better than saying "as warm as yesterday"?

    python cli.py train-temperature --data temps.csv
"""

from collections.abc import Callable, Iterator

import pandas as pd
import torch
import typer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector as in_a_row

from shared import console, options
from shared import temperature_tables as tables
from shared.datasets import temperatures
from shared.datasets.temperatures import WEEKDAYS, Days, Split
from shared.figures_temperatures import keep_figures
from shared.models import layer_table
from shared.seeds import over_seeds
from shared.training import LogDir, Quiet, Resume, RunFolder, Training

WORDS = {
    "regression": "learning to answer with a number; before, it was a class",
    "standard units": "(x - mean) / std, both taken from the training days",
    "MAE": "mean absolute error: how far off answers are on average",
    "linear regression": "each input times a weight, added up, plus a bias",
    "random forest": "the mean answer of many trees of yes-or-no questions",
}
STEPS, LR = 1000, 0.001  # of gradient descent by hand
LOOK = "SCALARS: loss, error; IMAGES: figures"
BASELINES = {"yesterday": "temp_1", "average": "average"}
METHODS = [*BASELINES, "linear", "forest", "by hand", "Sequential"]
Weights = list[Tensor]  # w1 (C, H), b1 (H,), w2 (H, 1), b2 (1,)


# ---- By hand ----------------------------------------------------------------
def standardise(values: Tensor, known: Tensor) -> Tensor:
    """Columns in standard units of the known rows; without spread, 0."""
    mean, std = known.mean(0), known.std(0, correction=0)
    std[std <= 1e-12 * mean.abs()] = 1  # all the same, such as the year
    return (values - mean) / std


def network(inputs: Tensor, weights: Weights) -> Tensor:
    """Two linear layers, ReLU between them: (N, C) to (N, 1)."""
    w1, b1, w2, b2 = weights
    return (inputs @ w1 + b1).clamp(min=0) @ w2 + b2


def gradients(inputs: Tensor, targets: Tensor, weights: Weights) -> Weights:
    """Those of the mean squared error, from the loss back to the inputs."""
    w1, b1, w2, b2 = weights
    sums = inputs @ w1 + b1  # (N, H)
    hidden = sums.clamp(min=0)  # ReLU
    errors = hidden @ w2 + b2 - targets  # (N, 1)
    d_outputs = 2 * errors / len(targets)  # of the mean of errors²
    d_sums = d_outputs @ w2.T * (sums > 0)  # ReLU passes on above 0
    d_w1, d_w2 = inputs.T @ d_sums, hidden.T @ d_outputs
    return [d_w1, d_sums.sum(0), d_w2, d_outputs.sum(0)]


def descend(
    inputs: Tensor, targets: Tensor, weights: Weights, way: Callable = gradients
) -> Iterator[Weights]:
    """Gradient descent: the weights after each step, with all the days."""
    for _ in range(STEPS):
        found = way(inputs, targets, weights)
        weights = [w - LR * g for w, g in zip(weights, found, strict=True)]
        yield weights


def train(
    training: Training | Quiet,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train_set: Days,
    val_set: Days,
) -> None:
    """The whole loop. Files, table and curves are the training's business."""
    replica = training.parallel(model)  # the model; with torchrun a DDP of it
    for epoch in training.epochs():
        for inputs, labels in training.batches(train_set, epoch):
            loss = F.mse_loss(replica(inputs), labels)  # both (N, 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            training.track(loss)
        val_loss, val_error = evaluate(model, val_set)
        training.end_epoch(val_loss=val_loss, val_error=val_error)


@torch.no_grad()
def evaluate(model: nn.Module, days: Days) -> tuple[float, float]:
    """The mean squared error in standard units, and the MAE in °F."""
    errors = model(days.inputs) - days.labels  # (N, 1)
    return (errors**2).mean().item(), days.std * errors.abs().mean().item()


# ---- The table --------------------------------------------------------------
def parts(table: pd.DataFrame) -> pd.Series:
    """The last fifth is to test; every tenth of the others is held out."""
    part = pd.Series("training", index=table.index)
    part.iloc[9::10] = "held out"
    part[temperatures.doubtful(table)] = "left out"
    part.iloc[-round(len(table) / 5) :] = "test"
    return part


def one_hot(table: pd.DataFrame) -> pd.DataFrame:
    """The inputs: for the weekday seven columns, one of them 1, others 0."""
    week = pd.Categorical(table["week"], WEEKDAYS)
    inputs = table.drop(columns="actual").assign(week=week)
    return pd.get_dummies(inputs, columns=["week"], dtype=float)


def scaled(split: Split, columns: list[str], known: Tensor) -> Tensor:
    """All days' inputs (N, C), in standard units of the known days."""
    values = torch.tensor(split.inputs[columns].to_numpy(float))
    return standardise(values, values[known])


def build(inputs: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 1))


def random_weights(inputs: int, seed: int) -> Weights:
    torch.manual_seed(seed)
    return [torch.randn(s) for s in ((inputs, 128), (128,), (128, 1), (1,))]


# ---- The lesson -------------------------------------------------------------
def answers(
    split: Split, method: str, columns: list[str], run: Training, seed: int
) -> Tensor:
    """What a method says of each day (N,), in °F; it learned from no test."""
    if method in BASELINES:
        return torch.tensor(split.table[BASELINES[method]].to_numpy(float))
    if method == "Sequential":
        return sequential(split, columns, run, seed)
    known = split.rows("training", "held out")  # it has no epoch to choose
    inputs, actual = scaled(split, columns, known), split.actual
    if method == "by hand":
        inputs, actual = inputs.float(), actual[:, None].float()
        start = random_weights(len(columns), seed)
        *_, weights = descend(inputs[known], actual[known], start)
        return network(inputs, weights)[:, 0].double()
    forest = RandomForestRegressor(random_state=seed % 2**32)
    model = LinearRegression() if method == "linear" else forest
    model.fit(inputs[known], actual[known])
    return torch.tensor(model.predict(inputs))


def sequential(
    split: Split, columns: list[str], run: Training, seed: int
) -> Tensor:
    inputs = scaled(split, columns, split.rows("training"))
    train_set, val_set, _ = split.sets(inputs, torch.device("cpu"))
    model, chosen = build(len(columns), seed), run.settings
    quiet = Quiet(model, seed, chosen["epochs"], chosen["batch_size"])
    optimizer = torch.optim.Adam(model.parameters(), chosen["lr"])
    train(quiet, model, optimizer, train_set, val_set)
    quiet.load_best()
    outputs = model(inputs.float()).detach()[:, 0]  # (N,)
    return train_set.mean + train_set.std * outputs.double()


def show_split(split: Split) -> None:
    console.section("First the split by time, then the scale")
    tables.say_parts(split)
    inputs, known = split.inputs, split.rows("training")
    ours = torch.tensor(inputs.filter(like="week_").to_numpy())
    days = torch.tensor([WEEKDAYS.index(day) for day in split.table["week"]])
    console.agrees("one_hot(week) = F.one_hot", ours, F.one_hot(days, 7), 0)
    scaler = StandardScaler().fit(inputs[known.numpy()])
    theirs = torch.tensor(scaler.transform(inputs))
    what, ours = "standardise = StandardScaler", scaled(split, [*inputs], known)
    console.agrees(what, ours, theirs, 1e-9 * theirs.abs().max().item())


def by_autograd(inputs: Tensor, targets: Tensor, weights: Weights) -> Weights:
    weights = [weight.clone().requires_grad_() for weight in weights]
    F.mse_loss(network(inputs, weights), targets).backward()
    return [weight.grad for weight in weights]


def show_by_hand() -> None:
    console.section("A network by hand: 1 input, 2 hidden numbers, 2 days")
    console.code(gradients)
    inputs, targets = Tensor([[1], [2]]), Tensor([[3], [5]])
    weights = [*map(Tensor, ([[1, -1]], [0, 1.5], [[1], [2]], [0]))]
    console.say(
        "Inputs 1, 2; targets 3, 5; w1 = [1, -1], b1 = [0, 1.5], w2 = [1, 2], "
        "b2 = 0. hidden: [1, 0.5] on day 1, [2, 0] on day 2 (ReLU made -0.5 0)."
    )
    console.ask("What does day 2 add to d_w1 of the second hidden number?")
    names = ["d_w1", "d_b1", "d_w2", "d_b2"]
    ours, theirs = (
        dict(zip(names, way(inputs, targets, weights), strict=True))
        for way in (gradients, by_autograd)
    )
    console.say(
        "Both outputs are 2, the errors -1, -3 (d_outputs, too: 2 / 2 = 1). "
        "d_w1: 1 * -1 + 2 * -3 = -7; the second 1 * -1 * 2 = -2: day 2 adds 0."
    )
    console.matrices({n: g.view(-1, g.size(-1)) for n, g in ours.items()})
    console.agrees("these four = autograd", ours, theirs, 1e-6)


def show_descent(split: Split, seed: int) -> None:
    known, columns = split.rows("training", "held out"), list(split.inputs)
    inputs = scaled(split, columns, known)[known]  # float64: 16 digits
    targets = split.actual[known, None]
    start = [w.double() for w in random_weights(len(columns), seed)]
    ours, theirs = (
        torch.stack([*map(in_a_row, descend(inputs, targets, start, way))])
        for way in (gradients, by_autograd)
    )  # (steps, weights)
    console.say(
        f"Now {len(columns)} inputs, 128 hidden numbers, {STEPS:,} steps with "
        f"lr {LR:g}, from random numbers, {len(targets)} days in each; all "
        f"{ours.size(1):,} weights after each of the steps:"
    )
    if theirs.isfinite().all():  # else lr is too large for the targets
        allowed = 1e-9 * theirs.abs().max().item()
        console.agrees("every step: by hand = autograd", ours, theirs, allowed)


def show_network(model: nn.Module, days: Days) -> None:
    console.section("The same network from PyTorch's layers, and its loop")
    rows = layer_table(list(model), days.inputs[:16])
    console.table(["layer", "shape after it", "parameters"], rows)
    console.code(train)
    tables.say_training()


def show_test(
    training: Training, model: nn.Module, split: Split, test_set: Days
) -> None:
    best, seed = training.load_best(), training.settings["seed"]
    error = evaluate(model, test_set)[1]
    console.section("The test days, once, at the end")
    lacking = [], ["friend"], temperatures.DATE  # year, month, day
    some = [[c for c in split.inputs if c not in out] for out in lacking]
    some.append(["temp_2", "temp_1", "average"])

    def measure(method: str, seed: int) -> Tensor:
        said = [answers(split, method, c, training, seed) for c in some]
        return torch.stack(said)  # (4, N)

    said = over_seeds(measure, METHODS, range(seed, seed + 5))
    console.say(
        f"One seed, epoch {best['epoch']} (lowest val loss): {error:.2f} °F "
        f"off on {len(test_set)} days. Five of each:"
    )
    tables.show_errors(split, said)
    tables.show_dates(split, said)
    tables.show_friend(split, said)
    keep_figures(training.writer, split, said, training.step)
    training.end(test_error=error)


def run(
    context: typer.Context,
    run_folder: RunFolder = None,
    resume: Resume = False,
    data: options.Days = "generated",
    epochs: options.Epochs = 30,
    batch_size: options.BatchSize = 16,
    lr: options.LearningRate = 0.001,
    limit: options.DayLimit = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    logdir: LogDir = options.LOGS,
) -> None:
    """Learn temperatures from a table, beside plain baselines."""
    console.opening(__doc__)
    console.words(WORDS)
    with Training(context, LOOK, every=5) as training:
        table, name = temperatures.load(data, limit)
        split = Split(table, one_hot(table), parts(table), name)
        tables.show_checks(split)
        inputs = scaled(split, list(split.inputs), split.rows("training"))
        three = split.sets(inputs, training.device)
        model = build(split.inputs.shape[1], seed).to(training.device)
        optimizer = torch.optim.Adam(model.parameters(), lr)
        training.begin(*three, model=model, optimizer=optimizer)
        show_split(split)
        show_by_hand()
        show_descent(split, seed)
        show_network(model, three[0])
        train(training, model, optimizer, *three[:2])
        show_test(training, model, split, three[2])
        tables.show_use()
        console.remember(
            "scaler = StandardScaler().fit(train)  # after the split",
            "loss = F.mse_loss(model(inputs), labels)  # both (N, 1)",
            "(yesterday - actual).abs().mean()  # first beat this",
        )
        console.say(
            "Exercise: which of year, month, day does the harm? Guess, then "
            "put it alone, as a list, where show_test has DATE. If right, the "
            "date table's last number is less than half of that above it."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
