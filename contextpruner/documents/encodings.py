"""Encodings of texts: UTF-8, one that the user names, or "auto", UTF-8 and what else charset-normalizer tells.

A text has no zero bytes but in UTF-16 and UTF-32. A byte order mark is no part of it.
"""

from __future__ import annotations

from prunekernels.extras import require

AUTO = "auto"


class UnknownEncodingError(ValueError):
    """The name of an encoding that there is not."""


def is_text(data: bytes, encoding: str = "utf-8") -> bool:
    """Whether `data` is a text in `encoding`."""
    try:
        return "\0" not in decode("", data, encoding)
    except UnknownEncodingError:
        raise
    except ValueError:
        return False


def decode(name: str, data: bytes, encoding: str = "utf-8") -> str:
    """The text that `data` is; raises ValueError, beginning with `name`, where it is none, or nobody can tell."""
    wanted = "utf-8" if encoding == AUTO else encoding
    try:
        return data.decode("utf-8-sig" if wanted.lower() in ("utf-8", "utf8") else wanted).removeprefix("\ufeff")
    except LookupError:
        raise UnknownEncodingError(
            f'want the name of an encoding, say latin-1, or "{AUTO}", got {encoding!a:.80}'
        ) from None
    except UnicodeDecodeError as error:
        if encoding == AUTO:
            return _detected(name, data)
        hint = ", but UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        called = "UTF-8" if wanted.lower() in ("utf-8", "utf8") else wanted
        raise ValueError(f"{name} is not {called}{hint}: byte {error.start} is 0x{data[error.start]:02x}") from None


def _detected(name: str, data: bytes) -> str:
    library = require("charset_normalizer", "encodings")
    best = None if library.is_binary(data) else library.from_bytes(data).best()
    if best is None:
        raise ValueError(f"{name} is no text in any encoding that is known")
    return str(best).removeprefix("\ufeff")
