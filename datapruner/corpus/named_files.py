"""Files that rows of a corpus name: only the corpus's own."""

from __future__ import annotations

from pathlib import Path

from datapruner.corpus.formats.in_memory import HubDataset, InMemoryDataset
from datapruner.corpus.remote_files import RemoteFile
from prunekernels.extras import require
from prunekernels.io.paths import path_inside

# of all that one chunk's rows name
MOST_BYTES = 1 << 30


def named_file(source: object, name: str, place: str) -> Path:
    """The file `name` that a row of `source` names; `place` says where.

    Raises ValueError unless it lies in the folder of the corpus's file, to which it is relative, or, for data sets of
    the hub, in its cache. Data sets and arrays that the caller holds name what they like.
    """
    if isinstance(source, RemoteFile):
        raise ValueError(f"{place}: want the image's bytes, got the path {name!a:.80}: of {source} no files are read")
    if isinstance(source, Path):
        root = source.parent
        inside = Path(name).is_absolute() and Path(name).is_relative_to(root.absolute())
        return path_inside(root, Path(name).relative_to(root.absolute()).as_posix() if inside else name, place)
    if isinstance(source, InMemoryDataset) and isinstance(source.rows, HubDataset):
        path = Path(name).resolve()
        if not any(path.is_relative_to(root.resolve()) for root in _roots(source.rows)):
            raise ValueError(f"{place}: want a file of the data set, got {name!a:.120}")
    return Path(name)


def _roots(hub: HubDataset) -> list[Path]:
    """Where files of a data set of the hub, or of a folder that `datasets` loads, may lie."""
    files = [hub.files] if isinstance(hub.files, str) else hub.files or ()
    caches = (
        require("datasets", "data").config.HF_DATASETS_CACHE,
        require("huggingface_hub", "data").constants.HF_HUB_CACHE,
    )
    local = [Path(hub.path)] if Path(hub.path).is_dir() else []
    return [*map(Path, caches), *local, *(Path(file).parent for file in files)]
