"""The contract of a scorer: one float32 a row, finite, independent of batching and of the order of the rows.

A scorer is a frozen dataclass in `scorers/<name>.py` with a default for every field. It writes `score(batch)`; where
it must see the whole corpus first, also `fit(corpus)`, whose arrays are kept beside the column and handed to every
`score(batch, state)`, in this process, another one or another run. What else it has to say of a row goes into
`details`, more columns of the same part. A field that cannot change a score (a batch size, the place of a model whose
hash `identity` gives) says so with `metadata=COSMETIC`; any other field makes another column.

A method is handed what it takes: `score` and `details` a state where they have a place for one, `fit` a workspace.

An embedder is a scorer in `embedders/<name>.py` whose `score` gives a vector a row, float32 [n, d]: a
column that scorers and selectors read by its name, made once.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import ClassVar, TypeVar

import numpy as np
import torch

from datapruner.corpus.uids import hash64
from datapruner.scoring.workspace import Workspace

COSMETIC = {"affects_scores": False}
Value = str | int | float | bool | None
State = Mapping[str, np.ndarray]
NOTHING: State = MappingProxyType({})
Found = TypeVar("Found")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    """Some rows of the corpus: row numbers int64 [n], uids, and what the source or the table has of them.

    `texts` and `images` (encoded files) are there where the source names their fields, `groups` and `labels` too;
    `vectors` are the columns that the scorer asked for, float32 [n, d], of one number a row [n, 1]; `fields` are the
    fields of texts that it asked for beside `texts`.
    """

    rows: np.ndarray
    uids: Sequence[str]
    texts: Sequence[str]
    groups: Sequence[str] | None = None
    labels: Sequence[str | int] | None = None
    images: Sequence[bytes] | None = None
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.uids)

    def take(self, places: np.ndarray) -> Batch:
        """The rows at `places` int64."""

        def some(values: Sequence[Item]) -> list[Item]:
            return [values[place] for place in places.tolist()] if len(values) else []

        return Batch(
            self.rows[places],
            some(self.uids),
            some(self.texts),
            None if self.groups is None else some(self.groups),
            None if self.labels is None else some(self.labels),
            None if self.images is None else some(self.images),
            {name: values[places] for name, values in self.vectors.items()},
            {name: some(values) for name, values in self.fields.items()},
        )

    @cached_property
    def keys(self) -> np.ndarray:
        """A 64-bit hash of each uid, uint64 [n]: what anything random in a scorer hangs on."""
        return hash64(self.uids)

    def with_keys(self, keys: np.ndarray) -> Batch:
        """This batch, whose `keys` somebody has taken already."""
        vars(self)["keys"] = keys
        return self


@dataclass(frozen=True)
class Scorer:
    """Base of all scorers."""

    # raise it whenever the same fields would give other scores than before
    version: ClassVar[int] = 1
    # one line: what a higher score means
    direction: ClassVar[str] = ""
    # one line for docs/methods.md: FLOPs or passes for a row, and what `fit` takes
    cost: ClassVar[str] = ""
    # the text form of the selector that this kind of score is for, as in "middle" or "threshold:maximum=0.8", with the
    # number that is recommended where the selector wants one: what `select` takes where none is named
    default_selector: ClassVar[str] = "top"

    # what a batch must have for `score` beside uids, of: texts, images, labels
    needs: ClassVar[tuple[str, ...]] = ("texts",)
    # True: costs less than reading a row and fits nothing, so that it is done while rows are read
    is_cheap: ClassVar[bool] = False
    # what `fit` finds holds of whichever rows it sees, and `score` needs no row numbers: some rows may be scored alone
    fits_some_rows: ClassVar[bool] = False
    # `fit` sees all that there is to see: `score` and `details` want row numbers and the state alone
    scores_by_number: ClassVar[bool] = False
    # an embedder's columns hold vectors
    is_vector: ClassVar[bool] = False

    def score(self, batch: Batch) -> np.ndarray | torch.Tensor:
        """The scores of `batch`, float32 [n].

        A scorer with a `fit` writes `score(self, batch, state: State = NOTHING)`: the state is what that found.
        """
        raise NotImplementedError

    def fit(self, corpus: Iterable[Batch]) -> State:
        """See the whole corpus before the first `score`; `corpus` may be gone through more than once.

        Returns arrays, saved as safetensors; a scorer that needs none is not asked twice for the same column. One
        that works long writes `fit(self, corpus, workspace: Workspace | None = None)` and keeps its work in there:
        a killed run finds it again, see `Workspace.each`.
        """
        return NOTHING

    def details(self, batch: Batch) -> dict[str, np.ndarray]:
        """More columns, each [n]; asked for after `score` of the same batch, with a state where that has one."""
        return {}

    def vectors(self) -> tuple[str, ...]:
        """Names of the vectors that `score` and `fit` read: columns of the table, or fields of the source.

        A field holds a list of numbers a row, or one number. A name with dots is a path, as in `meta.int_score`.
        """
        return ()

    def fields(self) -> tuple[str, ...]:
        """Names of the fields of the source, texts, that `score` and `fit` read beside `texts`; paths as above."""
        return ()

    def identity(self) -> dict[str, str]:
        """What decides the scores beside fields and version: hashes of models, versions of algorithms."""
        return {}

    def check(self) -> None:
        """Raise where the fields cannot work, before anything is read or written."""

    def scoring_fields(self) -> dict[str, Value]:
        """The fields that can change a score."""
        used = [field for field in dataclasses.fields(self) if field.init]
        return {f.name: getattr(self, f.name) for f in used if f.metadata.get("affects_scores", True)}

    def checked(self, batch: Batch, state: State = NOTHING) -> np.ndarray:
        """`score`, refused unless it is float32, finite and one per row."""
        scores = _called(self.score, batch, state)
        array = scores.detach().cpu().numpy() if isinstance(scores, torch.Tensor) else np.asarray(scores)
        name, wanted = type(self).__name__, f"[{len(batch)}, d]" if self.is_vector else f"[{len(batch)}]"
        if array.dtype != np.float32 or array.ndim != 1 + self.is_vector or len(array) != len(batch):
            raise ValueError(f"{name} wants float32 {wanted}, got {array.dtype} {[*array.shape]}")
        if not np.isfinite(array).all():
            wrong = int(np.argwhere(~np.isfinite(array))[0, 0])
            raise ValueError(f"{name} wants finite scores, got {array[wrong]} for uid {batch.uids[wrong]!r}")
        return array

    def fitted(self, corpus: Iterable[Batch], workspace: Workspace) -> State:
        """What `fit` finds in `corpus`."""
        return _called(self.fit, corpus, workspace)

    def detailed(self, batch: Batch, state: State = NOTHING) -> dict[str, np.ndarray]:
        """`details` of `batch`."""
        return _called(self.details, batch, state)


@dataclass(frozen=True)
class Embedder(Scorer):
    """Base of all embedders: `score` gives a vector a row, float32 [n, d]."""

    is_vector: ClassVar[bool] = True
    # vectors of length 1, or of zeros where there is nothing to say; False for logits and other plain numbers
    is_unit: ClassVar[bool] = True


def _called(method: Callable[..., Found], first: object, second: object) -> Found:
    """`method` of the two, or of the first alone where it takes no more."""
    try:
        inspect.signature(method).bind(first, second)
    except TypeError:
        return method(first)
    return method(first, second)
