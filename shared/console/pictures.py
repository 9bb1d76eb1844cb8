"""Images as pixels in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image
from rich.console import Group
from rich.table import Table
from rich_pixels import Pixels

from .screen import console, say

if TYPE_CHECKING:
    from torch import Tensor

GREYS = (0, 85, 170, 255)  # all that a terminal of 16 colours has


def pictures(
    named: dict[str, Tensor],
    tag: str,
    width: int = 38,
) -> None:
    """Show images (H, W) or (3, H, W) in [0, 1] side by side, with their names.

    tag is where TensorBoard has them: without colours (a file, NO_COLOR) they
    are left out here, and that is said instead.
    """
    colours = console.is_terminal and console.color_system
    visible = bool(colours) and not console.no_color
    if visible:
        abreast = max(1, (console.width + 2) // (width + 2))
        names = list(named)
        for first in range(0, len(names), abreast):
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_row(
                *(
                    Group(name, _pixels(named[name], width))
                    for name in names[first : first + abreast]
                )
            )
            console.print(grid)
    where = f"in TensorBoard, IMAGES, {tag}; the last lines open it."
    if not visible:
        say(f"The pictures are {where}")
    elif console.color_system == "standard":
        say(f"This terminal has four greys. The real pictures are {where}")


def _pixels(image: Tensor, width: int) -> Pixels:
    levels = (image.clamp(0, 1) * 255).round().byte()
    if levels.dim() == 3:
        levels = levels.permute(1, 2, 0)  # (H, W, 3)
    picture = Image.fromarray(levels.contiguous().numpy())
    if picture.width > width:
        size = (width, round(picture.height * width / picture.width))
        picture = picture.resize(size, Image.Resampling.BOX)  # by averaging
    if console.color_system == "standard":
        picture = _in_four_greys(picture)
    return Pixels.from_image(picture.convert("RGB"))


def _in_four_greys(picture: Image.Image) -> Image.Image:
    palette = Image.new("P", (1, 1))
    palette.putpalette([level for grey in GREYS for level in (grey,) * 3])
    return picture.convert("RGB").quantize(palette=palette, dither=0)
