"""`tokenpruner serve`: a server in processes of its own answers a chat with fewer tokens of its picture."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tokenpruner.integrations.vllm_engine.told_by import N_NEW, Asked, Reference, picture

# a picture, then what is asked, as the parts of a message come
CHAT = (
    "{% for m in messages %}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<image> {% endif %}{% endfor %}{% endfor %}"
)
SIZES = ["--dtype", "float32", "--enforce-eager", "--max-model-len", "512", "--max-num-seqs", "4", "--block-size", "32"]


@pytest.fixture(scope="module")
def server(folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of the tiny LLaVA."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    template = tmp_path_factory.mktemp("chat") / "chat.jinja"
    template.write_text(CHAT)
    program = [str(Path(sys.executable).with_name("tokenpruner")), "serve", str(folder("llava"))]
    options = ["--method", "divprune:keep_ratio=0.25", "--port", str(port), "--chat-template", str(template), *SIZES]
    options.append("--trust-request-mm-kwargs")
    own = {name: value for name, value in os.environ.items() if name != "VLLM_ENABLE_V1_MULTIPROCESSING"}
    process = subprocess.Popen([*program, *options, "--kv-cache-memory-bytes", str(1 << 25)], env=own)
    address = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None and not _is_up(address):
            time.sleep(1)
        assert process.poll() is None, "the server ended"
        yield address
    finally:
        process.terminate()
        process.wait(60)


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _chat(address: str, model: Path, asked: Asked) -> dict[str, object]:
    shown = io.BytesIO()
    picture(asked.seeds[0]).save(shown, format="PNG")
    url = f"data:image/png;base64,{base64.b64encode(shown.getvalue()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": asked.text}]
    body: dict[str, object] = {"model": str(model), "messages": [{"role": "user", "content": content}]}
    body |= {"temperature": 0, "max_tokens": N_NEW, "ignore_eos": True, "return_token_ids": True}
    if asked.method is not None:
        body["mm_processor_kwargs"] = {"prunekit": asked.method}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=300) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def test_a_chat_is_answered_as_transformers_answers(
    server: str, folder: Callable[[str], Path], reference: Callable[[str], Reference]
) -> None:
    """By the server's method and by that of a request; what is refused is the client's error."""
    for method in (None, "stride:keep_ratio=0.5", "none"):
        wanted = reference("llava").tell(Asked("<image> w10 w11", (1,), method), "divprune:keep_ratio=0.25")
        told = _chat(server, folder("llava"), Asked("w10 w11", (1,), method))
        assert told["usage"]["prompt_tokens"] == wanted.n_prompt
        assert tuple(told["choices"][0]["token_ids"]) == wanted.tokens
    with pytest.raises(urllib.error.HTTPError) as refused:
        _chat(server, folder("llava"), Asked("w10 w11", (1,), "fastv"))
    assert refused.value.code == 400
    assert "inside the decoder" in refused.value.read().decode()
