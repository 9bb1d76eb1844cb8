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
Sets = list[Sentences]  # to train on, to choose the epoch by, to test with
PAD, UNKNOWN = 0, 1  # the first two numbers of each vocabulary
PAPER = [0.0, 2, 2, 0], [0.0, 0, 0, 1], [0.0] * 4, [0.0] * 4  # i, f, g, o
LONGEST = 60  # tokens of a sentence; what stands behind them goes unread
NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
TOKEN = re.compile(rf"[{NO_SPACES}]|[^\W_{NO_SPACES}]+|[^\w\s]|_")
LOOK = "SCALARS; IMAGES; HPARAMS"


# ---- By hand ----------------------------------------------------------------
def lstm_cell(
    x: Tensor, h: Tensor, c: Tensor, weights: list[Tensor]
) -> tuple[Tensor, Tensor]:
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
        packed = pack_padded_sequence(vectors, lengths, True, False)
        outputs, _ = self.lstm(packed)  # no step is taken on padding
        width = tokens.size(1)
        outputs, _ = pad_packed_sequence(outputs, True, total_length=width)
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
        model.train()  # dropout on
        for tokens, labels in training.batches(train_set, epoch):
            lr = cosine(training.step, given["lr"], steps)
            optimizer.param_groups[0]["lr"] = lr
            loss = F.cross_entropy(replica(tokens), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            training.track(loss)
        logits = evaluate(model, val_set)
        val_loss = F.cross_entropy(logits, val_set.labels).item()
        accuracy = val_set.accuracy(logits.argmax(1))
        training.end_epoch(val_loss=val_loss, val_accuracy=accuracy)


@torch.no_grad()
def evaluate(model: nn.Module, sentences: Sentences) -> Tensor:
    """The logits (N, classes) of all sentences, dropout off."""
    model.eval()
    return torch.cat([model(tokens) for tokens, _ in sentences.batches(250)])


# ---- Mistakes ---------------------------------------------------------------
def wrong_zeros(model: nn.Module, val_set: Sentences) -> str:
    """The LSTM read the zeros as words. An answer must not depend on how long
    its neighbours in the batch are. No error tells of it."""
    tokens, labels = val_set[range(len(val_set))]
    longer = F.pad(tokens, (0, 200))  # as beside one long neighbour
    outputs, _ = model.lstm(model.embedding(longer))
    logits = model.head(outputs.amax(1))
    return reports.changes(model(tokens), logits, labels)


def right_zeros(model: nn.Module, val_set: Sentences) -> str:
    """pack, so that no step is taken on padding, and leave it out of the
    maximum. model does both."""
    tokens, labels = val_set[range(len(val_set))]
    return reports.changes(
        model(tokens), model(F.pad(tokens, (0, 200))), labels
    )


def wrong_neighbour() -> str:
    """Sequence and batch were exchanged. Without batch_first=True an LSTM takes
    (T, N, E): it read the three sentences as one, from top to bottom."""
    lstm, three = nn.LSTM(4, 4), torch.ones(3, 5, 4)  # (N, T, E)
    return reports.third_changes(lstm, three)  # with another first sentence


def right_neighbour() -> str:
    """say how your batches lie: batch_first=True for (N, T, E)."""
    lstm, three = nn.LSTM(4, 4, batch_first=True), torch.ones(3, 5, 4)
    return reports.third_changes(lstm, three)


def wrong_known(model: nn.Module, train: Texts, val: Texts) -> str:
    """The vocabulary was built on the sentences to be tested, too. So fewer
    tokens seem unknown than will be at home. Training met none of the new
    ones: here their rows are the random numbers of the start."""
    return judge(model, train.texts + val.texts, val)


def right_known(model: nn.Module, train: Texts, val: Texts) -> str:
    """build it on the training sentences alone. It is the share of unknown
    tokens that misled; the accuracies may differ by little, or by nothing."""
    return judge(model, train.texts, val)


# ---- The lesson -------------------------------------------------------------
def judge(model: nn.Module, texts: list[str], val: Texts) -> str:
    """The model with these texts' vocabulary, on the held-out sentences."""
    vocabulary = build_vocabulary([tokenize(t) for t in texts], 20_000)
    model = reports.with_rows_for(model, vocabulary)
    sentences = numbered(val, vocabulary, model.embedding.weight.device)
    return reports.unknown(sentences, evaluate(model, sentences))


def read(x: Tensor, lstm: nn.LSTM) -> tuple[Tensor, Tensor]:
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
        "H and E are 1, the biases 0, w_x is (0, 2, 2, 0), w_h (0, 0, 0, 1), "
        "h and c begin at 0. Sigmoid makes of i, f and o a share from 0 to 1. "
        "Token 1: i = 0 lets half in, g = 2, so c is 0.5 * tanh 2 = 0.5 * "
        "0.9640 = 0.4820; o = 0: h is 0.5 * tanh 0.4820 = 0.2239. Token 0: "
        "f = 0 keeps half of c, g = 0 adds nothing, 0.2410 is left. Token -1: "
        "f = -2 keeps 0.1192 of it, g = -2 adds -0.4820: below 0."
    )
    console.agrees("lstm_cell = nn.LSTM, on paper", h, lstm(x)[0], 1e-6)
    lstm, x = nn.LSTM(64, 64), torch.randn(30, 64)
    console.agrees("30 tokens of 64", read(x, lstm)[0], lstm(x)[0], 1e-6)


def show_texts(train: Texts, model: nn.Module) -> None:
    console.section("From a sentence to a row of numbers")
    reports.show_samples(train)
    two = [tokenize("The cat sat."), tokenize("The dog sat, the cat ran!")]
    paper = build_vocabulary(two, 50)
    rows = [[paper.get(token, UNKNOWN) for token in tokens] for tokens in two]
    console.say(f"tokenize: {two[0]}, {two[1]}. The vocabulary: {paper}.")
    console.matrices({"the two, as a batch": pad(rows)})
    console.say(
        "0 is padding, 1 is any unknown token, here those that occur once. Of "
        f"the training sentences {len(model.vocabulary):,} tokens occur twice "
        "or more: the vocabulary."
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
        vocabulary = build_vocabulary(tokens, 20_000)
        sets = [numbered(t, vocabulary, training.device) for t in texts]
        train_set, val_set, test_set = sets
        reports.fit_batch(training, context, len(train_set))
        torch.manual_seed(seed)
        model = Reader(vocabulary, len(train_set.classes)).to(training.device)
        optimizer = Adam(model.parameters(), lr)
        training.begin(*sets, model=model, optimizer=optimizer)
        show_cell()
        show_texts(texts[0], model)
        reports.show_network(model, train_set[range(min(4, len(train_set)))][0])
        console.section("The loop")
        console.code(train)
        reports.say_columns()
        train(training, model, optimizer, sets)
        best = training.load_best()
        logits = evaluate(model, test_set).cpu()
        reports.show_test(training, best, logits, texts, split)
        given = {"train": texts[0], "val": texts[1], "val_set": val_set}
        with torch.no_grad():
            console.mistakes(__name__, model=model.eval(), **given)
        console.remember(
            "nn.LSTM(64, 64, batch_first=True, bidirectional=True)",
            "pack_padded_sequence(vectors, lengths.cpu(), True, False)",
            "Count words first: LogisticRegression takes seconds.",
        )
        reports.say_more()
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
