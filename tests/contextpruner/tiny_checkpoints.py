"""Tiny random checkpoints in the published layouts, with tokenizers of their kinds; no network needed.

What is written is built from transformers' own modules and plain tensors, and never by the loader under test.
"""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    LlamaConfig,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
    XLMRobertaModel,
)

WORDS = (
    "It",
    "Who",
    "the",
    "dome",
    "was",
    "designed",
    "by",
    "brunelleschi",
    "who",
    "is",
    "baked",
    "from",
    "it",
    "word",
)
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
LETTERS = string.ascii_letters + string.digits + string.punctuation


def randomize(model: torch.nn.Module, seed: int = 0, std: float = 0.3) -> torch.nn.Module:
    """Weights so wide that tokens differ, norms included."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=draw) * std
            parameter.copy_(noise + 1 if parameter.ndim == 1 and bool((parameter == 1).all()) else noise)
    return model.eval()


def linear(rows: int, seed: int, columns: int = 16) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {"weight": torch.randn(rows, columns, generator=draw), "bias": torch.randn(rows, generator=draw)}


def sentencepiece(folder: Path, names: tuple[str, str] = ("<s>", "</s>"), prepend: str = "always") -> int:
    """A Unigram tokenizer with NFKC, as XLM-R and DeBERTa have; pairs with two separators. Returns its size."""
    cls, sep = names
    pieces = [(cls, 0.0), ("<pad>", 0.0), (sep, 0.0), ("<unk>", 0.0)]
    pieces += [(f"▁{word}", -2.0) for word in WORDS]
    pieces += [(letter, -5.0) for letter in "▁" + LETTERS + "½⁄。？穹顶"]
    backend = Tokenizer(models.Unigram(pieces, unk_id=3))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend)
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}", pair=f"{cls} $A {sep} {sep} $B {sep}", special_tokens=[(cls, 0), (sep, 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token=cls, sep_token=sep, pad_token="<pad>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
    return len(pieces)


def byte_level(folder: Path, bos: bool = False) -> int:
    """A byte-level BPE tokenizer, as ModernBERT has; returns its size."""
    names = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("Ġ", "t"), ("Ġt", "h"), ("o", "m"), ("Ġth", "e"), ("i", "s"), ("Ġ", "I")]
    vocabulary = {piece: index for index, piece in enumerate([*names, *alphabet, *(a + b for a, b in merges)])}
    backend = Tokenizer(models.BPE(vocabulary, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A" if bos else "[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "unk")}
    if bos:
        special["bos_token"] = "[CLS]"
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)
    return len(vocabulary)


def wordpiece(folder: Path) -> int:
    """A lower-casing WordPiece tokenizer, as BERT has; returns its size."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    letters = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), *WORDS]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    backend = BertWordPieceTokenizer(vocabulary, lowercase=True)
    BertTokenizerFast(tokenizer_object=backend._tokenizer).save_pretrained(folder)
    return len(pieces)


def deberta_config(vocabulary: int) -> DebertaV2Config:
    return DebertaV2Config(
        **SIZES,
        vocab_size=vocabulary,
        max_position_embeddings=128,
        relative_attention=True,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        type_vocab_size=0,
        position_biased_input=False,
        pooler_hidden_size=16,
        pooler_hidden_act="gelu",
        num_labels=1,
        pad_token_id=1,
    )


def xlmr_config(vocabulary: int, labels: int = 1) -> XLMRobertaConfig:
    return XLMRobertaConfig(
        **SIZES, vocab_size=vocabulary, max_position_embeddings=130, type_vocab_size=1, num_labels=labels
    )


def modernbert_config(vocabulary: int) -> ModernBertConfig:
    return ModernBertConfig(
        **SIZES,
        vocab_size=vocabulary,
        max_position_embeddings=128,
        local_attention=16,
        global_attn_every_n_layers=2,
        num_labels=1,
        pad_token_id=0,
        cls_token_id=1,
        sep_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
    )


def bert_config(vocabulary: int, labels: int) -> BertConfig:
    return BertConfig(**SIZES, vocab_size=vocabulary, max_position_embeddings=128, num_labels=labels)


def write(folder: Path, config: dict[str, object], tensors: dict[str, torch.Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    contiguous = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, folder / "model.safetensors", {"format": "pt"})
    return folder


def provence(folder: Path) -> Path:
    """DebertaV2ForSequenceClassification's tensors and a token_classifier, under a model type of its own."""
    config = deberta_config(sentencepiece(folder, ("[CLS]", "[SEP]"), "never"))
    model = randomize(DebertaV2ForSequenceClassification(config))
    head = {f"token_classifier.{name}": value for name, value in linear(2, 1).items()}
    said = {**config.to_dict(), "model_type": "Provence", "architectures": ["Provence"]}
    said["auto_map"] = {"AutoModel": "modeling_provence.Provence"}
    return write(folder, said, {**model.state_dict(), **head})


def xprovence(folder: Path) -> Path:
    """An XLM-R encoder with its pooler, a plain classifier and a token_classifier."""
    config = xlmr_config(sentencepiece(folder))
    model = randomize(XLMRobertaModel(config, add_pooling_layer=True))
    tensors = {f"roberta.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"classifier.{name}": value for name, value in linear(1, 2).items()}
    tensors |= {f"token_classifier.{name}": value for name, value in linear(2, 3).items()}
    return write(folder, {**config.to_dict(), "model_type": "xprovence", "architectures": ["XProvence"]}, tensors)


def open_provence(
    folder: Path, base: str = "modernbert", legacy: bool = False, token_types: int = 2, **more: object
) -> Path:
    """A ranking_model and a pruning_head; `legacy` leaves the first prefix out. `token_types` are those of "bert"."""
    if base == "modernbert":
        config = modernbert_config(byte_level(folder))
        model: PreTrainedModel = ModernBertForSequenceClassification(config)
    elif base == "xlm-roberta":
        config = xlmr_config(sentencepiece(folder))
        model = XLMRobertaForSequenceClassification(config)
    else:
        config = bert_config(wordpiece(folder), 1)
        config.type_vocab_size = token_types
        model = BertForSequenceClassification(config)
    randomize(model)
    prefix = "" if legacy else "ranking_model."
    tensors = {prefix + name: value for name, value in model.state_dict().items()}
    tensors |= {f"pruning_head.classifier.{name}": value for name, value in linear(2, 4).items()}
    said = {
        "model_type": "open_provence",
        "architectures": ["OpenProvenceForSequenceClassification"],
        "mode": "reranking_pruning",
        "base_model_config": config.to_dict(),
        "num_labels": 1,
        "max_length": 64,
        **more,
    }
    return write(folder, said, tensors)


def llmlingua2(folder: Path, base: str = "bert") -> Path:
    """A token classifier with two labels, of which 1 is to keep."""
    if base == "bert":
        model = BertForTokenClassification(bert_config(wordpiece(folder), 2))
    else:
        model = XLMRobertaForTokenClassification(xlmr_config(sentencepiece(folder), 2))
    randomize(model).save_pretrained(folder)
    return folder


def cross_encoder(folder: Path, labels: int = 1) -> Path:
    """A BERT sequence classifier."""
    randomize(BertForSequenceClassification(bert_config(wordpiece(folder), labels))).save_pretrained(folder)
    return folder


def causal_lm(folder: Path, bos: bool = False) -> Path:
    """A Llama over bytes; with `bos` its tokenizer begins every text with a token of its own."""
    config = LlamaConfig(
        **SIZES, vocab_size=byte_level(folder, bos), max_position_embeddings=256, tie_word_embeddings=True
    )
    randomize(AutoModelForCausalLM.from_config(config)).save_pretrained(folder)
    return folder
