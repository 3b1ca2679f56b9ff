"""One forward pass of a decoder whose layers see different tokens: what is known between its hooks."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from tokenpruner.base.inside_decoder import Queries, Stage
from tokenpruner.base.method_chain import Split
from tokenpruner.before_decoder.selection import Selection
from tokenpruner.decoder.backbone_inputs import BackboneInputs
from tokenpruner.decoder.cache_layers import PrunedPrefix
from tokenpruner.decoder.cache_state import Past
from tokenpruner.decoder.kept_tokens import KeptTokens, gather_tokens
from tokenpruner.inside_decoder.deepstack import DeepStack
from tokenpruner.inside_decoder.skipped_tokens import RecordingCache
from tokenpruner.inside_decoder.stage_selection import RemainingImage
from tokenpruner.models.attention_probe import AttentionInputs
from tokenpruner.models.transformers_api import Cache, Kwargs
from tokenpruner.report.prefill_record import PickedImage
from tokenpruner.report.timing import Moment, Stopwatch


@dataclass
class DecoderPass:
    """One forward pass of the backbone: what entered, and what is left where it has come to.

    `inputs` are what entered, `whole` all of its tokens and `kept` those that are left. `is_prompt` bool [B, L] is
    False for what comes after the prompt, generated or to be learned. `pasts` are what each layer held before, which
    are not alike where the cache `differs_by_layer`; `cache_gaps` what the cache of a layer behind a cut will lack.
    `all_images` are the images as they came, `images` what is left of them.
    """

    cache: Cache | None
    inputs: BackboneInputs
    whole: KeptTokens
    kept: KeptTokens
    is_prompt: torch.Tensor
    pasts: tuple[Past, ...]
    started: Moment
    selection: Stopwatch
    differs_by_layer: bool = False
    images: list[RemainingImage] = field(default_factory=list)
    all_images: list[RemainingImage] = field(default_factory=list)
    deepstack: DeepStack | None = None
    # of a chain: the methods of each row, or sample of it, and what a method before the decoder lets in
    splits: dict[tuple[int, int], Split] = field(default_factory=dict)
    entry: Selection | None = None
    # where rows have schedules of their own: the name of each, None where it has none; for how many rows a router chose
    # in this pass, and by layer the rows that skipped it and what that saved
    schedules: list[str | None] = field(default_factory=list)
    n_routed: int = 0
    skipped_layers: dict[int, tuple[list[int], int | None]] = field(default_factory=dict)
    # what the vision tower did not hand over, bool [B, L]
    unseen: torch.Tensor | None = None
    attention_inputs: tuple[AttentionInputs, torch.Tensor] | None = None
    # where tokens are skipped: which ones, the hidden states of all while a layer runs, and what it writes for them
    skipped: torch.Tensor | None = None
    skipped_hidden: torch.Tensor | None = None
    recorder: RecordingCache | None = None
    cache_gaps: dict[int, tuple[int, PrunedPrefix]] = field(default_factory=dict)
    cuts: list[tuple[Stage, KeptTokens]] = field(default_factory=list)
    # what is left behind each cut, for the report
    picked: list[list[PickedImage]] = field(default_factory=list)
    # by what it depends on: what a layer gets, along with what keeps the key's ids alive
    made: dict[tuple[object, ...], tuple[Kwargs, Kwargs, tuple[int, PrunedPrefix] | None]] = field(default_factory=dict)

    def embeds(self) -> torch.Tensor:
        """What came to layer 0, [B, L, D], without gradient; tokens that others went into are their mean."""
        embeds = self.inputs.embeds.detach()
        return embeds if self.entry is None else self.entry.with_merged(embeds)

    def come_back(self) -> None:
        """Let the tokens that passed the last layer by be there again."""
        self.kept, self.images, self.skipped = self.whole, self.all_images, None


def asked_columns(current: DecoderPass, queries: Queries) -> torch.Tensor | None:
    """The columns of those that are left whose queries a stage asks for, int64; None for all, as in packed rows.

    They are the last ones of each row's prompt, and where "text" is asked for all that are no visual token in any row.
    """
    if queries == "all" or current.inputs.samples is not None:
        return None
    kept = current.whole if current.skipped is not None else current.kept
    real = kept.mask & current.is_prompt.gather(1, kept.index)
    columns = torch.arange(real.shape[1], device=real.device)
    last = torch.where(real, columns, 0).amax(1)
    if queries == "last":
        return last
    is_asked = real.clone()
    for image in current.all_images if kept.is_whole else current.images:
        is_asked[image.row, image.columns] = False
        is_asked[image.row, image.newlines] = False
    is_asked = is_asked.any(0)
    is_asked[last] = True
    return is_asked.nonzero().flatten()


def taken_out(current: DecoderPass, dropped: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """The hidden states that are left of [B, P, D] without `dropped` bool [B, P]; notes where the images' tokens go."""
    before = current.kept
    current.kept, local = before.cut(dropped)
    columns = before.columns_after(dropped)
    current.images = [image.moved(columns) for image in current.images]
    # padding holds what was dropped; a NaN there would reach the others through 0 * NaN
    return gather_tokens(hidden, local, -2).masked_fill(~current.kept.mask[..., None].to(hidden.device), 0)
