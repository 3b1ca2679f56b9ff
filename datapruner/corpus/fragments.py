"""What a source is made of: files of one format, folders of them, URLs, data sets, arrays, a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias, cast

from datapruner.corpus.formats import image_folder, in_memory, jsonl, parquet
from datapruner.corpus.formats.image_folder import ImageFolder
from datapruner.corpus.formats.in_memory import Arrays, HubDataset, InMemoryDataset
from datapruner.corpus.remote_files import AnyFile, RemoteFile, is_url, list_files

if TYPE_CHECKING:
    import datasets

FILES = (jsonl, parquet)
HUB = "hf://datasets/"

CorpusLike: TypeAlias = (
    "str | Path | Sequence[str | Path] | Arrays | HubDataset | datasets.Dataset | datasets.IterableDataset"
)
Fragment: TypeAlias = Path | RemoteFile | InMemoryDataset | ImageFolder


def fragments_of(given: CorpusLike) -> tuple[Fragment, ...]:
    """The fragments in order, all of one format; raises where there is none or one is missing."""
    if isinstance(given, InMemoryDataset):
        return (given,)
    paths = [given] if isinstance(given, str | Path) else list(cast(Sequence[str | Path], given))
    fragments = tuple(fragment for path in paths for fragment in _expand(path))
    if not fragments:
        raise ValueError(f"want at least one file, got {given!r}")
    if len({format_of(fragment) for fragment in fragments}) > 1:
        raise ValueError(
            f"want files of one format, got {', '.join(sorted({output_suffix(fragment) for fragment in fragments}))}"
        )
    return fragments


def wrap_in_memory(given: CorpusLike) -> CorpusLike:
    """`given` with arrays and data sets as `InMemoryDataset`, which is made once; paths stay as they are."""
    if isinstance(given, list | tuple) and len(given) == 1:
        given = given[0]
    if isinstance(given, str) and given.startswith(HUB) and given.removeprefix(HUB).count("/") == 1:
        name, _, revision = given.removeprefix(HUB).partition("@")
        given = HubDataset(name, revision=revision or None)
    return in_memory.as_in_memory(given) or given


def format_of(fragment: Fragment) -> ModuleType:
    """The format of `fragment`; that of a file its ending names."""
    if isinstance(fragment, InMemoryDataset):
        return in_memory
    if isinstance(fragment, ImageFolder):
        return image_folder
    found = _format_of_name(fragment.name)
    if found is None:
        endings = ", ".join(suffix for known in FILES for suffix in known.SUFFIXES)
        raise ValueError(f"{fragment}: want a file that ends in {endings}, or a folder of images")
    return found


def output_suffix(fragment: Fragment) -> str:
    """The ending of what is written of `fragment`, with its compression; none for images, which are a folder."""
    if isinstance(fragment, ImageFolder):
        return ""
    if isinstance(fragment, InMemoryDataset):
        return ".parquet"
    name = fragment.name.lower()
    return max((suffix for suffix in format_of(fragment).SUFFIXES if name.endswith(suffix)), key=len)


def _format_of_name(name: str) -> ModuleType | None:
    return next((known for known in FILES if name.lower().endswith(known.SUFFIXES)), None)


def _expand(path: str | Path) -> list[Fragment]:
    if is_url(path):
        found: list[Fragment] = []
        for file in list_files(str(path)):
            if isinstance(file, Path):
                found += _expand(file)
            elif file.url == path or _format_of_name(file.name) is not None:
                format_of(file)
                found.append(file)
        if not found:
            raise ValueError(f"{path}: want a folder with files that end in {', '.join(_known())}")
        return found
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    format_of(path)
    return [path]


def _folder(path: Path) -> list[Fragment]:
    """The files of `path`, or the images where it has no others; folders inside are only entered for images."""
    inside: list[Path] = [file for file in sorted(path.iterdir()) if file.is_file()]
    found: list[AnyFile] = [file for file in inside if _format_of_name(file.name) is not None]
    folder = ImageFolder(path)
    # the list of an image folder is no corpus: `write` and `datasets` put it beside the images
    if all(file.name == image_folder.METADATA for file in found) and folder.files:
        return [folder]
    if not found:
        deeper = next((file for file in sorted(path.glob("*/*")) if _format_of_name(file.name)), None)
        hint = "" if deeper is None else f" (folders inside are not entered: name {deeper.parent} itself)"
        raise ValueError(f"{path}: want a folder with files that end in {', '.join(_known())}, or with images{hint}")
    return [*found]


def _known() -> Sequence[str]:
    return sorted(suffix for item in FILES for suffix in item.SUFFIXES)
