"""What a source is made of: files of one format, folders of them, URLs, rows in memory, a folder of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias, cast

from datapruner.corpus import folders
from datapruner.corpus.format import RowWriter
from datapruner.corpus.formats import _arrow, arrow, csv, image_folder, in_memory, json, jsonl, parquet, text
from datapruner.corpus.formats._converted import ConvertedWriter, as_lines, as_table
from datapruner.corpus.formats.image_folder import ImageFolder
from datapruner.corpus.formats.in_memory import Arrays, HubDataset, InMemoryDataset, Row
from datapruner.corpus.joined_rows import JoinedWriter
from datapruner.corpus.remote_files import AnyFile, RemoteFile, is_url, list_files

if TYPE_CHECKING:
    import datasets
    import pandas  # type: ignore[import-untyped]
    import pyarrow

# in a folder the others only count where it has none of these
DATA: tuple[ModuleType, ...] = (jsonl, parquet, arrow, csv)
FILES: tuple[ModuleType, ...] = (*DATA, json, text)
# whose rows are lines of JSON, whatever their files look like
LINES: tuple[ModuleType, ...] = (jsonl, csv, json, text)
# what may be asked for as the form of an output
FORMS = (*(suffix.removeprefix(".") for suffix in jsonl.SUFFIXES if suffix.startswith(".jsonl")), "parquet")
HUB = "hf://datasets/"
# what `datasets` and image folders put beside the rows
BESIDE = (
    "metadata.jsonl",
    "metadata.csv",
    "state.json",
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
)

CorpusLike: TypeAlias = (
    "str | Path | Sequence[str | Path] | Arrays | Row | Sequence[Row] | pyarrow.Table | pandas.DataFrame | HubDataset"
    " | datasets.Dataset | datasets.IterableDataset"
)
Fragment: TypeAlias = Path | RemoteFile | InMemoryDataset | ImageFolder


def fragments_of(given: CorpusLike, nested: bool = False) -> tuple[Fragment, ...]:
    """The fragments in order, all of one format; raises where there is none or one is missing.

    `nested`: the folders inside a folder are entered.
    """
    if isinstance(given, InMemoryDataset):
        return (given,)
    paths = [given] if isinstance(given, str | Path) else list(cast(Sequence[str | Path], given))
    fragments = tuple(fragment for path in paths for fragment in _expand(path, nested))
    if not fragments:
        raise ValueError(f"want at least one file, got {given!r}")
    if len({format_of(fragment) for fragment in fragments}) > 1:
        endings = ", ".join(sorted({suffix_of(fragment) for fragment in fragments}))
        raise ValueError(f"want files of one format, got {endings}")
    return fragments


def wrap_in_memory(given: CorpusLike) -> CorpusLike:
    """`given` with rows, arrays and data sets as `InMemoryDataset`, which is made once; paths stay as they are."""
    found = in_memory.as_in_memory(given)
    if found is not None:
        return found
    if isinstance(given, list | tuple) and len(given) == 1:
        return wrap_in_memory(given[0])
    if isinstance(given, str) and given.startswith(HUB) and given.removeprefix(HUB).count("/") == 1:
        name, _, revision = given.removeprefix(HUB).partition("@")
        return wrap_in_memory(HubDataset(name, revision=revision or None))
    return given


def format_of(fragment: Fragment) -> ModuleType:
    """The format of `fragment`; that of a file its ending names."""
    if isinstance(fragment, InMemoryDataset):
        return in_memory
    if isinstance(fragment, ImageFolder):
        return image_folder
    found = _format_of_name(fragment.name)
    if found is None:
        raise ValueError(f"{fragment}: want a file that ends in {', '.join(_known())}, or a folder of images")
    return found


def suffix_of(fragment: Fragment) -> str:
    """The ending of a file, with its compression; none for images, which are a folder."""
    if isinstance(fragment, ImageFolder | InMemoryDataset):
        return ".parquet" if isinstance(fragment, InMemoryDataset) else ""
    name = fragment.name.lower()
    return max((suffix for suffix in format_of(fragment).SUFFIXES if name.endswith(suffix)), key=len)


def output_suffix(fragment: Fragment, form: str | None = None) -> str:
    """The ending of what is written of `fragment`, with its compression: by default as the fragment has them, else
    that of `form`, one of FORMS. Raises ValueError for images, which have none."""
    if form is not None:
        if isinstance(fragment, ImageFolder):
            raise ValueError(f"{fragment}: images are written as files: want no form, got {form!r}")
        return f".{form}"
    suffix = suffix_of(fragment)
    for ending, written in getattr(format_of(fragment), "WRITTEN_AS", {}).items():
        if suffix.startswith(ending):
            return str(written) + suffix.removeprefix(ending)
    return suffix


def without_suffix(name: str) -> str:
    """The name of a file without the ending that says its format."""
    known = [suffix for suffix in _known() if name.lower().endswith(suffix)]
    return name[: -len(max(known, key=len))] if known else name


def becomes_table(fragment: Fragment, suffix: str) -> bool:
    """Whether rows of `fragment` have to be made a table of, to be written into files with `suffix`."""
    return format_of(fragment) in LINES and suffix in parquet.SUFFIXES


def open_writer(
    like: Sequence[Fragment], path: Path, noted: Mapping[str, str] | None = None, schema: pyarrow.Schema | None = None
) -> RowWriter:
    """A writer of rows of the fragments `like` into `path`, whose ending says the form; see `RowWriter`.

    `schema` is that of the table which lines become.
    """
    own, is_lines = format_of(like[0]), path.name.endswith(jsonl.SUFFIXES)
    if schema is not None:
        made = ConvertedWriter(_arrow.Writer(path, schema, noted), partial(as_table, schema=schema))
    elif own in LINES or not is_lines:
        made = (jsonl if is_lines else own).Writer(path, like, noted)
    else:
        made = ConvertedWriter(jsonl.Writer(path, like, noted), as_lines)
    return JoinedWriter(made)


def check_fragments(fragments: Sequence[Fragment], columns: Sequence[str]) -> None:
    """Raise ValueError where files have no schema together, or lack `columns`; in formats that have such."""
    check = getattr(format_of(fragments[0]), "check", None)
    if check is not None:
        check(fragments, columns)


def _format_of_name(name: str) -> ModuleType | None:
    return next((known for known in FILES if name.lower().endswith(known.SUFFIXES)), None)


def _expand(path: str | Path, nested: bool) -> list[Fragment]:
    if is_url(path):
        return _remote(str(path), nested)
    path = Path(path)
    if path.is_dir():
        return _folder(path, nested)
    if not path.is_file():
        if folders.is_glob(path):
            return [*_counting(folders.matches(path), str(path))]
        raise FileNotFoundError(f"{path}: no such file")
    format_of(path)
    return [path]


def _remote(url: str, nested: bool) -> list[Fragment]:
    found: list[Fragment] = []
    files: list[AnyFile] = []
    for file in list_files(url, nested):
        if isinstance(file, Path):
            found += _expand(file, nested)
        elif file.url == url:
            format_of(file)
            found.append(file)
        else:
            files.append(file)
    return [*found, *_counting(files, url)] if files or not found else found


def _folder(path: Path, nested: bool) -> list[Fragment]:
    """The files of `path`, or the images where it has no others; folders inside are only entered for images."""
    inside = folders.files_of(path, nested)
    names = [file for file in inside if file.name not in BESIDE]
    images = ImageFolder(path, nested)
    if not any(_format_of_name(file.name) in DATA for file in names) and images.files:
        return [images]
    hint = ""
    if not nested and not any(_format_of_name(file.name) for file in names):
        deeper = next((file for file in sorted(path.glob("*/*")) if _format_of_name(file.name)), None)
        hint = "" if deeper is None else f" (folders inside are not entered: name {deeper.parent} itself, or nested)"
    return [*_counting(names, str(path), hint)]


def _counting(files: Sequence[AnyFile], place: str, hint: str = "") -> list[AnyFile]:
    """Those of the files in a folder that are its rows: data first, then JSON, then text."""
    files = [file for file in files if not file.name.startswith(".") and file.name not in BESIDE]
    for known in (DATA, (json,), (text,)):
        found = [file for file in files if _format_of_name(file.name) in known]
        if found:
            return found
    raise ValueError(f"{place}: want a folder with files that end in {', '.join(_known())}, or with images{hint}")


def _known() -> Sequence[str]:
    return sorted(suffix for item in FILES for suffix in item.SUFFIXES)
