"""A folder of class folders, decoded once: train/<class>/*.jpg and test/<class>/*.jpg."""

import hashlib
import warnings
from collections import Counter
from itertools import chain
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from shared.checkpoint import load_checkpoint, save_checkpoint
from shared.console import fail, progress, warn
from shared.datasets import ImageSet

SIZE = 32  # pixels: every image is resized to SIZE x SIZE
SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
LAYOUT = "lay it out as train/<class>/*.jpg and test/<class>/*.jpg"


def image_folder(root: Path, cache: Path) -> tuple[ImageSet, ImageSet]:
    """The training and the test set of root/train and root/test (or valid, or val).

    Images of any size become RGB (3, 32, 32). What was decoded is kept in the folder cache, and
    used again for as long as no file under root is added, removed or changed. Damaged images are
    named and left out. A folder that can't be used ends the command with exit code 1.
    """
    root = root.resolve()
    train, test = _split_folders(root)
    listings = [_listing(train), _listing(test)]
    if listings[0].keys() != listings[1].keys():
        odd = ", ".join(sorted(listings[0].keys() ^ listings[1].keys()))
        fail(f"{train} and {test} hold different classes: only one of them has {odd}.", LAYOUT)
    classes = list(listings[0])
    files = [[path for paths in listing.values() for path in paths] for listing in listings]
    key = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    decoded = _decoded(files, cache / f"{root.name}-{key}.pt")
    for name in decoded["damaged"][:10]:
        warn(f"left out, not a picture that can be read: {name}")
    if decoded["damaged"]:
        warn(f"damaged pictures left out of {root}: {len(decoded['damaged']):,}")
    return tuple(
        _image_set(paths, images, decoded["damaged"], classes, root.name)
        for paths, images in zip(files, decoded["images"], strict=True)
    )


def _split_folders(root: Path) -> tuple[Path, Path]:
    if not root.is_dir():
        fail(f"There is no data folder {root}.", f"check the path, and {LAYOUT}")
    train = root / "train"
    test = next((root / name for name in ("test", "valid", "val") if (root / name).is_dir()), None)
    if not train.is_dir() or test is None:
        missing = "train" if not train.is_dir() else "test (or valid, or val)"
        fail(f"The data folder {root} has no folder {missing}.", LAYOUT)
    return train, test


def _listing(split: Path) -> dict[str, list[Path]]:
    """Each class of a split with its image files, sorted, so that every machine agrees."""
    folders = sorted(path for path in split.iterdir() if path.is_dir() and path.name[0] != ".")
    if len(folders) < 2:
        fail(f"{split} needs at least two class folders, and has {len(folders)}.", LAYOUT)
    listing = {}
    for folder in folders:
        listing[folder.name] = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and path.name[0] != "."
        )
        if not listing[folder.name]:
            fail(f"The class folder {folder} holds no picture.", "add some, or remove the folder")
    return listing


def _decoded(files: list[list[Path]], cached: Path) -> dict:
    """Decode the files of both splits, or read what an earlier run decoded from the same files."""
    fingerprint = hashlib.sha256(str(SIZE).encode())
    for path in chain(*files):
        status = path.stat()
        fingerprint.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    try:
        decoded = load_checkpoint(cached)
        if decoded.get("fingerprint") == fingerprint.hexdigest():
            return decoded
    except (ValueError, OSError):
        pass  # nothing there, or nothing whole: decode
    damaged: list[str] = []
    try:
        images = [_decode_all(paths, damaged) for paths in files]
    except KeyboardInterrupt:
        warn("Stopped while the pictures were being read. Nothing of that is kept.")
        raise
    decoded = {"fingerprint": fingerprint.hexdigest(), "images": images, "damaged": damaged}
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(cached, decoded)
    except OSError as error:
        warn(f"can't keep the decoded images in {cached.parent} ({error.strerror}).")
    return decoded


def _decode_all(paths: list[Path], damaged: list[str]) -> Tensor:
    """Decode files to (N, 3, 32, 32) uint8, leaving out those whose names are added to damaged."""
    images = torch.empty(len(paths), 3, SIZE, SIZE, dtype=torch.uint8)
    count = 0
    bar = progress("images")
    with bar, ThreadPool() as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        results = pool.imap(_decode, paths, chunksize=32)
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
            f"{len(paths) - count:,} of {len(paths):,} pictures can't be read: {damaged[-1]} ...",
            "mend or remove them (it goes on by itself with up to a tenth damaged)",
        )
    return images[:count].clone()


def _decode(path: Path) -> np.ndarray | None:
    """One picture as RGB (32, 32, 3) uint8, or None where it can't be read."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * SIZE, 2 * SIZE))  # a JPEG need not be decoded at full size
            return np.array(as_rgb(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    except Exception:  # Pillow raises a dozen kinds of exception for damaged files
        return None


def as_rgb(image: Image.Image) -> Image.Image:
    """Any picture as upright 8-bit RGB: CMYK, palette, 16-bit grey; of an animation the first."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits: convert() would cut all above 255 off to white
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGB")


def _image_set(
    paths: list[Path], images: Tensor, damaged: list[str], classes: list[str], name: str
) -> ImageSet:
    left_out = set(damaged)
    labels = [classes.index(path.parent.name) for path in paths if str(path) not in left_out]
    counts = Counter(labels)
    for index, label in enumerate(classes):
        if not counts[index]:
            fail(f"No picture of class {label} can be read.", "mend them, or remove the class")
    return ImageSet(images, torch.tensor(labels), classes, name)
