"""What train-text says at its end: the table, the baselines."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter
from typer import Context

from shared import comparison, console
from shared.datasets.sentences import Texts, docstring_sentences
from shared.figures import confusion_figure, confusion_matrix
from shared.options import LOGS
from shared.training import Training
from shared.training.checkpoint import load_checkpoint

SIGN = r"[^\W_]+|[^\w\s]|_"


def bag_of_words(train: Texts, test: Texts) -> Tensor:
    """Labels (N,) by scikit-learn's logistic regression on word counts."""
    if len(set(train.labels)) == 1:
        return torch.full((len(test),), train.labels[0])
    whole = "".join(train.texts[:200])
    if len(re.findall(r"\s", whole)) * 20 < len(whole):  # no spaces: signs
        counts = CountVectorizer(analyzer="char")
    else:
        counts = CountVectorizer(token_pattern=SIGN)
    model = LogisticRegression(max_iter=1000)
    model.fit(counts.fit_transform(train.texts), train.labels)
    return torch.from_numpy(model.predict(counts.transform(test.texts)))


def share_right(predictions: Tensor, texts: Texts) -> float:
    return (predictions == torch.tensor(texts.labels)).double().mean().item()


def fit_batch(training: Training, context: Context, count: int) -> None:
    """A default batch that is larger than the training set becomes smaller."""
    source = context.get_parameter_source("batch_size")
    chosen = source is None or source.name != "DEFAULT"
    if count < training.settings["batch_size"] and not chosen:
        size = training.settings["batch_size"] = max(1, count // 8)
        console.warn(f"{count:,} training sentences: batches of {size}.")


def show_test(
    training: Training,
    best: dict[str, float],
    logits: Tensor,
    texts: tuple[Texts, Texts, Texts],
    split: str,
) -> None:
    """What the best epoch's weights make of the test sentences; baselines."""
    train, _, test = texts
    predictions = logits.argmax(1)
    right = share_right(predictions, test)
    console.section("The test sentences, looked at once, at the end")
    console.say(
        f"The weights are those of epoch {best['epoch']}, with the highest val "
        f"accuracy: {best['val_accuracy']:.1%}. It gets {right:.1%} of the "
        f"{len(test):,} test sentences right."
    )
    show_answers(training.writer, test, logits, training.step)
    often = torch.tensor(train.labels).mode().values.expand(len(test))
    counted = bag_of_words(train, test)
    guesses = {"the most frequent label": often, "a bag of words": counted}
    truth = torch.tensor(test.labels)
    comparison.compare(guesses, predictions, truth, "sentences")
    console.say(
        "A bag of words counts how often each word stands in a whole sentence, "
        "and forgets their order; a linear layer makes logits of the counts."
    )
    if train.name.startswith("docstrings"):
        compare_splits(share_right(counted, test), train, test, split)
    training.end(test_accuracy=right)


def numbered_names(classes: list[str]) -> list[str]:
    """For a figure: a number where a name has signs that its font may lack."""
    return [
        name if name.isascii() else str(number)
        for number, name in enumerate(classes, 1)
    ]


def show_answers(
    writer: SummaryWriter, test: Texts, logits: Tensor, step: int
) -> None:
    """The confusion matrix, here and as a figure."""
    labels, predictions = torch.tensor(test.labels), logits.argmax(1)
    confusion = confusion_matrix(labels, predictions, len(test.classes))
    names = numbered_names(test.classes)
    figure = confusion_figure(confusion, names, "test sentences")
    writer.add_figure("figures/confusion", figure, step)
    console.confusion_table(confusion, test.classes)
    if names != test.classes:
        pairs = zip(names, test.classes, strict=True)
        legend = ", ".join(f"{n} is {name}" for n, name in pairs if n != name)
        console.say(f"In the figure, whose font lacks such signs: {legend}.")


def compare_splits(words: float, train: Texts, test: Texts, split: str) -> None:
    """The other split, with the bag of words: is it harder?"""
    other = "sentence" if split == "file" else "file"
    texts = docstring_sentences()
    by = "source" if other == "file" else "text"
    rest, aside = texts.set_aside(0.1, by, 0)
    found = {split: words, other: None}
    aside = aside.limited(len(test))
    guesses = bag_of_words(rest.limited(len(train)), aside)
    found[other] = share_right(guesses, aside)
    console.say(
        f"Split by sentence the bag of words gets {found['sentence']:.1%}; by "
        "file, so that no test sentence has a neighbour in training, "
        f"{found['file']:.1%}. For the LSTM: --split {other}"
    )


def newest_text_model(logdir: Path) -> dict[str, Any]:
    """The best checkpoint of train-text's newest run that has one."""
    there = "" if logdir == LOGS else f" --logdir {logdir}"
    make = f"make one: python cli.py train-text{there}"
    found = sorted((logdir / "train-text").glob("*/best.pt"))
    if not found:
        console.fail(f"{logdir} holds no network of train-text.", make)
    try:
        kept = load_checkpoint(found[-1])
        kept["model"]["_extra_state"], kept["classes"]
    except (ValueError, OSError, KeyError, TypeError):
        console.fail(f"{found[-1]} is damaged.", make)
    console.say(f"The network: {console.short(found[-1])}, {kept['data']}")
    return kept


def show_samples(train: Texts) -> None:
    """The first training sentence of each of the first classes."""
    for label, name in list(enumerate(train.classes))[:2]:
        if label in train.labels:
            text = train.texts[train.labels.index(label)]
            console.say(f"{name}: {text[: 75 - len(name)]} …")
    if train.name.startswith("docstrings"):
        console.say(
            'Where a sentence named one of the four, it says "library".'
        )


def show_network(model: nn.Module, tokens: Tensor) -> None:
    """The layers of train-text's network, with a batch (N, T)."""
    console.section("The network, layer by layer, with one batch")
    n, t = tokens.shape
    layers = {
        "Embedding": (model.embedding, (n, t, 64)),
        "LSTM, both directions": (model.lstm, (n, t, 128)),
        "max over time": (nn.Identity(), (n, 128)),
        "Linear": (model.head, (n, model.head.out_features)),
    }
    rows = [
        (name, after, f"{sum(p.numel() for p in layer.parameters()):,}")
        for name, (layer, after) in layers.items()
    ]
    console.table(["layer", "shape after it", "parameters"], rows)
    rows = len(model.vocabulary) + 2
    console.say(
        f"Embedding: {rows:,} tokens * 64. LSTM: 2 directions (from the first "
        "token on, and from the last one back: 2 * 64 outputs h for each "
        "token) * 4 parts i, f, g, o * 64 * (64 + 64 + 2). max over time: of "
        "each output the largest of all tokens."
    )
    with torch.no_grad():
        logits = model.eval()(tokens)
        wide = model(F.pad(tokens, (0, 20)))
    console.agrees("20 more zeros, the same logits", logits, wide, 1e-5)


def changes(before: Tensor, after: Tensor, labels: Tensor) -> str:
    """What became of the answers, from the logits (N, classes)."""
    old, new = before.argmax(1), after.argmax(1)
    moved = (old != new).sum()
    right = (new == labels).double().mean()
    most = (after - before).abs().max()
    answers = f"{moved:,} of {len(old):,} answers changed, {right:.1%} right"
    return f"largest change of a logit {most:.4f}; {answers}"


def third_changes(lstm: nn.Module, three: Tensor) -> str:
    """By how much the last sentence's outputs depend on the first sentence."""
    other = three.clone()
    other[0] = 0
    changed = (lstm(other)[0][2] - lstm(three)[0][2]).abs().max()
    return f"the third sentence's outputs change by {changed:.4f}"


def show_prediction(
    tokens: list[str], row: list[int], shares: Tensor, classes: list[str]
) -> None:
    """What was read (row: its numbers, 1 is unknown), and what came of it."""
    if not tokens:
        console.fail("There is no word in that text.", "write a sentence")
    read = tokens[: len(row)]
    console.say(f"Tokens: {' | '.join(read)}")
    if len(tokens) > len(row):
        console.say(f"Only the first {len(row)} of {len(tokens):,} are read.")
    pairs = zip(read, row, strict=True)
    strange = [token for token, number in pairs if number == 1]
    console.say(f"Unknown: {', '.join(dict.fromkeys(strange)) or 'none'}")
    order = shares.argsort(descending=True)[:10].tolist()
    rows = [[classes[k], f"{shares[k]:.1%}"] for k in order]
    console.table(["label", "confidence"], rows)
    if len(strange) == len(read):
        console.say("It knows none of these tokens: don't trust the answer.")


class KeepsVocabulary(nn.Module):
    """A network whose state_dict holds its vocabulary, too."""

    def __init__(self, vocabulary: dict[str, int]) -> None:
        super().__init__()
        self.vocabulary = vocabulary

    def get_extra_state(self) -> dict[str, int]:
        return self.vocabulary

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.vocabulary = state


def ask(
    text: str,
    logdir: Path,
    build: Callable[[dict[str, int], int], nn.Module],
    encode: Callable[[str, dict[str, int]], list[int]],
    tokenize: Callable[[str], list[str]],
) -> None:
    """Ask the newest run's best network, without its data."""
    kept = newest_text_model(logdir)
    model = build(kept["model"]["_extra_state"], len(kept["classes"]))
    model.load_state_dict(kept["model"])
    row = encode(text, model.vocabulary)
    with torch.no_grad():
        shares = model.eval()(torch.tensor([row])).softmax(1)[0]
    show_prediction(tokenize(text), row, shares, kept["classes"])


def unknown(texts: list[list[str]], vocabulary: dict[str, int]) -> float:
    """The share of these texts' tokens that the vocabulary lacks."""
    tokens = [token for text in texts for token in text]
    return sum(token not in vocabulary for token in tokens) / max(
        1, len(tokens)
    )


def say_columns() -> None:
    console.say(
        "cosine lets lr fall from --lr to 0. train loss: a mean over the "
        "epoch, with dropout. score tries the held-out sentences after it, "
        "without."
    )
    console.ask("Will it beat a count of the words?")


def say_more() -> None:
    console.say(
        "Your own: lines of text, tab, label in one file, --data FILE.tsv\n"
        "Exercise: make LONGEST 10 in lessons/train_text.py. What are 10 "
        "tokens worth? (Ours, of docstrings: 72.8% right. The bag of words "
        "reads them whole.)"
    )
