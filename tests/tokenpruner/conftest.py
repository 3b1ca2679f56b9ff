"""Tiny random LLaVA models, prompts for them, and the pruned sequence computed by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch

from tokenpruner.base.before_decoder import Context, Method

PAD, IMAGE, SIDE = 0, 5, 4
N = SIDE * SIDE
Row = Sequence[int | str]


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices this small run ten times faster without a second thread on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def build(vision: str = "clip", attention: str = "sdpa", seed: int = 0) -> torch.nn.Module:
    """A LLaVA of 16 visual tokens an image and three decoder layers, with weights large enough for errors to show."""
    from transformers import CLIPVisionConfig, Dinov2Config, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}
    vision_config = Dinov2Config(**sizes) if vision == "dinov2" else CLIPVisionConfig(**sizes, intermediate_size=32)
    text_config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        pad_token_id=PAD,
        bos_token_id=1,
        eos_token_id=None,
    )
    config = LlavaConfig(
        vision_config=vision_config, text_config=text_config, image_token_index=IMAGE, vision_feature_layer=-1
    )
    config.initializer_range = 0.3
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation=attention, dtype=torch.float64)
    model.generation_config.pad_token_id = PAD
    # a model that says "image" would make its own output look like one
    model.generation_config.suppress_tokens = [IMAGE]
    return model.eval()


@pytest.fixture(scope="session")
def make_model() -> Callable[..., torch.nn.Module]:
    """Builds tiny models; see `build`."""
    return build


@pytest.fixture
def model() -> torch.nn.Module:
    """A fresh tiny LLaVA."""
    return build()


def encode(rows: Sequence[Row], side: str = "left", seed: int = 3) -> dict[str, torch.Tensor]:
    """Processor output for rows such as [3, "I", 2]: three text tokens, an image, two text tokens."""
    generator = torch.Generator().manual_seed(seed)
    prompts, pictures = [], []
    for row in rows:
        ids: list[int] = []
        for part in row:
            if isinstance(part, str):
                ids += [IMAGE] * N
                pictures.append(torch.randn(3, 16, 16, generator=generator, dtype=torch.float64))
            else:
                ids += torch.randint(6, 62, (part,), generator=generator).tolist()
        prompts.append(ids)
    length = max(map(len, prompts))
    input_ids = torch.full((len(rows), length), PAD)
    mask = torch.zeros(len(rows), length, dtype=torch.int64)
    for number, ids in enumerate(prompts):
        where = slice(length - len(ids), length) if side == "left" else slice(0, len(ids))
        input_ids[number, where] = torch.tensor(ids)
        mask[number, where] = 1
    inputs = {"input_ids": input_ids, "attention_mask": mask}
    return inputs | ({"pixel_values": torch.stack(pictures)} if pictures else {})


@pytest.fixture(scope="session")
def prompt() -> Callable[..., dict[str, torch.Tensor]]:
    """Encodes rows of text counts and images; see `encode`."""
    return encode


@pytest.fixture(scope="session")
def expandable() -> Callable[[Sequence[Row]], Sequence[Row]]:
    """Rows that generate() can repeat for beams: before 5.18 it mixed up the images of a row that has several."""
    from transformers import GenerationMixin

    def one_image_each(rows: Sequence[Row]) -> Sequence[Row]:
        return [[part for place, part in enumerate(row) if part != "I" or "I" not in row[:place]] for row in rows]

    return list if hasattr(GenerationMixin, "_expand_multimodal_outputs") else one_image_each


def split(inputs: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """The rows of a batch, each alone and without padding."""
    rows, first = [], 0
    for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True):
        own = ids[mask.bool()][None]
        n_images = int((own == IMAGE).sum()) // N
        row = {"input_ids": own, "attention_mask": torch.ones_like(own)}
        if n_images:
            row["pixel_values"] = inputs["pixel_values"][first : first + n_images]
        first += n_images
        rows.append(row)
    return rows


@pytest.fixture(scope="session")
def singles() -> Callable[..., list[dict[str, torch.Tensor]]]:
    """Takes a batch apart; see `split`."""
    return split


@dataclass
class ByHand:
    """The pruned sequence of one row: `kept` columns, their `positions` and `logits` [P, V]."""

    kept: torch.Tensor
    positions: torch.Tensor
    logits: torch.Tensor


def replay(model: torch.nn.Module, row: dict[str, torch.Tensor], method: Method, more: Sequence[int] = ()) -> ByHand:
    """One row without padding, then the tokens `more`: chosen, gathered and run without cache, hooks or our gather."""
    ids = torch.cat([row["input_ids"][0], torch.tensor(list(more), dtype=torch.int64)])
    embeds = model.get_input_embeddings()(ids)
    kept = torch.arange(len(ids))
    if "pixel_values" in row:
        features = model.model.get_image_features(row["pixel_values"]).pooler_output
        columns = (ids == IMAGE).nonzero().flatten().view(len(features), N)
        embeds = embeds.clone()
        gone = []
        for number, own in enumerate(features):
            embeds[columns[number]] = own
            picks = method.select(Context(own.detach(), (SIDE, SIDE), 0, number))
            gone += [column for place, column in enumerate(columns[number].tolist()) if place not in picks.tolist()]
        kept = torch.tensor([column for column in range(len(ids)) if column not in gone])
    positions = kept if method.positions == "keep" else torch.arange(len(kept))
    # a mask of four dimensions is taken as it is: nothing can be inferred from positions
    causal = torch.ones(len(kept), len(kept), dtype=torch.bool).tril()[None, None]
    additive = torch.zeros(causal.shape, dtype=embeds.dtype).masked_fill(~causal, torch.finfo(embeds.dtype).min)
    hidden = model.model.language_model(
        inputs_embeds=embeds[kept][None], attention_mask=additive, position_ids=positions[None], use_cache=False
    ).last_hidden_state
    return ByHand(kept, positions, model.lm_head(hidden)[0])


@pytest.fixture(scope="session")
def by_hand() -> Callable[..., ByHand]:
    """Runs the pruned sequence of one row by hand; see `replay`."""
    return torch.no_grad()(replay)


@pytest.fixture(scope="session")
def by_hand_with_gradients() -> Callable[..., ByHand]:
    """The same, to be differentiated."""
    return replay


@pytest.fixture
def entered(model: torch.nn.Module) -> list[dict[str, torch.Tensor]]:
    """What each pass hands to the first decoder layer: hidden states, position ids and mask."""
    seen: list[dict[str, torch.Tensor]] = []

    def note(module: torch.nn.Module, args: tuple[torch.Tensor, ...], kwargs: dict[str, torch.Tensor]) -> None:
        names = ("position_ids", "attention_mask")
        seen.append({"hidden": args[0]} | {name: kwargs.get(name) for name in names})

    model.model.language_model.layers[0].register_forward_pre_hook(note, with_kwargs=True)
    return seen


@pytest.fixture(scope="session")
def checkpointed_hooks() -> bool:
    """True where gradient checkpointing runs the hooks of a decoder layer again, as older transformers do."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return "__call__" in vars(GradientCheckpointingLayer)


def state(model: torch.nn.Module) -> dict[str, dict[str, object]]:
    """Hooks and attributes of every module."""
    return {
        name: {key: dict(value) if isinstance(value, dict) else value for key, value in vars(module).items()}
        for name, module in model.named_modules()
    }


@pytest.fixture
def watched(
    model: torch.nn.Module, prompt: Callable[..., dict[str, torch.Tensor]]
) -> tuple[torch.nn.Module, dict[str, torch.Tensor], Callable[[], None]]:
    """A model and a check that its hooks, attributes and outputs are as they were."""
    inputs = prompt([[2, "I", 3], [4]])
    told = model.generate(**inputs, do_sample=False, max_new_tokens=5)
    before = state(model)

    def check() -> None:
        assert state(model) == before
        assert "generate" not in vars(model)
        assert torch.equal(model.generate(**inputs, do_sample=False, max_new_tokens=5), told)

    return model, inputs, check
