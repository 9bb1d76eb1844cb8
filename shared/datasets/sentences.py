"""Sentences with a label each: from docstrings, or from a file of your own.

The embedded set asks from which library a sentence comes. The libraries are
read as text and parsed, never imported; the same versions of them give the same
sentences on every machine.
"""

import ast
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from typer import BadParameter

from shared.console import fail, say, warn
from shared.datasets.examples import Batch, Examples

LIBRARIES = {  # what --data docstrings reads; of torch a part, for time's sake
    "torch": (
        *("amp", "autograd", "cuda", "distributions", "export", "func", "fx"),
        *("jit", "nn", "optim", "package", "profiler", "sparse", "utils"),
    ),
    "pandas": (".",),
    "sklearn": (".",),
    "matplotlib": (".",),
}
NAMES = {"sklearn": "scikit-learn"}  # as people write them
MASK = "library"  # stands where a sentence names one
WORDS_AT_LEAST = 15
TITLES = {"label", "labels", "class", "category", "target", "sentiment", "y"}
RUN = 8  # words: near-duplicates have half of their runs of so many in common
_BLOCKS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_NAMED = re.compile(
    r"\w*(?:torch|pandas|sklearn|scikit.?learn|matplotlib|pyplot)\w*"
    r"|\b(?:aten|caffe2|mpl|pd|plt)\b",
    re.IGNORECASE,
)
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`*\"(])")  # between two sentences
_NO_PROSE = re.compile(r">>>|^\s*(\.\. |In \[)|::$", re.MULTILINE)
_RULE = re.compile(r"\s*[-=~^+|#]{3}")  # under a title, or of a table


@dataclass
class Texts:
    """Texts and their labels, numbers of classes; source: where each is from.

    No two texts are the same, nor, of the docstrings, nearly the same.
    """

    texts: list[str]
    labels: list[int]
    classes: list[str]
    name: str
    source: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def subset(self, chosen: list[int]) -> "Texts":
        texts, labels, source = (
            [column[i] for i in chosen]
            for column in (self.texts, self.labels, self.source)
        )
        return replace(self, texts=texts, labels=labels, source=source)

    def limited(self, count: int | None) -> "Texts":
        """Only count of them, always the same ones; one of each class first."""
        if count is None or count >= len(self):
            return self
        drawn = sorted(range(len(self)), key=lambda i: _rank(self.texts[i], 1))
        firsts = {self.labels[i]: i for i in reversed(drawn)}
        late = [i for i in drawn if firsts[self.labels[i]] != i]
        drawn = sorted(firsts.values()) + late
        return self.subset(sorted(drawn[:count]))

    def set_aside(self, share: float, by: str, key: int) -> tuple:
        """Texts left, and about this share of each class, drawn by key.

        by is text, or source: then all texts of one file stay together. Each
        class keeps an example at least; one with two gives one away. Which
        texts are drawn does not depend on their order.
        """
        groups: dict[int, dict[str, list[int]]] = {}
        whole = self.texts if by == "text" else self.source
        for i, (name, label) in enumerate(zip(whole, self.labels, strict=True)):
            groups.setdefault(label, {}).setdefault(name, []).append(i)
        aside: list[int] = []
        for members in groups.values():
            total = sum(map(len, members.values()))
            wanted, taken = max(1, round(share * total)), 0
            for name in sorted(members, key=lambda n: _rank(n, key)):
                size = len(members[name])
                fits = taken + size <= max(1, 1.1 * wanted)
                if taken < wanted and fits and taken + size < total:
                    aside += members[name]
                    taken += size
        gone = set(aside)
        rest = [i for i in range(len(self)) if i not in gone]
        return self.subset(rest), self.subset(sorted(aside))


class Sentences(Examples):
    """Texts as rows of numbers; pad makes a table of those of a batch.

    A batch is (tokens (N, T) int64, labels (N,)).
    """

    unit = "sentences"

    def __init__(
        self,
        texts: Texts,
        rows: list[list[int]],
        pad: Callable[[list[list[int]]], Tensor],
        device: torch.device,
    ) -> None:
        self.rows, self.pad, self.device = rows, pad, device
        self.labels = torch.tensor(texts.labels).to(device)
        self.classes, self.name = texts.classes, texts.name

    def __getitem__(self, index: list[int]) -> Batch:
        some = [self.rows[i] for i in index]
        return self.pad(some).to(self.device), self.labels[index]


def _rank(text: str, key: int) -> bytes:
    """A number by chance, but the same on every machine; hash() is not."""
    salt = key.to_bytes(8, "little")
    return hashlib.blake2b(text.encode(), digest_size=8, salt=salt).digest()


# ---- Docstrings --------------------------------------------------------------
def docstring_sentences() -> Texts:
    """Sentences of at least 15 words from four libraries, in a fixed order."""
    found: list[tuple[str, int, str]] = []
    seen_whole: set[str] = set()
    seen_runs: set[tuple[str, ...]] = set()
    for label, (library, parts) in enumerate(LIBRARIES.items()):
        package = _package(library)
        for path in _python_files(package, parts):
            name = f"{library}/{path.relative_to(package).as_posix()}"
            for sentence in _sentences(path):
                words = re.findall(r"[a-z]+", sentence.lower())
                key = " ".join(words)
                if key in seen_whole:
                    continue
                seen_whole.add(key)
                runs = set(zip(*(words[i:] for i in range(RUN)), strict=False))
                if 2 * len(runs & seen_runs) >= max(1, len(runs)):
                    continue
                seen_runs |= runs
                found.append((sentence, label, name))
    texts, labels, source = map(list, zip(*found, strict=True))
    classes = [NAMES.get(library, library) for library in LIBRARIES]
    versions = (version(name) for name in classes)
    pairs = zip(classes, versions, strict=True)
    about = ", ".join(f"{name} {number}" for name, number in pairs)
    return Texts(texts, labels, classes, f"docstrings of {about}", source)


def _package(library: str) -> Path:
    """Its folder, found without importing it."""
    spec = find_spec(library)
    if not spec or not spec.submodule_search_locations:
        problem = f"{library} is not installed: its docstrings are the data."
        fail(problem, "python -m pip install -r requirements.txt")
    return Path(spec.submodule_search_locations[0])


def _python_files(package: Path, parts: tuple[str, ...]) -> list[Path]:
    found = [path for part in parts for path in (package / part).rglob("*.py")]
    return sorted(
        (
            path
            for path in found
            if not any("test" in p for p in path.relative_to(package).parts)
        ),
        key=lambda path: path.relative_to(package).as_posix(),
    )


def _sentences(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # a template, or of another Python
        return
    for docstring in _docstrings(tree):
        for block in _blocks(docstring):
            if not _NO_PROSE.search(block):
                yield from _long_ones(block)


def _docstrings(node: ast.AST) -> Iterator[str]:
    """Of a module and of what is defined in it, in the order it stands there.

    Only definitions are entered: ast.walk would visit every expression.
    """
    text = ast.get_docstring(node)
    if text:
        yield text
    for child in node.body:
        if isinstance(child, _BLOCKS):
            yield from _docstrings(child)


def _blocks(docstring: str) -> Iterator[str]:
    """Lines in a row that are indented alike; a rule drops what it underlines.

    So a parameter's name is not read as a part of what is said of it.
    """
    block: list[str] = []
    indent = 0
    for line in [*docstring.splitlines(), ""]:
        deep = len(line) - len(line.lstrip())
        if _RULE.match(line):
            block = []
        elif line.strip() and (not block or deep == indent):
            block.append(line)
            indent = deep
        else:
            if block:
                yield "\n".join(block)
            block, indent = [line] if line.strip() else [], deep


def _long_ones(block: str) -> Iterator[str]:
    for sentence in _END.split(" ".join(block.split())):
        plain = re.sub(r":\w+:`~?|[`*]", "", sentence)  # no markup
        plain = " ".join(_NAMED.sub(MASK, plain).strip(' "').split())
        words = re.findall(r"[A-Za-z]{2,}", plain)
        if (
            len(words) >= WORDS_AT_LEAST
            and plain[:1].isupper()
            and plain.endswith((".", "!", "?"))
        ):
            yield plain


# ---- A file of your own ------------------------------------------------------
def read_tsv(path: Path) -> Texts:
    """Lines of text, tab, label in UTF-8; what can't be used ends the command.

    Blank lines are left out, and so is a text that stood there before.
    """
    form = "each line: a text, one tab, its label; saved as UTF-8"
    rows: dict[str, tuple[str, str]] = {}
    again = differing = 0
    for number, line in enumerate(_lines(path, form), 1):
        if not line.strip():
            continue
        text, *labels = (cell.strip() for cell in line.split("\t"))
        where = f"{path}, line {number}"
        if len(labels) != 1:
            tabs = f"{len(labels)} tabs" if labels else "no tab"
            fail(f"{where} has {tabs}: {_start(line)}.", form)
        if not text or not labels[0]:
            missing = "label" if text else "text"
            fail(f"{where} has no {missing}: {_start(line)}.", form)
        key = " ".join(text.lower().split())
        if key in rows:
            again += 1
            differing += rows[key][1] != labels[0]
        else:
            rows[key] = text, labels[0]
    if again:
        other = f", {differing} with another label" if differing else ""
        warn(f"{again:,} lines repeat an earlier text{other}: left out.")
    _drop_header(rows, path)
    texts, names = map(list, zip(*rows.values(), strict=True))
    classes = sorted(set(names))
    if len(classes) == 1:
        problem = f"{path} has one label only, {_start(classes[0])}"
        fail(f"{problem}: there is nothing to tell apart.", form)
    single = [name for name in classes if names.count(name) < 3]
    if single:
        few = ", ".join(map(_start, single[:3]))
        what = f"fewer than 3 different texts have the label {few}"
        more = f" (and {len(single) - 3} more labels)" if single[3:] else ""
        warn(f"{what}{more}: such a label can't be in all three sets.")
        if names.count(names[0]) == 1:
            warn(f"Is the first line a header, {_start(names[0])}? Delete it.")
    labels = [classes.index(name) for name in names]
    return Texts(texts, labels, classes, path.name, texts)


def _drop_header(rows: dict[str, tuple[str, str]], path: Path) -> None:
    """The first row, where its label is a title that no other row has."""
    first, (_, title) = next(iter(rows.items()))
    labels = [label for _, label in rows.values()]
    if title.lower() in TITLES and len(rows) > 1 and labels.count(title) == 1:
        del rows[first]
        warn(f"The first line of {path.name} is a header: left out.")


def _lines(path: Path, form: str) -> list[str]:
    another = "name another file with --data, or leave --data out"
    if path.is_dir():
        fail(f"{path} is a folder, not a file of lines.", another)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        fail(f"There is no file {path}.", another)
    except OSError as error:
        fail(f"Can't read {path}: {error.strerror}.", another)
    try:
        text = content.decode("utf-8-sig")  # without a byte-order mark
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problem = f"{path}, line {line}, is not UTF-8"
        byte = f"byte {error.start + 1} of the file is {content[error.start]}"
        fail(f"{problem}: {byte}.", "save it as UTF-8 in your editor")
    if not text.strip():
        fail(f"{path} is empty.", form)
    return re.split(r"\r\n|\n|\r", text)


def _start(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def load_texts(
    source: str, split: str, limit: int | None, seed: int
) -> tuple[Texts, Texts, Texts]:
    """Texts to train on, to choose the best epoch by, and to test with.

    source is docstrings or a path. A tenth of each class is the test set, the
    same for every seed; a tenth of the rest is held out, drawn by seed. split
    is sentence or file: then no file's sentences are in two of the sets.
    """
    own = source != "docstrings"
    if own and split == "file":
        problem = "it goes with the docstrings: your lines are of one file."
        raise BadParameter(problem, param_hint="--split")
    texts = read_tsv(Path(source)) if own else docstring_sentences()
    by = "source" if split == "file" else "text"
    rest, test = texts.set_aside(0.1, by, 0)
    train, val = rest.set_aside(0.1, by, seed + 2)
    train, val, test = (some.limited(limit) for some in (train, val, test))
    gone = sorted(set(texts.labels) - set(train.labels))
    if gone:
        few = ", ".join(_start(texts.classes[label]) for label in gone[:3])
        more = f" and {len(gone) - 3} more" if gone[3:] else ""
        problem = f"--limit {limit} leaves no training sentence of"
        warn(f"{problem} {few}{more}: such a label is never learned.")
    if not len(val) or not len(test):
        problem = f"{source} has too few lines to hold some out"
        fail(f"{problem}: no label has 3 texts.", "add more lines")
    counts = f"{len(train):,} training, {len(val):,} held-out and "
    say(f"{counts}{len(test):,} test sentences of {texts.name}")
    return train, val, test
