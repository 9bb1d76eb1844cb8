"""A folder of class folders, decoded once.

It holds train/<class>/*.jpg, and in the same way valid/ or test/ or both.
"""

import hashlib
import warnings
from collections import Counter
from functools import partial
from itertools import chain
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from shared.console import fail, progress, warn
from shared.datasets.image_set import ImageSet
from shared.datasets.pictures import as_rgb
from shared.training.checkpoint import load_checkpoint, save_checkpoint

SIZE = 32  # pixels: images become SIZE x SIZE where nobody says otherwise
SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp"}
SUFFIXES |= {".tif", ".tiff", ".ppm", ".pgm"}
LAYOUT = "lay it out as train/<class>/*.jpg and test/<class>/*.jpg"


def image_folder(
    root: Path, cache: Path, size: int = SIZE
) -> list[ImageSet | None]:
    """The sets of root/train, of root/valid (or val) and of root/test.

    Where there is none, it is None. Images become RGB (3, size, size). What
    was decoded is kept in the folder cache, and used again for as long as no
    file under root is added, removed or changed. Damaged images are named and
    left out. A folder that can't be used ends the command with exit code 1.
    """
    root = root.resolve()
    folders = _split_folders(root)
    listings = [_listing(folder) for folder in folders if folder]
    classes = list(listings[0])
    for folder, listing in zip(filter(None, folders), listings, strict=True):
        if listing.keys() != listings[0].keys():
            odd = ", ".join(sorted(listing.keys() ^ listings[0].keys()))
            both = f"{folders[0]} and {folder}"
            fail(
                f"{both} hold different classes: only one of them has {odd}.",
                LAYOUT,
            )
    files = [
        [path for paths in listing.values() for path in paths]
        for listing in listings
    ]
    key = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    decoded = _decoded(files, cache / f"{root.name}-{key}.pt", size)
    damaged = decoded["damaged"]
    for name in damaged[:10]:
        warn(f"left out, not a picture that can be read: {name}")
    if damaged:
        warn(f"damaged pictures left out of {root}: {len(damaged):,}")
    sets = (
        _image_set(paths, images, damaged, classes, root.name)
        for paths, images in zip(files, decoded["images"], strict=True)
    )
    return [next(sets) if folder else None for folder in folders]


def _split_folders(root: Path) -> list[Path | None]:
    """The folders to train on, to choose by and to test on.

    One of the last two may be missing.
    """
    if not root.is_dir():
        fail(
            f"There is no data folder {root}.", f"check the path, and {LAYOUT}"
        )
    folders = {name: root / name for name in ("train", "valid", "val", "test")}
    train, valid, val, test = (
        path if path.is_dir() else None for path in folders.values()
    )
    if not train or not (valid or val or test):
        missing = "test (or valid, or val)" if train else "train"
        fail(f"The data folder {root} has no folder {missing}.", LAYOUT)
    return [train, valid or val, test]


def _listing(split: Path) -> dict[str, list[Path]]:
    """Each class of a split with its image files.

    They are sorted, so that every machine agrees.
    """
    folders = sorted(
        path
        for path in split.iterdir()
        if path.is_dir() and path.name[0] != "."
    )
    if len(folders) < 2:
        fail(
            f"{split} needs at least two class folders, "
            f"and has {len(folders)}.",
            LAYOUT,
        )
    listing = {}
    for folder in folders:
        listing[folder.name] = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and path.name[0] != "."
        )
        if not listing[folder.name]:
            fail(
                f"The class folder {folder} holds no picture.",
                "add some, or remove the folder",
            )
    return listing


def _decoded(files: list[list[Path]], cached: Path, size: int) -> dict:
    """Decode the files of the splits, or read what an earlier run decoded.

    That is read only where it was decoded from the same files.
    """
    fingerprint = hashlib.sha256(str(size).encode())
    for path in chain(*files):
        status = path.stat()
        line = f"{path} {status.st_size} {status.st_mtime_ns}\n"
        fingerprint.update(line.encode())
    try:
        decoded = load_checkpoint(cached)
        if decoded.get("fingerprint") == fingerprint.hexdigest():
            return decoded
    except (ValueError, OSError):
        pass  # nothing there, or nothing whole: decode
    damaged: list[str] = []
    try:
        images = [_decode_all(paths, damaged, size) for paths in files]
    except KeyboardInterrupt:
        warn(
            "Stopped while the pictures were being read. "
            "Nothing of that is kept."
        )
        raise
    decoded = {
        "fingerprint": fingerprint.hexdigest(),
        "images": images,
        "damaged": damaged,
    }
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(cached, decoded)
    except OSError as error:
        folder = cached.parent
        warn(f"can't keep the decoded images in {folder} ({error.strerror}).")
    return decoded


def _decode_all(paths: list[Path], damaged: list[str], size: int) -> Tensor:
    """Decode files to (N, 3, size, size) uint8, without the damaged ones.

    The names of those that are left out are added to damaged.
    """
    images = torch.empty(len(paths), 3, size, size, dtype=torch.uint8)
    count = 0
    bar = progress("images")
    with bar, ThreadPool() as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        decode = partial(_decode, size=size)
        results = pool.imap(decode, paths, chunksize=32)
        pairs = zip(paths, results, strict=True)
        name = f"reading {paths[0].parent.parent.name}"
        for path, image in bar.track(pairs, total=len(paths), description=name):
            if image is None:
                damaged.append(str(path))
            else:
                images[count] = torch.from_numpy(image).permute(2, 0, 1)
                count += 1
    if len(paths) - count > len(paths) / 10:
        fail(
            f"{len(paths) - count:,} of {len(paths):,} pictures "
            f"can't be read: {damaged[-1]} ...",
            "mend or remove them "
            "(it goes on by itself with up to a tenth damaged)",
        )
    return images[:count].clone()


def small_rgb(path: Path, size: int = SIZE) -> np.ndarray:
    """One picture file as RGB (size, size, 3) uint8.

    Pillow raises a dozen kinds of errors for damaged files.
    """
    with Image.open(path) as image:
        return decoded(image, size)


def decoded(image: Image.Image, size: int) -> np.ndarray:
    """An opened picture, decoded to RGB (size, size, 3) uint8."""
    # a JPEG need not be decoded at full size
    image.draft("RGB", (2 * size, 2 * size))
    bilinear = Image.Resampling.BILINEAR
    return np.array(as_rgb(image).resize((size, size), bilinear))


def _decode(path: Path, size: int) -> np.ndarray | None:
    """One picture as RGB (size, size, 3) uint8; None where it can't be."""
    try:
        return small_rgb(path, size)
    except Exception:
        return None


def _image_set(
    paths: list[Path],
    images: Tensor,
    damaged: list[str],
    classes: list[str],
    name: str,
) -> ImageSet:
    left_out = set(damaged)
    labels = [
        classes.index(path.parent.name)
        for path in paths
        if str(path) not in left_out
    ]
    counts = Counter(labels)
    for index, label in enumerate(classes):
        if not counts[index]:
            fail(
                f"No picture of class {label} can be read.",
                "mend them, or remove the class",
            )
    return ImageSet(images, torch.tensor(labels), classes, name)
