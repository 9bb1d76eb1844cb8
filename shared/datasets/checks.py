"""Is a folder or list of the user's own usable? Do two Datasets agree?"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from shared.console import agrees, command, fail, progress, warn

SHOWN = 10  # of many things that are wrong, so many are named
LAYOUT = "lay it out as <folder>/<class>/*.jpg, with two classes or more"
ALONE = "copy the class folders alone into another folder, and name that"
KINDS = "add some (PNG, JPEG, BMP, TIFF, WebP), or leave this folder out"
LINE = "mend it; a line is a file's name, a space, a label (0 to 999999999)"
SAVE = "name a text file, saved as UTF-8"
NUMBERS = 50_000_000  # of images that are compared
MOST = 400  # images
Annotations = list[tuple[Path, int]]
Parse = Callable[[str, Path], tuple[Annotations, dict[int, str]]]


def several(names: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = [f"and {len(names) - SHOWN:,} more"] * (len(names) > SHOWN)
    return "; ".join([*names[:SHOWN], *more])


def class_folders(
    root: Path,
    one_folder: Callable[[Path, int], Any],
    damaged: Callable[[list[Path]], list[str]],
) -> Path:
    """The folder, if it holds class folders of whole pictures, else exit 1.

    one_folder(path, label).paths are the pictures of a folder, damaged(paths)
    names those that are not whole.
    """

    def pictures_in(folder: Path) -> list[Path]:
        return one_folder(folder, 0).paths

    root = root.resolve()
    if not root.is_dir():
        is_file = f"{root} is a file, not a folder."
        problem = is_file if root.exists() else f"There is no folder {root}."
        fail(problem, f"check the path, and {LAYOUT}")
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir())
        if len(folders) < 2:
            found = ", ".join(folder.name for folder in folders) or "none"
            fail(f"{root} needs two class folders, and has: {found}.", LAYOUT)
        for folder in folders:
            if folder.name.startswith("."):  # such as .ipynb_checkpoints
                problem = f"{root} holds a hidden folder, {folder.name}: it"
                fail(f"{problem} would be taken for a class.", ALONE)
            if not pictures_in(folder):
                _without_pictures(folder, pictures_in)
    except OSError as error:
        problem = f"Can't read {error.filename}: {error.strerror}."
        fail(problem, "make it readable")
    paths = [path for folder in folders for path in pictures_in(folder)]
    with progress("pictures") as bar, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        looked = bar.track(paths, description="looking for damaged pictures")
        try:
            found = [str(p) for p in looked if not p.is_file() or damaged([p])]
        except KeyboardInterrupt:
            warn("Stopped while looking for damaged pictures. Nothing is lost.")
            raise
    if found:
        total = f"{len(found):,} of {len(paths):,} pictures in {root}"
        problem = f"{total} can't be read: {several(found)}."
        fail(problem, "mend them, or take them out of the folder")
    return root


def _without_pictures(
    folder: Path, pictures_in: Callable[[Path], list[Path]]
) -> NoReturn:
    deeper = [path for path in folder.rglob("*") if path.is_dir()]
    holding = [path for path in deeper if pictures_in(path)]
    inside = [path for path in folder.iterdir() if path.is_dir()]
    next_step = KINDS
    if len(inside) > 1 and set(inside) <= set(holding):
        next_step = f"its folders do: try --data {command(str(folder))}"
    elif holding:
        next_step = f"{holding[0]} does: {LAYOUT}"
    fail(f"The class folder {folder} holds no picture.", next_step)


def list_text(path: Path) -> str:
    r"""The text of a list, its lines ended by \n, without a byte-order mark.

    What is no text ends the command with exit code 1.
    """
    try:
        if path.is_dir():
            fail(f"{path} is a folder, not a list.", "name the text file in it")
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        fail(f"There is no list {path}.", "check the path")
    except OSError as error:
        fail(f"Can't read {path}: {error.strerror}.", "check the path")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        fail(f"{path} is not UTF-8 text, in line {line:,}.", SAVE)
    if "\0" in text:
        fail(f"{path} is no text, or UTF-16.", SAVE)
    if not text.strip():
        fail(f"{path} is empty.", LINE)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def annotations(path: Path, parse: Parse) -> Annotations:
    """What parse(text, folder) makes of a list; a bad line exits with 1.

    parse gives the annotations, and what is wrong with each bad line, by its
    number. All that is wrong is said at once.
    """
    text, folder = list_text(path), path.resolve().parent
    try:
        found, problems = parse(text, folder)
    except OSError:
        found, problems = [], _refused_by_the_system(text, folder, parse)
    if problems:
        lines = [f"line {n:,}: {what[:100]}" for n, what in problems.items()]
        count = f"{len(lines):,} {'line' if len(lines) == 1 else 'lines'}"
        fail(
            f"{count} of {path} can't be used: {several(lines)}.",
            f"{LINE}; the names are looked for in {folder}",
        )
    return found


def _refused_by_the_system(
    text: str, folder: Path, parse: Parse
) -> dict[int, str]:
    """The lines whose file can't even be looked for, such as too long ones."""
    problems = {}
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            parse(line, folder)
        except OSError as error:
            problems[number] = f"{line[:30]}...: {error.strerror}"
    return problems


def same(what: str, ours: Dataset, theirs: Dataset) -> None:
    """Print that two Datasets agree in length, and in examples.

    All are compared, or of large images some, evenly spaced.
    """
    assert len(ours) == len(theirs), f"{what}: one has more examples"
    fit = NUMBERS // max(1, ours[0][0].numel())
    count = min(len(ours), MOST, max(8, fit))
    places = [k * len(ours) // count for k in range(count)]
    pair = (_tensors(dataset, places) for dataset in (ours, theirs))
    agrees(f"{what}, {count:,} examples", *pair, 0)


def _tensors(dataset: Dataset, places: Iterable[int]) -> dict[str, Tensor]:
    """Images and labels of some examples."""
    chosen = {str(place): dataset[place] for place in places}
    labels = torch.tensor([label for _, label in chosen.values()])
    images = {place: image for place, (image, _) in chosen.items()}
    return images | {"labels": labels}
