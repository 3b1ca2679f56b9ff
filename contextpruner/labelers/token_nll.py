"""How well question and unit explain each other to a causal language model.

After LongLLMLingua (Jiang et al. 2023, arXiv:2310.06839), its ranking by perplexity and its contrast:

    gain(u) = mean over the tokens x of nll(x) - nll(x | given)
    probability(u) = sigmoid(gain) = PPL(x) / (PPL(x) + PPL(x | given))

    of "question"    x is the question, given is the unit: how much less surprising the question is behind the unit
    of "unit"        x is the unit, given is the question: the contrast, how much less surprising the unit is

nll in nats per token, PPL its exponential. Higher = the two explain each other more; 0.5 = nothing to do with each
other. Not a probability of relevance; it only orders units, and gains are small: thresholds lie around 0.5.

The texts read "Question: ..." and "Document: ..." (with the title before the unit), in this order of giving, a line
each; without anything given the same words stand alone. `model` is a folder or hub id of a causal language model whose
logits are its head times the last hidden state. A unit, or question, of more than a third of the window is read by its
beginning. `precision` "int8" is for CPUs, a row at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch

from contextpruner.batches import Row, batches, check_batch_size, distinct, pad_id
from contextpruner.checkpoint import find
from contextpruner.document import SplitDocument
from contextpruner.labeler import Labeler, Labels
from contextpruner.loading import Precision, longest_row, model_of, place, rows_at_once, tokenizer_of
from contextpruner.text_tokens import encode
from prunekernels.token_stats import token_stats

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Loaded(NamedTuple):
    """A checkpoint, ready to run; `first` is what the tokenizer puts before every text."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    head: torch.nn.Linear
    first: tuple[int, ...]
    window: int


@dataclass(frozen=True)
class TokenNll(Labeler):
    """How much less surprising the question is behind the unit, to a causal language model; or the unit behind it."""

    model: str = "HuggingFaceTB/SmolLM2-135M"
    of: Literal["question", "unit"] = "question"
    use_title: bool = True
    max_length: int = 1024
    batch_size: int = 16
    precision: Precision = "float32"
    device: str | None = None

    def __post_init__(self) -> None:
        check_batch_size("token_nll", self.batch_size)
        if self.max_length < 64:
            raise ValueError(f"token_nll wants a max_length of at least 64, got {self.max_length}")

    def prepare(self) -> None:
        _ = self._loaded

    def label(self, question: str, documents: Sequence[SplitDocument]) -> Labels:
        asked = self._tokens("Question:", question)
        units = [
            self._tokens("Document:", self._text(document, text)) for document in documents for text in document.texts
        ]
        of_question = self.of == "question"
        given = [(unit, asked) if of_question else (asked, unit) for unit in units]
        bare = [asked] if of_question else units
        said = self._mean_nll(
            [(self._row(two, one), len(one[1])) for two, one in given]
            + [(self._row(None, one), len(one[1])) for one in bare]
        )
        gain = np.array(said[len(units) :]) - np.array(said[: len(units)])
        probability = (1 / (1 + np.exp(-gain.clip(-80, 80)))).astype(np.float32)
        return Labels.of_all_units(probability, documents)

    def _text(self, document: SplitDocument, text: str) -> str:
        title = document.document.title if self.use_title else None
        return f"{title}\n{text.strip()}" if title else text.strip()

    def _tokens(self, name: str, text: str) -> tuple[list[int], list[int]]:
        """The tokens of the name before a text, and those of the text."""
        loaded = self._loaded
        third = (loaded.window - len(loaded.first)) // 3
        return encode(loaded.tokenizer, name)[0][:third], encode(loaded.tokenizer, f" {text}")[0][:third]

    def _row(self, given: tuple[list[int], list[int]] | None, scored: tuple[list[int], list[int]]) -> Row:
        loaded = self._loaded
        before = (*given[0], *given[1], *encode(loaded.tokenizer, "\n")[0]) if given else ()
        return Row((*loaded.first, *before, *scored[0], *scored[1]), 0)

    @torch.inference_mode()
    def _mean_nll(self, rows: Sequence[tuple[Row, int]]) -> list[float]:
        """The mean loss of the last tokens of each row, as many as stand beside it; 0 where there are none."""
        loaded = self._loaded
        # the same tokens may be scored in part or whole
        different, places = distinct([Row(row.ids, scored) for row, scored in rows])
        found = np.zeros(len(different))
        device = loaded.head.weight.device
        for batch in batches(different, rows_at_once(self.precision, self.batch_size), pad_id(loaded.tokenizer)):
            ids, mask = batch.ids.to(device), batch.mask.to(device)
            hidden = loaded.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            sizes = [different[row].second for row in batch.rows]
            ends = [len(different[row].ids) for row in batch.rows]
            states = torch.cat([hidden[i, e - n - 1 : e - 1] for i, (n, e) in enumerate(zip(sizes, ends, strict=True))])
            labels = torch.cat([ids[i, e - n : e] for i, (n, e) in enumerate(zip(sizes, ends, strict=True))])
            losses = token_stats(states, loaded.head.weight, labels, loaded.head.bias).nll.double().cpu()
            for row, part in zip(batch.rows, losses.split(sizes), strict=True):
                found[row] = float(part.mean()) if len(part) else 0
        return found[places].tolist()

    @cached_property
    def _loaded(self) -> Loaded:
        checkpoint = find(self.model)
        model = model_of(checkpoint, "CausalLM")
        tokenizer = tokenizer_of(checkpoint, model.config)
        head = model.get_output_embeddings()
        _check_head(str(checkpoint.folder), model, head)
        # an end of text alone is not what a text begins with
        put = tokenizer.backend_tokenizer.encode("", add_special_tokens=True).ids[:1]
        first = tuple(put) if put == [tokenizer.bos_token_id] else ()
        placed = place(model, self.precision, self.device)
        window = longest_row(model.config.get_text_config(), self.max_length)
        return Loaded(placed, tokenizer, head, first, window)


@torch.inference_mode()
def _check_head(name: str, model: PreTrainedModel, head: torch.nn.Module) -> None:
    """Refuse models that cap or scale their logits: head(hidden) would be another distribution."""
    ids = (torch.arange(8) * 7919 % model.config.get_text_config().vocab_size)[None]
    model.eval()
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    logits = model(input_ids=ids, use_cache=False).logits
    if not isinstance(head, torch.nn.Linear) or not torch.allclose(head(hidden), logits, rtol=1e-4, atol=1e-5):
        raise ValueError(f"{name}: want a model whose logits are its head times the last hidden state")
