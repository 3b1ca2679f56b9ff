"""What an image of a request takes along into the engine: by which method it is pruned, and what is asked.

It travels as bytes beside the pixels, and is part of the key that vLLM remembers images by, so that what was picked by
one method or for one question is never served to another.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import torch

# beside the question, what the key of an image is made of
Key = dict[str, str | list[int]]


@dataclass(frozen=True)
class ItemRequest:
    """One image: the text form of the `method`, token ids of the prompt's `text` that it reads, and its size.

    `size` counts its visual tokens before they are pruned.
    """

    method: str
    text: tuple[int, ...] = ()
    size: int = 0

    def key(self) -> Key:
        """What must be equal where an image is served again."""
        return {"method": self.method, "text": [*self.text]}

    def encoded(self) -> torch.Tensor:
        """As uint8 [bytes]."""
        return torch.frombuffer(bytearray(json.dumps(asdict(self)).encode()), dtype=torch.uint8)

    @classmethod
    def decoded(cls, data: torch.Tensor) -> ItemRequest:
        """Out of uint8 [bytes]."""
        fields = json.loads(bytes(data.tolist()))
        return cls(fields["method"], tuple(fields["text"]), fields["size"])
