"""Encoded images of a corpus as pictures, decoded by Pillow's own readers of pixels; broken ones are told, not raised.

A picture of more pixels than `PIL.Image.MAX_IMAGE_PIXELS` counts as broken before it is decoded: a few kilobytes may
hold gigabytes of one colour.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prunekernels.extras import require

if TYPE_CHECKING:
    from PIL.Image import Image

# formats that no other program is asked to read
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")


def pictures(images: Sequence[bytes]) -> Iterator[Image | None]:
    """Each image decoded to its last pixel, RGB, of several frames the first; None where it is broken."""
    pillow = require("PIL.Image", "data")
    for content in images:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            try:
                yield pillow.open(io.BytesIO(content), formats=FORMATS).convert("RGB")
            except MemoryError:
                raise
            except Exception:  # noqa: BLE001 - each reader has errors of its own for bytes that are no picture
                yield None
