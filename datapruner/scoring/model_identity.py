"""What a model is: the hash of its folder, or its commit on the hub. Scorers and embedders have it in the manifest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from datapruner.corpus.fingerprint import digest
from prunekernels.extras import require

# what decides a model's scores; README, generation settings and chat templates do not
_PARTS = ("*.safetensors", "*.safetensors.index.json", "config.json", "tokenizer*", "vocab*", "merges.txt")
# of sentence-transformers: the list of its modules, their folders, and the prompts
_MODULES = ("modules.json", "*sentence*.json", "[0-9]_*/*.json", "[0-9]_*/*.safetensors")


def model_identity(name: str) -> str:
    """A hash of the folder's configuration, weights and tokenizer; of a hub model its commit."""
    folder = Path(name)
    if not folder.is_dir():
        with loading_errors(name):
            config = require("transformers", "data").AutoConfig.from_pretrained(name, trust_remote_code=False)
        return f"commit {config._commit_hash}"
    files = sorted({file for pattern in _PARTS + _MODULES for file in folder.glob(pattern) if file.is_file()})
    if not any(file.suffix == ".safetensors" for file in files):
        raise ValueError(f"{folder}: want a transformers folder with .safetensors weights")
    summary = "".join(f"{file.relative_to(folder)} {digest(file)}\n" for file in files)
    return f"blake2b {blake2b(summary.encode(), digest_size=16).hexdigest()}"


@contextmanager
def loading_errors(name: str) -> Iterator[None]:
    """What transformers raises where a model is missing or unreadable, in one line."""
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"want the folder or hub id of a causal language model, got {name!r}: {reason}") from error
