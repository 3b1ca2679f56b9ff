"""spaCy: a trained pipeline's `senter` or `parser`, or the stops of a blank one.

Only what says where sentences begin is run, and what it hangs on. The model is a package that is installed, or a
folder; nothing is downloaded.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contextpruner.units.sentence_splitter import SpanSplitter
from prunekernels.extras import require

if TYPE_CHECKING:
    from spacy.language import Language

# the first that a pipeline has is the one that is asked
SENTENCES = ("senter", "parser", "sentencizer")

# what these may listen to
SHARED = ("tok2vec", "transformer", "curated_transformer")


@dataclass(frozen=True)
class Spacy(SpanSplitter):
    """A spaCy pipeline: `model` is a package or a folder; without one, `sentencizer` on the tokens of `language`."""

    model: str | None = None
    language: str = "xx"

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        document = _pipeline(self.model, self.language)(text)
        return ((sentence.start_char, sentence.end_char) for sentence in document.sents)


@functools.cache
def _pipeline(model: str | None, language: str) -> Language:
    spacy = require("spacy", "spacy")
    if model is None:
        pipeline = spacy.blank(language)
        pipeline.add_pipe("sentencizer")
        # there is no model whose memory the limit would guard
        pipeline.max_length = float("inf")
        return pipeline
    try:
        pipeline = spacy.load(model)
    except OSError as error:
        raise ValueError(f"spacy: want a model that is installed, or its folder, got {model!r}") from error
    asked = next((name for name in SENTENCES if name in pipeline.component_names), None)
    if asked is None:
        raise ValueError(f"spacy: want one of {', '.join(SENTENCES)} in {model}, got {pipeline.component_names}")
    for name in pipeline.component_names:
        if name == asked:
            pipeline.enable_pipe(name)
        elif name not in SHARED and name in pipeline.pipe_names:
            pipeline.disable_pipe(name)
    return pipeline
