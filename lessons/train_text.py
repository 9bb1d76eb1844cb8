"""A network that reads: which library does this sentence come from?

A sentence becomes a row of tokens, and each token a row of numbers. An LSTM
reads them one after the other, and keeps a memory of what it has read. You
build its cell by hand, train one on sentences of docstrings, and compare it
with a far simpler way: counting words. Which of the two is better?

    python cli.py train-text
    python cli.py train-text --predict "Draw a line on the given axes."
"""

import math
import re
import unicodedata
from collections import Counter

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.optim import Adam

from shared import console, options
from shared import text_reports as reports
from shared.datasets.sentences import Sentences, Texts, load_texts
from shared.training import LogDir, Resume, RunFolder, Training

WORDS = {
    "token": "a piece of a text: a word, a sign, a Chinese character",
    "vocabulary": "the tokens that a network knows, each with a number",
    "embedding": "a row of learned numbers for each token",
    "LSTM": "a layer that reads token by token and keeps a memory, c",
    "padding (of a text)": "zeros behind it, so that a batch is a table",
}
Pair = tuple[Tensor, Tensor]
Sets = list[Sentences]  # to train on, to choose the epoch by, to test with
PAD, UNKNOWN = 0, 1  # the first two numbers of each vocabulary
PAPER = [0.0, 2, 2, 0], [0.0, 0, 0, 1], [0.0] * 4, [0.0] * 4  # i, f, g, o
SIZE = 20_000  # of a vocabulary, at most
LONGEST = 60  # tokens of a sentence; what stands behind them goes unread
NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
TOKEN = re.compile(rf"[{NO_SPACES}]|[^\W_{NO_SPACES}]+|[^\w\s]|_")
LOOK = "SCALARS; IMAGES; HPARAMS"


# ---- By hand ----------------------------------------------------------------
def lstm_cell(x: Tensor, h: Tensor, c: Tensor, weights: list[Tensor]) -> Pair:
    """One token's numbers x (E,): from the old h and c (H,) to the new."""
    w_x, w_h, b_x, b_h = weights  # (4H, E), (4H, H), (4H,), (4H,)
    i, f, g, o = (w_x @ x + b_x + w_h @ h + b_h).chunk(4)  # (H,) each
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()  # keep some, add some
    return o.sigmoid() * c.tanh(), c  # h: what it says of its memory


def tokenize(text: str) -> list[str]:
    """Words, signs, and single characters where no spaces part the words.

    DataFrame is two words, data and frame.
    """
    text = re.sub("(?<=[a-z])(?=[A-Z])", " ", text)
    return TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


def build_vocabulary(texts: list[list[str]], size: int) -> dict[str, int]:
    """The most frequent tokens that occur twice or more, numbered from 2."""
    counts = Counter(token for tokens in texts for token in tokens)
    often = sorted(counts, key=lambda token: (-counts[token], token))
    known = [token for token in often[: size - 2] if counts[token] > 1]
    return {token: number for number, token in enumerate(known, start=2)}


def pad(rows: list[list[int]]) -> Tensor:
    """Rows of unequal length as one table (N, T), with zeros behind."""
    table = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = torch.tensor(row)
    return table


def max_over_time(outputs: Tensor, tokens: Tensor) -> Tensor:
    """The largest of each column (N, T, H) to (N, H), padding left out."""
    padding = (tokens == PAD)[:, :, None]  # (N, T, 1)
    return outputs.masked_fill(padding, -torch.inf).amax(1)


# ---- The network ------------------------------------------------------------
def encode(text: str, vocabulary: dict[str, int]) -> list[int]:
    tokens = tokenize(text)[:LONGEST]
    return [vocabulary.get(token, UNKNOWN) for token in tokens] or [UNKNOWN]


def numbered(
    texts: Texts, vocabulary: dict[str, int], device: torch.device
) -> Sentences:
    """As examples; a batch is (tokens (N, T), labels (N,))."""
    rows = [encode(text, vocabulary) for text in texts.texts]
    return Sentences(texts, rows, pad, device)


class Reader(reports.KeepsVocabulary):
    """Tokens (N, T) to logits (N, classes)."""

    def __init__(self, vocabulary: dict[str, int], classes: int) -> None:
        super().__init__(vocabulary)
        self.embedding = nn.Embedding(len(vocabulary) + 2, 64, padding_idx=PAD)
        self.embedding.weight.data *= 0.1  # small: rare words begin quiet
        self.dropout = nn.Dropout(0.3)
        self.lstm = nn.LSTM(64, 64, batch_first=True, bidirectional=True)
        self.head = nn.Linear(128, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        lengths = (tokens != PAD).sum(1).cpu()
        vectors = self.dropout(self.embedding(tokens))  # (N, T, 64)
        packed = pack_padded_sequence(
            vectors, lengths, batch_first=True, enforce_sorted=False
        )
        outputs, _ = self.lstm(packed)  # no step is taken on padding
        outputs, _ = pad_packed_sequence(
            outputs, batch_first=True, total_length=tokens.size(1)
        )
        return self.head(self.dropout(max_over_time(outputs, tokens)))


def cosine(step: int, lr: float, total: int) -> float:
    return lr * (1 + math.cos(math.pi * step / total)) / 2  # from lr to 0


def train(
    training: Training, model: nn.Module, optimizer: Adam, sets: Sets
) -> None:
    train_set, val_set, _ = sets
    replica, given = training.parallel(model), training.settings
    steps = given["epochs"] * (len(train_set) // given["batch_size"])
    for epoch in training.epochs():
        model.train()  # dropout on: some of its numbers become 0
        for tokens, labels in training.batches(train_set, epoch):
            lr = cosine(training.step, given["lr"], steps)
            optimizer.param_groups[0]["lr"] = lr
            loss = F.cross_entropy(replica(tokens), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            training.track(loss)
        training.end_epoch(**score(model, val_set))


def score(model: nn.Module, val_set: Sentences) -> dict[str, float]:
    """How good the network is at what it wasn't trained on."""
    logits = evaluate(model, val_set)
    loss = F.cross_entropy(logits, val_set.labels).item()
    accuracy = val_set.accuracy(logits.argmax(1))
    return {"val_loss": loss, "val_accuracy": accuracy}


@torch.no_grad()
def evaluate(model: nn.Module, sentences: Sentences) -> Tensor:
    """The logits (N, classes) of all sentences, dropout off."""
    model.eval()
    return torch.cat([model(tokens) for tokens, _ in sentences.batches(250)])


# ---- Mistakes ---------------------------------------------------------------
def wrong_zeros(model: nn.Module, tokens: Tensor, labels: Tensor) -> str:
    """The LSTM read the zeros as words, and the maximum took in what it made
    of them. How many zeros stand behind a sentence must not change a logit."""
    wider = F.pad(tokens, (0, 20))  # (N, T + 20): more zeros behind
    outputs, _ = model.lstm(model.embedding(wider))
    logits = model.head(outputs.amax(1))
    return reports.changes(model(tokens), logits, labels)


def right_zeros(model: nn.Module, tokens: Tensor, labels: Tensor) -> str:
    """pack, so that no step is taken on padding, and leave it out of the
    maximum. forward of this lesson's network, Reader, does both."""
    wider = F.pad(tokens, (0, 20))
    return reports.changes(model(tokens), model(wider), labels)


def wrong_neighbour() -> str:
    """Without batch_first=True an LSTM takes (T, N, E). So it read down the
    columns: the first tokens of the three as one sentence, and so on."""
    lstm, three = nn.LSTM(4, 4), torch.ones(3, 5, 4)  # (N, T, E)
    return reports.third_changes(lstm, three)  # with another first sentence


def right_neighbour() -> str:
    """say how your batches lie: batch_first=True for (N, T, E)."""
    lstm, three = nn.LSTM(4, 4, batch_first=True), torch.ones(3, 5, 4)
    return reports.third_changes(lstm, three)


# ---- The lesson -------------------------------------------------------------
def read(x: Tensor, lstm: nn.LSTM) -> Pair:
    """x (T, E), token by token: the outputs h and the memories c (T, H)."""
    h = c = torch.zeros(lstm.hidden_size)
    steps = []
    for token in x:
        h, c = lstm_cell(token, h, c, lstm.all_weights[0])
        steps.append(torch.stack([h, c]))
    return tuple(torch.stack(steps, 1))


@torch.no_grad()
def show_cell() -> None:
    console.section("On paper: three steps of an LSTM cell")
    console.code(lstm_cell)
    lstm, x = nn.LSTM(1, 1), torch.tensor([[1.0], [0], [-1]])
    for weight, numbers in zip(lstm.all_weights[0], PAPER, strict=True):
        weight.copy_(torch.tensor(numbers).view_as(weight))
    h, c = read(x, lstm)
    rows = torch.cat([x, c, h], 1).tolist()
    cells = [[f"{number:.4f}" for number in row] for row in rows]
    console.ask("Token -1 has f = -2, g = -2. Will c be above 0 or below?")
    console.table(["token x", "memory c", "output h"], cells)
    console.say(
        "x, h and c are one number each here, h and c 0 at first. w_x is "
        "(0, 2, 2, 0), w_h (0, 0, 0, 1), the biases 0: i = 0, f = g = 2 * x, "
        "o = the old h. Sigmoid makes of i, f and o shares: how much of tanh g "
        "comes in, of c stays, of tanh c is told. Token 1: c = 0.5 * tanh 2 = "
        "0.5 * 0.9640, h = 0.5 * tanh 0.4820. Token 0: f = 0 keeps half of c, "
        "g = 0 adds nothing; h = 0.5557 * tanh 0.2410. Token -1: f = -2 keeps "
        "0.1192 of c, g = -2 adds 0.5 * -0.9640: below 0."
    )
    console.agrees("lstm_cell = nn.LSTM, on paper", h, lstm(x)[0], 1e-6)
    lstm, x = nn.LSTM(64, 64), torch.randn(30, 64)
    console.agrees("30 tokens of 64", read(x, lstm)[0], lstm(x)[0], 1e-6)


def show_texts(train: Texts, val: Texts, vocabulary: dict[str, int]) -> None:
    console.section("From a sentence to a row of numbers")
    reports.show_samples(train)
    two = [tokenize("The cat sat."), tokenize("The dog sat, the cat ran!")]
    paper = build_vocabulary(two, 50)
    rows = [[paper.get(token, UNKNOWN) for token in tokens] for tokens in two]
    console.say(f"tokenize: {two[0]}, {two[1]}. The vocabulary: {paper}.")
    console.matrices({"the two, as a batch": pad(rows)})
    tokens = [tokenize(text)[:LONGEST] for text in val.texts]
    both = build_vocabulary([*map(tokenize, train.texts), *tokens], SIZE)
    few, more = (reports.unknown(tokens, v) for v in (both, vocabulary))
    promise = ": tomorrow's sentences don't keep such a promise"
    promise = promise if few < more else ", as well"
    console.say(
        "0 is padding, 1 is any unknown token, here those that occur once. The "
        f"lesson's vocabulary: {len(vocabulary):,} tokens that occur twice or "
        f"more in training. Of the held-out tokens {more:.1%} are unknown. "
        f"Built on these sentences, too, it would leave {few:.1%}{promise}."
    )


@torch.no_grad()
def show_end(model: nn.Module, val_set: Sentences) -> None:
    tokens, labels = val_set[range(len(val_set))]  # (N, T), (N,)
    given = {"model": model.eval(), "tokens": tokens, "labels": labels}
    console.mistakes(__name__, **given)
    console.remember(
        "nn.Embedding(len(vocabulary) + 2, 64, padding_idx=0)",
        "nn.LSTM(64, 64, batch_first=True, bidirectional=True)",
        "pack_padded_sequence(\n    x, (tokens != 0).sum(1).cpu(), "
        "batch_first=True, enforce_sorted=False)",
        "Count words first, with scikit-learn's CountVectorizer",
    )


def run(
    context: typer.Context,
    run_folder: RunFolder = None,
    resume: Resume = False,
    data: options.Sentences = "docstrings",
    split: options.Split = "sentence",
    predict: options.Predict = None,
    epochs: options.Epochs = 5,
    batch_size: options.BatchSize = 128,
    lr: options.LearningRate = 0.004,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    logdir: LogDir = options.LOGS,
) -> None:
    """Train an LSTM that says where a sentence comes from."""
    if predict is not None:
        return reports.ask(predict, logdir, Reader, encode, tokenize)
    console.opening(__doc__)
    console.words(WORDS)
    with Training(context, LOOK) as training:
        texts = load_texts(data, split, limit, seed)
        tokens = [tokenize(text) for text in texts[0].texts]
        vocabulary = build_vocabulary(tokens, SIZE)
        sets = [numbered(t, vocabulary, training.device) for t in texts]
        train_set, val_set, test_set = sets
        reports.fit_batch(training, context, len(train_set))
        torch.manual_seed(seed)
        model = Reader(vocabulary, len(train_set.classes)).to(training.device)
        optimizer = Adam(model.parameters(), lr)
        training.begin(*sets, model=model, optimizer=optimizer)
        show_cell()
        show_texts(texts[0], texts[1], vocabulary)
        reports.show_network(model, train_set[range(min(4, len(train_set)))][0])
        console.section("The loop")
        console.code(train)
        reports.say_columns()
        train(training, model, optimizer, sets)
        best = training.load_best()
        logits = evaluate(model, test_set).cpu()
        reports.show_test(training, best, logits, texts, split)
        show_end(model, val_set)
        reports.say_more()
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
