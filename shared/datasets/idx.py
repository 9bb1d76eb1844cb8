"""Files in the format of MNIST's, for a lesson that reads some."""

from pathlib import Path

from torch import Tensor

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def to_idx(numbers: Tensor) -> bytes:
    """An IDX file of whole numbers from 0 to 255, of any shape."""
    sizes = b"".join(size.to_bytes(4, "big") for size in numbers.shape)
    header = bytes([0, 0, 8, numbers.dim()]) + sizes
    return header + numbers.byte().numpy().tobytes()


def write_mnist(root: Path, *contents: bytes) -> list[Path]:
    """Write four files where torchvision looks for those of MNIST in root."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    paths = [raw / name for name in NAMES]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths
