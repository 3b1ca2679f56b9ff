"""A prompt under a causal language model: how likely the right answers of rows are behind what is kept of it.

    labels          likelihood = ln p(answer) - ln sum over labels of p(label),   correct = the answer is most likely
    free answers    likelihood = ln p(answer) / its tokens

p(x) = prod over the tokens of x of p(token | prompt, the tokens before). A prompt is tokenised as one text, context and
question together, as whoever sends it would; an answer by itself, as a model says it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, get_args

import numpy as np
import torch

from contextpruner.models.causal_lm import CausalLM, load_causal_lm
from contextpruner.models.document_tokens import encode_text
from contextpruner.models.loading import Precision
from contextpruner.prompts.language_model.answers import AnswerReader, check_prefix_cache
from contextpruner.prompts.language_model.prefix_cache import nothing, read_on
from contextpruner.prompts.pieces import Pieces
from contextpruner.prompts.prompt import Prompt, Shot
from contextpruner.prompts.task import RowScores, Task
from prunekernels.io.checkpoint import find_checkpoint

Objective = Literal["likelihood", "accuracy"]
FORMAT = 1
# tokenised contexts that are remembered
MOST_CONTEXTS = 1 << 12


@dataclass(frozen=True)
class PromptModel:
    """A model that reads prompts; `identity` tells it, and all that its numbers hang on to the last bit."""

    reader: AnswerReader
    identity: str

    @property
    def lm(self) -> CausalLM:
        return self.reader.lm

    def encode(self, text: str) -> list[int]:
        """The tokens of `text` alone."""
        return encode_text(self.lm.tokenizer, text)[0]


def load_prompt_model(
    name: str, *, precision: Precision = "float32", device: str | None = None, window: int = 2048,
    batch_size: int = 8, prefix_cache: bool = True,
) -> PromptModel:  # fmt: skip
    """The model at the path or hub id `name`, reading up to `window` tokens; raises ValueError where it cannot be used.

    int8 is refused: its numbers hang on what else is read with a row.
    """
    if precision == "int8":
        raise ValueError("want precision float32, bfloat16 or float16, got int8")
    if batch_size < 1:
        raise ValueError(f"want a batch_size of at least 1, got {batch_size}")
    lm = load_causal_lm(name, precision, device, window)
    reader = AnswerReader(lm, batch_size, prefix_cache)
    if prefix_cache:
        check_prefix_cache(reader, name)
    held = [FORMAT, find_checkpoint(name).identity, precision, lm.head.weight.device.type, batch_size, prefix_cache]
    return PromptModel(reader, json.dumps(held))


class LanguageModelTask(Task):
    """The rows `rows` under `model`; with `labels`, each answer is one of them.

    Raises ValueError for an answer that is no label, for none to choose from, and for what is over the window.
    """

    def __init__(
        self, model: PromptModel, prompt: Prompt, pieces: Pieces, rows: Sequence[Shot], *,
        labels: Sequence[str] = (), objective: Objective = "likelihood",
    ) -> None:  # fmt: skip
        if objective not in get_args(Objective) or (objective == "accuracy" and not labels):
            raise ValueError(f"want objective likelihood, or accuracy where there are labels, got {objective!r}")
        if not rows or len({*labels}) != len(labels) or len(labels) == 1:
            raise ValueError(f"want rows, and no label or two different ones, got {len(rows)} and {[*labels]!r:.200}")
        self.model, self.prompt, self.pieces, self.rows = model, prompt, pieces, tuple(rows)
        self.n_rows, self.has_labels, self.objective = len(rows), bool(labels), objective
        held = [model.identity, prompt.question, [*labels], [[row.question, row.answer] for row in rows]]
        self.name = blake2b(json.dumps(held).encode(), digest_size=16).hexdigest()
        self._gold = [self._gold_of(number, labels) for number in range(len(rows))]
        self._labels = [model.encode(prompt.said(label)) for label in labels]
        self._contexts: dict[bytes, tuple[int, ...]] = {}
        self._check_window()

    def ids(self, kept: np.ndarray) -> tuple[int, ...]:
        key = kept.tobytes()
        if key not in self._contexts:
            if len(self._contexts) >= MOST_CONTEXTS:
                self._contexts.clear()
            self._contexts[key] = tuple(self.model.encode(self.pieces.join(kept)))
        return self._contexts[key]

    def score(self, kept: np.ndarray, rows: Sequence[int]) -> RowScores:
        context = self.pieces.join(kept)
        prompts = [self._prompt(context, row) for row in rows]
        found = self.model.reader.log_likelihoods(prompts, [self._answers(row) for row in rows])
        if not self._labels:
            likelihood = [float(own[0]) / len(self._answers(row)[0]) for own, row in zip(found, rows, strict=True)]
            return RowScores(np.array(likelihood), np.zeros(len(rows)))
        totals, gold = np.stack(found), np.array([self._gold[row] for row in rows])
        right = totals[np.arange(len(rows)), gold]
        return RowScores(right - np.logaddexp.reduce(totals, 1), (totals.argmax(1) == gold).astype(np.float64))

    def embeddings(self) -> np.ndarray:
        table = self.model.lm.model.get_input_embeddings().weight
        means = {text: table[self.model.encode(text)].float().mean(0) for text in {*self.pieces.texts}}
        with torch.inference_mode():
            return torch.stack([means[text] for text in self.pieces.texts]).cpu().numpy()

    @torch.inference_mode()
    def states(self) -> np.ndarray:
        lm, text = self.model.lm, "".join(self.pieces.texts)
        ids, offsets, _ = encode_text(lm.tokenizer, text)
        hidden = read_on(lm, nothing(lm), [0], [[*lm.first, *ids]])[0][0, len(lm.first) :].float().cpu().numpy()
        sizes = np.array([len(piece) for piece in self.pieces.texts])
        stops, ends = np.cumsum(sizes), offsets[:, 1]
        # tokens of the whole text may end elsewhere than pieces do: each piece has all that reach into it
        first = np.searchsorted(ends, stops - sizes, side="right")
        last = np.maximum(np.searchsorted(ends, stops, side="left"), np.searchsorted(ends, stops, side="right") - 1)
        last = np.minimum(last, len(ids) - 1)
        return np.stack([hidden[min(a, b) : b + 1].mean(0) for a, b in zip(first, last, strict=True)])

    def _prompt(self, context: str, row: int) -> tuple[int, ...]:
        return (*self.model.lm.first, *self.model.encode(context + self.prompt.asked(self.rows[row].question)))

    def _answers(self, row: int) -> list[list[int]]:
        return self._labels or [self.model.encode(self.prompt.said(self.rows[row].answer))]

    def _gold_of(self, number: int, labels: Sequence[str]) -> int:
        answer = self.rows[number].answer
        if labels and answer not in labels:
            raise ValueError(f"row {number}: want an answer among the {len(labels)} labels, got {answer!r:.100}")
        return [*labels].index(answer) if labels else 0

    def _check_window(self) -> None:
        whole = self.pieces.join(np.ones(len(self.pieces), dtype=bool))
        for row in range(self.n_rows):
            asked = self._prompt("", row)
            if not asked:
                raise ValueError(f"row {row}: want a question in its form that has tokens, got none")
            lengths = [len(answer) for answer in self._answers(row)]
            if min(lengths) == 0:
                raise ValueError(f"row {row}: want answers that have tokens, got one without")
            size = len(self._prompt(whole, row)) + max(lengths)
            if size > self.model.lm.window:
                raise ValueError(f"row {row}: want at most {self.model.lm.window} tokens in all, got {size}")
