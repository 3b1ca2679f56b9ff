"""Vision transformers that tokens cannot leave."""

from __future__ import annotations

import pytest
import torch

from tests.tokenpruner import vision_models as vision
from tests.tokenpruner.conftest import state
from tokenpruner import prepare, prune
from tokenpruner.methods.stride import Stride
from tokenpruner.methods.tome import ToMe
from tokenpruner.methods.zero_tprune import ZeroTPrune

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}


def made(name: str) -> torch.nn.Module:
    """A tiny model of another kind."""
    import transformers as t

    small = {"intermediate_size": 24}
    build = {
        "masked": lambda: t.ViTForMaskedImageModeling(t.ViTConfig(**SIZES, **small, encoder_stride=4)),
        "maps": lambda: t.Dinov2Backbone(t.Dinov2Config(**SIZES)),
        "beit": lambda: t.BeitModel(t.BeitConfig(**SIZES, **small)),
        "yolos": lambda: t.YolosModel(t.YolosConfig(**{**SIZES, "image_size": (16, 16)}, **small)),
        "rotary": lambda: t.DINOv3ViTModel(t.DINOv3ViTConfig(**SIZES, **small)),
        "text": lambda: t.LlamaModel(
            t.LlamaConfig(
                vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2
            )
        ),
        "captions": lambda: t.VisionEncoderDecoderModel(
            encoder=t.ViTModel(t.ViTConfig(**SIZES, **small)),
            decoder=t.GPT2LMHeadModel(
                t.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=20, add_cross_attention=True)
            ),
        ),
        "linear": lambda: torch.nn.Linear(3, 3),
    }
    return build[name]()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("masked", r"hands the patches on to decoder \(Sequential\)"),
        ("maps", "maps of its patches, which have to stay a grid"),
        ("beit", "want blocks that take tokens and a mask, got one that also takes|want one vision transformer"),
        ("yolos", "its embeddings add detection_tokens"),
        ("rotary", "want blocks that take tokens and a mask, got one that also takes|want one vision transformer"),
        ("text", "want one vision transformer, .* got 0"),
        ("captions", r"hands the patches on to decoder \(GPT2LMHeadModel\)"),
        ("linear", "want one vision transformer, .* got 0"),
    ],
)
def test_models_that_want_their_grid(name, reason):
    model = made(name)
    before = state(model)
    with pytest.raises(ValueError, match=reason), prune(model, ToMe()):
        pass
    assert state(model) == before


@pytest.mark.parametrize("method", [ToMe(), ZeroTPrune()])
def test_what_the_other_kinds_of_methods_are_told(method):
    vit = vision.build("vit")
    with pytest.raises(ValueError, match="has no visual tokens"), prune(vit, Stride()):
        pass
    with pytest.raises(ValueError, match=r"works inside the model, .* `with prune\(model, method\)`"):
        prepare(vit, method, pixel_values=vision.pixels())
    with pytest.raises(ValueError, match="want a transformers model, got NoneType"), prune(None, method):
        pass


def test_masks_of_the_caller():
    """A mask counts tokens that will be gone; where nothing goes, it is the model's business."""
    model, images = vision.build("siglip"), vision.pixels()
    mask = torch.zeros(2, 1, 16, 16, dtype=torch.float64)
    mask[..., 3] = -torch.inf
    with torch.no_grad():
        whole = model(images, attention_mask=mask).last_hidden_state
        with prune(model, ToMe(r=2)) as report:
            with pytest.raises(ValueError, match="want no attention_mask while tokens are taken out"):
                model(images, attention_mask=mask)
            assert not report.prefills
        with prune(model, ToMe(r=0)):
            assert torch.equal(model(images, attention_mask=mask).last_hidden_state, whole)


def test_a_mask_of_ones_is_none():
    model, images = vision.build("vit"), vision.pixels()
    with torch.no_grad(), prune(model, ToMe(r=2)):
        assert torch.equal(
            model(images, attention_mask=torch.ones(2, 17, dtype=torch.int64)).pooler_output,
            model(images).pooler_output,
        )


def test_tokens_that_are_not_the_grid():
    """A masked autoencoder leaves most patches out before its first block."""
    import transformers as t

    model = t.ViTMAEModel(t.ViTMAEConfig(**SIZES, intermediate_size=24)).eval()
    with (
        torch.no_grad(),
        prune(model, ToMe()),
        pytest.raises(ValueError, match=r"want 1 tokens before the patches of a grid \(4, 4\), got \[2, 5, 16\]"),
    ):
        model(vision.pixels().float())


def test_attention_that_adds_no_mask():
    model = vision.build("vit")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="want attention sdpa or eager, got flash_attention_2"), prune(model, ToMe()):
        pass
    # nothing weighs
    for method in (ToMe(proportional=False), ZeroTPrune()):
        with prune(model, method):
            pass


def test_blocks_that_take_no_mask(monkeypatch):
    """As DINOv2's in transformers 5.15."""
    model = vision.build("dinov2")
    block = type(vision.blocks(model)[0])

    def forward(self: torch.nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
        return hidden_states

    monkeypatch.setattr(block, "forward", forward)
    refused = pytest.raises(ValueError, match="take no attention mask in this release .* proportional=False")
    with refused, prune(model, ToMe()):
        pass
    for method in (ToMe(proportional=False), ZeroTPrune(), ToMe(r=0)):
        with prune(model, method):
            pass


def test_a_model_is_pruned_once_at_a_time():
    model = vision.build("clip_pair")
    with prune(model, ToMe()):
        for again in (model, model.vision_model):
            with pytest.raises(ValueError, match="is being pruned already"), prune(again, ZeroTPrune()):
                pass
    with prune(model.vision_model, ToMe()):
        pass


def test_a_tower_is_not_run():
    """Text alone."""
    model = vision.build("clip_pair")
    ids = torch.tensor([[1, 5, 2]])
    with torch.no_grad():
        whole = model.get_text_features(input_ids=ids)
        with prune(model, ToMe()) as report:
            same = model.get_text_features(input_ids=ids)
    assert not report.prefills
    assert torch.equal(getattr(same, "pooler_output", same), getattr(whole, "pooler_output", whole))


def test_a_block_by_itself_is_not_pruned():
    model = vision.build("vit")
    hidden = torch.randn(1, 17, 16, dtype=torch.float64)
    with torch.no_grad(), prune(model, ToMe(r=5)):
        model(vision.pixels())
        assert vision.blocks(model)[1](hidden).shape == hidden.shape
