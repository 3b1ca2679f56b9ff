"""Pictures that somebody else made: regular files of a bounded size, decoded by Pillow's own readers of pixels.

What Pillow would hand to another program (PostScript) or leave to a plug-in is not tried. A picture of more pixels
than `PIL.Image.MAX_IMAGE_PIXELS` (89 million, unless somebody sets another bound) is refused before it is decoded:
a few kilobytes may hold gigabytes of one colour.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from prunekernels.extras import require
from prunekernels.io.model_loading import loading_errors
from prunekernels.io.paths import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "TGA", "ICO")
LARGEST_FILE = 2**29


def load_picture(path: Path) -> Image:
    """The picture in a file, RGB, of several frames the first; raises ValueError or OSError that names the file."""
    pillow = require("PIL.Image", "tokens")
    with open_regular(path, max_bytes=LARGEST_FILE) as file, warnings.catch_warnings():
        # from the bound to twice the bound Pillow only warns; of what it mends, say a broken EXIF, nobody needs to hear
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", pillow.DecompressionBombWarning)
        try:
            with loading_errors(path, "a picture"):
                return pillow.open(file, formats=FORMATS).convert("RGB")
        except ValueError as error:
            if isinstance(error.__cause__, pillow.UnidentifiedImageError):
                raise ValueError(f"{path}: want a picture, got something else") from error
            raise
