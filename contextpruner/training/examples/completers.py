"""Language models that answer prompts: behind an OpenAI-compatible endpoint, or loaded here. Greedy, 256 tokens."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from contextpruner.models.loading import tokenizer_of
from prunekernels.io.checkpoint import find_checkpoint
from prunekernels.io.json_files import Fields, parse_object
from prunekernels.io.model_loading import load_model, quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MOST_TOKENS = 256
# a server that is busy is asked again, after 1, 2, 4, ... seconds
BUSY, TRIES = (408, 429, 500, 502, 503, 504), 6
MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class ChatEndpoint:
    """`url` is that of the API, say "http://127.0.0.1:8000/v1"; `key` goes with each request where there is one."""

    url: str
    model: str
    key: str | None = None
    at_a_time: int = 8
    timeout: float = 120.0

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"an endpoint wants http:// or https://, got {self.url!a:.80}")

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """A reply to each prompt; raises ValueError where the server refuses, or says something else than it should."""
        with ThreadPoolExecutor(self.at_a_time) as pool:
            return [*pool.map(self._reply, prompts)]

    def _reply(self, prompt: str) -> str:
        body = {"model": self.model, "messages": [{"role": "user", "content": prompt}], "temperature": 0}
        body["max_tokens"] = MOST_TOKENS
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        place = f"{self.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(place, json.dumps(body).encode(), headers)  # noqa: S310
        for wait in (2**number for number in range(TRIES)):
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as answered:  # noqa: S310
                    held = Fields(parse_object(answered.read(MOST_BYTES), place), place)
            except urllib.error.HTTPError as error:
                if error.code not in BUSY:
                    raise ValueError(f"{place}: refused with {error.code}") from error
                time.sleep(wait)
                continue
            return held.list_of_fields("choices")[0].fields("message").text("content")
        raise ValueError(f"{place}: busy {TRIES} times in a row")


@dataclass(frozen=True)
class LocalChat:
    """A causal language model in a folder or of the hub, asked through its chat template where it has one."""

    name: str
    device: str = "cpu"

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """A reply to each prompt, one at a time."""
        return [self._reply(prompt) for prompt in prompts]

    def _reply(self, prompt: str) -> str:
        import torch

        model, tokenizer = self._loaded
        text = prompt
        if tokenizer.chat_template:
            message = [{"role": "user", "content": prompt}]
            text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        # a template's special tokens are read as such
        tokenizer.backend_tokenizer.encode_special_tokens = False
        ids = torch.tensor([tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids], device=self.device)
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        with torch.inference_mode():
            said = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=MOST_TOKENS, do_sample=False, pad_token_id=pad
            )
        return tokenizer.decode(said[0, ids.shape[1] :], skip_special_tokens=True)

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        checkpoint = find_checkpoint(self.name)
        model = load_model(checkpoint, "AutoModelForCausalLM").to(self.device).eval()
        with quiet():
            return model, tokenizer_of(checkpoint, model.config)
