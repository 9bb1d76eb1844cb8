"""class_names.json: what the class folders of a set are called."""

import json
from dataclasses import replace
from pathlib import Path

from shared.console import fail
from shared.datasets.image_set import ImageSet
from shared.training.checkpoint import write_whole

FILE = "class_names.json"
SHAPE = 'make it {"folder": "name of the class", ...}, or remove it'


def write_class_names(folder: Path, classes: list[str]) -> None:
    """A list: the name of class 0, of class 1, and so on."""
    text = json.dumps(classes, indent=2, ensure_ascii=False)
    write_whole(folder / FILE, f"{text}\n".encode())


def rename(
    sets: tuple[ImageSet | None, ...], root: Path
) -> tuple[ImageSet | None, ...]:
    """The sets, their classes named as root/class_names.json has it.

    It is an object that gives class folders ("21") a name ("fire lily"); those
    that it leaves out keep their own. Without the file, all do. One that can't
    be used ends the command with exit code 1.
    """
    path = root / FILE
    if not path.is_file():
        return sets
    try:
        names = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        fail(f"Can't read {path}: {error.strerror}.", SHAPE)
    except UnicodeDecodeError:
        fail(f"{path} is not UTF-8 text.", SHAPE)
    except ValueError as error:  # a JSONDecodeError knows the line
        where = f", line {error.lineno}" if hasattr(error, "lineno") else ""
        fail(f"{path} is not JSON{where}.", SHAPE)
    plain = isinstance(names, dict) and all(
        isinstance(name, str) and name.strip() for name in names.values()
    )
    if not plain:
        fail(f"{path} doesn't give each class folder a name.", SHAPE)
    folders = sets[0].classes
    classes = [names.get(folder, folder).strip() for folder in folders]
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        fail(f"{path} gives two class folders the name {twice}.", SHAPE)
    return tuple(some and replace(some, classes=classes) for some in sets)
