"""Whether an encoded picture is whole, found in its bytes without decoding it.

    PNG     all chunks up to IEND, each with the CRC-32 that stands behind it
    JPEG    its segments up to the first scan, and an end marker behind that
    WebP    as many bytes as its header says
    GIF     its trailer

An error page that was saved as a picture is told as such. What is none of these is left to whoever decodes it; so is
what changed inside a JPEG or WebP, which have no checksums.
"""

from __future__ import annotations

import zlib

PNG, JPEG, GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", (b"GIF87a", b"GIF89a")
# markers of a JPEG that stand alone, without a length
_ALONE = {0x01, *range(0xD0, 0xD8)}


def problem_of(picture: bytes) -> str | None:
    """What is wrong with `picture`; None where nothing was found."""
    if picture.startswith(PNG):
        return _png(picture)
    if picture.startswith(JPEG):
        return None if _has_jpeg_end(picture) else "a JPEG that breaks off"
    if picture.startswith(b"RIFF") and picture[8:12] == b"WEBP":
        return None if int.from_bytes(picture[4:8], "little") + 8 <= len(picture) else "a WebP that breaks off"
    if picture.startswith(GIF):
        return None if picture.rstrip(b"\0").endswith(b";") else "a GIF that breaks off"
    begin = picture[:200].lstrip().lower()
    if begin.startswith((b"<!doctype html", b"<html", b"<?xml")) and b"<svg" not in picture[:1000]:
        return "a page of text"
    return None


def _png(picture: bytes) -> str | None:
    at, view = len(PNG), memoryview(picture)
    while at + 12 <= len(picture):
        size = int.from_bytes(picture[at : at + 4], "big")
        end = at + 12 + size
        if end > len(picture):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(picture[end - 4 : end], "big"):
            return f"a PNG whose chunk at byte {at} is damaged"
        if picture[at + 4 : at + 8] == b"IEND":
            return None
        at = end
    return "a PNG that breaks off"


def _has_jpeg_end(picture: bytes) -> bool:
    """Whether an end marker stands behind the first scan: one before it may be that of a preview."""
    at = 2
    while at + 4 <= len(picture):
        if picture[at] != 0xFF:
            return False
        marker = picture[at + 1]
        if marker == 0xDA:
            return picture.find(b"\xff\xd9", at) >= 0
        # any number of fill bytes may stand before a marker
        at += 1 if marker == 0xFF else 2 if marker in _ALONE else 2 + int.from_bytes(picture[at + 2 : at + 4], "big")
    return False
